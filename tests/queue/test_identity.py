"""The server ID: its forms, what it may not be, and that it belongs to one process."""

from __future__ import annotations

import os
import re
import socket
import sys
import time

import pytest

from opskit.errors import SettingError
from opskit.queue.server_id import LONGEST, check_server_id, server_id, server_info
from opskit.settings import Settings

HOST = re.escape(socket.gethostname()[:60])


@pytest.mark.parametrize(
    ("environ", "form"),
    [
        ({"NODE_ID": "node-a", "OPSKIT_ENV": "production"}, "node-a"),
        ({"NODE_ID": "node-a"}, "node-a"),
        ({"NODE_ID": "  node a\n"}, "node a"),
        ({"NODE_ID": "Würfel-節點-1"}, "Würfel-節點-1"),
        ({"NODE_ID": "n" * LONGEST}, "n" * LONGEST),
        ({"OPSKIT_ENV": "production"}, r"{host}-{pid}"),
        ({"OPSKIT_ENV": "development"}, r"{host}-{pid}-\d{{13}}"),
        ({}, r"{host}-{pid}-\d{{13}}"),
        ({"NODE_ID": ""}, r"{host}-{pid}-\d{{13}}"),
        ({"NODE_ID": "   ", "OPSKIT_ENV": "production"}, r"{host}-{pid}"),
    ],
)
def test_a_server_id_has_one_of_three_forms(environ: dict[str, str], form: str) -> None:
    settings = Settings.load(environ)

    name = server_id(settings)

    # The process is named here, not in the parameters: those name the tests, the same in every process.
    assert re.fullmatch(form.format(host=HOST, pid=os.getpid()), name), name


def test_without_settings_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_ID", " from-outside ")

    name = server_id()

    assert name == "from-outside"


@pytest.mark.parametrize("env", ["production", "development"])
def test_a_server_id_is_made_once_and_kept(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load({"OPSKIT_ENV": env})
    first = server_id(settings)

    monkeypatch.setattr(time, "time", lambda: 1.0)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")

    assert server_id(settings) == first


def test_the_milliseconds_of_a_development_id_are_of_now() -> None:
    name = server_id(Settings.load({}))

    made_at = int(name.rsplit("-", 1)[1]) / 1000

    assert time.time() - 3600 < made_at <= time.time()


@pytest.mark.parametrize("env", ["production", "development"])
def test_a_forked_child_is_another_process_with_an_id_of_its_own(env: str) -> None:
    settings = Settings.load({"OPSKIT_ENV": env})
    own = server_id(settings)
    reading, writing = os.pipe()

    pid = os.fork()
    if pid == 0:
        # Nothing of pytest's may run in here.
        os.write(writing, server_id(settings).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as pipe:
        forked = pipe.read()

    assert forked != own
    assert re.fullmatch(rf"{HOST}-{pid}" + ("" if env == "production" else r"-\d{13}"), forked)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("\n\t", "empty"),
        ("n" * 101, "101 characters"),
        ("é" * 101, "101 characters"),
        ("*", "stands for all nodes"),
        (" * ", "stands for all nodes"),
        ("node\0a", "control characters"),
        ("node\na", "control characters"),
        ("node\x1b[31ma", "control characters"),
        ("node\x7fa", "control characters"),
        ("node\x85a", "control characters"),
        ("node\udcffa", "control characters"),
        ("node\ud800", "control characters"),
    ],
)
def test_a_name_that_no_node_may_have_is_refused_with_the_reason(value: str, complaint: str) -> None:
    settings = Settings.load({}, node_id=value)

    with pytest.raises(SettingError, match=f"NODE_ID.*{complaint}") as refused:
        server_id(settings)

    # A sentence that can be printed anywhere.
    assert str(refused.value).encode("utf-8").decode().isprintable()


@pytest.mark.parametrize("value", ["a", "**", "node *", "a" * 100, "  a", "a/b:c@d", "%s", "';--"])
def test_any_other_name_will_do(value: str) -> None:
    assert check_server_id(value) == value.strip()


def test_server_info_has_the_keys_that_clients_read() -> None:
    settings = Settings.load({"OPSKIT_TABLE": "papers"}, node_id="node-a")

    info = server_info(settings)

    assert set(info) == {
        "serverId", "shortServerId", "hostname", "platform", "architecture", "pythonVersion", "processId",
        "environment", "uptime", "memoryUsage", "version", "table",
    }  # fmt: skip
    assert (info["serverId"], info["shortServerId"]) == ("node-a", "node-a")
    assert (info["environment"], info["table"]) == ("development", "dev_papers")
    assert info["pythonVersion"] == ".".join(map(str, sys.version_info[:3]))
    assert (info["processId"], info["hostname"]) == (os.getpid(), socket.gethostname())
    assert 0 < info["uptime"] < 86400
    assert 2**20 < info["memoryUsage"]["rss"] < 2**36


@pytest.mark.parametrize(("length", "short_length"), [(20, 20), (21, 20), (100, 20)])
def test_a_long_server_id_is_shortened_in_its_middle(length: int, short_length: int) -> None:
    name = "".join(chr(ord("a") + n % 26) for n in range(length))

    short = server_info(Settings.load({}, node_id=name))["shortServerId"]

    assert len(short) == short_length
    assert short.startswith(name[:8])
    assert short.endswith(name[-11:])
    assert ("…" in short) == (length > short_length)
