"""What others have done while a dialog was open: who was first, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from opskit.database import Database
from opskit.database.session import Row
from opskit.web.dashboard import times

MOST_TOLD = 50
"""Of so many claims it is told who has ended them; each costs a look at its file's history."""
MOST_LATER = 20
"""So many attempts of a file are looked at; it may have been claimed and ended again since."""


def enders(db: Database, claims: Sequence[Row], skipped: Sequence[str]) -> dict[str, str]:
    """Why a cleanup has skipped claims: who has ended each, or that it has moved on.

    Args:
        db: An open database.
        claims: The claims, as `reaper.preview` returned them.
        skipped: The names of those that were skipped.

    Returns:
        A sentence for each of the skipped ones, by the claim's name.
    """
    told = dict.fromkeys(skipped, "it has moved on by itself")
    for claim in [one for one in claims if one["claim"] in told][:MOST_TOLD]:
        token = claim["claim"].removeprefix(f"{claim['id']}/")
        for end in db.run("events", file_id=claim["id"], kind="attempt", row_limit=MOST_LATER):
            same = end["token"] == token if token else end["started_at"] == claim["processing_started_at"]
            if same:
                told[claim["claim"]] = f"{end['actor']} has ended it, at {_clock(end['at'])}"
                break
    return told


def last_requeue(db: Database) -> str:
    """Why no failed file of a group is left to requeue: who requeued last."""
    last = db.run("events", file_id="", kind="requeue", row_limit=1)
    if not last:
        return "no file has failed with this error any more"
    return f"no file has failed with this error any more; {last[0]['actor']} requeued last, at {_clock(last[0]['at'])}"


def _clock(moment: datetime) -> str:
    return f"{times.local(moment):%H:%M:%S} {times.zone()}"
