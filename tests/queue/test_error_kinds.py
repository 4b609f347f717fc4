"""Whether an error speaks of the world or of its file: each rule at its edge, and what is taken out of a message."""

from __future__ import annotations

import importlib.util
import sys
import urllib.error
from email.message import Message
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psycopg
import pytest

from opskit.errors import MissingExtraError
from opskit.queue.error_identity import headline, kind_of, kind_of_status, normalised, of_reason, place_of


class Answered(Exception):
    """An error that carries a server's answer, as those of requests, httpx and botocore do."""

    def __init__(self, response: Any) -> None:
        super().__init__("answered")
        self.response = response


class HttpError(Exception):
    """As gcsfs raises it: with a code, and no response."""

    def __init__(self, code: int) -> None:
        super().__init__("answered")
        self.code = code


class ConnectTimeout(Exception):
    """As a library raises it that a node does not import."""


class OperationalError(Exception):
    """As a driver raises it that has no states."""


class Stated(Exception):
    """An error with an SQLSTATE."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.sqlstate = state


def botocore(status: int, code: str) -> Answered:
    return Answered({"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}})


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


KINDS = [
    (ImportError("x"), "world"),
    (MemoryError(), "world"),
    (ConnectionError("no errno"), "world"),
    (PermissionError("of a store, without a number"), "world"),
    (MissingExtraError("formats", "x"), "world"),
    (ConnectTimeout("x"), "world"),
    (OperationalError("x"), "world"),
    (Answered(SimpleNamespace(status_code=503)), "world"),
    (Answered(SimpleNamespace(status_code=422)), "file"),
    (botocore(500, "InternalError"), "world"),
    (botocore(400, "BadDigest"), "file"),
    (botocore(400, "NoSuchBucket"), "world"),
    (HttpError(403), "world"),
    (HttpError(409), "file"),
    (urllib.error.HTTPError("http://x", 500, "x", Message(), None), "world"),
    (caused(FileNotFoundError("x"), botocore(404, "NoSuchKey")), "file"),
    (caused(FileNotFoundError("x"), botocore(403, "AccessDenied")), "world"),
    (botocore(404, "NoSuchKey"), "world"),
    (ExceptionGroup("many", [ValueError("x"), ExceptionGroup("inner", [MemoryError()])]), "world"),
    (ExceptionGroup("many", [ValueError("x")]), "file"),
    *((Stated(state), "world") for state in ("08006", "53200", "57P01", "58030", "42501")),
    *((Stated(state), "file") for state in ("42P01", "22P02", "40001")),
]


@pytest.mark.parametrize(("error", "kind"), KINDS, ids=[f"{error!r}"[:60] for error, _ in KINDS])
def test_an_error_is_the_worlds_by_its_type_its_answer_its_state_or_what_it_came_from(
    error: BaseException, kind: str
) -> None:
    assert kind_of(error) == kind
    assert kind_of(caused(RuntimeError("x"), error)) == kind or isinstance(error, FileNotFoundError)


@pytest.mark.parametrize(
    ("status", "redirect", "kind"),
    [
        (299, True, "file"), (300, True, "world"), (300, False, "file"), (399, True, "world"), (400, True, "file"),
        (401, False, "world"), (402, False, "file"), (403, False, "world"), (404, False, "world"), (499, False, "file"),
        (500, False, "world"),
    ],
)  # fmt: skip
def test_a_status_speaks_of_the_world_from_500_by_rights_and_as_a_redirect_of_a_post(
    status: int, redirect: bool, kind: str
) -> None:
    assert kind_of_status(status, redirect=redirect) == kind


def test_of_very_many_errors_in_one_only_some_are_asked() -> None:
    assert kind_of(ExceptionGroup("many", [*(ValueError(str(n)) for n in range(200)), MemoryError()])) == "file"


def test_the_words_of_a_file_are_taken_out_longest_first_and_no_short_or_plain_ones() -> None:
    known = ("inv 1", "inv 1 of may", "abc", "ledger")

    assert normalised("bad: inv 1 of may, abc1, ledger", known=known) == "bad: …, abc#, ledger"
    assert normalised("bad: a-1", known=("a-1",)) == "bad: a-#"


def test_no_password_stands_in_an_identity_or_a_headline() -> None:
    url = "postgresql://me:hunter2@db/x"

    assert "hunter2" not in normalised(f"no answer {url}")
    assert "hunter2" not in of_reason(f"killed: {url}").error
    assert "hunter2" not in headline(ValueError(f"no answer {url}"))


def test_a_reason_is_cut_at_300_characters() -> None:
    assert of_reason("x" * 301).error == "x" * 299 + "…"


def module_at(path: Path, name: str) -> ModuleType:
    """A module of one function that raises, loaded under a name from a place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("def fail():\n    raise ValueError('x')\n")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("folder", "name", "home", "place"),
    [
        ("app", "read", "", "read.py in fail"),
        ("site-packages", "acme.read", "", ""),
        ("dist-packages", "acme.read", "", ""),
        ("site-packages", "acme.read", "acme", "acme/read.py in fail"),
        ("site-packages", "acme.read", "acme.jobs", "acme/read.py in fail"),
    ],
)
def test_a_frame_is_a_librarys_where_it_is_installed_but_not_the_processors_own_package(
    tmp_path: Path, folder: str, name: str, home: str, place: str
) -> None:
    module = module_at(tmp_path / folder / f"{name.replace('.', '/')}.py", name)
    with pytest.raises(ValueError, match="x") as raised:
        module.fail()
    assert raised.value.__traceback__ is not None
    error = raised.value.with_traceback(raised.value.__traceback__.tb_next)

    assert place_of(error, home=home) == place


def test_a_frame_of_the_child_itself_is_never_the_place() -> None:
    own = {"__name__": "opskit.worker.child"}
    file = str(Path(sys.modules["opskit"].__file__ or "").parent / "worker" / "child.py")
    exec(compile("def fail():\n    raise ValueError('x')\n", file, "exec"), own)
    with pytest.raises(ValueError, match="x") as raised:
        own["fail"]()  # type: ignore[operator]
    assert raised.value.__traceback__ is not None

    assert place_of(raised.value.with_traceback(raised.value.__traceback__.tb_next), home="opskit.processors") == ""


def test_a_lost_connection_of_psycopg_is_the_worlds() -> None:
    assert kind_of(psycopg.OperationalError("no server")) == "world"
