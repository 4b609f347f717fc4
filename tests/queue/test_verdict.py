"""What a claim is judged to be stands in two statements that psql runs by itself: their texts are one."""

from __future__ import annotations

import re

from opskit.database import queries


def pieces(name: str) -> tuple[str, str]:
    """How a file's SQL tells when a claim last moved, and its verdict."""
    text = " ".join(queries.text(name).split())
    moved = re.search(r"greatest\(f\.processing_started_at, .*? END\) AS moved_at", text)
    verdict = re.search(r"CASE WHEN n\.server_id IS NULL THEN .*? ELSE 'alive' END AS verdict", text)
    assert moved is not None
    assert verdict is not None
    return moved[0], verdict[0]


def test_cleanup_and_stale_judge_a_claim_by_one_text() -> None:
    # psql includes no part of a statement (\ir ends it), and a view would be a change of the schema.
    assert pieces("cleanup") == pieces("stale")


def test_a_verdict_is_given_nowhere_else() -> None:
    giving = {path.stem for path in queries.FOLDER.rglob("*.sql") if "'rebooted'" in path.read_text(encoding="utf-8")}
    assert giving == {"cleanup", "stale"}
