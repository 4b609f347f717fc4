"""A figure in a real JupyterLab: plotly draws it as wide as its cell; without plotly its picture is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from opskit.database import Database
from tests.jupyter import lab
from tests.support.browsing import widest
from tests.support.tables import files

_CELL = """
import opskit
from opskit import stats
from opskit.stats import figures

db = opskit.connect()
figures.distribution(stats.distribution(db))
"""


@pytest.mark.browser
@pytest.mark.timeout(400)
def test_a_figure_is_drawn_as_wide_as_its_cell_before_the_mouse_comes(db: Database, tmp_path: Path) -> None:
    files(db, "a.csv", "b.csv")
    lab.write(tmp_path / "figure.ipynb", _CELL)

    with lab.jupyterlab(tmp_path, db.settings.environ()) as address, lab.opened(address, "figure.ipynb") as page:
        page.mouse.move(2, 2)
        lab.run_all(page)

        drawn = page.locator(".jp-RenderedPlotly .main-svg").first
        expect(drawn).to_be_visible(timeout=lab.SECONDS)
        expect(page.locator(".jp-RenderedPlotly img")).to_be_hidden()
        room, width = widest(page, page.locator(".jp-OutputArea-output").first), widest(page, drawn)
        assert 0 < width["width"] <= room["width"]


@pytest.mark.browser
@pytest.mark.timeout(400)
def test_in_a_jupyterlab_without_plotly_a_figure_is_a_picture_that_fits(db: Database, tmp_path: Path) -> None:
    files(db, "a.csv", "b.csv")
    lab.write(tmp_path / "figure.ipynb", _CELL)
    settings = tmp_path / ".jupyter" / "labconfig"
    settings.mkdir(parents=True)
    (settings / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/plotly-extension:factory": True}})
    )

    with lab.jupyterlab(tmp_path, db.settings.environ()) as address, lab.opened(address, "figure.ipynb") as page:
        lab.run_all(page)

        picture = page.locator(".jp-OutputArea-output img").first
        expect(picture).to_be_visible(timeout=lab.SECONDS)
        expect(picture).to_have_attribute("alt", "Files by server and state [files]: queued: 2, processing: 0, "
                                                 "completed: 0, failed: 0")  # fmt: skip
        room, width = widest(page, page.locator(".jp-OutputArea-output").first), widest(page, picture)
        assert 300 < width["width"] <= min(room["width"], 900)
        assert picture.evaluate("image => image.naturalWidth") == 1800
