"""Fixtures of all tests: a clean environment, a real server, a database of one's own."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opskit import migration
from opskit.database import Database
from opskit.settings import Settings
from tests.support import python_programs, servers
from tests.support.databases import Databases, Lent, begin_with, hand_back

# jsonschema can check IRIs and nobody asks it to; to load the grammar for that takes more than two seconds.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]


def pytest_configure() -> None:
    """Have programs under test begin with their usual signals: what nohup or a background job ignores is inherited.

    A handler that does nothing keeps that from these tests, and is no handler any more in a program that they start.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not load a module of which no test is wanted: some load for seconds."""
    if collection_path.suffix != ".py" or any(collection_path.name in argument for argument in config.args):
        return None
    return unwanted(collection_path.read_text(encoding="utf-8"), str(config.option.markexpr)) or None


def unwanted(module: str, expression: str) -> bool:
    """Whether a module says that all its tests are slow, or the browser's, and these are left out."""
    mark = re.search(r"^pytestmark = \[?\s*pytest\.mark\.(slow|browser)\b", module, re.MULTILINE)
    return mark is not None and f"not {mark[1]}" in expression.split(" and ")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases of a test slow, but for those that its mark `fast_cases` leaves in the fast set."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in tests.values():
        mark = cases[0].get_closest_marker("fast_cases")
        if mark is not None:
            fast = spread(len(cases), *mark.args)
            for number, case in enumerate(cases):
                if number not in fast:
                    case.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have the programs of a test forked; real starts are left to slow tests, and to tests of faults and of starts."""
    marks = {mark.name for mark in item.iter_markers()}
    python_programs.forking.wanted = "faults" not in item.path.parts and not marks & {"slow", "browser", "real_starts"}


def pytest_collectstart() -> None:
    """Let the garbage collector rest: what is loaded now is no garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what is loaded by now: a fifth of the time of the tests went to it."""
    gc.enable()
    gc.collect()
    gc.freeze()


def spread(cases: int, wanted: int) -> set[int]:
    """The numbers of *wanted* of so many cases: the first, the last, and evenly between them."""
    if wanted >= cases:
        return set(range(cases))
    return {number * (cases - 1) // max(wanted - 1, 1) for number in range(wanted)}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name in ("DATABASE_URL", "NODE_ID") or name.startswith(("OPSKIT_", "PG")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server() -> Iterator[servers.Server]:
    """The server of this test process."""
    with servers.running_server() as running:
        yield running


@pytest.fixture(scope="session")
def migrated(server: servers.Server) -> str:
    """The name of a migrated database, to be copied: faster than migrating each test's own."""
    if servers.SHARED:
        return servers.SHARED.rpartition("/")[2]
    url = server.create_database()
    with Database(Settings.load({}, database_url=url, env="development")) as database:
        migration.migrate(database)
    return url.rpartition("/")[2]


@pytest.fixture(scope="session")
def databases(server: servers.Server) -> Iterator[Databases]:
    """The databases of this test process."""
    with contextlib.closing(Databases(server)) as found:
        yield found


@pytest.fixture
def lent(databases: Databases, request: pytest.FixtureRequest) -> Iterator[Lent]:
    """A database that only this test has: empty, or migrated for a test that asks for `db`."""
    names = request.fixturenames
    template = request.getfixturevalue("migrated") if "db" in names else "template1"
    again = ("db" in names or "connection" in names) and not request.node.get_closest_marker("new_database")
    found = databases.lend(template, again=again)
    yield found
    databases.take_back(found)


@pytest.fixture
def database_url(lent: Lent) -> str:
    """The URL of that database."""
    return lent.url


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings for that database, with short times."""
    return Settings.load(
        {},
        database_url=database_url,
        env="development",
        lease_seconds=2.0,
        poll_seconds=0.2,
        retry_seconds=0.0,
        home=str(tmp_path),
    )


@pytest.fixture
def db(settings: Settings, lent: Lent) -> Iterator[Database]:
    """That database, migrated."""
    with Database(settings) as database:
        begin_with(database, lent)
        yield database
        hand_back(database, lent)
