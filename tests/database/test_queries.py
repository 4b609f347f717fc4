"""The SQL files: the loader reads them as psql does, their headers tell the truth, and psql runs them."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from opskit import migration
from opskit.database import Database, queries
from opskit.database.names import names
from opskit.errors import QueryError
from opskit.queue import claims
from opskit.settings import Settings
from tests.support.tables import (
    ROOT,
    Shape,
    application,
    ask_psql,
    attempts,
    boot,
    catalog,
    change,
    claimed,
    environ,
    fail,
    files,
    insert,
    psql,
    psql_program,
    put,
    row,
    rows,
    run,
    tables_of,
)

FILES = sorted(path.stem for path in queries.FOLDER.glob("[!_]*.sql"))
PARTS = sorted(f"migrate/{path.stem}" for path in queries.FOLDER.glob("migrate/[!_]*.sql"))
# The names of tables and what hangs on them: sql/_names.sql gives them to psql, Database.names to Python.
GIVEN = {*names(Settings.load({})), "env"}  # every file gets its environment


def put_query(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """A query file of the test's own; its name."""
    name = f"probe_{uuid.uuid4().hex}"
    (folder / f"{name}.sql").write_text(text, encoding="utf-8")
    monkeypatch.setattr(queries, "FOLDER", folder)
    return name


# -- the loader ------------------------------------------------------------------------------

# SQL, its identifiers, its values.
TEXTS = {
    "none": ("SELECT 1 AS a", set(), set()),
    "both": ("""SELECT :'x' AS a, :"files" FROM (SELECT 1 AS :"files") AS f""", {"files"}, {"x"}),
    "cast": ("SELECT '1'::int AS a, :'x'::text AS b, 2::text AS c", set(), {"x"}),
    "cast of a cast": ("SELECT :'x'::text::varchar(3) AS a", set(), {"x"}),
    "comment": ("SELECT 1 AS a -- it's :'no' and :\"no\"; :bare\n, :'x' AS b", set(), {"x"}),
    "block comment": ("SELECT /* it's :'no' ; :bare \n :\"no\" */ :'x' AS a", set(), {"x"}),
    "literal": ("SELECT ':\"no\" ; it''s :bare' AS a, :'x' AS b", set(), {"x"}),
    "literal at an end": ("SELECT 'a:'||:'x'||':b' AS a", set(), {"x"}),
    "empty literal": ("SELECT '' AS a, :'x' AS b, '' AS c", set(), {"x"}),
    "quoted name": ("""SELECT 1 AS ":'no' "" ; it's :bare", :'x' AS b""", set(), {"x"}),
    "dollars": ("SELECT $$ it's :'no' ; :bare $$ AS a, :'x' AS b", set(), {"x"}),
    "named dollars": ("SELECT $body$ $$ :'no' $$ ; $body$ AS a, :'x' AS b", set(), {"x"}),
    "percent": ("SELECT 10 % 3 AS a, '%s %(id)s 5%' AS b, :'x' AS c", set(), {"x"}),
    "percent alone": ("SELECT 10 % 3 AS a, '%s %(id)s 5%' AS b", set(), set()),
    "percent in a name": ("SELECT 1 AS \"50%\", :'x' AS b", set(), {"x"}),
    "slice": ("SELECT (ARRAY[1, 2, 3])[1:2] AS a, :'x' AS b", set(), {"x"}),
    "braces": ("SELECT '{}'::text[] AS a, :'x' AS b", set(), {"x"}),
    "twice": ("SELECT :'x' AS a, :'x' AS b", set(), {"x"}),
    "semicolon": ("SELECT :'x' AS a;\n-- the end;\n", set(), {"x"}),
    "psql's own lines": ("\\set y :'x'\nSELECT :'x' AS a\n  \\set z ':no'\n", set(), {"x"}),
}
VALUES = ["plain", "it's", "50% %s", ':"files"', "a\\b", ""]


