"""Who may write: one rule for the API's writing calls and the page's actions.

With a token, whoever shows it. Without one, only somebody at this very machine: the client's address and
the name it called us by must both be loopback, or any page in the operator's browser could reach us by a
name of its own that resolves to 127.0.0.1. A call that another site's page has sent is never obeyed.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from opskit.errors import ForbiddenError, TokenNeededError
from opskit.settings import LOOPBACK, Settings

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via")
"""What a proxy adds to what it passes on, mostly: one that adds nothing cannot be told from this machine."""

_PORTS = {"http": 80, "https": 443}


def writing_allowed(
    settings: Settings,
    *,
    client_host: str | None,
    host_header: str | None,
    origin: str | None,
    authorization: str | None,
    forwarded: bool = False,
) -> None:
    """Return when this caller may write.

    Args:
        settings: Where the token and read-only mode stand.
        client_host: Address of the caller; None when it is unknown.
        host_header: Its Host header.
        origin: Its Origin header; None when no page sent the call.
        authorization: Its Authorization header.
        forwarded: Whether a proxy says that it passed the call on: then the address is the proxy's.

    Raises:
        ForbiddenError: It may not; the sentence says why, and what would help.
        TokenNeededError: The token is missing or wrong.
    """
    if settings.read_only:
        raise ForbiddenError("this is read-only: OPSKIT_READ_ONLY is set")
    if origin is not None and not _same_site(origin, host_header):
        raise ForbiddenError("a page of another site sent this; it is refused")
    if settings.api_token:
        if not _token_fits(settings.api_token, authorization):
            raise TokenNeededError
    elif forwarded or not (_is_loopback(client_host) and _names_loopback(host_header)):
        raise ForbiddenError("without OPSKIT_API_TOKEN only calls from this machine to 127.0.0.1 may change anything")


def _token_fits(token: str, authorization: str | None) -> bool:
    """Whether the header shows the token; takes equally long wherever they differ."""
    scheme, _, shown = (authorization or "").partition(" ")
    wanted = token.encode("utf-8", "surrogateescape")
    # A header's bytes reach us read as Latin-1, a token typed into the page as it is.
    as_bytes = shown.strip().encode("latin-1", "replace")
    as_text = shown.strip().encode("utf-8", "surrogateescape")
    fits = hmac.compare_digest(as_bytes, wanted) | hmac.compare_digest(as_text, wanted)
    return fits and scheme.lower() == "bearer"


def _is_loopback(host: str | None) -> bool:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _names_loopback(host_header: str | None) -> bool:
    name, _ = _host_and_port(f"http://{host_header}")
    return name in LOOPBACK


def _same_site(origin: str, host_header: str | None) -> bool:
    ours = _host_and_port(f"{origin.partition(':')[0]}://{host_header}")
    theirs = _host_and_port(origin)
    return theirs[0] is not None and theirs == ours


def _host_and_port(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None
