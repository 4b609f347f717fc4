"""What every connection passes first: names, places, pages of others, and what the browser is told."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.server
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect
from starlette.applications import Starlette

from opskit.database import Database
from opskit.errors import SettingError
from opskit.settings import Settings
from opskit.support import allowed_hosts
from opskit.web import middleware
from opskit.web import server as serve
from opskit.web.dashboard import readings
from tests.support.chromium import CHROMIUM, PATIENCE, chromium, free_port, serving, wait_for
from tests.support.http_calls import ask, websocket_status
from tests.support.http_servers import listening

ROOT = Path(__file__).parents[2]
READ = "/api/processing/nodes"
PATHS = (READ, "/metrics", "/api/docs", "/", "/_stcore/health", "/_stcore/host-config")
needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


@pytest.fixture
def app(db: Database, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answers a call with its status, in this process, from whatever place and by whatever name."""
    monkeypatch.setattr(readings, "database", lambda: db)

    def status(
        settings: Settings, path: str = READ, *, client: Any = ("127.0.0.1", 5), method: str = "GET", **headers: str
    ) -> httpx.Response:
        built = Starlette(routes=serve.routes(settings), middleware=middleware.middleware(settings))
        headers = {"host": "127.0.0.1:8501"} | {name.replace("_", "-"): value for name, value in headers.items()}

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(built, client=client)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8501") as one:
                return await one.request(method, path, headers=headers)

        return asyncio.run(asked())

    return status


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8501", "localhost:1", "LocalHost:65535", "[::1]", "[::1]:8501", "[0:0:0:0:0:0:0:1]:80"],
)
def test_a_loopback_server_answers_to_its_own_names(app: Any, settings: Settings, host: str) -> None:
    assert app(settings, host=host).status_code == 200


ODD = [
    "evil.example", "evil.example:8501", "evil@127.0.0.1", "evil@127.0.0.1:8501", "127.0.0.1#x", "127.0.0.1/x",
    "127.0.0.1?x", "127.0.0.1:8501@evil.example", "127.0.0.1.", "localhost.", "localhost.:8501", "localhost..",
    "127.0.0.1.evil.example", "localhost.evil.example", "evil.localhost", "evillocalhost", "127.0.0.1:", "127.0.0.1:0",
    "127.0.0.1:65536", "127.0.0.1:99999999999", "127.0.0.1:+80", "127.0.0.1:8501:8501", "127.0.0.1: 80", "127.1",
    "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.2", "0.0.0.0:8501", "::1", "[::1", "[::1]x", "[::1%lo]",
    "[::ffff:127.0.0.1]", "[localhost]", "[127.0.0.1]", "[::]", "", " ", "\\127.0.0.1", "127.0.0.1,evil.example",
    "127.0.0.1 evil.example", "http://127.0.0.1", "localhost\t", "*", "_", "-", ".", "xn--localhost",
    "ⅼocalhost".encode().decode("latin-1"), "１２７.0.0.1".encode().decode("latin-1"),
]  # fmt: skip


@pytest.mark.fast_cases(20)
@pytest.mark.parametrize("host", ODD)
def test_what_is_no_name_of_ours_is_not_answered(app: Any, settings: Settings, host: str) -> None:
    assert not allowed_hosts.answers_to(host, ())
    assert not allowed_hosts.names_loopback(host)
    if host.isascii():
        refused = app(settings, host=host)
        assert refused.status_code == 403
        assert "OPSKIT_HOSTS" in refused.json()["error"]
        assert app(settings, "/healthz", host=host).status_code == 200


def test_names_that_are_listed_are_answered_and_others_are_not(app: Any, settings: Settings) -> None:
    listed = dataclasses.replace(settings, hosts="opskit.example.com, *.ops.example.com,192.0.2.7,[fd00:0::7]")

    for host in ("opskit.example.com", "OPSKIT.example.com:8443", "a.b.ops.example.com", "192.0.2.7:1", "[fd00::7]:2"):
        assert app(listed, host=host).status_code == 200, host
    for host in ("ops.example.com", "xopskit.example.com", "evilops.example.com", "opskit.example.com.", "[fd00::8]"):
        assert app(listed, host=host).status_code == 403, host
    # Being answered is no right to act: that takes the token, or this machine's own name.
    assert app(listed, "/api/processing/pause", method="POST", host="opskit.example.com").status_code == 403
    # Where the address is open, the list still says which names there are.
    anywhere = dataclasses.replace(listed, host="0.0.0.0", api_token="secret token")
    assert app(anywhere, host="opskit.example.com", client=("192.0.2.9", 1)).status_code == 200
    assert app(anywhere, host="evil.example", client=("192.0.2.9", 1)).status_code == 403


@pytest.mark.parametrize(
    "text", ["opskit.example.com:8443", "https://x", "*", "a b", "*.", "x.*", "[::1", "*x.example"]
)
def test_a_list_of_names_that_cannot_be_used_is_told(text: str) -> None:
    with pytest.raises(SettingError, match="OPSKIT_HOSTS has"):
        Settings.load({}, hosts=f"fine.example,{text}")


