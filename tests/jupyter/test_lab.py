"""Every notebook in a real JupyterLab: Run All, light and dark, without an error or an alarm."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from opskit import jupyter, queue
from opskit.database import Database
from tests.jupyter import lab
from tests.support.nodes import until


@pytest.mark.browser
@pytest.mark.timeout(900)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_notebook_runs_in_jupyterlab_by_run_all(db: Database, tmp_path: Path, theme: str) -> None:
    queue.enqueue(db, jupyter.samples())
    jupyter.work(db, "node-a", "node-b", max_files=7)
    names = sorted(path.name for path in jupyter.copy(tmp_path))
    settings = tmp_path / ".jupyter" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    name = "JupyterLab Dark" if theme == "dark" else "JupyterLab Light"
    (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "{name}"}}')
    with lab.jupyterlab(tmp_path, db.settings.environ()) as address:
        for notebook in names:
            with lab.opened(address, notebook) as page:
                errors: list[str] = []
                page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
                lab.run_all(page)
                last = page.locator(".jp-CodeCell").last
                last.scroll_into_view_if_needed()
                busy = page.locator(".jp-Notebook-ExecutionIndicator[data-status='busy']")
                expect(busy).to_have_count(0, timeout=lab.SECONDS)
                until(lambda page=page: "[*]" not in page.locator(".jp-Notebook").inner_text(), 60)

                alarms = page.locator(
                    "[data-mime-type='application/vnd.jupyter.stderr'], .jp-RenderedText[data-mime-type*='error']"
                )
                assert alarms.count() == 0, (notebook, alarms.all_inner_texts())
                assert page.locator("body").get_attribute("data-jp-theme-light") == str(theme == "light").lower()
                assert errors == [], notebook
                (tmp_path / f"{notebook}.{theme}.png").write_bytes(page.screenshot())
