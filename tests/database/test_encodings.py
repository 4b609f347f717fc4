"""Databases of every encoding: what they cannot hold costs nothing, and bytes that are no text are shown."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from opskit import doctor, migration, queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import claims
from opskit.settings import Settings
from tests.support import servers
from tests.support.tables import attempts, boot, claim, claimed, environ, fail, opskit, row, run

TEXT = "é→漢"
HELD = {
    "UTF8": "é→漢", "SQL_ASCII": "é→漢", "LATIN1": "é<U+2192><U+6F22>", "WIN1252": "é<U+2192><U+6F22>",
    "EUC_JP": "é→漢", "LATIN2": "é<U+2192><U+6F22>", "KOI8R": "<U+00E9><U+2192><U+6F22>", "EUC_KR": "<U+00E9>→漢",
    "EUC_TW": "<U+00E9><U+2192><U+6F22>",
}  # fmt: skip

Make = Callable[[str], Settings]


@pytest.fixture
def make(server: servers.Server, settings: Settings) -> Iterator[Make]:
    """Make a migrated database of an encoding."""
    made: list[str] = []

    def database(encoding: str) -> Settings:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(server.url, autocommit=True) as connection:
            text = "CREATE DATABASE {} TEMPLATE template0 LOCALE 'C' ENCODING {}"
            connection.execute(sql.SQL(text).format(sql.Identifier(name), sql.Literal(encoding)))
        made.append(server.url.rpartition("/")[0] + "/" + name)
        theirs = dataclasses.replace(settings, database_url=made[-1])
        with Database(theirs) as db:
            migration.migrate(db)
        return theirs

    yield database
    for url in made:
        server.drop_database(url)


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("encoding", HELD)
def test_an_error_that_the_encoding_cannot_hold_is_written_down_all_the_same(make: Make, encoding: str) -> None:
    with Database(make(encoding)) as db:
        id, token = claimed(db)

        answer = fail(db, id, token, error=f"it broke: {TEXT}")

        assert answer == "queued"
        assert attempts(db, id)[0]["reason"] == f"it broke: {HELD[encoding]}"
        assert row(db, id)["processing_errors"] == f"it broke: {HELD[encoding]}"
        assert doctor.examine(db) is not None


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("encoding", HELD)
def test_a_result_that_the_encoding_cannot_hold_completes_its_file(make: Make, encoding: str) -> None:
    with Database(make(encoding), pooled=False, node=True) as db:
        first, token = claimed(db)
        answer = claims.complete(db, id=first, token=token, result={"name": TEXT, "half": "\ud83d", "nul": "\0"})
        second, token = claimed(db, "node-b")
        node = boot(db, "node-c")
        held = queue.insert(db, [("/a", "a", 1)])
        taken = claim(db, node)
        following = claims.complete_and_claim(
            db, node, id=str(taken.row["id"] if taken.row else ""), done_token=taken.token, result={TEXT: TEXT},
            after="-infinity", token=claims.new_token(),
        )  # fmt: skip

        assert (answer, held, following) == ("done", 1, None)
        assert row(db, first)["processing_result"]["name"] == HELD[encoding]
        assert second


def test_enqueue_refuses_a_name_that_would_not_lead_back_to_its_file(make: Make, tmp_path: Path) -> None:
    (tmp_path / f"{TEXT}.csv").write_text("a,b\n1,2\n")
    theirs = make("LATIN1")
    with Database(theirs) as db:
        with pytest.raises(SettingError, match=r"é→漢\.csv' cannot be stored: the database's encoding is LATIN1"):
            queue.enqueue(db, [tmp_path])

        assert stats.distribution(db).empty

    done = opskit(theirs, "enqueue", str(tmp_path))
    assert done.returncode == 1
    assert "cannot be stored: the database's encoding is LATIN1" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_upload_s_name_that_the_encoding_cannot_hold_costs_nothing(make: Make, tmp_path: Path) -> None:
    with Database(make("LATIN1")) as db, open(__file__, "rb") as stream:
        (answer,) = queue.upload(db, [(f"{TEXT}.csv", stream)], limit_bytes=10**6)

        assert row(db, answer["id"])["original_filename"] == "é<U+2192><U+6F22>.csv"


@pytest.mark.slow
def test_bytes_that_are_no_text_are_shown_and_their_file_is_processed(make: Make, tmp_path: Path) -> None:
    theirs = make("SQL_ASCII")
    raw = bytes(tmp_path) + b"/caf\xe9.txt"
    with open(raw, "wb") as file:
        file.write(b"one\ntwo\n")
    with psycopg.connect(theirs.database_url or "", client_encoding="SQL_ASCII", autocommit=True) as connection:
        connection.execute('ALTER TABLE dev_uploaded_files ADD COLUMN "größe" text'.encode())
        query = b"INSERT INTO dev_uploaded_files (original_filename, storage_path) VALUES ('caf\xe9.txt', '%s')"
        connection.execute(query % raw)

    work = [sys.executable, "-m", "opskit.worker", "--drain"]
    done = subprocess.run(work, env=environ(theirs, NODE_ID="node-a"), capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    with Database(theirs) as db:
        (listed,) = stats.files(db).itertuples()
        assert (listed.original_filename, listed.processing_status) == ("caf�.txt", "completed")
        assert row(db, str(listed.id))["processing_result"]["lines"] == 2
        assert doctor.examine(db) is not None
    shown = opskit(theirs, "stats", "--json")
    assert shown.returncode == 0, shown.stderr


def test_a_text_id_that_is_no_utf_8_is_claimed_and_completed(make: Make) -> None:
    theirs = make("SQL_ASCII")
    with psycopg.connect(theirs.database_url or "", client_encoding="SQL_ASCII", autocommit=True) as connection:
        connection.execute("DROP TABLE dev_uploaded_files")
        connection.execute("CREATE TABLE dev_uploaded_files (id text PRIMARY KEY, original_filename text)")
    with Database(theirs) as db:
        migration.migrate(db)
        with db.connection() as connection:
            run(connection, "SET client_encoding = 'SQL_ASCII'")
            columns = b"id, original_filename, processing_status"
            connection.execute(b"INSERT INTO dev_uploaded_files (" + columns + b") VALUES ('\xe9', 'a', 'queued')")
    with Database(theirs, pooled=False, node=True) as db:
        node = boot(db)
        taken = claim(db, node)

        assert taken.row is not None
        assert claims.complete(db, id=taken.row["id"], token=taken.token) == "done"


def test_a_client_encoding_in_the_url_or_on_the_role_changes_no_text(make: Make) -> None:
    theirs = make("UTF8")
    url = f"{theirs.database_url}?client_encoding=LATIN1"
    with Database(dataclasses.replace(theirs, database_url=url)) as db:
        id, token = claimed(db)
        fail(db, id, token, error=TEXT)

        assert attempts(db, id)[0]["reason"] == TEXT
