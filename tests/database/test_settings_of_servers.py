"""What a database or a role has set changes no answer: every setting at once, at a value that nobody expects."""

from __future__ import annotations

import dataclasses
import re
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from opskit import doctor, migration, queue, stats
from opskit.database import Database
from opskit.database.session import Connection
from opskit.settings import Settings
from opskit.stats import records
from tests.support import servers
from tests.support.api import served
from tests.support.tables import ask_psql, boot, claim, fail, opskit, psql

ODD = {
    "client_encoding": "LATIN1", "datestyle": "SQL, DMY", "timezone": "Asia/Kolkata", "intervalstyle": "iso_8601",
    "default_text_search_config": "pg_catalog.german", "timezone_abbreviations": "Australia",
    "default_table_access_method": "heap2", "createrole_self_grant": "set", "wal_consistency_checking": "all",
    "default_transaction_isolation": "serializable", "application_name": "theirs", "lc_messages": "POSIX",
    "lc_monetary": "POSIX", "lc_numeric": "POSIX", "lc_time": "POSIX", "backslash_quote": "off",
    "session_replication_role": "replica", "plpgsql.extra_warnings": "all",
    "plpgsql.extra_errors": "shadowed_variables",
    "statement_timeout": "300", "lock_timeout": "100", "transaction_timeout": "400", "idle_session_timeout": "500",
    "idle_in_transaction_session_timeout": "100",
}  # fmt: skip
"""Values where the least or the greatest, or another word of an enumeration, is none or would not be odd enough."""

EXCEPTED = {
    r"transaction_(isolation|read_only|deferrable)": "belong to one transaction",
    r"search_path|role|session_authorization": "say what is meant, and are followed",
    r"default_transaction_read_only": "who sets it wants nothing written, and is followed",
    r"track_counts": "keeps autovacuum away, and the doctor says so",
    r"debug_parallel_query|force_parallel_mode|parallel_.*_cost|jit.*": "make all slow, and a developer's",
    r"synchronous_commit": "says when completed is for good, which is the application's choice; the doctor warns",
    r"default_tablespace|temp_tablespaces|.*preload_libraries|.*library_path": "need something that is not there",
    r"log_.*|debug_(print|pretty)_.*|trace_.*|backtrace_functions|event_source": "write to the server's log only",
    r"temp_file_limit|max_stack_depth|.*_mem|temp_buffers|commit_delay": "what the machine can give",
    r"restrict_nonsystem_relation_kind|default_statistics_target|vacuum_.*": "pg_dump's, and vacuum's own",
    r"debug_discard_caches|jit_.*|geqo_seed|seed|huge_page.*|ssl_.*": "a developer's",
}  # fmt: skip

Setting = tuple[str, str]


def odd_settings(connection: Connection) -> list[Setting]:
    """Every setting that a user or a superuser may give a database or a role, each with an odd value."""
    connection.execute("LOAD 'plpgsql'")
    found = []
    for row in connection.execute(
        "SELECT lower(name) AS name, setting, vartype, min_val, max_val, enumvals FROM pg_settings "
        "WHERE context IN ('user', 'superuser') ORDER BY name"
    ):
        name = row["name"]
        if any(re.fullmatch(pattern, name) for pattern in EXCEPTED):
            continue
        if name in ODD:
            value = ODD[name]
        elif row["vartype"] == "bool":
            value = "off" if row["setting"] == "on" else "on"
        elif row["vartype"] == "enum":
            words = [word for word in row["enumvals"] if word != row["setting"]]
            if not words:
                continue  # on this server it knows one word only
            value = words[-1]
        elif row["vartype"] in ("integer", "real"):
            value = row["min_val"] if row["setting"] != row["min_val"] else row["max_val"]
        else:
            continue  # a text for which no odd value is known: what it may hold is judged in the next line
        found.append((name, value))
    return found


def give(connection: Connection, whom: sql.Composable, settings: list[Setting]) -> None:
    for name, value in settings:
        parts = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
        connection.execute(sql.SQL("ALTER {} SET {} = {}").format(whom, parts, sql.Literal(value)))


# -- the answers -----------------------------------------------------------------------------

_MOVES = re.compile(
    "minutes|seconds|uptime|timestamp|as_of|counted_at|beat|lease|host|pid|sessions|Seconds|Minutes|[tT]oken|claim|boot"
    "|serverId$|memory"
)


def still(value: Any) -> Any:
    """An answer without what moves with the clock."""
    if isinstance(value, dict):
        return {key: still(inner) for key, inner in value.items() if not _MOVES.search(str(key))}
    if isinstance(value, list):
        return [still(inner) for inner in value]
    return value


