"""The doctor: looks at one environment and says what is wrong, why it matters, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from opskit.database import Database


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        level: "error" when files are not processed or promises do not hold, else "warning".
        what: What was found.
        why: Why it matters.
        mend: The command that mends it.
    """

    level: str
    what: str
    why: str
    mend: str


def examine(db: Database, *, missing: Sequence[str], queues_new: bool = True) -> list[Finding]:
    """Examine one environment.

    Args:
        db: An open database.
        missing: What `schema.missing` answers.
        queues_new: What `schema.queues_new` answers.

    Returns:
        What was found, errors first; none when all is well.
    """
    if missing:
        return [
            Finding(
                "error",
                "; ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else ""),
                "without them the promises do not hold",
                "opskit migrate",
            )
        ]
    found = [*_queue(db, queues_new), *_claims(db), *_nodes(db)]
    return sorted(found, key=lambda finding: finding.level)


def _queue(db: Database, queues_new: bool) -> Iterator[Finding]:
    now = db.one("concurrency", stale_after_seconds=db.settings.stale_after_seconds)
    if now["waiting_files"] and not queues_new:
        yield Finding(
            "warning",
            f"{now['waiting_files']} rows wait without a status, and new rows join them",
            "no node claims them: the table is not cut over yet",
            "opskit migrate --queue-new; then opskit enqueue --existing --where '…' for those that are there",
        )
    elif now["waiting_files"]:
        yield Finding(
            "warning",
            f"{now['waiting_files']} rows from before have no status",
            "no node claims them",
            "opskit enqueue --existing --where '…'",
        )
    if now["queued"] and not now["active_servers"]:
        yield Finding(
            "error", f"{now['queued']} files are queued and no node is alive", "nobody processes them",
            "python -m opskit.worker",
        )  # fmt: skip
    for pause in db.run("pauses"):
        who = "everything" if pause["scope"] == "*" else pause["scope"]
        why = pause["reason"] or "no reason given"
        yield Finding(
            "warning",
            f"{who} is paused since {pause['at']:%Y-%m-%d %H:%M} by {pause['actor']}: {why}",
            "no file is claimed there",
            f"opskit resume {'--all' if pause['scope'] == '*' else pause['scope']}",
        )


def _claims(db: Database) -> Iterator[Finding]:
    claims = db.run("stale", stale_after_seconds=db.settings.stale_after_seconds, look_seconds=2, every=False)
    if claims:
        oldest = claims[0]
        server = oldest["processing_server_id"] or "an unnamed server"
        yield Finding(
            "error",
            f"{len(claims)} claims are stale or orphaned, the oldest {oldest['original_filename']!r} "
            f"on {server} for {oldest['minutes_processing']:.0f} minutes",
            "nobody works on these files",
            "opskit cleanup",
        )


def _nodes(db: Database) -> Iterator[Finding]:
    nodes = db.run("nodes")
    for node in nodes:
        if node["state"] == "dead":
            yield Finding(
                "warning",
                f"{node['server_id']} on {node['host']} has been silent for {node['seconds_since_heartbeat']:.0f} s",
                "it ended without saying good-bye",
                "start it again, or wait: its row goes after 7 days",
            )
        if node["state"] == "quarantined":
            yield Finding(
                "error",
                f"{node['server_id']} is in quarantine",
                "its last files all failed while others succeeded",
                f"opskit resume {node['server_id']}",
            )
    versions = sorted({str(node["version"]) for node in nodes if node["state"] not in ("stopped", "dead")})
    if len(versions) > 1:
        yield Finding(
            "warning",
            f"nodes of different versions are alive: {', '.join(versions)}",
            "finish the upgrade",
            "opskit stats nodes",
        )
