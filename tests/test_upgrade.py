"""The guide (docs/howto/upgrade.md), followed to the letter: its commands in order, beside an application at work."""

from __future__ import annotations

import configparser
import dataclasses
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import yaml
from psycopg import errors as pg
from psycopg import sql

from opskit import migration
from opskit.cli.main import build_parser
from opskit.database import Database
from opskit.database.session import Connection
from opskit.settings import Settings
from tests.support.nodes import SUPPORT, Node, ask, until
from tests.support.tables import ROOT, application, environ, psql_program, rows, run

GUIDE = ROOT / "docs" / "howto" / "upgrade.md"
TABLE = "uploaded_files"
APPLICATION = f"""
    CREATE TABLE {TABLE} (
        id bigserial PRIMARY KEY,
        owner bigint NOT NULL,
        original_filename text NOT NULL,
        storage_path text,
        processed boolean NOT NULL DEFAULT false,
        uploaded_at timestamp NOT NULL DEFAULT now()
    );
    CREATE INDEX ON {TABLE} (owner, uploaded_at);
    CREATE TABLE effects (file_id text, made_by text);
    INSERT INTO {TABLE} (owner, original_filename, processed)
    SELECT n % 5, 'old-' || n, true FROM generate_series(1, 40) AS n;
    INSERT INTO {TABLE} (owner, original_filename) SELECT n % 5, 'waits-' || n FROM generate_series(1, 60) AS n
"""
LEDGER = f"""
def process(file):
    with file.completing() as tx:
        tx.execute("INSERT INTO effects VALUES (%s, %s)", (file.id, file.server_id))
        tx.execute("UPDATE {TABLE} SET processed = true WHERE id = %s", (file.id,))
"""
COMMANDS = ("opskit ", "psql ", "python ", "NODE_ID=", "export ")


@dataclass(frozen=True)
class Block:
    """A piece of code in the guide.

    Attributes:
        heading: The heading it stands under.
        language: sh, sql, python, ini or yaml.
        text: The code.
    """

    heading: str
    language: str
    text: str


def blocks() -> Iterator[Block]:
    """Every piece of code in the guide, in order."""
    for section in re.split(r"^## ", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE):
        heading = section.splitlines()[0]
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL):
            yield Block(heading, language, text)


def of(language: str) -> list[Block]:
    return [block for block in blocks() if block.language == language]


# -- the application and its processor ---------------------------------------------------------


def upload(connection: Connection, count: int = 1) -> None:
    """The application takes files: it knows nothing of a status."""
    for _ in range(count):
        run(connection, f"INSERT INTO {TABLE} (owner, original_filename) VALUES (1, 'new')")


def old_processor(connection: Connection, most: int, *, taught: bool) -> int:
    """Process some rows, oldest first; once it is taught, with the guide's own statements. Answers how many."""
    take, finish, _ = re.sub(r"--.*\n", "", of("sql")[0].text).split(";")
    condition = " AND processing_status IS NULL" if taught else ""
    for done in range(most):
        found = run(connection, f"SELECT id FROM {TABLE} WHERE processed = false{condition} ORDER BY id LIMIT 1")
        if not found:
            return done
        id = {"id": found[0]["id"]}
        if taught:
            assert run(connection, take, values=id) == [id]
        run(connection, "INSERT INTO effects VALUES (%(id)s, 'old-processor')", values=id)
        run(connection, finish if taught else f"UPDATE {TABLE} SET processed = true WHERE id = %(id)s", values=id)
    return most


# -- the guide ---------------------------------------------------------------------------------


@pytest.fixture
def live(settings: Settings) -> Iterator[Connection]:
    """The application's connection, to a database that knows nothing of opskit."""
    with application(settings) as connection:
        for statement in APPLICATION.split(";"):
            run(connection, statement)
        try:
            yield connection
        finally:
            for name in ("opskit_node", "opskit_operator", "opskit_viewer"):
                if run(connection, "SELECT 1 AS one FROM pg_roles WHERE rolname = %s", values=(name,)):
                    run(connection, "DROP OWNED BY {}", sql.Identifier(name))
                    run(connection, "DROP ROLE {}", sql.Identifier(name))


