"""A file's life: the steps from its upload to its end, and everything that happened to it."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opskit.database.session import Row
from opskit.support import wording
from opskit.support.visible import directions_shown
from opskit.web.dashboard import markdown, readings, times

STYLE = """<style>
.life {display: flex; flex-wrap: wrap; gap: .25rem; list-style: none; font-size: .9rem}
.life {margin: 0 0 .5rem !important; padding: 0 !important}
.life li {flex: 1 1 9rem; margin: 0; padding: .35rem .7rem; border-left: 4px solid #8a93a3}
.life li {min-width: 0; overflow-wrap: anywhere}
.life li.now {border-color: #1f6feb} .life li.good {border-color: #1a7f37} .life li.bad {border-color: #cf222e}
.life li.next {opacity: .75; border-left-style: dotted}
.life b {display: block}
</style>"""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is called, what is said of it, and how it stands: past, now, good, bad or next."""

    name: str
    words: str
    kind: str = "past"


def steps(file: Row, node: Row | None) -> list[Step]:
    """The steps that a file has taken, the one that it takes now, and the next one.

    Args:
        file: The file.
        node: The node that holds it; None when nobody known does.
    """
    state, begun, ended = file["processing_status"], file["processing_started_at"], file["processing_completed_at"]
    queued = file["processing_queued_at"]
    found = [Step("Uploaded", _clock(file["uploaded_at"]))] if file["uploaded_at"] else []
    if state is None:
        return [*found, Step("No status yet", "waits to be let in", "now")]
    waits = state == "queued"
    if waits:
        ahead = queued is not None and _finite(queued) and queued > _now()
        words = f"due in {_between(_now(), queued)}" if ahead else f"for {_between(queued, _now())}" if queued else ""
        retry = (
            f", after {wording.count(file['processing_failures'], 'bad attempt')}"
            if file["processing_failures"]
            else ""
        )
        return [*found, Step("Queued", words + retry, "now"), Step("Claimed", "next", "next")]
    found.append(Step("Queued", f"waited {_between(queued, begun)}" if queued and begun and begun >= queued else "–"))
    server = file["processing_server_id"] or "an unnamed server"
    again = f", attempt {file['processing_attempt']}" if (file["processing_attempt"] or 0) > 1 else ""
    if state == "processing":
        known = "" if node else ", whom nobody knows"
        words = f"by {server}{known}{again}, for {_between(begun, _now())}"
        return [*found, Step("Processing", words, "now"), Step("Ended", "next", "next")]
    ran = f", ran {_between(begun, ended)}" if begun and ended else ""
    found.append(Step("Processed", f"by {server}{again}{ran}"))
    return [*found, Step(state.capitalize(), _clock(ended), "good" if state == "completed" else "bad")]


def bar(found: list[Step]) -> str:
    """The steps as a list that is drawn as a bar."""
    items = "".join(
        f'<li class="{step.kind}"{" aria-current=step" if step.kind == "now" else ""}>'
        f"<b>{_safe(step.name)}</b>{_safe(step.words)}</li>"
        for step in found
    )
    return f'{STYLE}<ol class="life" aria-label="The file\'s life">{items}</ol>'


def left(done: float, minutes: float | None) -> str:
    """How far it is [%], and how long the rest takes at this rate."""
    if not minutes or done <= 0 or done >= 100:
        return f"{done:.0f} %"
    return f"{done:.0f} %, {wording.span(60 * minutes * (100 - done) / done)} left at this rate"


def lines(file: Row, events: list[Row]) -> list[Row]:
    """Everything that happened, the newest first; what the row itself holds comes before the events."""
    found = [
        {
            "When": event["at"],
            "What": markdown.what_happened(event),
            "Attempt": event["attempt"],
            "Server": event["server_id"] or "",
            "Ran for": _between(event["started_at"], event["at"]) if event["kind"] == "attempt" else "",
            "Why": readings.why(event),
            "By": event["actor"] or "",
        }
        for event in events
    ]
    state, begun = file["processing_status"], file["processing_started_at"]
    if state in ("queued", "processing", "completed"):
        what, when = {
            "queued": ("queued, to be claimed from then", file["processing_queued_at"]),
            "processing": ("in processing since", begun),
            "completed": ("completed", file["processing_completed_at"]),
        }[state]
        now = {
            "When": when,
            "What": what,
            "Attempt": file["processing_attempt"],
            "Server": file["processing_server_id"] or "",
            "Ran for": _between(begun, when) if state == "completed" else "",
            "Why": "",
            "By": "",
        }
        found.insert(0, now)
    return found


def value(found: Any) -> str:
    """A value of the application's own column, short enough for a line."""
    if found is None:
        return "–"
    if isinstance(found, datetime):
        return f"{times.local(found):%Y-%m-%d %H:%M:%S} {times.zone()}" if found.tzinfo else str(found)
    if isinstance(found, (bytes, memoryview)):
        return f"{len(found):,} bytes"
    text = json.dumps(found, default=str, ensure_ascii=False) if isinstance(found, (dict, list)) else str(found)
    return text if len(text) <= 500 else text[:500] + " …"


def _safe(text: str) -> str:
    return html.escape(directions_shown(text))


def _clock(when: datetime | None) -> str:
    if when is None or not _finite(when):
        return "–"
    return f"{times.local(when):%Y-%m-%d %H:%M:%S}"


def _between(start: datetime | None, end: datetime | None) -> str:
    if start is None or end is None or not (_finite(start) and _finite(end)):
        return "–"
    return wording.span((_aware(end) - _aware(start)).total_seconds())


def _now() -> datetime:
    return datetime.now().astimezone()


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo else when.replace(tzinfo=times.UTC)


def _finite(when: datetime) -> bool:
    return 1 < when.year < 9999
