"""Allowed hosts: the names that page and API answer to, and the origin of a request.

Any site can give itself a name that resolves to 127.0.0.1; a browser then reads from us as if we were that site
(DNS rebinding). Its Host header tells: a server on a loopback address answers only to loopback names and to those
that the operator has listed. Host and Origin are judged strictly: what no browser sends is no name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""The names of this very machine."""
_PORTS = {"http": 80, "https": 443}
_NAME = r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?"
_HOST = re.compile(rf"(?:({_NAME})|\[([0-9a-f:.]+)\])(?::([1-9][0-9]{{0,4}}))?", re.ASCII | re.IGNORECASE)
_PATTERN = re.compile(rf"(?:\*\.)?{_NAME}", re.ASCII | re.IGNORECASE)


def split(host_header: str | None) -> tuple[str, int | None] | None:
    """Name, in lower case, and port of a Host header; None when it is none.

    An IPv6 address stands in brackets. A user name, a path, a dot at the end or a port beyond 65535 is refused.
    """
    found = _HOST.fullmatch(host_header or "")
    if found is None or int(found[3] or 0) > 65535:
        return None
    if found[1]:
        name = found[1].lower()
    else:
        try:
            name = str(ipaddress.IPv6Address(found[2]))
        except ValueError:
            return None
    return name, int(found[3]) if found[3] else None


def names_loopback(host_header: str | None) -> bool:
    """Whether a Host header names this machine."""
    named = split(host_header)
    return named is not None and named[0] in LOOPBACK


def patterns(text: str) -> tuple[str, ...]:
    """The setting OPSKIT_HOSTS as patterns: `opskit.example.com`, `*.example.com`, `192.0.2.7`, `fd00::7`.

    Raises:
        ValueError: Its text is the pattern that cannot be used.
    """
    given = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    return tuple(_pattern(part) for part in given)


def _pattern(part: str) -> str:
    if ":" in part:
        try:
            return str(ipaddress.IPv6Address(part[1:-1] if part[0] + part[-1] == "[]" else part))
        except ValueError:
            raise ValueError(part) from None
    if not _PATTERN.fullmatch(part):
        raise ValueError(part)
    return part


def answers_to(host_header: str | None, allowed: Iterable[str]) -> bool:
    """Whether a Host header is a name of this machine or fits one of the patterns; at any port."""
    named = split(host_header)
    if named is None:
        return False
    return named[0] in LOOPBACK or any(_fits(named[0], pattern) for pattern in allowed)


def _fits(name: str, pattern: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def same_site(origin: str, host_header: str | None) -> bool:
    """Whether *origin* is this site: its name and port are those of the request's Host header."""
    scheme, separator, rest = origin.partition("://")
    theirs, ours, usual = split(rest), split(host_header), _PORTS.get(scheme.lower())
    if not separator or usual is None or theirs is None or ours is None:
        return False
    return (theirs[0], theirs[1] or usual) == (ours[0], ours[1] or usual)
