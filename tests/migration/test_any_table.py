"""Any table of an application is migrated and works, or is refused before anything is changed, in one sentence."""

# ruff: noqa: E501 - each table is a line of SQL

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opskit import migration, queue, stats
from opskit.database import Database
from opskit.database.session import Connection
from opskit.errors import MigrationRefusedError, NotMigratedError
from opskit.migration.steps import steps
from opskit.queue import claims
from opskit.settings import Settings
from tests.migration.test_migration import dump
from tests.support.nodes import ask
from tests.support.tables import application, boot, claim, fail, opskit, psql, row

TABLE = "dev_uploaded_files"
PLAIN = f"CREATE TABLE {TABLE} (id bigserial PRIMARY KEY, name text); INSERT INTO {TABLE} (name) VALUES ('a'), ('b')"
RAISES = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not by you'; END $$"
SWALLOWS = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"


@pytest.fixture
def bare(settings: Settings) -> Iterator[Database]:
    with Database(settings, pooled=False) as db:
        yield db


@pytest.fixture
def own(bare: Database) -> Iterator[Connection]:
    """The application's connection."""
    with application(bare.settings) as connection:
        yield connection


def column(definition: str) -> str:
    return f"CREATE TABLE {TABLE} (id bigserial PRIMARY KEY, name text, {definition})"