@pytest.mark.parametrize(("text", "identifiers", "values"), TEXTS.values(), ids=TEXTS)
def test_only_variables_are_taken_for_variables(
    text: str, identifiers: set[str], values: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = queries.statement(put_query(tmp_path, monkeypatch, text))

    assert (statement.names, statement.values) == (identifiers, values)


@pytest.mark.parametrize(("text", "identifiers", "values"), TEXTS.values(), ids=TEXTS)
def test_python_and_psql_get_the_same_rows_from_the_same_text(
    text: str,
    identifiers: set[str],
    values: set[str],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = put_query(tmp_path, monkeypatch, text)
    value = VALUES[len(text) % len(VALUES)] or "not nothing, which CSV shows as no row"

    with Database(settings, pooled=False) as db:
        ours = db.run(name, **dict.fromkeys(values, value))
    done = psql(
        settings, "-v", f"x={value}", "-v", f"files={names(settings)['files']}", "-f", str(tmp_path / f"{name}.sql")
    )

    assert done.returncode == 0, done.stderr
    (shown,) = csv.reader(io.StringIO(done.stdout.split("\n", 1)[1]))
    assert list(ours[0]) == next(csv.reader(io.StringIO(done.stdout)))
    for mine, theirs in zip(ours[0].values(), shown, strict=True):
        assert theirs == ("{" + ",".join(map(str, mine)) + "}" if isinstance(mine, list) else str(mine))


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_bound_and_an_identifier_quoted(
    value: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = put_query(tmp_path, monkeypatch, """SELECT :'x'::text AS a, 1 AS :"files" """)
    odd = value or "x"
    monkeypatch.setattr("opskit.database.database.names", lambda _: {"files": odd})

    with Database(settings, pooled=False) as db:
        (found,) = db.run(name, x=value)

    assert found == {"a": value, odd: 1}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, r"sql/probe_\w+\.sql is not given 'x'"),
        ({"x": 1, "y": 2}, r"sql/probe_\w+\.sql does not know 'y'"),
        ({"y": 2}, "is not given 'x'"),
    ],
)
def test_a_variable_that_is_unset_or_unknown_is_loud(
    given: dict[str, Any], complaint: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = put_query(tmp_path, monkeypatch, "SELECT :'x' AS a")

    with Database(settings, pooled=False) as db, pytest.raises(QueryError, match=complaint):
        db.run(name, **given)


def test_an_identifier_that_is_missing_is_loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = queries.statement(put_query(tmp_path, monkeypatch, """SELECT 1 FROM :"filse" """))

    with pytest.raises(QueryError, match="needs the name 'filse'"):
        statement.compose({"files": "x"})


@pytest.mark.parametrize("text", ["SELECT :x", "SELECT 1 FROM :files", "SELECT x[1:n]", "SELECT 1 :limit::int"])
def test_raw_interpolation_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = put_query(tmp_path, monkeypatch, text)

    with pytest.raises(QueryError, match=r"has :\w+; write"):
        queries.statement(name)


def test_several_statements_are_split_and_cannot_be_run_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = put_query(tmp_path, monkeypatch, "SELECT ';'; -- ;\n;;\n/* ; */ SELECT $$;$$ AS \"a;b\" ;\n\\echo ;\n")

    found = [statement.compose({}).as_string().split("SELECT ")[-1].strip() for statement in queries.statements(name)]

    assert found == ["';'", '$$;$$ AS "a;b"']
    with pytest.raises(QueryError, match="holds 2 statements where one is expected"):
        queries.statement(name)


def test_a_query_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(QueryError, match=r"there is no query 'distrbution'; there are: .*distribution") as refused:
        queries.text("distrbution")

    assert "_session" not in str(refused.value)


# -- the files -------------------------------------------------------------------------------


def header(name: str) -> list[list[str]]:
    """A file's header comment, as paragraphs of lines."""
    lines = []
    for line in queries.text(name).splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].removeprefix(" "))
    return [paragraph.splitlines() for paragraph in "\n".join(lines).split("\n\n")]


def documented(name: str) -> set[str]:
    """The variables that a header documents: in the paragraph after the one on psql."""
    paragraphs = header(name)
    at = next((n for n, lines in enumerate(paragraphs) if lines[0].startswith("psql")), len(paragraphs))
    found: set[str] = set()
    for line in paragraphs[at + 1] if at + 1 < len(paragraphs) else []:
        if match := re.match(r"([a-z_]+(?:, [a-z_]+)*)  +\S", line):
            listed = set(match[1].split(", "))
            if "others" in listed:
                source = re.search(r"as in (\w+)\.sql", line)
                assert source is not None
                listed = listed - {"others"} | documented(source[1]) & used(name)
            found |= listed
    return found


def used(name: str) -> set[str]:
    """The variables that psql must be given for a file and for what it includes."""
    found = {value for statement in queries.statements(name) for value in statement.values}
    for included in re.findall(r"^\\ir (\w+)\.sql", queries.text(name), re.MULTILINE):
        if not included.startswith("_"):
            found |= used(included)
    return found - GIVEN


