"""Servers as processors: `opskit worker --post`, with real servers."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opskit.database import Database
from opskit.errors import SettingError
from opskit.files.retry_after import seconds_of
from opskit.settings import Settings
from tests.support.http_servers import listening
from tests.support.nodes import Node, ask, counts, running_nodes, status, until
from tests.support.tables import attempts, files, opskit, put, row

Post = Callable[..., Node]
Answers = dict[str, tuple[int, dict[str, str], bytes]]


@dataclass
class Application:
    """A server of an application's.

    Attributes:
        answers: By the name of a file: status, headers, body. Any other is answered 204.
        requests: What it was asked: headers and body.
        connections: How many connections were made to it.
    """

    answers: Answers = field(default_factory=dict)
    requests: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    hang: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def answering(certificate: Path | None = None) -> Iterator[Application]:
    """A real server on this machine."""
    application = Application()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            application.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            application.requests.append((dict(self.headers), body))
            code, headers, content = application.answers.get(body["name"], (204, {}, b""))
            if code == 0:
                application.hang.wait(30)
                self.close_connection = True
                return
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            if code != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    application.url = f"{scheme}://localhost:{server.server_port}/process?by=opskit"
    with listening(server):
        try:
            yield application
        finally:
            application.hang.set()


@pytest.fixture
def application() -> Iterator[Application]:
    """A server of the test's own."""
    with answering() as running:
        yield running


@pytest.fixture
def post(db: Database, tmp_path: Path, application: Application) -> Iterator[Post]:
    """Start a node that posts to that server."""
    with running_nodes(db, tmp_path) as begin:

        def start(*flags: str, url: str = "", **environ: str) -> Node:
            return begin("node-a", *flags, OPSKIT_POST=url or application.url, OPSKIT_PROCESSOR="", **environ)

        yield start


def drained(node: Node) -> str:
    """Wait until a node with --drain has ended well; its log."""
    assert node.end() == 0, node.log
    return node.log


def test_each_file_is_posted_once_with_its_row_token_and_key_over_one_connection(
    db: Database, post: Post, application: Application
) -> None:
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN amount numeric DEFAULT 7.5, ADD COLUMN file_content bytea")
    ids = files(db, *(f"file-{number}" for number in range(20)), storage_path="s3://bucket/a.csv", file_size=12)
    application.answers["file-3"] = (200, {"Content-Type": "application/json"}, b'{"rows": 3}')

    drained(post("--drain", OPSKIT_POST_TOKEN="a-token"))

    assert counts(db) == {"completed": 20}
    assert sorted(body["id"] for _, body in application.requests) == sorted(ids)
    headers, body = application.requests[3]
    assert body.keys() == {"id", "name", "path", "size", "attempt", "token", "row"}
    assert (body["name"], body["path"], body["size"], body["attempt"]) == ("file-3", "s3://bucket/a.csv", 12, 1)
    assert (body["row"]["amount"], body["row"]["original_filename"]) == ("7.5", "file-3")
    assert "file_content" not in body["row"]
    assert (headers["Authorization"], headers["Idempotency-Key"]) == ("Bearer a-token", body["token"])
    assert headers["Content-Type"] == "application/json"
    assert str(row(db, body["id"])["processing_done_token"]) == body["token"]
    assert row(db, body["id"])["processing_result"] == {"rows": 3}
    assert application.connections == 1


def test_a_status_says_how_an_attempt_ended(db: Database, post: Post, application: Application) -> None:
    json_type = {"Content-Type": "application/json"}
    application.answers |= {
        "bad": (422, json_type, b'{"error": "no header\\nin line 1"}'),
        "plain": (400, {}, b"what is this?"),
        "accepted": (202, {}, b""),
        "teapot": (418, {}, b"short and stout"),
        "list": (200, json_type, b"[1]"),
    }
    ids = {name: files(db, name)[0] for name in application.answers}

    drained(post("--drain", OPSKIT_MAX_FAILURES="1"))

    def ended(name: str) -> tuple[str, str, str]:
        (event,) = attempts(db, ids[name])
        return event["outcome"], event["next_status"], event["reason"].splitlines()[-1]

    assert ended("bad") == ("rejected", "failed", "rejected: no header in line 1")
    assert ended("plain") == ("rejected", "failed", "rejected: what is this?")
    assert ended("accepted")[0] == "raised"
    assert "202 Accepted; accepted is not done" in ended("accepted")[2]
    assert ended("teapot") == ("raised", "failed", "HTTP 418 I'm a Teapot: short and stout")
    assert row(db, ids["teapot"])["processing_failure"]["place"].startswith("POST http://localhost:")
    assert (status(db, ids["list"]), row(db, ids["list"])["processing_result"]) == ("completed", None)


