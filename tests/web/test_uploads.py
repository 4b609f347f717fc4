"""Uploads through the page: who may, and that memory stays bounded."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from opskit.database import Database
from opskit.settings import Settings
from tests.support.chromium import CHROMIUM, PATIENCE, chromium, serving
from tests.support.http_calls import ask, page_session
from tests.support.identity_provider import provider, write_secrets

MB = 1 << 20
TOKEN = "a token of the tests"


def rss(address: str) -> int:
    """Memory of the page's process [bytes]."""
    text = ask(address, "/api/processing/server-info", Authorization=f"Bearer {TOKEN}")[2]
    return int(json.loads(text)["memoryUsage"]["rss"])


def form(size: int) -> tuple[bytes, str]:
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.bin"\r\n\r\n'
    return head + bytes(size) + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


@pytest.mark.slow
@pytest.mark.parametrize("who", ["nobody signed in", "read-only", "no token shown", "nothing set, no dialog open"])
def test_a_tab_whose_page_offers_no_upload_fills_no_memory(
    db: Database, settings: Settings, tmp_path: Path, who: str
) -> None:
    environ = {
        "nobody signed in": {"OPSKIT_OPERATORS": "*@example.com", "OPSKIT_API_TOKEN": TOKEN},
        "read-only": {"OPSKIT_READ_ONLY": "1"},
        "no token shown": {"OPSKIT_API_TOKEN": TOKEN},
    }.get(who, {})
    write_secrets(tmp_path, "http://127.0.0.1:9")
    body, kind = form(64 * MB)
    with serving(settings, tmp_path, **environ) as address, page_session(address) as (session, headers):
        before = rss(address)
        for _ in range(5):
            path = f"/_stcore/upload_file/{session}/{uuid.uuid4()}"
            try:
                status, _, text = ask(address, path, "PUT", body, Content_Type=kind, **headers)
            except (BrokenPipeError, ConnectionResetError):
                continue  # the server did not wait for what it refuses
            assert status == 403
            assert "no upload is open here" in text
        small, kind = form(10)
        assert ask(address, path, "PUT", small, Content_Type=kind, **headers)[0] == 403
        assert rss(address) - before < 48 * MB


SENDS = """async ([address, session, size, times]) => {
  const token = document.cookie.match(/_streamlit_xsrf=([^;]+)/)[1], seen = [];
  for (let n = 0; n < times; n++) {
    const form = new FormData();
    form.append('f', new Blob([new Uint8Array(size)]), 'f.bin');
    seen.push(await fetch(`${address}/_stcore/upload_file/${session}/${crypto.randomUUID()}`,
      {method: 'PUT', body: form, headers: {'X-Xsrftoken': token}}).then(r => r.status, () => 'closed'));
  }
  return seen; }"""


def opened(browser: Browser, address: str) -> tuple[Page, str]:
    """A tab whose upload dialog is open and holds a small file; and its session."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/files")
    page.get_by_role("button", name="Upload…").click()
    with page.expect_request(lambda request: "/upload_file/" in request.url and request.method == "PUT") as sent:
        page.locator("input[type=file]").set_input_files({"name": "a", "mimeType": "text/csv", "buffer": b"1"})
    expect(page.get_by_role("button", name="Queue 1 file")).to_be_visible()
    return page, sent.value.url.split("/upload_file/")[1].split("/")[0]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_open_dialogs_hold_a_bounded_memory_and_closed_ones_none(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    with (
        serving(settings, tmp_path, OPSKIT_PAGE_UPLOAD_MB="32") as address,
        chromium() as browser,
    ):
        tabs = [opened(browser, address) for _ in range(3)]
        before = rss(address)
        seen = [page.evaluate(SENDS, [address, session, 10 * MB, 8]) for page, session in tabs]
        # 32 MB a tab, 64 MB in all: three files each for two of them, none for the third.
        assert [statuses.count(204) for statuses in seen] == [3, 3, 0]
        assert {status for statuses in seen for status in statuses} <= {204, 413, "closed"}
        assert rss(address) - before < 160 * MB

        first, session = tabs[0]
        first.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(first.get_by_role("dialog")).to_have_count(0)
        expect(first.get_by_role("button", name="Upload…")).to_be_enabled()
        assert set(first.evaluate(SENDS, [address, session, 10, 2])) == {403}
        assert tabs[2][0].evaluate(SENDS, [address, tabs[2][1], 10 * MB, 1]) == [204]

        tabs[1][0].get_by_role("button", name="Queue 1 file").click()
        expect(tabs[1][0].get_by_test_id("stToast")).to_contain_text("1 file queued")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_viewer_cannot_upload_and_an_operator_can(db: Database, settings: Settings, tmp_path: Path) -> None:
    roles = {"OPSKIT_OPERATORS": "ann@example.com", "OPSKIT_VIEWERS": "*@example.com"}
    with provider() as known, chromium() as browser:
        write_secrets(tmp_path, known.url)
        with serving(settings, tmp_path, **roles) as address:
            for who, status in (("cid@example.com", 403), ("ann@example.com", 204)):
                page = browser.new_context().new_page()
                page.set_default_timeout(PATIENCE)
                page.goto(f"{address}/files")
                page.get_by_role("button", name="Sign in").click()
                page.get_by_role("link", name=who).click()
                page.get_by_role("link", name="Files", exact=True).click()
                expect(page.get_by_role("button", name="Upload…")).to_be_visible()
                if status == 403:
                    expect(page.get_by_role("button", name="Upload…")).to_be_disabled()
                    session = "any"
                else:
                    page.get_by_role("button", name="Upload…").click()
                    with page.expect_request(lambda request: "/upload_file/" in request.url) as sent:
                        page.locator("input[type=file]").set_input_files(
                            {"name": "a", "mimeType": "text/csv", "buffer": b"1"}
                        )
                    session = sent.value.url.split("/upload_file/")[1].split("/")[0]
                assert page.evaluate(SENDS, [address, session, 10, 1]) == [status]