def test_a_request_has_one_host(app: Any, settings: Settings, db: Database) -> None:
    with serving_plainly(settings) as address:
        assert raw(address, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n").startswith("400")
        assert raw(address, "GET /metrics HTTP/1.0\r\n\r\n").startswith("403")
        assert raw(address, "GET http://evil.example/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n").startswith("403")


# -- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        {"client": ("192.0.2.7", 1)},
        {"client": ("::ffff:192.0.2.7", 1)},
        {"client": None},
        {"client": ("", 0)},
        {"x_forwarded_for": "127.0.0.1"},
        {"via": "1.1 somebody"},
    ],
)
def test_while_nothing_says_who_may_only_this_machine_is_answered(
    app: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch, call: dict[str, Any]
) -> None:
    # uvicorn may be bound to another address than OPSKIT_HOST: the connection tells.
    for path in (READ, "/metrics", "/api/docs"):
        refused = app(settings, path, **call)
        assert refused.status_code == 403
        assert "OPSKIT_API_TOKEN" in refused.json()["error"]
    assert app(settings, "/healthz", **call).status_code == 200
    assert app(dataclasses.replace(settings, api_token="secret token"), **call).status_code == 200


# -- pages of others -----------------------------------------------------------------------------


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:8502", "http://localhost:8501",
        "https://127.0.0.1", "http://127.0.0.1:8501.evil.example", "http://evil@127.0.0.1:8501", "127.0.0.1:8501",
        "http://127.0.0.1:8501/", "http://127.0.0.1:8501#", "file://127.0.0.1:8501", "http://127.0.0.1.:8501",
    ],
)  # fmt: skip
def test_nothing_is_done_for_a_foreign_page(app: Any, settings: Settings, method: str, origin: str) -> None:
    for path in ("/_stcore/upload_file/a/b", "/api/processing/pause"):
        assert app(settings, path, method=method, origin=origin).status_code == 403
    assert app(settings, "/api/processing/resume", method="POST", origin="http://127.0.0.1:8501").status_code == 200


def test_the_websocket_opens_for_the_page_itself_alone(db: Database, settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, OPSKIT_HOSTS="opskit.example.com") as address:
        own = address.removeprefix("http://")
        assert websocket_status(address, origin=address) == 101
        assert websocket_status(address) == 101  # no page at all
        assert websocket_status(address, origin="https://opskit.example.com", host="opskit.example.com") == 101
        for origin in (
            "http://localhost:3000", "http://127.0.0.1:3000", f"http://localhost:{own.partition(':')[2]}", "null",
            "http://0.0.0.0:8501", "http://evil.example", f"http://evil.example@{own}", f"{address}.evil.example", "file://",
        ):  # fmt: skip
            assert websocket_status(address, origin=origin) == 403, origin
        assert websocket_status(address, origin="http://evil.example", host="evil.example") == 403
        assert websocket_status(address, host="evil.example") == 403
        for path in PATHS:
            status, headers, _ = ask(address, path)
            assert status == 200, path
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["referrer-policy"] == "same-origin"
            assert (headers.get("cache-control") == "no-store") == path.startswith(("/api", "/metrics"))
            assert ask(address, path, Host="evil.example")[0] == 403, path
        for path in ("/api/nowhere", "/nowhere/_stcore/health", "/healthz"):
            assert ask(address, path)[1]["x-frame-options"] == "DENY"


# -- framing of requests -------------------------------------------------------------------------


