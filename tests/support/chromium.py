"""Chromium and the real server for it: what the tests in a browser and the screenshots share."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from opskit.settings import Settings

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PATIENCE = 30_000  # ms
expect.set_options(timeout=PATIENCE)


@contextlib.contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """The browser, with further flags of its command line."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking", "--disable-gpu", *flags]
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def serving(settings: Settings, folder: Path, *, ready: str = "/healthz", **environ: str) -> Iterator[str]:
    """The real server, started in a folder that has nothing to do with the project; its address."""
    port = free_port()
    environment = {**os.environ, **settings.environ(), "OPSKIT_PORT": str(port), **environ}
    with (folder / "page.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "opskit.web"], env=environment, cwd=folder, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address + ready, process, log.name)
            yield address
            assert "Traceback" not in Path(log.name).read_text()
        finally:
            process.terminate()
            process.wait(10)


def free_port() -> int:
    """A port below those that the system hands out by itself."""
    for port in range(20000 + os.getpid() % 5000, 32768):
        with contextlib.suppress(OSError), socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_for(address: str, process: subprocess.Popen[bytes], log: str) -> None:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2):
            return
        time.sleep(0.1)
    raise AssertionError(f"the page did not start: {Path(log).read_text()}")
