"""Loading a processor: what can never process a file is refused at the start, in one sentence."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opskit.database import Database
from opskit.errors import ProcessorError
from opskit.files.processor import load_processor
from tests.support.nodes import counts, until
from tests.support.tables import environ, files, row

REFUSED = {
    "coroutine": "is an async function",
    "partial_of_coroutine": "is an async function",
    "object_with_async_call": "is an async function",
    "async_method": "is an async function",
    "async_generator": "is an async generator",
    "generator": "is a generator",
    "Class": "is a class",
    "number": "is int, not a function",
    "missing": "cannot be loaded: AttributeError",
    "no_argument": "cannot be called with one argument, the file: too many positional arguments",
    "two_arguments": "cannot be called with one argument, the file: missing a required argument: 'other'",
    "named_argument": "cannot be called with one argument, the file: missing a required",
}


class Class:
    """Something to be called by mistake."""

    async def __call__(self, file: Any) -> None: ...

    async def method(self, file: Any) -> None: ...

    def plain(self, file: Any) -> None: ...


async def coroutine(file: Any) -> None: ...


async def async_generator(file: Any) -> Any:
    yield file


def generator(file: Any) -> Any:
    yield file


def no_argument() -> None: ...


def two_arguments(file: Any, other: Any) -> None: ...


def named_argument(file: Any, *, needed: Any) -> None: ...


def with_default(file: Any, other: Any = 1) -> None: ...


def anything(*_: Any, **__: Any) -> None: ...


@functools.wraps(coroutine)
def wrapped(file: Any) -> None: ...


class Callable_:
    def __call__(self, file: Any) -> None: ...


partial_of_coroutine = functools.partial(functools.partial(coroutine))
object_with_async_call = Class()
async_method = Class().method
number = 7
plain_method = Class().plain
plain_object = Callable_()
partial = functools.partial(two_arguments, other=1)
of_c: Callable[..., Any] = print


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_never_process_a_file_is_refused(name: str) -> None:
    with pytest.raises(ProcessorError) as caught:
        load_processor(f"{__name__}:{name}")

    assert str(caught.value).startswith(f"the processor '{__name__}:{name}' {REFUSED[name]}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["with_default", "anything", "wrapped", "plain_method", "plain_object", "partial", "of_c"]
)
def test_what_can_be_called_with_a_file_is_taken(name: str) -> None:
    assert load_processor(f"{__name__}:{name}") is globals()[name]


def run(db: Database, folder: Path, processor: str) -> subprocess.CompletedProcess[str]:
    """A node that drains the queue, started in a folder as an operator does."""
    return subprocess.run(
        [Path(sys.executable).with_name("opskit"), "worker", "--drain", "--processor", processor],
        env=environ(db.settings), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("async def process(file): ...", "the processor 'ledger:process' is an async function: opskit calls it"),
        ("raise SystemExit(0)", "the processor 'ledger:process' cannot be loaded: SystemExit: 0"),
    ],
)
def test_a_node_with_a_processor_that_cannot_be_used_ends_with_one_sentence_and_claims_nothing(
    db: Database, tmp_path: Path, source: str, sentence: str
) -> None:
    files(db, "a")
    (tmp_path / "ledger.py").write_text(source)

    node = run(db, tmp_path, "ledger:process")

    assert node.returncode == 1
    assert sentence in node.stderr
    assert "Traceback" not in node.stderr
    assert counts(db) == {"queued": 1}


def test_the_current_folder_gives_the_processor_and_no_library(db: Database, tmp_path: Path) -> None:
    """It is looked at last: what is called like a library of ours there is not taken for it."""
    (id,) = files(db, "a")
    for name in ("psycopg", "opskit", "json", "dateutil"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemError('{name} of the current folder')")
    (tmp_path / "ledger.py").write_text(
        "import os, sys\ndef process(file): return {'last': sys.path[-1], 'here': os.getcwd()}"
    )

    node = run(db, tmp_path, "ledger:process")

    assert node.returncode == 0, node.stderr
    found = row(db, id)["processing_result"]
    assert found["last"] == found["here"] == os.path.realpath(tmp_path)


def test_a_library_that_ends_the_process_at_its_import_is_not_taken_for_a_node_that_is_done(
    db: Database, tmp_path: Path
) -> None:
    files(db, "a")
    (tmp_path / "ledger.py").write_text("import os\nos._exit(0)")

    with (tmp_path / "log").open("wb") as log:
        node = subprocess.Popen(
            [sys.executable, "-P", "-m", "opskit.worker", "--drain", "--processor", "ledger:process"],
            env=environ(db.settings), cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        until(lambda: (tmp_path / "log").read_text().count("the child ended by itself with exit code 0") >= 2)
        assert node.poll() is None
    finally:
        node.kill()
        node.wait()

    assert counts(db) == {"queued": 1}
