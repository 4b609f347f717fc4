"""A node that is told what cannot be is refused with one sentence, and takes no file."""

from __future__ import annotations

import pytest

from opskit.database import Database
from tests.support.nodes import ask, counts
from tests.support.tables import files, opskit


@pytest.mark.parametrize(
    ("flags", "code", "sentence"),
    [
        (("--exec", ""), 1, "opskit: --exec is ''; say what processes the files, or leave it out"),
        (("--exec", "  "), 1, "opskit: --exec is '  '; say what processes the files, or leave it out"),
        (("--post", ""), 1, "opskit: --post is ''; say what processes the files, or leave it out"),
        (("--processor", ""), 1, "opskit: --processor is ''; say what processes the files, or leave it out"),
        (("--nodes", "x"), 2, "argument --nodes: 'x' is no number between 1 and 1000"),
        (("--nodes", "0"), 2, "argument --nodes: '0' is no number between 1 and 1000"),
        (("--nodes", "1.5"), 2, "argument --nodes: '1.5' is no number between 1 and 1000"),
        (("--lanes", "a"), 1, "has no lanes; run: opskit migrate --lane-column COLUMN"),
        (("--except-lanes", "a"), 1, "has no lanes; run: opskit migrate --lane-column COLUMN"),
    ],
)
def test_a_node_that_is_told_what_cannot_be_is_refused_with_one_sentence(
    db: Database, flags: tuple[str, ...], code: int, sentence: str
) -> None:
    files(db, "a")

    refused = opskit(db.settings, "worker", "--drain", *flags)

    assert (refused.returncode, sentence in refused.stderr) == (code, True), refused.stderr
    assert "Traceback" not in refused.stderr
    assert counts(db) == {"queued": 1}
    assert ask(db, f"SELECT server_id FROM {db.names['nodes']} WHERE stopped_at IS NULL AND %s", True) == []