def psql_line(name: str) -> str | None:
    """The command that a header shows, on one line."""
    lines = [line for paragraph in header(name) for line in paragraph]
    at = next((n for n, line in enumerate(lines) if line.startswith('psql "$DATABASE_URL"')), None)
    if at is None:
        return None
    command = lines[at]
    while command.endswith("\\"):
        at += 1
        command = command[:-1] + lines[at].strip()
    return command


def body(name: str) -> str:
    """What a file does, without comments."""
    return re.sub(r"--[^\n]*", "", queries.text(name))


READ_ONLY = [
    name for name in FILES
    if psql_line(name)
    and r"\ir _lane.sql" not in queries.text(name)  # where there are lanes: tests/queue/test_lanes.py
    and not re.search(r"\b(INSERT INTO|UPDATE :|DELETE FROM|ALTER TABLE|GRANT |migrate/)", body(name))
]  # fmt: skip


def test_there_are_queries_to_be_looked_at() -> None:
    assert len(FILES) > 35
    assert len(PARTS) > 10
    assert len(READ_ONLY) > 15
    assert {"distribution", "concurrency", "longest_running", "stale"} <= set(READ_ONLY)


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_what_it_does_how_psql_runs_it_and_what_its_variables_are(name: str) -> None:
    paragraphs = header(name)

    assert re.match(r"[A-Z].*[.:]", paragraphs[0][0]), "no first sentence"
    assert any(lines[0].startswith("psql") for lines in paragraphs), "no psql line"
    expected = {"table"} if name == "migrate" else used(name)
    assert documented(name) == expected


@pytest.mark.parametrize("name", FILES)
def test_a_variable_is_either_in_the_psql_line_or_has_a_default(name: str) -> None:
    command = psql_line(name)
    if command is None:
        assert header(name)[1][0].startswith("psql:"), "a file without a psql line says why"
        return
    defaults = set(re.findall(r"^\\if :\{\?(\w+)\} \\else \\set \1 ", queries.text(name), re.MULTILINE))
    shown = set(re.findall(r"-v (\w+)=", command)) - {"env"}

    assert shown <= used(name)
    assert used(name) - defaults <= shown
    assert f"-f sql/{name}.sql" in command


@pytest.mark.parametrize("name", [*FILES, "migrate/_one"])
def test_every_file_opens_its_session_in_utc(name: str) -> None:
    lines = [line for line in queries.text(name).splitlines() if not line.startswith("--")]

    if name == "migrate":
        # It opens one session for each environment, in its part.
        assert all(line.startswith("\\set") or line == r"\ir migrate/_one.sql" for line in lines)
    else:
        assert lines[0] == (r"\ir ../_session.sql" if "/" in name else r"\ir _session.sql")
    assert r"\ir _settings.sql" in queries.text("_session").splitlines()
    assert "('timezone', 'UTC')" in queries.text("_settings")


