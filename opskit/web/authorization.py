"""Authorization: who may write, and who may read; one rule for the API's calls and the page's actions.

With a token, whoever shows it may write. Without one, only somebody at this very machine: the client's address and
the name it called us by must both be loopback, or any page in the operator's browser could reach us by a
name of its own that resolves to 127.0.0.1. A call that another site's page has sent is never obeyed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opskit.errors import ForbiddenError, TokenNeededError
from opskit.settings import Settings
from opskit.support import allowed_hosts
from opskit.web import proxies
from opskit.web.bearer_token import token_fits


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who calls, as a connection tells it.

    Attributes:
        client_host: Address of the client; None when it is unknown, as behind a Unix socket.
        host_header: Its Host header.
        origin: Its Origin header; None when no page sent the call.
        authorization: Its Authorization header.
        forwarded: Whether a proxy says that it passed the call on: then the address is the proxy's.
    """

    client_host: str | None
    host_header: str | None
    origin: str | None = None
    authorization: str | None = None
    forwarded: bool = False

    @classmethod
    def of(cls, scope: Any) -> Caller:
        """The caller of an ASGI connection."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        first = dict(reversed(headers))
        return cls(
            client_host=scope["client"][0] if scope.get("client") else None,
            host_header=first.get("host"),
            origin=first.get("origin"),
            authorization=first.get("authorization"),
            forwarded=proxies.passed_on(headers, scope.get("http_version", "1.1")),
        )

    @classmethod
    def with_headers(cls, client_host: str | None, headers: Mapping[str, str], authorization: str | None) -> Caller:
        """The caller of a page: its headers as Streamlit has them, and the token that was typed into it."""
        return cls(
            client_host=client_host,
            host_header=headers.get("Host"),
            origin=headers.get("Origin"),
            authorization=authorization,
            forwarded=proxies.passed_on(headers.items()),
        )

    @property
    def is_near(self) -> bool:
        """Whether the call comes from this very machine, by whatever name."""
        return not self.forwarded and _is_loopback(self.client_host)

    @property
    def is_local(self) -> bool:
        """Whether it comes from this very machine, by one of the machine's own names."""
        return self.is_near and allowed_hosts.names_loopback(self.host_header)


def writing_allowed(settings: Settings, caller: Caller) -> None:
    """Return when this caller may write.

    Args:
        settings: Where the token and read-only mode stand.
        caller: Who calls.

    Raises:
        ForbiddenError: It may not; the sentence says why, and what would help.
        TokenNeededError: The token is missing or wrong.
    """
    if settings.read_only:
        raise ForbiddenError("this is read-only: OPSKIT_READ_ONLY is set")
    if caller.origin is not None and not allowed_hosts.same_site(caller.origin, caller.host_header):
        raise ForbiddenError("a page of another site sent this; it is refused")
    if settings.api_token:
        if not token_fits(settings.api_token, caller.authorization):
            raise TokenNeededError
    elif not caller.is_local:
        raise ForbiddenError("without OPSKIT_API_TOKEN only calls from this machine to 127.0.0.1 may change anything")


def content_allowed(settings: Settings, caller: Caller) -> None:
    """Return when this caller may read what files hold and what attempts say: who may write, or all by setting.

    Raises:
        ForbiddenError: It may not; the sentence says why, and what would help.
        TokenNeededError: The token is missing or wrong.
    """
    if not settings.viewers_see_files:
        writing_allowed(settings, caller)


def _is_loopback(host: str | None) -> bool:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
