"""The choice of one lane, which the address keeps; and the lanes as a table. Nothing where the table has no lanes."""

from __future__ import annotations

import streamlit as st

from opskit.database.session import Row
from opskit.errors import OpskitError
from opskit.queue import lanes
from opskit.support import wording
from opskit.web.dashboard import readings, rows, sources

LANES_SHOWN = 50
_LATELY_SECONDS = 3600.0


def has_lanes() -> bool:
    """Whether the table has lanes, as far as that is known."""
    try:
        return lanes.known(readings.database()) is not None
    except OpskitError:
        return False


def chosen() -> str:
    """The lane to show; "" for all, and where the table has no lanes."""
    if not has_lanes():
        return ""
    known = [_name(row) for row in readings.read("lanes").rows()]
    asked = st.query_params.get("lane", "")
    # A lane of an address may have nothing queued any more.
    options = ["", *dict.fromkeys([*known, *filter(None, [asked])])]
    lane: str = st.selectbox(
        "Lane", options, format_func=lambda lane: readings.shown(lane) or "all lanes", key="lane", bind="query-params",
        accept_new_options=True, help="A lane that has nothing queued can be typed.",
    ) or ""  # fmt: skip
    return lane


def asked(lane: str) -> dict[str, str]:
    """The lane as a reading takes it: readings of all lanes are named alike, whether there are lanes or not."""
    return {"lane": lane} if lane else {}


def board(lane: str) -> None:
    """Each lane's queue, and what became of its files in the last hour; of the one that is chosen alone."""
    if not has_lanes():
        return
    waiting, work = readings.read("lanes"), readings.read("lane_work", since_seconds=_LATELY_SECONDS)
    if waiting.frame is None or work.frame is None:
        return
    sources.heading("Lanes", waiting, work)
    ended = {_name(row): row for row in work.rows()}
    queued = {_name(row): row for row in waiting.rows()}
    names = [name for name in dict.fromkeys([*queued, *ended]) if lane in ("", name)]
    if not names:
        st.caption("No lane has files queued, in processing, or ended in the last hour.")
        return
    rows.table([_line(name, queued.get(name, {}), ended.get(name, {})) for name in names[:LANES_SHOWN]])
    if len(names) > LANES_SHOWN:
        st.caption(f"The {LANES_SHOWN} longest queues of {wording.count(len(names), 'lane')}.")


def _name(row: Row) -> str:
    return lanes.NO_LANE if row["lane"] is None else str(row["lane"])


def _line(name: str, queued: Row, ended: Row) -> dict[str, rows.Cell]:
    oldest = queued.get("oldest_queued_seconds")
    return {
        "Lane": rows.Name(name or '""', rows.address("files", lane=name)),
        "Queued": queued.get("queued", 0),
        "Processing": queued.get("processing", 0),
        "Oldest queued": "" if oldest is None else wording.span(oldest),
        "Ended, 1 h": ended.get("ended", 0),
        "Failed, 1 h": ended.get("failed", 0),
        "Share of node time": rows.Share(None if ended.get("share") is None else 100 * ended["share"]),
    }
