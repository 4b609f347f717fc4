"""End this claim: one file that is stuck, with the evidence; the claim that one has seen, and no other."""

from __future__ import annotations

import streamlit as st

from opskit import queue
from opskit.database import Database
from opskit.database.session import Row
from opskit.queue.states import Verdict
from opskit.web.dashboard import markdown, readings
from opskit.web.dashboard.dialogs import meanwhile
from opskit.web.dashboard.dialogs.asking import Result, ask
from opskit.web.dashboard.dialogs.cleanup import evidence


def ask_end_claim(file_id: str) -> None:
    """Show what speaks for and against a file's claim; end that claim when it is confirmed.

    A claim that cleanup would end is ended as cleanup does it. One against which nothing speaks is cancelled: its file
    fails, and the processor is killed.
    """
    seen: list[Row] = []

    def show() -> str:
        if not seen:
            # Opening counts as the first of the two looks; drawing it again must not.
            found = queue.preview(readings.database(), every=True)
            seen.extend(row for row in found if row["id"] == file_id)
        if not seen:
            st.success("Nobody holds this file any more.")
            return ""
        claim = seen[0]
        evidence([claim])
        server = markdown.escaped(claim["processing_server_id"] or "an unnamed server")
        if claim["verdict"] == Verdict.ALIVE:
            st.warning(
                f"**{server}** is alive and works on it. The file would fail as cancelled, and its processor be killed."
            )
        elif claim["verdict"] == Verdict.UNPROVEN:
            st.warning(
                f"Whether **{server}** still works on it cannot be told. The file would fail as cancelled; "
                "an older processor, which has no token, can still complete it."
            )
        elif Verdict(claim["verdict"]).needs_second_look:
            st.markdown("A second look, two seconds from now, has to see the same before it ends.")
        else:
            st.markdown(f"It would become **{claim['would_become']}**, as by a cleanup.")
        st.caption("A claim that has moved on by then is left alone. A file that failed can be queued again.")
        return "End this claim"

    def act(db: Database, actor: str, reason: str) -> Result:
        claim = seen[0]
        if Verdict(claim["verdict"]).is_well:
            return _cancelled(db, claim, actor, reason)
        done = queue.cleanup(db, claims=[claim["claim"]], actor=actor, reason=reason)
        if done.pending:
            return Result("A second look has to see the same: end it again in two seconds.", fine=False)
        if not done.ended:
            return _moved_on(db, claim)
        failed = done.ended[0]["outcome"] == "failed"
        became = "failed" if failed else "goes back to the queue"
        return Result(f"The claim is ended: the file {became}.", requeue=(file_id,) if failed else ())

    ask("End this claim?", show, act)


def _cancelled(db: Database, claim: Row, actor: str, reason: str) -> Result:
    done = queue.cancel(db, [claim["id"]], claims=[claim["claim"]], actor=actor, reason=reason)
    if done.ended:
        return Result("The claim is ended: the file failed.", requeue=(claim["id"],))
    if done.asked:
        return Result("Its processor has the row locked: the claim ends as soon as its node has killed it.")
    if done.kept:
        return Result(f"{readings.capital(done.kept[0]['reason'])}.", fine=False)
    return _moved_on(db, claim)


def _moved_on(db: Database, claim: Row) -> Result:
    (why,) = meanwhile.enders(db, [claim], [claim["claim"]]).values()
    return Result(f"Nothing was changed: {why}.", fine=False)