@pytest.fixture
def shell(settings: Settings, tmp_path: Path) -> dict[str, str]:
    """The environment of the engineer's shell: programs, the processor, the folder of a checkout."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("opskit", [sys.executable, "-m", "opskit"]), ("python", [sys.executable])):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "ledger.py").write_text(LEDGER)
    (tmp_path / "sql").symlink_to(ROOT / "sql")
    path = f"{programs}:{Path(psql_program()).parent}:{os.environ['PATH']}"
    own = dataclasses.replace(settings, env="production", home=str(tmp_path))
    return environ(own, PATH=path, PYTHONPATH=f"{tmp_path}:{SUPPORT}", PYTHONWARNINGS="error")


def follow(block: Block, shell: dict[str, str], folder: Path) -> str:
    """Run a block as it stands, but for the address of the database."""
    text = re.sub(r"^export DATABASE_URL=.*\n", "", block.text, flags=re.MULTILINE)
    words = [sys.executable, "-c", text] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(
        words, env=shell, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{block.heading}\n{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)  # some forty programs are started, one after the other
def test_every_command_of_the_guide_in_its_order(
    live: Connection, settings: Settings, shell: dict[str, str], tmp_path: Path
) -> None:
    own = Settings.load(shell)
    columns = (
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'uploaded_files' ORDER BY 1"
    )
    before = run(live, columns)
    by_hand: list[str] = []
    nodes: list[Node] = []
    said: dict[str, str] = {}

    with Database(own, pooled=False) as db:
        try:
            for heading, group in itertools.groupby(blocks(), key=lambda block: block.heading):
                number = int(heading[0]) if heading[0].isdigit() else 8
                if number == 7:
                    nodes = [Node(db, f"node-{name}", tmp_path, act="ledger:process", **path(shell)) for name in "bcd"]
                    until(lambda: len(db.run("alive_nodes")) == 3)
                if heading == "Rolling back":
                    # Every file was processed once, by whoever had it; then the nodes are stopped.
                    until(lambda: not run(live, f"SELECT 1 AS one FROM {TABLE} WHERE NOT processed LIMIT 1"))
                    by_hand = once_each(live)
                    for node in nodes:
                        node.kill(signal.SIGTERM)
                    assert [node.end() for node in nodes] == [0, 0, 0]
                for block in group:
                    if block.language in ("sh", "python"):
                        said[heading] = said.get(heading, "") + follow(block, shell, tmp_path)
                    if heading != "Rolling back":
                        upload(live, 2)
                    if number <= 6:
                        # The application's own processor goes on all the while, also with nodes beside it.
                        assert old_processor(live, 3, taught=number >= 4) == 3 or number == 6
        finally:
            for node in nodes:
                node.process.kill()
                node.process.wait()
                assert node.process.stdout is not None
                node.process.stdout.close()

    assert "statements would be run on uploaded_files" in said["1. Look first"]
    assert "nothing is missing" in said["3. Verify"]
    assert "10 rows from before adopted" in said["5. The first node, beside it"]
    assert {"old-processor", "node-a"} < set(by_hand) <= {"old-processor", "node-a", "node-b", "node-c", "node-d"}
    assert len(by_hand) > 60
    # Rolled back: the application's table as it was, its rows with all that was done to them, and a copy of the rest.
    assert run(live, columns) == before
    assert not run(live, "SELECT 1 AS one FROM pg_class WHERE relname LIKE 'processing%' AND relkind = 'r'")
    assert all(row["processed"] for row in rows(live, TABLE))
    assert len((tmp_path / "states.csv").read_text().splitlines()) == 1 + len(by_hand) - untaught()
    assert (tmp_path / "history.csv").stat().st_size > 0


def path(shell: dict[str, str]) -> dict[str, str]:
    return {"PYTHONPATH": shell["PYTHONPATH"]}


def untaught() -> int:
    """How many rows the old processor finished before it was taught to say so: three for each block of code."""
    return 3 * sum(block.heading[0] in "123" for block in blocks())


def once_each(connection: Connection) -> list[str]:
    """Who processed each file that was not processed before; each was processed once."""
    found = run(connection, "SELECT file_id, made_by FROM effects")
    files = run(connection, f"SELECT id::text AS id FROM {TABLE} WHERE original_filename NOT LIKE 'old-%%'")
    assert sorted(row["file_id"] for row in found) == sorted(row["id"] for row in files)
    return [row["made_by"] for row in found]


def test_every_line_of_the_guide_is_a_command_that_is_run() -> None:
    lines = [line for block in of("sh") for line in block.text.splitlines()]

    assert len(lines) > 30
    assert [line for line in lines if not line.startswith(COMMANDS)] == []
    parser = build_parser()
    for line in lines:
        if line.startswith("opskit "):
            assert callable(parser.parse_args(shlex.split(line)[1:]).verb)
    assert {block.language for block in blocks()} == {"sh", "sql", "python", "ini", "yaml"}


# -- units and manifests -----------------------------------------------------------------------


def takes(words: list[str]) -> None:
    """A node's command line is one that the worker takes."""
    assert [Path(words[0]).name, *words[1:3]] == ["python", "-m", "opskit.worker"]
    assert callable(build_parser().parse_args(["worker", *words[3:]]).verb)