REFUSED = {
    # name: the application's statements, what the sentence says of it, what it says to do
    "partitioned by range": (
        f"CREATE TABLE {TABLE} (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        f"{TABLE} is a partitioned table", "OPSKIT_TABLE"),
    "partitioned by list": (
        f"CREATE TABLE {TABLE} (id bigint, kind text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);"
        f"CREATE TABLE a PARTITION OF {TABLE} FOR VALUES IN ('a') PARTITION BY HASH (id);"
        "CREATE TABLE a0 PARTITION OF a FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        f"{TABLE} is a partitioned table", "OPSKIT_TABLE"),
    "partitioned by hash of the id": (
        f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY) PARTITION BY HASH (id);"
        f"CREATE TABLE a PARTITION OF {TABLE} FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        f"{TABLE} is a partitioned table", "OPSKIT_TABLE"),
    "partition": (
        "CREATE TABLE whole (id bigint PRIMARY KEY) PARTITION BY HASH (id);"
        f"CREATE TABLE {TABLE} PARTITION OF whole FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        f"{TABLE} is a partition of whole", "DETACH PARTITION"),
    "partition attached later": (
        f"CREATE TABLE whole (id bigint PRIMARY KEY) PARTITION BY HASH (id); CREATE TABLE {TABLE} (id bigint PRIMARY KEY);"
        f"ALTER TABLE whole ATTACH PARTITION {TABLE} FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        f"{TABLE} is a partition of whole", "DETACH PARTITION"),
    "view": (f"CREATE TABLE t (id bigint PRIMARY KEY); CREATE VIEW {TABLE} AS SELECT * FROM t", f"{TABLE} is a view", "OPSKIT_TABLE"),
    "materialized view": (
        f"CREATE TABLE t (id bigint); CREATE MATERIALIZED VIEW {TABLE} AS SELECT * FROM t; CREATE UNIQUE INDEX ON {TABLE} (id)",
        f"{TABLE} is a materialized view", "OPSKIT_TABLE"),
    "foreign table": (
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        f"CREATE FOREIGN TABLE {TABLE} (id bigint) SERVER s",
        f"{TABLE} is a foreign table", "run opskit on the database"),
    "sequence": (f"CREATE SEQUENCE {TABLE}", f"{TABLE} is no table", "rename"),
    "composite type": (f"CREATE TYPE {TABLE} AS (id bigint)", f"{TABLE} is no table", "rename"),
    "parent of another": (
        f"{PLAIN}; CREATE TABLE child () INHERITS ({TABLE})", f"{TABLE} has the child table child", "NO INHERIT"),
    "child of another": (
        f"CREATE TABLE base (name text); CREATE TABLE {TABLE} (id bigserial PRIMARY KEY) INHERITS (base)",
        f"{TABLE} inherits from base", "NO INHERIT"),
    "table of a type": (
        f"CREATE TYPE t AS (id bigint); CREATE TABLE {TABLE} OF t (PRIMARY KEY (id))", f"{TABLE} is a table of the type t", "NOT OF"),
    "id that is unique in the end": (
        f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY DEFERRABLE)", "unique only at the end", "CREATE UNIQUE INDEX"),
    "ids unique by half": (
        f"CREATE TABLE {TABLE} (id bigint NOT NULL, gone bool); CREATE UNIQUE INDEX ON {TABLE} (id) WHERE NOT gone",
        "is not unique", "CREATE UNIQUE INDEX"),
    # rules and triggers
    "rule that does nothing": (
        f"{PLAIN}; CREATE RULE quiet AS ON UPDATE TO {TABLE} DO INSTEAD NOTHING", "the rule quiet", "DROP RULE quiet"),
    "rule instead of an insert": (
        f"{PLAIN}; CREATE RULE quiet AS ON INSERT TO {TABLE} DO INSTEAD NOTHING", "the rule quiet", "DROP RULE quiet"),
    "rule beside an update": (
        f"{PLAIN}; CREATE TABLE log (id bigint); CREATE RULE noted AS ON UPDATE TO {TABLE} DO ALSO INSERT INTO log VALUES (NEW.id)",
        "the rule noted", "DROP RULE noted"),
    "trigger that refuses updates": (
        f"{PLAIN}; {RAISES}; CREATE TRIGGER t BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION no()",
        "not by you", "function no()"),
    "trigger that refuses an update of no row": (
        f"{PLAIN}; {RAISES}; CREATE TRIGGER t BEFORE UPDATE ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION no()",
        "not by you", "function no()"),
    "trigger that refuses inserts": (
        f"{PLAIN}; {RAISES}; CREATE TRIGGER t BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION no()",
        "an insert by opskit enqueue would fail: not by you", "function no()"),
    "trigger of an empty table that refuses inserts": (
        f"{column('x int')}; {RAISES}; CREATE TRIGGER t AFTER INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION no()",
        "an insert by opskit enqueue would fail: not by you", "function no()"),
    "deferred trigger that refuses": (
        f"{PLAIN}; {RAISES}; CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON {TABLE} DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION no()",
        "not by you", "function no()"),
    "trigger that swallows": (
        f"{PLAIN}; {SWALLOWS}; CREATE TRIGGER t BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION no()",
        "a claim would have no effect", "trigger t"),
    "trigger that changes the state": (
        f"{column('processing_status text')}; INSERT INTO {TABLE} (name) VALUES ('a');"
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.processing_status := OLD.processing_status; RETURN NEW; END $$;"
        f"CREATE TRIGGER keeps BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION keep()",
        "or another one", "trigger keeps"),
    "trigger that knows no way back": (
        f"{column('processing_status text')}; INSERT INTO {TABLE} (name) VALUES ('a');"
        "CREATE FUNCTION onward() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.processing_status = 'completed' "
        "AND NEW.processing_status = 'queued' THEN RAISE 'never again'; END IF; RETURN NEW; END $$;"
        f"CREATE TRIGGER t BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION onward()",
        "to queue a file again would fail: never again", "function onward()"),
    # constraints
    "check of other states": (
        column("processing_status text CHECK (processing_status IN ('queued', 'done'))"),
        "a claim would fail", "dev_uploaded_files_processing_status_check"),
    "check of other states, not valid": (
        f"{PLAIN}; ALTER TABLE {TABLE} ADD COLUMN processing_status text, "
        "ADD CONSTRAINT states CHECK (processing_status IN ('new', 'done')) NOT VALID",
        "would fail", "change the constraint states"),
    "check of two columns": (
        column("processing_status text, processing_server_id text, CHECK (processing_server_id IS NOT NULL OR processing_status IS NULL)"),
        "would fail", "change the constraint"),
    "server that has to be there": (
        column("processing_server_id text NOT NULL DEFAULT 'x'"), "the release of a claim would fail", "DROP NOT NULL"),
    "errors that have to be there": (column("processing_errors text NOT NULL DEFAULT ''"), "a completion would fail", "DROP NOT NULL"),
    "one file of a server, ever": (
        f"{PLAIN}; ALTER TABLE {TABLE} ADD COLUMN processing_server_id text UNIQUE", "would fail", "processing_server_id_key"),
    "exclusion of a server": (
        f"{PLAIN}; ALTER TABLE {TABLE} ADD COLUMN processing_server_id text, "
        "ADD CONSTRAINT alone EXCLUDE USING btree (processing_server_id WITH =)",
        "would fail", "change the constraint alone"),
    "servers of another table": (
        f"CREATE TABLE servers (name text PRIMARY KEY); {column('processing_server_id text CONSTRAINT known REFERENCES servers')}",
        "the foreign key known", "DROP CONSTRAINT known"),
    "servers of another table, looked up later": (
        "CREATE TABLE servers (name text PRIMARY KEY); "
        + column("processing_server_id text CONSTRAINT known REFERENCES servers DEFERRABLE INITIALLY DEFERRED"),
        "the foreign key known", "DROP CONSTRAINT known"),
    "states of another table": (
        "CREATE TABLE states (name text PRIMARY KEY); INSERT INTO states VALUES ('queued'), ('completed');"
        + column("processing_status text CONSTRAINT known REFERENCES states"),
        "lacks processing, failed", "insert these states"),
    # types and columns
    "enum": (
        f"CREATE TYPE st AS ENUM ('new', 'done'); {column('processing_status st')}", "public.st (enum)", "change its type"),
    "enum of the same states": (
        "CREATE TYPE st AS ENUM ('queued', 'processing', 'completed', 'failed');" + column("processing_status st"),
        "public.st (enum)", "change its type"),
    "domain of other states": (
        f"CREATE DOMAIN st AS text CHECK (VALUE IN ('new', 'done')); {column('processing_status st')}", "st", "domain st"),
    "domain over an enum": (
        f"CREATE TYPE e AS ENUM ('x'); CREATE DOMAIN st AS e; {column('processing_status st')}", "public.st (domain over e)", "change its type"),
    "domain too short": (
        f"CREATE DOMAIN short AS varchar(20); {column('processing_server_id short')}", "public.short (domain over character varying(20))",
        "at least 100"),
    "domain that says how long": (
        f"CREATE DOMAIN short AS text CHECK (length(VALUE) < 50); {column('processing_errors short')}", "a failure", "domain short"),
    "domain without NULL": (
        f"CREATE DOMAIN full_text AS text NOT NULL; {column('processing_server_id full_text')}", "would fail", ""),
    "server of names": (column("processing_server_id name"), "processing_server_id of dev_uploaded_files is name", "change its type"),
    "range": (column("processing_started_at tstzrange"), "is tstzrange", "change its type"),
    "composite column": (
        f"CREATE TYPE pair AS (a int, b int); {column('processing_result pair')}", "public.pair (composite type)", "change its type"),
    "generated status": (
        column("done bool, processing_status text GENERATED ALWAYS AS (CASE WHEN done THEN 'completed' ELSE 'queued' END) STORED"),
        "processing_status of dev_uploaded_files is generated", "DROP EXPRESSION"),
    "generated name": (
        column("original_filename text GENERATED ALWAYS AS (upper(name)) STORED"), "original_filename", "DROP EXPRESSION"),
    "attempts of an identity": (column("processing_attempt int GENERATED ALWAYS AS IDENTITY"), "processing_attempt", ""),
    "no room for a column": (
        "DO $$ BEGIN EXECUTE 'CREATE TABLE dev_uploaded_files (id bigint PRIMARY KEY, ' || "
        "(SELECT string_agg('c' || n || ' bool', ', ') FROM generate_series(1, 1590) AS n) || ')'; END $$;"
        f"ALTER TABLE {TABLE} DROP COLUMN c3, DROP COLUMN c4",
        "has room for 9 more columns where", "make it anew"),
    "default that fails": (
        "CREATE FUNCTION fails() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'no default today'; END $$;"
        f"{PLAIN}; ALTER TABLE {TABLE} ADD COLUMN x text; ALTER TABLE {TABLE} ALTER COLUMN x SET DEFAULT fails()",
        "no default today", "function fails()"),
    # publications
    "published without a key": (
        f"CREATE TABLE {TABLE} (id bigint UNIQUE, name text); INSERT INTO {TABLE} VALUES (1); CREATE PUBLICATION p FOR TABLE {TABLE}",
        "replica identity", "REPLICA IDENTITY"),
    "published with an identity of nothing": (
        f"{PLAIN}; ALTER TABLE {TABLE} REPLICA IDENTITY NOTHING; CREATE PUBLICATION p FOR ALL TABLES", "replica identity", "REPLICA IDENTITY"),
    # names
    "view of our name": (f"{PLAIN}; CREATE VIEW dev_processing_nodes AS SELECT 1 AS one", "a view of other columns has it", "RENAME TO"),
    "table of our name": (f"{PLAIN}; CREATE TABLE dev_processing_events (id bigint)", "a table of other columns has it", "RENAME TO"),
    "sequence of our name": (f"{PLAIN}; CREATE SEQUENCE dev_processing_pauses", "a sequence of other columns has it", "RENAME TO"),
    "enum of our name": (f"{PLAIN}; CREATE TYPE dev_processing_nodes AS ENUM ('x')", "a type has it", "ALTER TYPE"),
    "domain of the table's name": (f"CREATE DOMAIN {TABLE} AS text", "a type has it", "ALTER TYPE"),
    "table of an index's name": (f"{PLAIN}; CREATE TABLE {TABLE}_processing_held (id bigint)", "for an index of its own, and a table", "RENAME TO"),
    "index of another table": (
        f"{PLAIN}; CREATE TABLE other (id bigint); CREATE INDEX {TABLE}_processing_queue ON other (id)",
        "for an index of its own", "RENAME TO"),
    "index of a key's name": (f"{PLAIN}; CREATE INDEX dev_processing_nodes_pkey ON {TABLE} (name)", "for an index of its own", "RENAME TO"),
    "function of our name": (
        f"{PLAIN}; CREATE FUNCTION {TABLE}_processing_guard() RETURNS int LANGUAGE sql AS 'SELECT 1'", "another function has it", "RENAME TO"),
    "trigger function of our name": (
        f"{PLAIN}; CREATE FUNCTION {TABLE}_processing_wake() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "another function has it", "RENAME TO"),
    "trigger of our name": (
        f"{PLAIN}; CREATE FUNCTION fine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
        f"CREATE TRIGGER {TABLE}_processing_guard BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION fine()",
        "another trigger of dev_uploaded_files has it", "RENAME TO"),
    # event triggers
    "event trigger": (
        f"{PLAIN}; CREATE FUNCTION frozen() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a freeze until Monday'; END $$;"
        "CREATE EVENT TRIGGER halt ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION frozen()",
        "a freeze until Monday", ""),
}  # fmt: skip


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize(("statements", "says", "mend"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_migrated_is_refused_by_the_plan_before_anything_is_changed(
    bare: Database, own: Connection, statements: str, says: str, mend: str
) -> None:
    own.execute(statements.encode())
    before = dump(bare)

    with pytest.raises(MigrationRefusedError) as planned:
        migration.plan(bare)
    with pytest.raises(MigrationRefusedError) as migrated:
        migration.migrate(bare)

    assert str(planned.value) == str(migrated.value)
    assert "refused before anything was changed" in str(planned.value)
    assert says in str(planned.value)
    assert mend in str(planned.value)
    assert "\n" not in str(planned.value)
    assert dump(bare) == before
    own.execute(b"DROP EVENT TRIGGER IF EXISTS halt")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "name", ["check of other states", "trigger that swallows", "enum", "rule that does nothing", "partition"]
)
def test_psql_refuses_the_same(bare: Database, own: Connection, name: str) -> None:
    own.execute(REFUSED[name][0].encode())
    before = [line for line in dump(bare).splitlines() if "dev_" in line]

    done = psql(bare.settings, "-f", "sql/migrate.sql")

    assert done.returncode == 3
    assert REFUSED[name][1] in done.stderr
    assert "refused before anything was changed" in done.stderr
    assert [line for line in dump(bare).splitlines() if "dev_" in line] == before


def test_a_refusal_is_one_sentence_on_the_shell_and_exit_code_1(bare: Database, own: Connection) -> None:
    own.execute(REFUSED["check of other states"][0].encode())

    done = {verb: opskit(bare.settings, "migrate", *verb.split()) for verb in ("--plan", "")}

    assert {verb: (one.returncode, one.stdout, one.stderr.count("\n")) for verb, one in done.items()} == {
        "--plan": (1, "", 1), "": (1, "", 1)}  # fmt: skip


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("CREATE TABLE x (id int)", f"{TABLE} belongs to "),
        (f"ALTER TABLE {TABLE} OWNER TO ROLE", "may create nothing in the schema public; run: GRANT CREATE ON SCHEMA public"),
        (f"ALTER TABLE {TABLE} OWNER TO ROLE; GRANT CREATE ON SCHEMA public TO ROLE; REVOKE UPDATE ON {TABLE} FROM ROLE",
         f"lacks UPDATE on its own table {TABLE}; run: GRANT UPDATE"),
        (f"ALTER TABLE {TABLE} OWNER TO ROLE; GRANT CREATE ON SCHEMA public TO ROLE; ALTER TABLE {TABLE} "
         "ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY mine ON "
         f"{TABLE} USING (name = current_user)", f"row-level security hides rows of {TABLE} from"),
    ],
    ids=["no owner", "no schema", "no update", "hidden rows"],
)  # fmt: skip
def test_a_role_without_the_rights_is_told_the_statement_that_gives_them(
    bare: Database, own: Connection, role: str, says: str
) -> None:
    name = f"app_{bare.settings.database_url[-12:]}"  # type: ignore[index]
    own.execute(f"{PLAIN}; CREATE ROLE {name}; {role.replace('ROLE', name) if 'LEVEL' not in role else ''}".encode())
    if "LEVEL" in role:
        own.execute(role.replace("TO ROLE", f"TO {name}").encode())
    before = dump(bare)
    ask(bare, f"SET ROLE {name}")

    with pytest.raises(MigrationRefusedError) as refused:
        migration.plan(bare)

    ask(bare, "RESET ROLE")
    after = dump(bare)
    own.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())
    assert says in str(refused.value)
    assert name in str(refused.value)
    assert after == before


# -- what works ------------------------------------------------------------------------------

ACCEPTED = {
    "domains": """CREATE DOMAIN one_line AS text; CREATE DOMAIN moment AS timestamp; CREATE DOMAIN big AS bigint CHECK (VALUE >= 0);
        CREATE DOMAIN yes AS boolean; CREATE DOMAIN long AS varchar(20000);
        CREATE TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text, original_filename one_line, storage_path long,
            file_size big, uploaded_at moment, deleted yes, processing_status one_line, processing_server_id one_line,
            processing_started_at moment, processing_completed_at moment, processing_errors long, processing_epoch big)""",
    "names, characters and small numbers": """CREATE TABLE dev_uploaded_files (id smallserial PRIMARY KEY, name text,
            original_filename name, file_size numeric, processing_status name, processing_server_id varchar(100),
            processing_attempt smallint, processing_failures bigint, processing_errors varchar(10000))""",
    "citext": """CREATE EXTENSION citext; CREATE TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text,
            original_filename citext, storage_path citext, processing_status citext, processing_errors citext,
            processing_server_id citext)""",
    "what is deleted is generated": """CREATE TABLE dev_uploaded_files (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text,
            gone_at timestamptz, deleted boolean GENERATED ALWAYS AS (gone_at IS NOT NULL) STORED)""",
    "a table of all states": """CREATE TABLE states (name text PRIMARY KEY);
        INSERT INTO states VALUES ('queued'), ('processing'), ('completed'), ('failed'), ('other');
        CREATE TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text, processing_status text REFERENCES states)""",
    "a trigger that names and notes": """CREATE TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text, changed_at timestamptz);
        CREATE TABLE dev_uploaded_files_log (id bigserial, file bigint);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changed_at := now();
            EXECUTE format('INSERT INTO %I (file) VALUES ($1)', TG_TABLE_NAME || '_log') USING NEW.id; RETURN NEW; END $$;
        CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON dev_uploaded_files FOR EACH ROW EXECUTE FUNCTION note()""",
    "an empty table whose trigger asks for a name": """CREATE TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text NOT NULL);
        CREATE FUNCTION named() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.name IS NULL THEN RAISE 'say a name'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER named BEFORE INSERT ON dev_uploaded_files FOR EACH ROW EXECUTE FUNCTION named()""",
    "a trigger that compares with the other rows": """CREATE TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text);
        INSERT INTO dev_uploaded_files (name) VALUES ('a'), ('b');
        CREATE FUNCTION once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT FROM dev_uploaded_files WHERE name = NEW.name) THEN RAISE 'twice'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER once BEFORE INSERT ON dev_uploaded_files FOR EACH ROW EXECUTE FUNCTION once()""",
    "published with a key": """CREATE TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text); CREATE PUBLICATION p FOR ALL TABLES""",
    "unlogged, with needs of its own": """CREATE UNLOGGED TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text NOT NULL,
            number serial, at date NOT NULL, CHECK (at > '2000-01-01'), UNIQUE (name, at));
        INSERT INTO dev_uploaded_files (name, at) VALUES ('x', '2026-01-01')""",
    "a check that old rows do not pass": """CREATE TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text);
        INSERT INTO dev_uploaded_files (name) VALUES ('A'), ('B');
        ALTER TABLE dev_uploaded_files ADD CONSTRAINT small CHECK (name = lower(name)) NOT VALID""",
    "a trigger of a schema of its own": """CREATE SCHEMA "My App"; CREATE TABLE "My App".log (id bigint);
        CREATE TABLE dev_uploaded_files (id bigserial PRIMARY KEY, name text);
        CREATE FUNCTION "My App"."Note It"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO "My App".log VALUES (NEW.id); RETURN NULL; END $$;
        CREATE TRIGGER "Note It" AFTER UPDATE ON dev_uploaded_files FOR EACH ROW EXECUTE FUNCTION "My App"."Note It"()""",
}  # fmt: skip


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("door", ["python", "psql"])
@pytest.mark.parametrize("statements", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_another_name_for_the_same_or_lets_our_rows_pass_works(
    bare: Database, own: Connection, statements: str, door: str
) -> None:
    try:
        own.execute(statements.encode())
    except Exception as error:
        if "citext" not in str(error):
            raise
        pytest.skip("this server has no citext")
    if door == "python":
        migration.migrate(bare)
    else:
        done = psql(bare.settings, "-f", "sql/migrate.sql")
        assert done.returncode == 0, done.stderr
    migration.queue_new(bare)
    more = ", at" if "at date" in statements else ""
    for name in ("one", "two"):
        own.execute(f"INSERT INTO {TABLE} (name{more}) VALUES ('{name}'{more and ', now()'})".encode())

    first = claim(bare, boot(bare, "node-a"))
    second = claim(bare, boot(bare, "node-b"))
    assert first.row is not None
    assert second.row is not None
    completed = claims.complete(bare, id=first.row["id"], token=first.token, result={})
    failed = fail(bare, second.row["id"], second.token, outcome="rejected", error="x" * 9000)

    assert migration.missing(bare) == []
    assert migration.plan(bare) == []
    assert completed == "done"
    assert failed == "failed"
    assert row(bare, second.row["id"])["processing_errors"] == "x" * 9000
    assert queue.adopt(bare, "name NOT IN ('A', 'B')", actor="test") >= 0
    frames = {name: function(bare) for name, function in stats.STATISTICS.items()}
    assert not any(frames[name].empty for name in ("concurrency", "nodes", "failures", "files", "events", "timeline"))
    assert frames["distribution"]["processing_status"].tolist().count("failed") == 1


# -- what is not migrated, or by half ---------------------------------------------------------

NOT_MIGRATED = {
    "never migrated": PLAIN,
    "refused": REFUSED["enum"][0],
    "view": REFUSED["view"][0],
    "partitioned": REFUSED["partitioned by hash of the id"][0],
    "by half": "",
}
DOORS = {
    "queue-new": ("migrate", "--queue-new"),
    "queue-new-plan": ("migrate", "--queue-new", "--plan"),
    "no-queue-new": ("migrate", "--no-queue-new"),
    "enqueue": ("enqueue", "README.md"),
    "adopt": ("enqueue", "--existing", "--where", "true"),
    "worker": ("worker", "--drain"),
    "process": ("process", "1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("state", NOT_MIGRATED)
def test_nothing_works_on_a_table_that_is_not_migrated_or_by_half_and_nothing_is_changed(
    bare: Database, own: Connection, state: str
) -> None:
    if state == "by half":
        own.execute(PLAIN.encode())
        migration.migrate(bare)
        own.execute(f"DROP INDEX {TABLE}_processing_held".encode())
    else:
        own.execute(NOT_MIGRATED[state].encode())
    before = dump(bare)

    for door, arguments in DOORS.items():
        done = opskit(bare.settings, *arguments)
        assert (done.returncode, done.stdout) == (1, ""), door
        assert f"{TABLE} is not migrated" in done.stderr, door
        assert done.stderr.count("\n") == 1 or door in ("worker", "process"), done.stderr
        assert "Traceback" not in done.stderr
    for name in ("queue_new", "no_queue_new", "adopt"):
        done = psql(bare.settings, "-v", "env=development", "-v", "ids={1}", "-f", f"sql/{name}.sql")
        assert done.returncode == 3
        assert "not migrated" in done.stderr
    for call in (
        lambda: migration.queue_new(bare), lambda: migration.queue_new(bare, on=False), lambda: migration.preview(bare),
        lambda: queue.adopt(bare, "true", actor="me"), lambda: queue.insert(bare, [("a", "a", 1)]),
        lambda: boot(bare),
    ):  # fmt: skip
        with pytest.raises(NotMigratedError, match=f"{TABLE} is not migrated"):
            call()
    assert dump(bare) == before


def test_a_partitioned_table_that_an_older_version_has_migrated_by_half_is_left_by_a_rollback(
    bare: Database, own: Connection
) -> None:
    own.execute(REFUSED["partitioned by hash of the id"][0].encode())
    before = dump(bare)
    for part in ("tables", "columns", "guard"):
        for each in steps(bare, part):
            if part == "columns":
                bare.run("migrate/note_columns")
            own.execute(each.sql.encode())

    migration.rollback(bare)

    assert dump(bare) == before
