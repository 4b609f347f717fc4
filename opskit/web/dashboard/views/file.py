"""A file: its life so far, every attempt, the application's columns, what is in it; queue it again."""

from __future__ import annotations

import streamlit as st

from opskit.database.session import Row
from opskit.files.preview import Preview
from opskit.queue.error_lines import last_line
from opskit.support import wording
from opskit.support.logs import masked
from opskit.web.dashboard import (
    banners,
    columns,
    file_content,
    file_lifetime,
    markdown,
    permission,
    readings,
    rows,
    sources,
)
from opskit.web.dashboard.dialogs.cancel import ask_cancel
from opskit.web.dashboard.dialogs.end_claim import ask_end_claim
from opskit.web.dashboard.dialogs.expedite import ask_expedite
from opskit.web.dashboard.dialogs.requeue import ask_requeue

MOST_EVENTS = 200
MOST_ERRORS = 20
LONGEST_LOG = 100_000


def page() -> None:
    """The file that the address names."""
    file_id = st.query_params.get("id", "")
    if not file_id:
        st.info("The address names no file: choose one on the page of files.", icon=":material/draft:")
        st.page_link("views/files.py", label="All files", icon=":material/list:")
        return
    now, events = readings.read("file", file_id=file_id), readings.read("events", file_id=file_id, limit=MOST_EVENTS)
    banners.as_of(now)
    if not banners.healthy([now, events]):
        return
    known = now.rows()
    if not known:
        st.info(f"There is no file with the id {markdown.escaped(file_id)}.", icon=":material/draft:")
        st.page_link("views/files.py", label="All files", icon=":material/list:")
        return
    file = known[0]
    head(file, now, events)
    banners.live(lambda: life(file_id, (file["processing_status"], file["processing_attempt"])))
    error(file)
    attempts(file, events.rows())
    left, right = st.columns([3, 2], gap="medium")
    with left:
        log(file)
        inside(file)
    with right:
        details(file)


