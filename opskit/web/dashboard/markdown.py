"""Data inside Markdown: escaped, so that no name becomes a link or a heading."""

from __future__ import annotations

import re

from opskit.database.session import Row
from opskit.support.visible import directions_shown

_ADDRESS = re.compile(r"(?i)(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=www)(?=\.)|(?<=@)|(?<=mailto:)|(?<=xmpp:)")
_WORD_JOINER = "\u2060"


def what_happened(event: Row) -> str:
    """An event in words."""
    if event["kind"] == "attempt":
        return f"attempt {event['outcome']}, then {event['next_status']}"
    if event["kind"] == "requeue":
        return f"requeued, was {event['outcome']}"
    if event["kind"] == "cancel":
        return "cancelled" + ("" if event["next_status"] == "failed" else ": its node is told")
    if event["kind"] == "expedite":
        return "given a head start"
    if event["kind"] == "state":
        return f"set to {event['outcome']}"
    if event["kind"] in ("pause", "resume"):
        return f"{event['kind']}d" + (" all nodes" if event["server_id"] == "*" else "")
    if event["kind"] == "breaker":
        return "opened the breaker" if event["outcome"] == "open" else "closed the breaker"
    kind = str(event["kind"])
    return {
        "boot": "started",
        "stop": "stopped",
        "adopt": "adopted",
        "watch": "queued by a watch",
        "forget": "forgotten",
    }.get(kind, kind)


def escaped(text: object) -> str:
    """Text of others, such as a file's name or an error, for Markdown: shown as it is, and no link."""
    apart = _ADDRESS.sub(_WORD_JOINER, directions_shown(str(text)))
    return "".join("\\" + character if character in r"\`*_{}[]()#+-.!$~|<>:" else character for character in apart)


def label(text: object) -> str:
    """Text of others for a widget's label: what programs that read the page aloud get stays as near as can be."""
    apart = _ADDRESS.sub(_WORD_JOINER, directions_shown(str(text)))
    return "".join("\\" + character if character in r"\`*_[]$~<>:" else character for character in apart)