@pytest.mark.parametrize("path", sorted(queries.FOLDER.rglob("*.sql")), ids=lambda path: path.stem)
def test_every_file_is_ascii_for_a_comment_is_converted_to_the_database_s_encoding_too(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.stem in ("failures", "failed_files", "requeue"):
        text = text.replace("'…'", "''")  # the sign for what differs in a group's name, as Python writes it
    assert text.isascii()


def test_psql_and_python_give_the_same_names(settings: Settings) -> None:
    for env, table in (
        ("production", "uploaded_files"),
        ("development", "uploaded_files"),
        ("development", 'it\'s "x" %'),
    ):
        ours = names(Settings.load({}, env=env, table=table))
        script = "".join(f"\\echo :{key}\n" for key in ours)
        command = ["-v", f"env={env}", "-v", f"table={table}", "-f", "sql/_session.sql"]

        done = subprocess.run(
            [psql_program(), settings.database_url or "", *command, "-f", "-"],
            input=script, env=environ(settings), cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip

        assert done.stdout.splitlines() == list(ours.values())


# -- psql ------------------------------------------------------------------------------------


@pytest.fixture
def busy(db: Database) -> Database:
    """A database with a bit of everything."""
    done, failed, stale, _ = files(db, "invoice done", "invoice failed", "stale", "queued")
    node = boot(db, "node-a", lease_seconds=600.0)
    claims.complete(db, id=done, token=claims.claim_one(db, node, done).token, result={"rows": 1})
    fail(db, failed, claims.claim_one(db, node, failed).token, outcome="rejected", error='bad, "really" bad\nline 2')
    claims.claim_one(db, node, stale)
    put(db, stale, "processing_started_at = now() - interval '2 hours'")
    claimed(db, "node-b")
    with db.connection() as connection:
        run(
            connection, f"INSERT INTO {db.settings.files} (original_filename, processing_status) VALUES ('waits', NULL)"
        )
    return db


@pytest.mark.parametrize("name", READ_ONLY)
def test_the_psql_line_of_a_header_runs(busy: Database, name: str) -> None:
    command = psql_line(name)
    assert command is not None
    folder = Path(psql_program()).parent
    before = {table: _rows(busy, table) for table in tables_of(busy.settings)}

    done = subprocess.run(
        ["bash", "-c", command.replace("psql ", "psql --csv ", 1)],
        env=environ(busy.settings, PATH=f"{folder}:{os.environ['PATH']}"),
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    # The header row and nothing before it: the session's settings are made without a word.
    (statement,) = queries.statements(name)
    with busy.connection() as connection:
        text = statement.compose(busy.names)
        columns = connection.execute(text, dict.fromkeys(statement.values, None) or None).description or []
    assert done.stdout.splitlines()[0].split(",") == [column.name for column in columns]
    assert {table: _rows(busy, table) for table in tables_of(busy.settings)} == before


def _rows(db: Database, table: str) -> list[dict[str, Any]]:
    with db.connection() as connection:
        return rows(connection, table, "*, xmin::text", "ctid")


DEFAULTS: dict[str, dict[str, Any]] = {
    "distribution": {},
    "concurrency": {"stale_after_seconds": 3600},
    "longest_running": {"row_limit": 10},
    "stale": {"stale_after_seconds": 3600, "look_seconds": 2, "every": False},
    "failures": {"row_limit": 100},
    "nodes": {},
    "forecast": {},
    "node_work": {"since_seconds": 3600},
    "pauses": {},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_psql_answers_what_python_answers(busy: Database, name: str) -> None:
    theirs = ask_psql(busy.settings, name)
    ours = busy.run(name, **DEFAULTS[name])

    assert len(theirs) == len(ours)
    for shown, found in zip(theirs, ours, strict=True):
        assert list(shown) == list(found)
        for key, value in found.items():
            if isinstance(value, float):
                assert float(shown[key]) == pytest.approx(value, abs=10)
            elif isinstance(value, datetime):
                assert datetime.fromisoformat(shown[key]).timestamp() == pytest.approx(value.timestamp(), abs=10)
            elif isinstance(value, bool):
                assert shown[key] == ("t" if value else "f"), key
            else:
                assert shown[key] == ("" if value is None else str(value)), key


@pytest.mark.parametrize("how", ["-v", "OPSKIT_ENV"])
@pytest.mark.parametrize("name", ["distribution", "cleanup", "claim", "queue_new"])
def test_psql_refuses_an_unknown_environment(busy: Database, how: str, name: str) -> None:
    id = claimed(busy, "node-c")[0]
    put(busy, id, "processing_started_at = now() - interval '9 hours', processing_server_id = 'unknown'")
    flags = ["-v", "env=staging"] if how == "-v" else []
    more = {} if how == "-v" else {"OPSKIT_ENV": "staging"}

    done = psql(busy.settings, *flags, "-f", f"sql/{name}.sql", **more)

    assert done.returncode == 3
    assert "unknown environment; say -v env=production or -v env=development" in done.stderr
    assert done.stdout == ""
    assert row(busy, id)["processing_status"] == "processing"


@pytest.mark.parametrize("flags", [["-v", "env=production"], []])
def test_the_flag_goes_before_the_variable_and_that_before_the_default(busy: Database, flags: list[str]) -> None:
    done = psql(busy.settings, *flags, "-f", "sql/pending.sql", OPSKIT_ENV="development")

    # Production's table is not migrated.
    assert (done.returncode == 0) == (not flags)
    assert ('"uploaded_files" does not exist' in done.stderr) == bool(flags)


def test_psql_is_loud_about_a_variable_that_is_not_given(busy: Database) -> None:
    done = psql(busy.settings, "-f", "sql/file.sql")

    assert done.returncode == 3
    assert "syntax error" in done.stderr


@pytest.mark.parametrize("where", ["PGTZ", "PGOPTIONS", "database"])
def test_the_zone_of_an_operator_changes_no_age(settings: Settings, where: str) -> None:
    with Database(settings, pooled=False) as db, application(settings) as connection:
        Shape("identity", "plain").create(connection, settings.files)
        migration.migrate(db)
        ten = insert(connection, settings.files, original_filename="ten minutes")
        old = insert(connection, settings.files, original_filename="two hours")
        for id, age in ((ten, "10 minutes"), (old, "2 hours")):
            change(connection, settings.files, id, f"processing_status = 'processing', processing_server_id = 'old', "
                   f"processing_started_at = now() AT TIME ZONE 'UTC' - interval '{age}'")  # fmt: skip
        more = {"PGTZ": "Asia/Kolkata"} if where == "PGTZ" else {}
        if where == "PGOPTIONS":
            more = {"PGOPTIONS": "-c timezone=Asia/Kolkata"}
        if where == "database":
            run(connection, "ALTER DATABASE {} SET timezone = 'Asia/Kolkata'", sql.Identifier(connection.info.dbname))
        flags = ["-v", "env=development", "-v", "every=true"]

        shown = psql(settings, *flags, "-f", "sql/stale.sql", **more)
        longest = psql(settings, *flags, "-f", "sql/longest_running.sql", **more)
        cleaned = psql(settings, *flags, "-f", "sql/cleanup.sql", **more)

        ages = [each["minutes_processing"] for each in csv.DictReader(io.StringIO(shown.stdout))]
        again = [each["minutes_processing"] for each in csv.DictReader(io.StringIO(longest.stdout))]
        assert [round(float(age)) for age in ages] == [round(float(age)) for age in again] == [120, 10]
        assert cleaned.returncode == 0
        assert (row(db, ten)["processing_status"], row(db, old)["processing_status"]) == ("processing", "failed")
        assert "for 120 minutes on old" in attempts(db, old)[0]["reason"]


# -- psql migrates ---------------------------------------------------------------------------


def migrate_by_hand(settings: Settings) -> subprocess.CompletedProcess[str]:
    return psql(settings, "-f", "sql/migrate.sql")


@pytest.mark.parametrize("shape", [None, Shape("identity", "plain"), Shape("text", "zoned"), Shape("uuid", "none")])
def test_psql_alone_migrates_both_environments_and_may_do_it_twice(settings: Settings, shape: Shape | None) -> None:
    tables = ("uploaded_files", "dev_uploaded_files")
    with application(settings) as connection:
        if shape is not None:
            for table in tables:
                shape.create(connection, table, rows=2)
        before = catalog(connection)

        first = migrate_by_hand(settings)
        after = catalog(connection)
        second = migrate_by_hand(settings)

        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert "ERROR" not in first.stderr + second.stderr
        assert [column for column in after["columns"] if column in before["columns"]] == before["columns"]
        assert catalog(connection) == after
    with Database(settings, pooled=False) as db:
        for one in migration.both(db):
            assert migration.missing(one) == []
            assert migration.migrate(one) == []
            assert migration.queues_new(one) == (shape is None)
            assert one.run("distribution") == []


def test_psql_and_python_make_the_same_schema(server: Any, settings: Settings) -> None:
    other = server.create_database()
    with Database(settings, pooled=False) as db:
        for one in migration.both(db):
            migration.migrate(one)
    by_python = Settings.load({}, database_url=other)

    done = migrate_by_hand(by_python)

    with application(settings) as ours, application(by_python) as theirs:
        mine, hers = catalog(ours), catalog(theirs)
    server.drop_database(other)
    assert done.returncode == 0, done.stderr
    for what in ("columns", "indexes", "constraints", "triggers", "functions"):
        assert hers[what] == mine[what], what


def test_psql_stops_at_a_lock_with_a_sentence_and_goes_on_when_it_is_run_again(settings: Settings) -> None:
    with application(settings) as connection:
        Shape("identity", "plain").create(connection, "uploaded_files", rows=2)
        with connection.transaction():
            rows(connection, "uploaded_files")

            stopped = migrate_by_hand(settings)

        again = migrate_by_hand(settings)

    assert stopped.returncode == 3
    assert "canceling statement due to lock timeout" in stopped.stderr
    assert again.returncode == 0, again.stderr
    with Database(settings, pooled=False) as db:
        assert all(migration.missing(one) == [] for one in migration.both(db))


def test_the_last_step_of_the_psql_migration_cleans_stale_locks(settings: Settings) -> None:
    with application(settings) as connection:
        run(
            connection,
            """CREATE TABLE uploaded_files (id serial PRIMARY KEY, processing_status text,
                                                        processing_started_at timestamp)""",
        )
        for age in ("2 hours", "10 minutes"):
            run(
                connection,
                f"""INSERT INTO uploaded_files (processing_status, processing_started_at)
                                VALUES ('processing', now() AT TIME ZONE 'UTC' - interval '{age}')""",
            )

        done = migrate_by_hand(settings)

        states = [each["processing_status"] for each in rows(connection, "uploaded_files")]
    assert done.returncode == 0, done.stderr
    assert states == ["failed", "processing"]
