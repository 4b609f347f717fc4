"""What an identity provider says of somebody, and how far that is believed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

SKEW_SECONDS = 300.0
"""How far the provider's clock may be ahead of this one [s]."""
_SHARED_TENANTS = {"common", "organizations", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad"}


@dataclass(frozen=True, slots=True)
class User:
    """Who has signed in in this browser, as the identity provider said.

    Attributes:
        email: The address; "" when the provider said none.
        verified: Whether it is theirs, as far as the provider says so.
        expired: Whether they have to sign in again.
    """

    email: str
    verified: bool
    expired: bool


def user_of(claims: Mapping[str, object], *, hours: float, trust_unverified: bool) -> User:
    """The user that the claims of an ID token speak of.

    Args:
        claims: As the provider has signed them when the user signed in.
        hours: How long a sign-in holds [h].
        trust_unverified: Whether an address is believed of which the provider does not say that it is verified.
    """
    return User(str(claims.get("email") or ""), _verified(claims, trust_unverified), _expired(claims, hours * 3600))


def shared_tenant_of(metadata_url: str) -> str:
    """The part of a provider's URL that lets accounts of every organisation in; "" when there is none.

    Microsoft's `/common/`, `/organizations/` and `/consumers/` do, and there any tenant's administrator says which
    address an account has.
    """
    first = urlsplit(metadata_url).path.lower().lstrip("/").partition("/")[0]
    return first if first in _SHARED_TENANTS else ""


def _verified(claims: Mapping[str, object], trust_unverified: bool) -> bool:
    if "email_verified" in claims:
        return claims["email_verified"] in (True, "true")
    # Microsoft says instead whether the domain's owner is known: xms_edov, an optional claim.
    return trust_unverified or claims.get("xms_edov") in (True, "true", "1")


def _expired(claims: Mapping[str, object], most_seconds: float) -> bool:
    """Whether the ID token was made too long ago; one that does not say when is refused."""
    issued = claims.get("iat")
    if isinstance(issued, bool) or not isinstance(issued, (int, float)):
        return True
    return not -SKEW_SECONDS <= time.time() - issued <= most_seconds
