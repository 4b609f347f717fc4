"""A real JupyterLab in a real browser: what the tests that speak of it share."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
from playwright.sync_api import Page, expect

from tests.support.chromium import chromium, free_port, wait_for

SECONDS = 120_000  # ms: a kernel starts slowly on a busy machine


def write(path: Path, *cells: str) -> None:
    """A notebook of these cells of code."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book.metadata["language_info"] = {"name": "python"}
    nbformat.write(book, path)


@contextlib.contextmanager
def jupyterlab(folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """JupyterLab's server on a folder; its address, with the token."""
    port = free_port()
    home = folder / ".jupyter"
    home.mkdir(exist_ok=True)
    command = [
        sys.executable, "-P", "-m", "jupyterlab", str(folder), "--no-browser", "--ServerApp.token=secret",
        f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--allow-root", "--LabApp.check_for_updates_class="
        "jupyterlab.handlers.announcements.NeverCheckForUpdate", "--LabApp.news_url=",
    ]  # fmt: skip
    own = {"JUPYTER_CONFIG_DIR": str(home), "JUPYTER_DATA_DIR": str(home), "JUPYTERLAB_WORKSPACES_DIR": str(home)}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(home), "IPYTHONDIR": str(home)}
    with (folder / "lab.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **environ, **own}, cwd=folder, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/api", process, log.name)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:  # it waits for a kernel that is busy
                process.kill()
                process.wait()


@contextlib.contextmanager
def opened(address: str, notebook: str) -> Iterator[Page]:
    """A notebook open in JupyterLab, not yet run."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 1600})
        page.goto(f"{address}/lab/workspaces/{Path(notebook).stem}/tree/{notebook}?token=secret", timeout=SECONDS)
        expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=SECONDS)
        # The kernel is there when its name stands in the toolbar, and it is idle.
        expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")).to_be_visible(timeout=SECONDS)
        yield page


def run_all(page: Page) -> None:
    """Run every cell, as a person does: again, when the kernel that was asked is replaced by another meanwhile."""
    dialog, first = page.locator(".jp-Dialog"), page.locator(".jp-CodeCell .jp-InputArea-prompt").first
    for _ in range(6):
        with contextlib.suppress(AssertionError):
            expect(dialog).to_be_visible(timeout=3_000)
            dialog.get_by_role("button", name="Select Kernel").click()
            expect(dialog).to_have_count(0)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        with contextlib.suppress(AssertionError):
            expect(first).to_have_text(re.compile(r"\[\d+\]:"), timeout=40_000)
            return
    raise AssertionError("no cell was run")
