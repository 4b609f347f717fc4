"""Cleanup: every claim with its evidence and the verdict in plain words; end those that the operator approves."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from opskit.database.session import Row
from opskit.queue.states import Verdict
from opskit.support import wording
from opskit.web.dashboard import banners, columns, markdown, permission, readings, rows, sources
from opskit.web.dashboard.dialogs.cleanup import ask_cleanup

Judged = tuple[Row, Row]
"""A claim as the reaper judges it, and the evidence beside it."""
GROUPS = {
    "dead": "red",
    "silent": "orange",
    "alive but long": "violet",
    "unknown, still young": "gray",
    "alive": "green",
}
GROUP_OF = {
    "dead": "dead",
    "rebooted": "dead",
    "stale": "dead",
    "silent": "silent",
    "stuck": "alive but long",
    "hung": "alive but long",
    "unproven": "unknown, still young",
    "alive": "alive",
}
CARDS = 50
OTHERWISE = "otherwise"
"""The address's parameter for claims whose box is not as it comes: ticked though not dead, or the other way round."""
_WELL = tuple(verdict for verdict in Verdict if verdict.is_well)
_SUSPECTED = tuple(verdict for verdict in Verdict if verdict.needs_second_look)
LOOK_AGAIN_SECONDS = 2.5


def claims() -> None:
    """The claims to decide about, those that are well below, and the button."""
    # Opening the page is the first of the two looks, for whoever may act; it changes nothing but the note of it.
    look = permission.refusal() is None
    judged, facts = readings.fresh("claims", look=look), readings.fresh("evidence")
    banners.as_of(judged, facts)
    if not banners.healthy([judged, facts]):
        return
    known = {row["claim"]: row for row in facts.rows()}
    everything = [(row, known[row["claim"]]) for row in judged.rows() if row["claim"] in known]
    suspects = [pair for pair in everything if pair[0]["verdict"] not in _WELL]
    well = [pair for pair in everything if pair[0]["verdict"] in _WELL]
    approved = decide(suspects[:CARDS], (judged, facts))
    if len(suspects) > CARDS:
        st.caption(f"The {CARDS} oldest of {len(suspects):,}; the others come when these are ended.")
    if approved:
        ask_cleanup(approved)
    others(well)
    if look and any(row["verdict"] in _SUSPECTED for row, _ in suspects):
        verdicts = {row["claim"]: row["verdict"] for row, _ in suspects}
        st.fragment(lambda: _look_again(verdicts), run_every=LOOK_AGAIN_SECONDS)()


def decide(suspects: list[Judged], taken: tuple[readings.Reading, ...]) -> list[Row]:
    """The claims that cleanup would end; answers those to be ended now."""
    # A verdict that changes is a new box: a tick never stands for less than the operator saw.
    keys = {row["claim"]: f"end {row['claim']} {GROUP_OF.get(row['verdict'])}" for row, _ in suspects}
    # What is certainly dead is ticked; a node that may only be slow is for the operator to judge. What the operator
    # has chosen otherwise stands in the address.
    dead = {keys[row["claim"]]: GROUP_OF.get(row["verdict"]) == "dead" for row, _ in suspects}
    otherwise = set(st.query_params.get_all(OTHERWISE))
    for key, usual in dead.items():
        st.session_state[key] = usual is not (_name(key) in otherwise)
    ticked = [row for row, _ in suspects if st.session_state[keys[row["claim"]]]]
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"End {wording.count(len(ticked), 'claim')}…" if ticked else "End claims…"
        pressed = permission.button(label, icon=":material/mop:", key="end_claims", primary=True, disabled=not ticked)
        if len(suspects) > 1:
            st.button("Tick all", key="tick_all", on_click=_tick, args=(dead, True))
            st.button("Tick none", key="tick_none", on_click=_tick, args=(dead, False))
        sources.menu(*taken)
    if not suspects:
        st.success("Nothing to clean up: no claim is dead, silent or without progress.", icon=":material/check_circle:")
        return []
    counts = [(group, sum(GROUP_OF.get(row["verdict"]) == group for row, _ in suspects)) for group in GROUPS]
    st.markdown(" · ".join(f"**{number}** {group}" for group, number in counts if number))
    for pair in suspects:
        card(pair, keys[pair[0]["claim"]], dead)
    return ticked if pressed else []


def card(pair: Judged, key: str, dead: dict[str, bool]) -> None:
    """One claim: whose, how it looks, what would become of it, and why.

    Three elements: a browser draws fifty cards, and each element costs it a millisecond and more.
    """
    row, facts = pair
    with st.container(border=True, gap="small"):
        st.checkbox(markdown.label(row["original_filename"] or row["id"]), key=key, on_change=_remember, args=(dead,))
        st.html(
            f'<div class="rows">{standing(row)}</div><p class="verdict">{verdict(row, facts)}</p>'
            + rows.facts(proofs(row, facts))
        )