def answers(settings: Settings, folder: Path) -> dict[str, Any]:
    """Migrate, queue, process, fail and look, through every door; what each said."""
    said: dict[str, Any] = {}
    with Database(settings) as db:
        migration.migrate(db)
        said["missing"] = migration.missing(db)
        (folder / "é.csv").write_text("a,b\n1,2\n")
        (folder / "b.json").write_text("{}\n")
        said["queued"] = queue.enqueue(db, [folder])
        done = opskit(settings, "--drain", module="opskit.worker", NODE_ID="node-a")
        said["worker"] = (done.returncode, re.findall("WARNING|ERROR|Traceback", done.stderr))
        said["broken"] = [failed(db, "node-x"), failed(db, "node-y")]
        with db.connection() as connection:
            # What is a time stands still from here on.
            connection.execute(
                "UPDATE dev_uploaded_files SET uploaded_at = '2021-01-02 03:04:05.5+00', "
                "processing_queued_at = '2021-01-02 03:04:06.25+00', "
                "processing_completed_at = CASE WHEN processing_completed_at IS NULL THEN NULL "
                "ELSE '2021-03-04 05:06:07+00'::timestamptz END"
            )
            connection.execute("INSERT INTO dev_uploaded_files (original_filename) VALUES ('held.txt')")
            claim(db, boot(db, "node-c"))
            connection.execute(
                "UPDATE dev_uploaded_files SET processing_started_at = '2021-01-02 03:04:05.5+00' "
                "WHERE processing_started_at IS NOT NULL"
            )
            connection.execute(
                "UPDATE dev_processing_events SET at = '2021-05-06 07:08:09+00', started_at = '2021-05-06'"
            )
        for one in (stats.distribution, stats.concurrency, stats.failures, stats.longest_running, stats.stale,
                    stats.evidence, stats.nodes, stats.pauses, stats.files, stats.events):  # fmt: skip
            frame = one(db)
            said[one.__name__] = (still(records(frame)), [str(kind) for kind in frame.dtypes])
        said["throughput"] = len(stats.throughput(db, since_seconds=10**9, bucket_seconds=10**7))
        said["doctor"] = sorted((finding.level, finding.what) for finding in doctor.examine(db))
        api = served(db, settings)
        for path in ("concurrency-stats", "distribution", "longest-running", "nodes", "stale", "throughput", "failures",
                     "timeline", "doctor", "files", "events"):  # fmt: skip
            response = api.get(f"/api/processing/{path}")
            said[f"api {path}"] = (response.status_code, still(response.json()) if path != "timeline" else None)
        said["api metrics"] = api.get("/metrics").status_code
        said["engine"] = still(records(pd.read_sql("SELECT * FROM dev_uploaded_files ORDER BY id", db.engine)))
    for name in ("distribution", "longest_running", "stale", "failures", "files_list", "evidence", "nodes", "events"):
        said[f"psql {name}"] = still(ask_psql(settings, name))
    done = psql(settings, "-v", "env=development", "-f", "sql/migrate.sql")
    said["psql migrate"] = (done.returncode, re.findall("ERROR.*", done.stderr))
    shown = opskit(settings, "stats", "distribution")
    said["shell"] = (shown.returncode, shown.stdout)
    return said


def failed(db: Database, server_id: str) -> str:
    """A file whose processor has failed for good, by a node in this process."""
    with db.connection() as connection:
        connection.execute("INSERT INTO dev_uploaded_files (original_filename) VALUES ('broken.csv')")
    taken = claim(db, boot(db, server_id))
    assert taken.row is not None
    return fail(db, taken.row["id"], taken.token, error="it's \\ broken: é", outcome="rejected")


# -- the tests -------------------------------------------------------------------------------


@dataclasses.dataclass
class Field:
    """A server on which databases and roles are given settings."""

    server: servers.Server
    settings: Settings
    folder: Path

    def answers(self, level: str, given: list[Setting]) -> dict[str, Any]:
        """What a database or a role of its own answers, with these settings."""
        url = self.server.create_database()
        database, role = url.rpartition("/")[2], f"role_{uuid.uuid4().hex[:12]}"
        folder = self.folder / "files"
        folder.mkdir(exist_ok=True)
        with psycopg.connect(self.server.url, autocommit=True, row_factory=dict_row) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD 'theirs'").format(sql.Identifier(role)))
            with psycopg.connect(url, autocommit=True) as inside:
                inside.execute("CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler")
            whom = {
                "database": sql.SQL("DATABASE {}").format(sql.Identifier(database)),
                "role": sql.SQL("ROLE {}").format(sql.Identifier(role)),
            }
            give(connection, whom[level], given)
            parts = urlsplit(url)
            theirs = f"postgresql://{role}:theirs@{parts.hostname}:{parts.port}/{database}"
            try:
                said = answers(dataclasses.replace(self.settings, database_url=theirs), folder)
            finally:
                self.server.drop_database(url)
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        now = re.compile(
            rf"20(2[5-9]|[3-9]\d)-\d\d-\d\d[T ][\d:.]+(Z|\+00)?|process \d+|{role}|{database}|{self.folder}"
        )
        return {key: now.sub("…", repr(value)) for key, value in said.items()}

    def told(self, level: str, given: list[Setting]) -> dict[str, Any]:
        """The same, an exception being an answer, too."""
        try:
            return self.answers(level, given)
        except Exception as error:
            return {"raised": f"{type(error).__name__}: {error}"}


PLAIN: dict[str, str] = {}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("level", ["database", "role"])
def test_no_setting_of_a_database_or_a_role_changes_an_answer(
    server: servers.Server, settings: Settings, tmp_path: Path, level: str
) -> None:
    field = Field(server, settings, tmp_path)
    with psycopg.connect(server.url, autocommit=True, row_factory=dict_row) as connection:
        given = odd_settings(connection)
    assert len(given) > 80
    plain = PLAIN or field.answers(level, [])
    PLAIN.update(plain)

    odd = field.told(level, given)

    if odd != plain:
        guilty = given
        # Halved until one is left that alone makes a difference; together they may do what none does alone.
        while len(guilty) > 1:
            half = len(guilty) // 2
            for part in (guilty[:half], guilty[half:]):
                if field.told(level, part) != plain:
                    guilty = part
                    break
            else:
                break
        odd = field.told(level, guilty)
        differing = {
            key: (plain.get(key), odd.get(key)) for key in plain.keys() | odd.keys() if plain.get(key) != odd.get(key)
        }
        pytest.fail(f"{guilty} changes {differing}")