def test_the_unit_gives_a_node_longer_than_its_drain() -> None:
    (block,) = of("ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]
    unit.read_string(block.text)
    service = unit["Service"]
    environment = dict(word.split("=") for word in service["Environment"].split())

    assert Settings.load(environment).node_id == "%H-%i"
    assert service.getint("TimeoutStopSec", 0) > Settings.load(environment).drain_seconds
    assert service["KillMode"] == "mixed"
    takes(service["ExecStart"].split())


def test_the_deployment_gives_a_node_longer_than_its_drain() -> None:
    (block,) = of("yaml")
    deployment = yaml.safe_load(block.text)
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    environment = {each["name"]: each.get("value", "from elsewhere") for each in container["env"]}
    settings = Settings.load(environment)

    assert deployment["kind"] == "Deployment"
    assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > settings.drain_seconds
    assert settings.env == "production"
    names = [each for each in container["env"] if each["name"] == "NODE_ID"]
    assert names[0]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    takes(container["command"])


# -- what the guide says of others ---------------------------------------------------------------


def test_a_prepared_select_of_everything_is_refused_after_the_migration_and_one_by_name_is_not(
    live: Connection, settings: Settings
) -> None:
    everything, by_name = f"SELECT * FROM {TABLE} WHERE id = 1", f"SELECT id, processed FROM {TABLE} WHERE id = 1"
    live.execute(everything.encode(), prepare=True)
    live.execute(by_name.encode(), prepare=True)
    with Database(dataclasses.replace(settings, env="production"), pooled=False) as db:
        migration.migrate(db)

    live.execute(by_name.encode(), prepare=True)
    for _ in range(2):
        with pytest.raises(pg.FeatureNotSupported, match="cached plan must not change result type"):
            live.execute(everything.encode(), prepare=True)
    with psycopg.connect(settings.database_url or "") as another:
        another.execute(everything.encode(), prepare=True)


def test_the_other_statements_of_the_guide_are_sql(settings: Settings) -> None:
    with Database(settings, pooled=False) as db:
        for block in of("sql")[1:]:
            body = sql.Literal(f"BEGIN {block.text.replace('SELECT', 'PERFORM')} END").as_string()
            ask(db, f"CREATE FUNCTION pg_temp.probe() RETURNS void LANGUAGE plpgsql AS {body}")


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#h][^)#]*)", GUIDE.read_text(encoding="utf-8")))
def test_every_link_of_the_guide_leads_somewhere(target: str) -> None:
    assert (GUIDE.parent / target).exists()


def test_the_settings_that_the_guide_names_are_there() -> None:
    known = {field.metadata["env"] for field in dataclasses.fields(Settings)}

    assert set(re.findall(r"OPSKIT_[A-Z_]+", GUIDE.read_text(encoding="utf-8"))) <= known
