"""Page and API behind a real nginx: what it passes on under its own name opens nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from opskit.database import Database
from opskit.settings import Settings
from opskit.web import proxies
from tests.support.chromium import CHROMIUM, PATIENCE, chromium, free_port, serving
from tests.support.http_calls import ask, websocket_status
from tests.support.identity_provider import provider, write_secrets
from tests.support.nginx import HOST, NGINX, UPGRADE, nginx

ROLES = {"OPSKIT_OPERATORS": "ann@example.com", "OPSKIT_VIEWERS": "*@example.com"}
TOKEN = "a token of the tests"
CALLS = (
    ("GET", "/api/processing/files"), ("GET", "/api/processing/nodes"), ("GET", "/api/processing/doctor"),
    ("GET", "/metrics"), ("GET", "/api/metrics"), ("GET", "/api/docs"), ("GET", "/api/openapi.json"),
    ("GET", "/api/processing/concurrency-stats/stream"), ("GET", "/api/healthz"), ("HEAD", "/api/processing/nodes"),
    ("OPTIONS", "/api/processing/pause"), ("POST", "/api/processing/pause"), ("POST", "/api/processing/files"),
)  # fmt: skip

needs_nginx = pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine")


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    with provider() as known:
        yield known.url


@pytest.fixture
def signing_in(db: Database, settings: Settings, tmp_path: Path, provider_url: str) -> Iterator[str]:
    """The page where people sign in, without a token."""
    write_secrets(tmp_path, provider_url)
    with serving(settings, tmp_path, **ROLES) as address:
        yield address


@pytest.mark.slow
@needs_nginx
@pytest.mark.parametrize("lines", ["", UPGRADE], ids=["by default", "with Upgrade"])
def test_where_people_sign_in_no_call_passes_a_proxy_without_the_token(
    signing_in: str, tmp_path: Path, db: Database, lines: str
) -> None:
    with nginx(tmp_path, signing_in, free_port(), lines) as proxy:
        # The proxy's name for us is 127.0.0.1, and so it is for a program on this machine.
        for address in (proxy, signing_in):
            for method, path in CALLS:
                body = {"reason": "from the internet"} if method == "POST" else None
                status, _, text = ask(
                    address, path, method, body, Host="opskit.example.com" if address == proxy else "127.0.0.1"
                )
                assert status == 403, (method, path)
                if method != "HEAD":
                    assert "set OPSKIT_API_TOKEN for the API" in text
        assert ask(proxy, "/healthz")[0] == 200
        assert websocket_status(proxy, origin="http://evil.example") != 101
    assert db.run("pauses") == []


@pytest.mark.slow
@needs_nginx
def test_where_people_sign_in_the_token_opens_the_api_through_a_proxy(
    db: Database, settings: Settings, tmp_path: Path, provider_url: str
) -> None:
    write_secrets(tmp_path, provider_url)
    with (
        serving(settings, tmp_path, **ROLES, OPSKIT_API_TOKEN=TOKEN) as address,
        nginx(tmp_path, address, free_port()) as proxy,
    ):
        for method, path in CALLS:
            assert ask(proxy, path, method)[0] == 401
            assert ask(proxy, path, method, Authorization="Bearer another token")[0] == 401
        assert ask(proxy, "/api/processing/nodes", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert ask(proxy, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200


@needs_nginx
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_people_sign_in_and_act_through_a_proxy_that_keeps_the_host(
    db: Database, settings: Settings, tmp_path: Path, provider_url: str
) -> None:
    port = free_port()
    write_secrets(tmp_path, provider_url, f"http://127.0.0.1:{port}/oauth2callback")
    with (
        serving(settings, tmp_path, **ROLES) as address,
        nginx(tmp_path, address, port, UPGRADE + HOST) as proxy,
        chromium() as browser,
    ):
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(proxy)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="ann@example.com").click()
        page.get_by_role("button", name="Pause all…").click()
        page.get_by_role("dialog").get_by_role("button", name="Pause", exact=True).click()
        expect(page.get_by_test_id("stToast")).to_contain_text("All nodes paused", timeout=PATIENCE)
    (pause,) = db.run("pauses")
    assert pause["actor"].startswith("ann@example.com")


@pytest.mark.slow
@pytest.mark.parametrize("lines", ["", UPGRADE], ids=["by default", "with Upgrade"])
@needs_nginx
def test_without_a_token_nginx_is_known_for_a_proxy(
    db: Database, settings: Settings, tmp_path: Path, lines: str
) -> None:
    with serving(settings, tmp_path) as address, nginx(tmp_path, address, free_port(), lines) as proxy:
        assert ask(proxy, "/api/processing/pause", "POST", {})[0] == 403
        assert ask(address, "/api/processing/pause", "POST", {})[0] == 200
        assert ask(proxy, "/api/processing/resume", "POST", {})[0] == 403


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix",
        "X-Forwarded", "X-Real-Ip", "X-Client-IP", "Client-IP", "True-Client-IP", "CF-Connecting-IP", "CF-Ray",
        "X-Cluster-Client-Ip", "X-Envoy-External-Address", "X-Envoy-Expected-Rq-Timeout-Ms", "X-Original-URL",
        "X-Original-Host", "X-Original-Forwarded-For", "X-Rewrite-Url", "Tailscale-User-Login", "Tailscale-User-Name",
        "X-Auth-Request-Email", "Fastly-Client-IP", "Fly-Client-IP", "X-Appengine-User-Ip", "X-Azure-ClientIP",
        "X-Azure-SocketIP", "X-Amzn-Trace-Id", "CloudFront-Viewer-Address", "X-Vercel-Ip-Country", "Remote-User",
        "X-Remote-User", "X-Remote-Addr", "X-Arr-Log-Id", "X-Nginx-Proxy", "X-Scheme", "Proxy-Connection",
        "CDN-Loop", "Akamai-Origin-Hop", "Ali-Cdn-Real-Ip", "X-Sucuri-ClientIP", "Wl-Proxy-Client-IP", "x_real_ip",
        "X-ProxyUser-Ip", "X-Coming-From-Real-Ip", "X-Webauth-User", "X-MS-Client-Principal",
    ],
)  # fmt: skip
def test_what_a_proxy_adds_is_known_by_its_family(name: str) -> None:
    assert proxies.passed_on([("host", "127.0.0.1:8501"), (name, "x")])


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1", "user-agent": "curl/8", "accept": "*/*"},
        {"host": "127.0.0.1", "connection": "close", "accept-encoding": "identity"},
        {"host": "127.0.0.1", "connection": "keep-alive", "sec-fetch-site": "same-origin", "sec-ch-ua": "x",
         "origin": "http://127.0.0.1", "referer": "http://127.0.0.1/", "cookie": "a=b", "cache-control": "no-cache",
         "upgrade-insecure-requests": "1", "accept-language": "de", "dnt": "1", "priority": "u=1"},
        {"host": "127.0.0.1", "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "x"},
        {"host": "127.0.0.1", "content-type": "application/json", "content-length": "2", "authorization": "Bearer x",
         "x-request-id": "1", "traceparent": "00-x", "idempotency-key": "1", "x-xsrftoken": "1",
         "expect": "100-continue", "transfer-encoding": "chunked", "te": "trailers", "range": "bytes=0-1"},
    ],
)  # fmt: skip
def test_what_browsers_and_programs_send_by_themselves_is_no_proxys(headers: dict[str, str]) -> None:
    assert not proxies.passed_on(headers.items())
    assert proxies.passed_on(headers.items(), "1.0")
