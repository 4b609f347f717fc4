"""A bucket that refuses, is overloaded, answers slowly or is gone costs time and no files."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import fsspec
import pytest

from opskit.database import Database
from opskit.files import stores
from opskit.queue import breaker
from opskit.queue.error_identity import kind_of
from tests.support import buckets
from tests.support.http_servers import listening
from tests.support.nodes import ask, counts, running_nodes, until
from tests.support.tables import files

INSPECT = "opskit.processors:inspect_file"


class Proxy(ThreadingHTTPServer):
    """A proxy before an S3: it answers with errors, or slowly, for as long as it is told to."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.status = 0
        self.pause_seconds = 0.0
        self.refused = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        time.sleep(self.server.pause_seconds)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.status:
            self.server.refused += 1
            code = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}[self.server.status]
            self._answer(self.server.status, {}, f"<Error><Code>{code}</Code></Error>".encode())
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        asked = urllib.request.Request(
            self.server.upstream + self.path, data=body or None, headers=headers, method=self.command
        )
        try:
            with urllib.request.urlopen(asked) as answer:
                self._answer(answer.status, dict(answer.headers), answer.read())
        except HTTPError as error:
            self._answer(error.code, dict(error.headers), error.read())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        length = headers.pop("Content-Length", "") if self.command == "HEAD" else ""
        ours = ("connection", "transfer-encoding", "server", "date", "content-length")
        kept = {name: value for name, value in headers.items() if name.lower() not in ours}
        kept["Content-Length"] = length or str(len(body))
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A bucket of moto's behind the proxy, with ten files."""
    with (
        buckets.object_store() as url,
        listening(Proxy(url)) as proxy,
        buckets.bucket(monkeypatch, proxy.url, "faulty", AWS_MAX_ATTEMPTS="1") as store,
    ):
        store.pipe({f"faulty/{n}.csv": b"a,b\n1,2\n" for n in range(10)})
        store.invalidate_cache()
        yield proxy


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_bucket_that_refuses_opens_the_breaker_and_fails_no_file(
    db: Database, tmp_path: Path, bucket: Proxy, status: int
) -> None:
    files(db, *[f"{n}.csv" for n in range(10)])
    ask(db, f"UPDATE {db.settings.files} SET storage_path = 's3://faulty/' || original_filename")
    bucket.status = status
    with running_nodes(db, tmp_path) as start:
        for number in range(2):
            start(f"node-{number}", act=INSPECT, OPSKIT_MAX_FAILURES="3", OPSKIT_RETRY_SECONDS="0.1")
        until(lambda: breaker.state(db), 120, "the breaker")
        assert counts(db).get("failed", 0) == 0
        bucket.status = 0
        until(lambda: counts(db) == {"completed": 10}, 120, "every file")

    assert bucket.refused >= breaker.MOST_FILES
    assert ask(db, f"SELECT sum(processing_failures) AS n FROM {db.settings.files}") == [{"n": 0}]


@pytest.mark.slow
def test_a_bucket_that_answers_slowly_costs_time_and_no_attempt(db: Database, tmp_path: Path, bucket: Proxy) -> None:
    files(db, "0.csv", "1.csv")
    ask(db, f"UPDATE {db.settings.files} SET storage_path = 's3://faulty/' || original_filename")
    bucket.pause_seconds = 4.0
    with running_nodes(db, tmp_path) as start:
        start("node-a", act=INSPECT, OPSKIT_LEASE_SECONDS="2")
        until(lambda: counts(db) == {"completed": 2}, 90, "both files")

    assert ask(db, f"SELECT max(processing_attempt) AS n FROM {db.settings.files}") == [{"n": 1}]


@pytest.mark.slow
def test_what_a_bucket_answers_is_the_worlds_fault_and_a_missing_object_is_its_files(bucket: Proxy) -> None:
    def kind(url: str, status: int = 0) -> str:
        bucket.status = status
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        with pytest.raises(Exception) as raised:  # noqa: PT011 -- which one it is differs
            stores.opened(url).read(1)
        return kind_of(raised.value)

    assert {status: kind("s3://faulty/0.csv", status) for status in (403, 500, 503)} == dict.fromkeys(
        (403, 500, 503), "world"
    )
    assert kind("s3://faulty/nosuch.csv") == "file"
    assert kind("s3://nosuch-bucket/0.csv") == "world"
