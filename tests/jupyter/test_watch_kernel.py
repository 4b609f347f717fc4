"""A live panel in a real kernel that is killed, restarted, forked or interrupted: no session, no node, no hang."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from opskit.database import Database
from opskit.settings import Settings
from tests.support.nodes import ask, until
from tests.support.tables import files

pytestmark = pytest.mark.new_database  # sessions are counted here
SECONDS = 60
OPEN = "import opskit\ndb = opskit.connect()\npanel = opskit.watch(db, every_seconds=0.2)\nrepr(panel)"


class Kernel:
    """A kernel of its own, as Jupyter starts it."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env={**os.environ, **environ}, cwd=str(folder))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    def run(self, code: str, *, seconds: float = SECONDS) -> str:
        """Run a cell; what it printed or answered, or the name of its error."""
        said: list[str] = []

        def hear(message: Any) -> None:
            content = message["content"]
            said.append(content.get("text") or content.get("ename") or content.get("data", {}).get("text/plain", ""))

        self.client.execute_interactive(code, timeout=seconds, output_hook=hear)
        return "".join(said)

    def close(self) -> None:
        """End it, whatever it does."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    """The migrated database over one connection: a pool may hold two, and they are counted here."""
    with Database(settings, pooled=False) as one:
        yield one


@pytest.fixture
def kernel(db: Database, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel with a live panel."""
    made = Kernel(db.settings.environ(), tmp_path)
    try:
        assert "opskit.watch" in made.run(OPEN)
        until(lambda: sessions(db) >= 1)
        yield made
    finally:
        made.close()


def sessions(db: Database, name: str = "watch") -> int:
    """How many sessions of the name there are."""
    found = ask(db, "SELECT application_name AS name FROM pg_stat_activity WHERE datname = current_database()")
    return sum(row["name"].endswith(name) for row in found)


def asleep(db: Database) -> bool:
    """Whether the kernel's long question is at work."""
    query = "SELECT 1 AS one FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND state = 'active'"
    return bool(ask(db, f"{query} AND pid <> pg_backend_pid()"))


def others(db: Database) -> int:
    """How many sessions there are beside those of this test."""
    mine = "datname = current_database() AND application_name LIKE 'opskit%'"
    return len(ask(db, f"SELECT 1 AS one FROM pg_stat_activity WHERE {mine}"))


def workers(folder: Path) -> list[int]:
    """The nodes, and their children, that were started in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").resolve() == folder and b"opskit.worker" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.slow
def test_a_kernel_that_is_interrupted_keeps_its_panel_live(db: Database, kernel: Kernel, tmp_path: Path) -> None:
    kernel.client.execute("import time; open('begun', 'w').close(); time.sleep(600)")
    until((tmp_path / "begun").exists)
    kernel.manager.interrupt_kernel()

    assert kernel.client.get_shell_msg(timeout=30)["content"]["ename"] == "KeyboardInterrupt"
    assert kernel.run("print('goes on')", seconds=30).endswith("goes on\n")
    files(db, "a.csv")
    until(lambda: "1 queued" in kernel.run("print(panel)"))
    assert sessions(db) == 1


@pytest.mark.slow
def test_an_interrupt_ends_a_question_to_the_database_and_not_the_panel(db: Database, kernel: Kernel) -> None:
    kernel.client.execute("db.read('SELECT pg_sleep(600)')")
    until(lambda: asleep(db))
    kernel.manager.interrupt_kernel()

    assert kernel.client.get_shell_msg(timeout=30)["content"]["ename"] == "KeyboardInterrupt"
    assert kernel.run("print('goes on')", seconds=30).endswith("goes on\n")
    until(lambda: not asleep(db))
    files(db, "a.csv")
    until(lambda: "1 queued" in kernel.run("print(panel)"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "restarted", "shut down"])
def test_the_end_of_a_kernel_leaves_no_session(db: Database, kernel: Kernel, how: str) -> None:
    here = others(db)
    if how == "killed":
        kernel.manager.signal_kernel(9)
    elif how == "restarted":
        kernel.manager.restart_kernel(now=False)
        kernel.client.wait_for_ready(timeout=SECONDS)
    else:
        kernel.manager.shutdown_kernel(now=False)

    until(lambda: sessions(db) == 0, 30)
    if how == "restarted":
        assert "opskit.watch" in kernel.run(OPEN)
        until(lambda: sessions(db) == 1)
    else:
        until(lambda: others(db) < here, 30)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_fork_of_a_kernel_with_a_live_panel_ends_by_itself_and_harms_neither(
    db: Database, kernel: Kernel, how: str
) -> None:
    files(db, "a.csv")
    work = "from opskit import stats\ndef work(): return int(stats.concurrency(db)['queued'].iloc[0])\n"
    if how == "os.fork":
        code = work + (
            "import os, subprocess, sys\npid = os.fork()\n"
            "if pid == 0:\n    assert work() == 1\n    panel.stop()\n    os._exit(7)\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
        )
        expected = "7"
    else:
        code = work + (
            "import multiprocessing\n"
            "with multiprocessing.get_context('fork').Pool(2) as pool:\n    print(pool.apply(work), pool.apply(work))"
        )
        expected = "1 1"

    assert expected in kernel.run("import warnings; warnings.simplefilter('ignore')\n" + code)

    assert sessions(db) == 1
    files(db, "b.csv")
    until(lambda: "2 queued" in kernel.run("print(panel)"))


@pytest.mark.slow
def test_the_nodes_of_a_kernel_that_is_killed_end_and_give_their_files_back(
    db: Database, kernel: Kernel, tmp_path: Path
) -> None:
    files(db, *(f"{number}.csv" for number in range(3)))
    code = "import time\ndef process(file):\n    time.sleep(600)\n"
    kernel.run(f"open('sleeping.py', 'w').write({code!r})")
    kernel.client.execute(
        "import os; from opskit import jupyter; os.environ['PYTHONPATH'] = os.getcwd()\n"
        "jupyter.work(opskit.connect(processor='sleeping:process'), 'node-kernel-a', 'node-kernel-b')"
    )
    until(
        lambda: len(ask(db, "SELECT 1 AS one FROM dev_uploaded_files WHERE processing_status = 'processing'")) == 2, 60
    )
    assert len(workers(tmp_path)) >= 2

    kernel.manager.signal_kernel(9)

    until(lambda: not workers(tmp_path), 60)
    until(lambda: others(db) <= 1, 60)