def test_retry_after_defers_a_file_until_then(db: Database, post: Post, application: Application) -> None:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=300)
    application.answers |= {
        "busy": (429, {"Retry-After": "120"}, b""),
        "away": (503, {"Retry-After": email.utils.format_datetime(then, usegmt=True)}, b'{"message": "back soon"}'),
    }
    busy, away = files(db, "busy", "away")

    post()

    until(lambda: attempts(db, busy) and attempts(db, away))
    due = {
        found["id"]: found["s"]
        for found in ask(
            db,
            f"SELECT id::text AS id, extract(epoch FROM processing_queued_at - now())::float8 AS s "
            f"FROM {db.settings.files}",
        )
    }
    assert 110 < due[busy] <= 120
    assert 280 < due[away] <= 300
    assert [attempts(db, id)[0]["outcome"] for id in (busy, away)] == ["deferred", "deferred"]
    assert attempts(db, away)[0]["reason"] == "503 Service Unavailable: back soon"


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("code", [302, 401, 404, 500, 503])
def test_an_answer_of_the_worlds_opens_the_breaker_and_fails_no_file(
    db: Database, post: Post, application: Application, code: int
) -> None:
    headers = {"Location": "http://127.0.0.1:9/elsewhere"} if code == 302 else {}
    names = [f"file-{number}" for number in range(6)]
    application.answers |= dict.fromkeys(names, (code, headers, b""))
    ids = files(db, *names)

    post(OPSKIT_QUARANTINE_AFTER="0")
    until(lambda: db.run("breaker", row_limit=10))
    assert f"HTTP {code}" in db.run("breaker", row_limit=10)[0]["reason"]
    application.answers.clear()

    until(lambda: counts(db) == {"completed": 6})
    assert [row(db, id)["processing_failures"] for id in ids] == [0] * 6


def test_a_server_that_is_away_or_goes_away_is_the_worlds_fault(
    db: Database, post: Post, application: Application
) -> None:
    application.answers["hung up"] = (0, {}, b"")
    application.hang.set()
    (id,) = files(db, "hung up")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (other,) = files(db, "refused", processing_queued_at="infinity")
        drained(post("--max-files", "1", OPSKIT_MAX_FAILURES="1"))
        put(db, other, "processing_queued_at = now()")
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        drained(post("--max-files", "1", url=url, OPSKIT_MAX_FAILURES="1"))

    assert "no answer: the server has closed the connection" in attempts(db, id)[0]["reason"]
    assert "no answer: ConnectionRefusedError" in attempts(db, other)[0]["reason"]
    assert [attempts(db, each)[0]["details"]["kind"] for each in (id, other)] == ["world", "world"]


def test_a_connection_that_the_server_has_closed_is_made_again(
    db: Database, post: Post, application: Application
) -> None:
    application.answers["last"] = (200, {"Connection": "close"}, b"{}")
    files(db, "last", "next")

    drained(post("--drain"))

    assert counts(db) == {"completed": 2}
    assert application.connections == 2


@pytest.mark.slow
def test_a_certificate_that_nobody_vouches_for_is_refused(db: Database, post: Post, tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(pem), "-out", str(tmp_path / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_text(pem.read_text() + (tmp_path / "cert.pem").read_text())
    with answering(pem) as application:
        (id,) = files(db, "a")
        drained(post("--max-files", "1", url=application.url, OPSKIT_MAX_FAILURES="1"))
        assert "CERTIFICATE_VERIFY_FAILED" in attempts(db, id)[0]["reason"]
        assert application.requests == []

        (trusted,) = files(db, "b")
        drained(post("--max-files", "1", url=application.url, SSL_CERT_FILE=str(tmp_path / "cert.pem")))
        assert status(db, trusted) == "completed"


def test_an_answer_that_comes_after_the_claim_is_lost_is_discarded(
    db: Database, post: Post, application: Application
) -> None:
    application.answers["slow"] = (0, {}, b"")
    (id,) = files(db, "slow")
    node = post(OPSKIT_LEASE_SECONDS="1")
    until(lambda: application.requests)

    put(db, id, "processing_status = 'failed', processing_token = NULL")

    until(lambda: "its claim was ended by others" in node.log)
    application.hang.set()
    assert status(db, id) == "failed"


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("app.internal/process", "it must be a URL like https://"),
        ("ftp://app.internal/process", "it must be a URL like https://"),
        ("http:///process", "it must be a URL like https://"),
        ("http://app:99999/process", "it must be a URL like https://"),
        ("http://me:secret@app.internal/", "set OPSKIT_POST_TOKEN instead"),
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused_before_a_node_registers(
    db: Database, settings: Settings, url: str, told: str
) -> None:
    done = opskit(settings, "worker", "--drain", OPSKIT_POST=url)

    assert done.returncode == 1
    assert told in done.stderr
    assert "secret" not in done.stderr
    assert db.run("nodes") == []


def test_program_and_server_together_are_refused() -> None:
    with pytest.raises(SettingError, match="OPSKIT_EXEC and OPSKIT_POST are set"):
        Settings.load({}, exec="cat", post="http://app/")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0), ("120", 120), ("1.5", 1.5), ("soon", None), ("-3", None), ("", None), (None, None), ("nan", None),
     ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("1e12", 30 * 86400), ("Fri, 31 Dec 9999 23:59:59 GMT", 30 * 86400)],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header) == seconds


def test_a_column_that_is_dropped_or_added_while_a_node_works_is_seen(
    db: Database, post: Post, application: Application
) -> None:
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN amount integer DEFAULT 7")
    files(db, "before")
    post()
    until(lambda: application.requests)

    ask(db, f"ALTER TABLE {db.settings.files} DROP COLUMN amount, ADD COLUMN customer text DEFAULT 'acme'")
    files(db, "after")

    until(lambda: counts(db) == {"completed": 2})
    (_, first), (_, second) = application.requests
    assert (first["row"]["amount"], second["row"]["customer"]) == (7, "acme")
    assert "amount" not in second["row"]
