"""What psql's own lines in the SQL files do."""

from __future__ import annotations

import re

from opskit import migration
from opskit.database import Database, queries
from tests.support.tables import psql


def test_no_statement_stands_on_a_line_of_psqls_own() -> None:
    # psql takes what follows \else as its arguments, and leaves it out with a warning.
    for path in sorted(queries.FOLDER.rglob("*.sql")):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not re.search(r"\\(else|endif|if :\{\?\w+\}|if :\w+)[ \t]+[^\\\s]", line), (path.name, line)


def test_psql_says_that_a_table_has_no_lanes(db: Database) -> None:
    done = psql(db.settings, "-f", "sql/lanes.sql")

    assert done.returncode == 3
    assert "there are no lanes; run: opskit migrate --lane-column COLUMN" in done.stderr

    migration.set_lanes(db, "original_filename", actor="test")

    assert psql(db.settings, "-f", "sql/lanes.sql").returncode == 0