def standing(row: Row) -> str:
    """What a claim is, what it would become, and whose it is, as HTML."""
    group, next_state = str(GROUP_OF.get(row["verdict"], row["verdict"])), str(row["would_become"])
    attempt = f" · attempt {row['processing_attempt']}" if row["processing_attempt"] else ""
    bad = f", {wording.count(row['processing_failures'], 'bad one')} before" if row["processing_failures"] else ""
    whose = rows.safe(f"{row['processing_server_id'] or 'no server'}{attempt}{bad}")
    return " &emsp; ".join(
        (
            rows.state(rows.State(group, GROUPS.get(group, "gray"))),
            rows.state(rows.State(f"would become {next_state}", columns.BADGES.get(next_state, "gray"))),
            whose,
        )
    )


def verdict(row: Row, facts: Row) -> str:
    """The verdict in plain words, for somebody who was woken up by it; as HTML."""
    server = rows.safe(row["processing_server_id"] or "an unnamed server")
    held = wording.span((row["minutes_processing"] or 0) * 60)
    still = wording.span((row["minutes_without_progress"] or 0) * 60)
    limit = wording.span(facts["stale_after_seconds"] or readings.settings().stale_after_seconds)
    sentences = {
        "dead": f"<b>{server} is dead</b>: its lease ended {ago(facts['lease_until'])} and two looks saw the same. ",
        "rebooted": f"<b>The node that claimed it is gone</b>: {server} has started again since, "
        f"{ago(facts['booted_at'])}, and knows nothing of this file. ",
        "stale": f"<b>Nobody knows {server}</b>, and it has held the file for {held}; the limit is {limit}. ",
        "silent": f"<b>{server} is silent</b>: its lease ended {ago(facts['lease_until'])}. It may be dead or cut off; "
        "a second look, two seconds after the first, decides. ",
        "stuck": f"<b>{server} is alive, but this takes long</b>: no progress for {still}; the limit is {limit}. "
        "A second look decides. ",
        "hung": f"<b>{server} is alive, but this takes long</b>: no progress for {still}, seen twice; "
        f"the limit is {limit}. ",
        "unproven": f"Nobody knows {server}; it is left alone until {limit} have passed. ",
        "alive": f"{server} is alive and the file moves. ",
    }
    sentence = sentences.get(row["verdict"], str(row["verdict"]))
    if facts["stopped_at"]:
        sentence += f"It said good-bye {ago(facts['stopped_at'])}. "
    if facts["sessions"] and GROUP_OF.get(row["verdict"]) in ("dead", "silent"):
        sentence += "Yet it still holds a database session: frozen or cut off. What it still writes will be refused. "
    return sentence.strip()


def proofs(row: Row, facts: Row) -> dict[str, str]:
    """The evidence, each piece under its name."""
    done, total = facts["progress_done"], facts["progress_total"]
    far = f" ({100 * done // total} %)" if done is not None and total else ""
    known = facts["beat_at"] is not None
    sessions = facts["sessions"]
    return {
        "Held for": wording.span((row["minutes_processing"] or 0) * 60),
        "Last progress": f"{wording.span((row['minutes_without_progress'] or 0) * 60)} ago{far}",
        "Last heartbeat": ago(facts["beat_at"]) if known else "none: unknown server",
        "Lease": _lease(facts) if known else "none",
        "Database session": "cannot be told" if sessions is None else f"{sessions} open" if sessions else "none",
        "Started again since": ago(facts["booted_at"]) if facts["booted_at"] else "no" if known else "cannot be told",
    }


def _lease(facts: Row) -> str:
    when: datetime = facts["lease_until"]
    return "runs" if when > _now() else f"ended {ago(when)}"


def ago(when: datetime | None) -> str:
    """How long ago something was, by the clock of the moment."""
    return "never" if when is None else f"{wording.span((_now() - when).total_seconds())} ago"


def _now() -> datetime:
    return datetime.now().astimezone()


def others(well: list[Judged]) -> None:
    """The claims that cleanup leaves alone."""
    if not well:
        return
    with st.expander(f"{wording.count(len(well), 'claim')} left alone", icon=":material/favorite:"):
        st.dataframe(
            [
                {
                    "File": readings.shown(row["original_filename"]),
                    "Server": row["processing_server_id"],
                    "Verdict": GROUP_OF.get(row["verdict"], row["verdict"]),
                    **{label: value.replace("\\", "") for label, value in proofs(row, facts).items()},
                }
                for row, facts in well
            ],
            hide_index=True,
        )


def _tick(dead: dict[str, bool], on: bool) -> None:
    st.session_state.update(dict.fromkeys(dead, on))
    _remember(dead)


def _remember(dead: dict[str, bool]) -> None:
    """The boxes that are not as they come, in the address: with the verdict, for they hold for no other."""
    st.query_params[OTHERWISE] = [_name(key) for key, usual in dead.items() if st.session_state[key] is not usual]


def _name(key: str) -> str:
    return key.removeprefix("end ")


def _look_again(verdicts: dict[str, str]) -> None:
    """The second look comes by itself; a dialog that is open stays open."""
    if st.session_state.get("asking"):
        return
    now = {row["claim"]: row["verdict"] for row in readings.fresh("claims", look=True).rows()}
    if any(now.get(claim, "gone") != verdict for claim, verdict in verdicts.items()):
        st.rerun()


claims()