def head(file: Row, now: readings.Reading, events: readings.Reading) -> None:
    """Its name and its state, and what can be done with it."""
    state = file["processing_status"] or "no status yet"
    name = file["original_filename"] or file["id"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(markdown.escaped(name), anchor=False, width="content")
        st.badge(state, color=columns.BADGES.get(state, "gray"))
        if file["deleted"]:
            st.badge("deleted", color="red")
        st.space("stretch")
        ended = state in ("failed", "completed") and not file["deleted"]
        pressed = permission.button("Requeue…", icon=":material/replay:", key="requeue_one", disabled=not ended)
        queued = state == "queued" and not file["deleted"]
        expedites = queued and permission.button("Expedite…", icon=":material/fast_forward:", key="expedite_one")
        live = queued or state == "processing"
        ends = state == "processing" and permission.button("End this claim…", icon=":material/mop:", key="end_claim")
        cancels = live and permission.button("Cancel…", icon=":material/cancel:", key="cancel_one")
        file_content.download(file)
        sources.menu(now, events)
    if pressed:
        ask_requeue([file["id"]], [name])
    if expedites:
        ask_expedite([file["id"]], [name])
    if ends:
        ask_end_claim(file["id"])
    if cancels:
        ask_cancel([file["id"]], [name])


def life(file_id: str, drawn: tuple[str | None, int | None]) -> None:
    """From its upload to its end, each step with how long it took; it ticks while the page is open."""
    known = readings.read("file", file_id=file_id).rows()
    if not known:
        return
    file = known[0]
    if (file["processing_status"], file["processing_attempt"]) != drawn and not st.session_state.get("asking"):
        st.rerun()
    held = [row for row in readings.read("nodes").rows() if row["file_id"] == file_id]
    node = held[0] if file["processing_status"] == "processing" and held else None
    st.html(file_lifetime.bar(file_lifetime.steps(file, node)))
    if node is not None and (done := columns.progress(node)) is not None:
        st.progress(done / 100, text=markdown.escaped(file_lifetime.left(done, node["minutes_processing"])))


def error(file: Row) -> None:
    """What went wrong last: the line that tells it first, the traceback for whoever asks."""
    if file["processing_errors"]:
        st.code(last_line(file["processing_errors"]), language=None, wrap_lines=True)
        readings.in_full(file["processing_errors"], "The error in full, with its traceback")


def attempts(file: Row, events: list[Row]) -> None:
    """Everything that happened to it, the newest first; each attempt's error in full below."""
    happened = file_lifetime.lines(file, events)
    if not happened:
        ended = file["processing_status"] == "failed"
        st.caption("The history keeps no attempt at it." if ended else "Nothing has happened to it yet.")
        return
    # On a phone a card leads to the node of its attempt.
    nodes = [rows.address("node", id=str(line["Server"])) if line["Server"] else "" for line in happened]
    rows.cards("attempts", happened, nodes).dataframe(
        happened,
        column_config={"When": columns.time_column(), "Why": st.column_config.TextColumn(width="large")},
        hide_index=True,
        placeholder="",
    )
    told = [event for event in events if event["kind"] == "attempt" and event["reason"]]
    for event in told[:MOST_ERRORS]:
        label = f"Attempt {event['attempt']} on {event['server_id']}: {last_line(event['reason'])}"
        readings.in_full(event["reason"], label)


def log(file: Row) -> None:
    """What its attempts have said, for those who may see it, once they ask; it goes on while the file runs."""
    with st.expander("What its attempts said", icon=":material/terminal:", key="log", on_change="rerun") as opened:
        if refused := file_content.refusal():
            st.caption(refused)
        elif opened.open:
            banners.live(lambda: said(file["id"]))


def said(file_id: str) -> None:
    """The log of each attempt, the newest first; what was left out is told."""
    found = readings.read("logs", file_id=file_id)
    if found.error is not None or not found.rows():
        st.caption("They have said nothing that is kept." if found.error is None else "The log cannot be read now.")
        return
    attempts: dict[int, str] = {}
    for row in found.rows():
        gap = f"\n… {row['left_out']:,} bytes left out …\n" if row["left_out"] else ""
        attempts[row["attempt"]] = attempts.get(row["attempt"], "") + gap + row["text"]
    for number, text in sorted(attempts.items(), reverse=True):
        st.caption(f"Attempt {number}")
        st.code(readings.shown(text[-LONGEST_LOG:]), language=None, wrap_lines=True, height=240)


def inside(file: Row) -> None:
    """What is in it, for those who may see it, once they ask."""
    refused = file_content.refusal()
    with st.expander("What is in it", icon=":material/visibility:", key="inside", on_change="rerun") as opened:
        if refused:
            st.caption(refused)
        elif opened.open:
            show(file_content.preview(file))


def show(found: Preview) -> None:
    """A table, a text or a picture; data of others never becomes markup."""
    if found.why_not:
        st.caption(markdown.escaped(found.why_not[:1].upper() + found.why_not[1:]) + ".")
        return
    if found.columns:
        st.dataframe(
            [dict(zip(found.columns, map(readings.shown, row), strict=True)) for row in found.rows], hide_index=True
        )
    elif found.picture:
        st.html(file_content.picture(found))
    else:
        st.code(readings.shown(found.text), language=None, wrap_lines=True, height=320)
    if found.columns:
        what = (
            f"The first {wording.count(len(found.rows), 'row')}"
            if found.more
            else f"All {wording.count(len(found.rows), 'row')}"
        )
    elif found.picture:
        what = f"{len(found.picture):,} bytes"
    else:
        what = "The beginning" if found.more else "All of it"
    st.caption(f"{what} · {found.kind}")


def details(file: Row) -> None:
    """What is known of it: opskit's columns, the application's that a setting names, and the result."""
    facts = {
        "Id": file["id"],
        "Size": f"{file['file_size']:,} bytes" if file["file_size"] is not None else "not recorded",
        "Stored at": masked(file["storage_path"] or "in the row"),
        "Attempts": f"{file['processing_attempt'] or 0}, {file['processing_failures']} of them counted as bad",
    }
    own = readings.read("own_columns", file_id=file["id"])
    values = own.rows()[0] if own.error is None and own.rows() else {}
    facts |= {name: file_lifetime.value(value) for name, value in values.items()}
    st.table(
        [{"Column": markdown.escaped(name), "Value": markdown.escaped(value)} for name, value in facts.items()],
        border="horizontal",
        hide_index=True,
        hide_header=True,
    )
    if not readings.settings().show_columns:
        st.caption("OPSKIT_SHOW_COLUMNS names the columns of your application that are shown here.")
    if file["processing_result"] is not None:
        st.caption("Result")
        st.json(file["processing_result"], expanded=1)


page()