@contextlib.contextmanager
def serving_plainly(settings: Settings) -> Iterator[str]:
    """The API behind its middleware under uvicorn in this process, without the page: faster to start."""
    import uvicorn

    port = free_port()
    built = Starlette(routes=serve.routes(settings), middleware=middleware.middleware(settings))
    server = uvicorn.Server(uvicorn.Config(built, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def raw(address: str, request: str) -> str:
    """The answer to bytes as they are, without "HTTP/1.1 ", until the server closes or is silent for a while."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(request.encode("latin-1"))
        plain.settimeout(2)
        answer = b""
        with contextlib.suppress(TimeoutError):
            while piece := plain.recv(65536):
                answer += piece
    return answer.decode("latin-1").removeprefix("HTTP/1.1 ")


def test_a_length_beside_chunks_is_refused_and_its_connection_closed(
    app: Any, settings: Settings, db: Database
) -> None:
    smuggled = "POST /api/processing/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    with serving_plainly(settings) as address:
        for path in ("/api/processing/pause", "/", "/_stcore/upload_file/a/b"):
            answer = raw(
                address,
                f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
            )
            assert answer.startswith("400")
            assert answer.count("HTTP/1.1") == 0  # one answer, and no second
            assert "connection: close" in answer.lower()
    assert db.run("pauses") == []


# -- app.py --------------------------------------------------------------------------------------


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("command", [["uvicorn", "app:app"], ["streamlit", "run", "app.py"], ["app.py"]])
def test_every_way_to_start_the_page_refuses_an_open_address_while_nothing_says_who_may(
    settings: Settings, command: list[str]
) -> None:
    start = [sys.executable, *(["-m"] if command[0] != "app.py" else []), *command]
    environment = {**os.environ, **settings.environ(), "OPSKIT_HOST": "0.0.0.0", "PYTHONPATH": str(ROOT)}
    port = str(free_port())
    if command[0] == "uvicorn":
        start += ["--host", "0.0.0.0", "--port", port]

    done = subprocess.run(start, cwd=ROOT, env=environment | {"OPSKIT_PORT": port}, capture_output=True, timeout=60)

    assert done.returncode == 1
    assert b"OPSKIT_HOST is '0.0.0.0', which others can reach" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_under_uvicorn_others_are_not_answered_whatever_address_it_is_bound_to(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    elsewhere = own_address()
    if elsewhere is None:
        pytest.skip("this machine has no address but loopback")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app:app", "--host", "0.0.0.0", "--port", str(port)]
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings.environ()}, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/healthz", process, log.name)
            far, near = f"http://{elsewhere}:{port}", f"http://127.0.0.1:{port}"
            for path in PATHS:
                assert ask(near, path)[0] == 200, path
                assert ask(far, path)[0] == 403, path
                # The name can be forged, the address cannot.
                assert ask(far, path, Host=f"127.0.0.1:{port}")[0] == 403, path
            assert websocket_status(far, host=f"127.0.0.1:{port}") == 403
            assert websocket_status(near) == 101
            assert ask(far, "/healthz")[0] == 200
        finally:
            process.kill()
            process.wait(10)


def own_address() -> str | None:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


# -- in a browser --------------------------------------------------------------------------------


@contextlib.contextmanager
def foreign_page(html: str) -> Iterator[int]:
    """A site of somebody else on this machine; its port."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with listening(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)) as server:
        yield server.server_address[1]


FETCHES = """async address => {
  const seen = {};
  for (const path of ['/api/processing/files', '/metrics', '/', '/healthz'])
    seen[path] = await fetch(address + path).then(r => r.status, () => 'blocked');
  seen.write = await fetch(address + '/api/processing/pause', {method: 'POST', body: '{}',
    headers: {'Content-Type': 'application/json'}}).then(r => r.status, () => 'blocked');
  seen.plain = await fetch(address + '/api/processing/pause', {method: 'POST', mode: 'no-cors'})
    .then(r => r.status, () => 'blocked');
  seen.socket = await new Promise(done => {
    const socket = new WebSocket(address.replace('http', 'ws') + '/_stcore/stream', 'streamlit');
    socket.onopen = () => done('open'); socket.onerror = () => done('refused'); });
  return seen; }"""


class TestInABrowser:
    """Chromium, to which evil.example is this machine."""

    pytestmark = needs_chromium

    def test_a_site_that_rebinds_its_name_reads_nothing_and_does_nothing(
        self, db: Database, settings: Settings, tmp_path: Path
    ) -> None:
        with (
            serving(settings, tmp_path) as address,
            foreign_page("<title>evil</title>") as port,
            chromium("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser,
        ):
            page = browser.new_page()
            rebound = address.replace("127.0.0.1", "evil.example")
            page.goto(f"{rebound}/healthz")  # a document of that very origin, so that its fetches are its own
            seen = page.evaluate(FETCHES, rebound)
            assert seen == {
                "/api/processing/files": 403, "/metrics": 403, "/": 403, "/healthz": 200,
                "write": 403, "plain": 403, "socket": "refused",
            }  # fmt: skip
            assert page.goto(rebound).status == 403  # type: ignore[union-attr]

            # A page of another port of localhost: Streamlit itself would open its WebSocket to it.
            for neighbour in (f"http://localhost:{port}", f"http://127.0.0.1:{port}"):
                page.goto(neighbour)
                seen = page.evaluate(FETCHES, address)
                assert seen["socket"] == "refused"
                assert seen["write"] == "blocked"
                assert seen["/api/processing/files"] == "blocked"
        assert db.run("pauses") == []

    def test_a_foreign_page_cannot_frame_ours(self, db: Database, settings: Settings, tmp_path: Path) -> None:
        with serving(settings, tmp_path) as address:
            frames = "".join(f'<iframe src="{address}{path}"></iframe>' for path in ("/", "/files", "/api/docs"))
            with (
                foreign_page(f"<title>evil</title>{frames}") as port,
                chromium("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser,
            ):
                for site in (f"http://evil.example:{port}", f"http://localhost:{port}", f"http://127.0.0.1:{port}"):
                    page = browser.new_page()
                    said: list[str] = []
                    page.on("console", lambda message, said=said: said.append(message.text))  # type: ignore[misc]
                    page.goto(site, wait_until="networkidle")
                    assert len(page.frames) == 4
                    for frame in page.frames[1:]:
                        assert frame.get_by_role("button").count() == 0
                        assert frame.url.startswith("chrome-error:")
                    assert sum(bool(re.search("frame-ancestors|X-Frame-Options", text)) for text in said) == 3
                # In its own window it stands.
                page = browser.new_page()
                page.goto(address)
                expect(page.get_by_role("button", name="Pause all…")).to_be_visible(timeout=PATIENCE)
