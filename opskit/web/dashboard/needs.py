"""What needs a person now, the gravest first, each with the button that mends it; one calm line when nothing does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

import streamlit as st

from opskit import doctor
from opskit.database.session import Row
from opskit.doctor import Condition
from opskit.doctor.finding import command
from opskit.support import wording
from opskit.web.dashboard import fleets, markdown, permission, readings
from opskit.web.dashboard.dialogs.asking import Result
from opskit.web.dashboard.dialogs.cleanup import ask_cleanup
from opskit.web.dashboard.dialogs.nodes import ask_drain, ask_forget, ask_resume
from opskit.web.dashboard.dialogs.requeue import ask_requeue_group


@dataclass(frozen=True, slots=True)
class Mend:
    """What a button beside a finding does.

    Attributes:
        label: What the button says of those that are concerned.
        icon: Its icon.
        act: Asks, then does it.
    """

    label: Callable[[tuple[str, ...]], str]
    icon: str
    act: Callable[[tuple[str, ...]], None]


def box(now: Row, examined: list[Row] | None, last_day: dict[str, int]) -> None:
    """What needs a person now.

    The doctor alone judges, here as in the shell: the calm line stands only where `opskit doctor` exits 0.

    Args:
        now: The numbers of this moment.
        examined: What the doctor has found; None when it has not answered yet.
        last_day: How many files completed and failed in a day.
    """
    findings = examined or []
    grave = [finding for finding in findings if finding["level"] == "error"]
    warnings = [finding for finding in findings if finding["level"] == "warning"]
    worrying = [finding for finding in warnings if finding["check"] in doctor.WORK]
    minor = [finding for finding in warnings if finding["check"] not in (*doctor.WORK, "waiting")]
    for level, found in (("error", grave), ("warning", worrying)):
        for lines in together(found):
            mended(level, lines)
    if now["waiting_files"]:
        settings = readings.settings()
        st.info(
            f"**{wording.count(now['waiting_files'], 'row')}** without a status wait until you let them in.  \n"
            f"New rows: `{command(settings, 'migrate --queue-new')}`; "
            f'rows from before: `{command(settings, "enqueue --existing --where")} "…"`.',
            icon=":material/inbox:",
        )
    # The numbers are younger than what the doctor has said: a fleet that stands since then is not calm.
    stands = bool(now["queued"]) and not now["claiming_nodes"]
    if examined is None or (stands and not (grave or worrying)):
        st.caption("The doctor is being asked.")
    elif not (grave or worrying or now["waiting_files"]):
        st.success(calm(now, last_day), icon=":material/check_circle:")
    if minor:
        st.caption(f"The [doctor](doctor) has {wording.count(len(minor), 'warning')} more.")


def together(findings: Iterable[Row]) -> list[list[Row]]:
    """The findings by the button that mends them: four nodes in quarantine are resumed at once."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for finding in findings:
        mend = MENDS.get(finding["condition"])
        one_by_one = finding["condition"] == Condition.FILES_FAIL
        key = (
            None if mend is None else mend.icon,
            tuple(finding["concerns"]) == ("*",),
            finding["what"] if one_by_one or (mend and not _concerned(finding)) else "",
        )
        groups.setdefault(key, []).append(finding)
    return list(groups.values())


def mended(level: str, findings: list[Row]) -> None:
    """Some findings in one box, and beside it the button that mends them."""
    mend = MENDS.get(findings[0]["condition"])
    concerned = tuple(dict.fromkeys(name for finding in findings for name in _concerned(finding)))
    show, icon = (st.error, ":material/emergency_home:") if level == "error" else (st.warning, ":material/warning:")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        show("  \n".join(map(line, findings)), icon=icon, width="stretch")
        if mend is None or not concerned:
            return
        # It is drawn again while one looks at it: the whole page opens the dialog, which no tick closes.
        key = f"mend {level} {findings[0]['condition']} {' '.join(concerned)}"
        if permission.button(mend.label(concerned), icon=mend.icon, key=key):
            st.session_state["wanted"] = (findings[0]["condition"], concerned)
            st.rerun()


def wanted() -> None:
    """Ask about what a button beside a finding would do."""
    condition, concerned = st.session_state.pop("wanted", (None, ()))
    if condition is not None:
        MENDS[condition].act(concerned)


def _concerned(finding: Row) -> tuple[str, ...]:
    # A cleanup judges every claim by itself: nobody has to be named.
    return ("",) if finding["condition"] == Condition.CLAIMS_STUCK else tuple(finding["concerns"])


def line(finding: Row) -> str:
    """A finding in one line, with the way to its runbook."""
    condition = finding.get("condition")
    runbook = f" [What to do](doctor?{urlencode(fleets.asked(runbook=condition))})" if condition else ""
    return f"**{markdown.escaped(finding['what'])}**: {markdown.escaped(finding['why'])}.{runbook}"


def calm(now: Row, last_day: dict[str, int]) -> str:
    """That all is well, with the numbers that say so."""
    claiming, live = now["claiming_nodes"], now["active_servers"]
    nodes = (
        f"{claiming} of {wording.count(live, 'node')} {'claims' if claiming == 1 else 'claim'}"
        if live
        else "no node runs"
    )
    return f"Nothing needs you now: {nodes}, {last_day['failed']:,} failed in 24 h."


def _requeue_group(concerned: tuple[str, ...]) -> None:
    """Every file that has failed so, not only those of the last minutes: as many as the failures' page counts."""
    groups = readings.read("failures").rows()
    group = next((group for group in groups if group["error"] == concerned[0]), None)
    if group is None:
        st.session_state["result"] = Result("No file has failed with this error any more.", fine=False)
        st.rerun()
    else:
        ask_requeue_group(group["error"], group["file_count"])


def _to(verb: str) -> Callable[[tuple[str, ...]], str]:
    def label(concerned: tuple[str, ...]) -> str:
        return f"{verb} all…" if concerned == ("*",) else f"{verb} {len(concerned)}…" if concerned[1:] else f"{verb}…"

    return label


_RESUME = Mend(_to("Resume"), ":material/play_arrow:", ask_resume)
MENDS: dict[str, Mend] = {
    Condition.BREAKER_OPEN: _RESUME,
    Condition.CLAIMS_STUCK: Mend(lambda _: "Clean up…", ":material/mop:", lambda _: ask_cleanup()),
    Condition.FILES_FAIL: Mend(lambda _: "Requeue…", ":material/replay:", _requeue_group),
    Condition.NO_NODE_CLAIMS: _RESUME,
    Condition.NODE_IN_QUARANTINE: _RESUME,
    Condition.NODE_SILENT: Mend(_to("Forget"), ":material/delete:", ask_forget),
    Condition.PAUSED: _RESUME,
    Condition.VERSIONS_DIFFER: Mend(_to("Drain"), ":material/logout:", ask_drain),
}
"""What mends a finding, by its condition; what no button can mend has its runbook."""
