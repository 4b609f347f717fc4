"""No password is told: not in logs, rows, events, answers of the API, tracebacks or notebooks."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from opskit.database import Database
from opskit.settings import Settings
from opskit.support.logs import masked
from opskit.web.api.app import create_api
from tests.support import python_programs
from tests.support.nodes import add_files, running_nodes

SECRET = "hunter2"


@pytest.mark.slow
def test_a_password_in_a_processors_error_reaches_neither_log_nor_table_nor_api(db: Database, tmp_path: Path) -> None:
    (id,) = add_files(db, "a")
    with running_nodes(db, tmp_path) as start:
        node = start("node-a", "--drain", act="betray", OPSKIT_MAX_FAILURES="1")
        assert node.end() == 0

    answers = [_asked(db, f"/processing/{what}") for what in ("failures", "events", "timeline")]
    told = [node.log, json.dumps(db.one("file", id=id), default=str), *answers]
    assert "cannot reach postgresql://me:…@db.example/x?sslmode=off, password=…" in node.log
    assert db.one("file", id=id)["processing_status"] == "failed"
    assert any("db.example" in text for text in answers)
    for text in told:
        assert SECRET not in text


def _asked(db: Database, path: str) -> str:
    """What the API answers."""

    async def asked() -> str:
        transport = httpx.ASGITransport(create_api(db, db.settings), client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get(path)).text

    return asyncio.run(asked())


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:1/x",
        f"postgresql://me:{SECRET}@127.0.0.1:port/x",
        f"postgresql://me:{SECRET}@127.0.0.1:1/x?nonsense=1",
        f"host=127.0.0.1 port=1 user=me password={SECRET}",
        f"host=127.0.0.1 port=1 user=me password='{SECRET}' nonsense",
        f"postgresql://127.0.0.1:1/x?user=me&password={SECRET}",
    ],
)
def test_a_traceback_on_the_shell_shows_no_password(url: str) -> None:
    done = python_programs.run(
        [sys.executable, "-m", "opskit", "stats", "-v"],
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_an_open_database_shows_no_password(db: Database) -> None:
    away = Database(dataclasses.replace(db.settings, database_url=f"postgresql://me:{SECRET}@127.0.0.1:1/x"))

    assert SECRET not in repr(away) + away._repr_html_()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hunter2@db/x", "postgresql://me:…@db/x"),
        ("redis://:hunter2@cache:6379/0", "redis://:…@cache:6379/0"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("host=db password = 'a b' user=me", "host=db password = … user=me"),
        ("?user=me&password=hunter2&x=1", "?user=me&password=…&x=1"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=… psql"),
        ("nothing to hide: 12:30@noon", "nothing to hide: 12:30@noon"),
    ],
)
def test_passwords_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown


# -- settings ------------------------------------------------------------------------------------

URLS = {
    f"postgresql://me:{SECRET}@db/x?sslmode=off": "postgresql://me:…@db/x?sslmode=off",
    f"postgresql://db/x?user=me&password={SECRET}&sslmode=off": "postgresql://db/x?user=me&password=…&sslmode=off",
    f"postgresql://db/x?sslpassword={SECRET}": "postgresql://db/x?sslpassword=…",
    f"host=db password={SECRET} user=me": "host=db password=… user=me",
    f"host=db password='it\\'s {SECRET}' user=me": "host=db password=… user=me",
    f"host=db password=a\\ {SECRET} user=me": "host=db password=… user=me",
    f"host=db password=a&{SECRET} user=me": "host=db password=… user=me",
    f"host=db PassWord  =  {SECRET}": "host=db PassWord  =  …",
}


@pytest.mark.parametrize(("url", "shown"), URLS.items())
def test_settings_show_neither_passwords_nor_tokens(url: str, shown: str) -> None:
    settings = Settings.load({}, database_url=url, api_token=SECRET, storage=f"s3://key:{SECRET}@bucket", table="x")

    told = [repr(settings), str(settings), f"{settings}", settings._repr_html_(), repr([settings])]

    for text in told:
        assert SECRET not in text
    assert f"database_url={shown!r}" in repr(settings)
    assert "api_token='…'" in repr(settings)
    assert "table='x'" in repr(settings)


def test_every_setting_that_is_a_secret_is_marked_as_one() -> None:
    for one in dataclasses.fields(Settings):
        sounds = any(word in one.metadata["env"] for word in ("TOKEN", "PASSWORD", "SECRET", "CREDENTIAL"))
        assert one.metadata["secret"] == sounds, one.metadata["env"]


def test_settings_keep_their_secrets_for_who_uses_them() -> None:
    settings = Settings.load({}, database_url=f"postgresql://me:{SECRET}@db/x", api_token=SECRET)

    assert pickle.loads(pickle.dumps(settings)) == settings
    assert dataclasses.asdict(settings)["api_token"] == SECRET
    assert settings.environ()["DATABASE_URL"] == f"postgresql://me:{SECRET}@db/x"
    assert dataclasses.replace(settings, port=1).api_token == SECRET


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("program", ["opskit info", "opskit.worker --drain", "opskit.web --pg-bin /nowhere"])
def test_a_secret_given_as_an_argument_is_warned_of_once(db: Database, program: str) -> None:
    url = db.settings.database_url or ""
    assert ":" in url.split("@")[0].removeprefix("postgresql://"), "the tests' own server has a password"
    flags = ["--database-url", url, "--api-token", SECRET, "--env", "nowhere"]

    done = subprocess.run(
        [sys.executable, "-m", *program.split(), *flags], capture_output=True, text=True, check=False, timeout=60
    )

    told = [line for line in done.stderr.splitlines() if "list of processes" in line]
    assert told == [
        "opskit: every user of this machine can read --database-url and --api-token in the list of processes; "
        "set DATABASE_URL, OPSKIT_API_TOKEN (or leave the password to PGPASSFILE) instead"
    ]
    assert SECRET not in done.stderr


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("url", ["postgresql://me@127.0.0.1:1/x", "host=127.0.0.1 port=1 passfile=/tmp/x"])
def test_nothing_is_warned_of_where_the_command_line_holds_no_secret(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "opskit", "info", "--database-url", url],
        env={**os.environ, "OPSKIT_API_TOKEN": SECRET},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""
