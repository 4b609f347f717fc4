"""`opskit report`: one file with its pictures inside, which needs no internet, holds no secret, and is a monitor."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from PIL import Image

from opskit import jupyter, queue, stats
from opskit.database import Database
from opskit.errors import OpskitError, SettingError
from opskit.jupyter.report import hours_of
from opskit.stats import figures, picture
from opskit.stats.columns import DISTRIBUTION, NODES, THROUGHPUT, TIMELINE
from opskit.stats.frames import frame_of
from tests.support.notebooks import NAMES, code_cells, notebook
from tests.support.tables import claimed, files, opskit, put_node

SECRET_URL = re.compile(r"postgres(ql)?://[^\s\"'<]*:[^…\s\"'<]+@")


@pytest.fixture
def ended(db: Database) -> Database:
    """The samples, processed by two nodes."""
    queue.enqueue(db, jupyter.samples())
    jupyter.work(db, "node-a", "node-b", max_files=7)
    return db


def notebook_text(name: str) -> str:
    return "\n".join(cell.source for cell in code_cells(notebook(name)))


def pictures(page: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]


@pytest.mark.slow
def test_a_report_is_one_page_with_its_pictures_inside_and_nothing_from_elsewhere(
    ended: Database, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "report.html"

    done = opskit(ended.settings, "report", "--since", "24h", "-o", str(out))

    page = out.read_text()
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert out.stat().st_size < 1_000_000
    images = [Image.open(io.BytesIO(image)) for image in pictures(page)]
    assert len(images) == 3
    assert all(image.width == 2 * picture.WIDTH for image in images)
    assert all(len(image.convert("RGB").getcolors(1 << 20) or ()) > 3 for image in images)
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)[^\"']+", page)
    assert not re.findall(r"url\((?!data:)|@import|<script|<link|<iframe", page)
    assert "nothing is stale" in page
    assert "node-a" in page
    assert "import opskit" not in page


@pytest.mark.slow
def test_a_report_holds_no_secret(ended: Database, tmp_path: Path) -> None:
    password = (ended.settings.database_url or "").split(":")[2].split("@")[0]
    for name in ("report.html", "report.ipynb"):
        done = opskit(ended.settings, "report", "-o", str(tmp_path / name), OPSKIT_API_TOKEN="t0psecret")

        assert done.returncode == 0, done.stderr
        text = (tmp_path / name).read_text()
        assert password not in text, name
        assert "t0psecret" not in text, name
        assert not SECRET_URL.search(text), name


@pytest.mark.slow
def test_a_report_as_a_notebook_keeps_each_figure_to_point_at_as_a_picture_and_in_words(
    ended: Database, tmp_path: Path
) -> None:
    done = opskit(ended.settings, "report", "-o", str(tmp_path / "r.ipynb"), "--since", "7d")

    book = nbformat.read(tmp_path / "r.ipynb", as_version=4)
    bundles = [output["data"] for cell in book.cells for output in cell.get("outputs", ()) if "data" in output]
    drawn = [bundle for bundle in bundles if "application/vnd.plotly.v1+json" in bundle]
    assert done.returncode == 0, done.stderr
    assert len(drawn) == 3
    for bundle in drawn:
        assert bundle["text/plain"].startswith(bundle["application/vnd.plotly.v1+json"]["layout"]["title"]["text"])
        (image,) = pictures(bundle["text/html"])
        assert Image.open(io.BytesIO(image)).format == "PNG"
        assert f'alt="{bundle["text/plain"]}" width="{picture.WIDTH}"' in bundle["text/html"]
        # As image/png, plotly's renderer in JupyterLab would show it, at 1800 px, until the mouse comes.
        assert "image/png" not in bundle
    assert "Files by server and state [files]: queued: 0, processing: 0, completed: 13" in str(bundles)
    (parameters,) = [cell for cell in book.cells if "injected-parameters" in cell.metadata.get("tags", ())]
    assert "since = 168" in parameters.source


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_of_the_package_can_be_a_report(ended: Database, name: str, tmp_path: Path) -> None:
    made = jupyter.report(ended, name, out=str(tmp_path / "x.html"))

    page = made.path.read_text()
    drawn = len(re.findall(r"figures\.(?!Figure|STATE)\w+\(|figures\.Figure\(\)", notebook_text(name)))
    assert len(pictures(page)) == drawn
    assert drawn or name == "06_processor"
    assert made.size < 1_000_000
    assert made.errors == []


@pytest.mark.browser
def test_a_report_is_printed_with_every_picture(ended: Database, tmp_path: Path) -> None:
    out = tmp_path / "report.pdf"

    done = opskit(ended.settings, "report", "-o", str(out))

    pdf = out.read_bytes()
    assert done.returncode == 0, done.stderr
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Subtype /Image\b.{0,200}?/SMask", pdf, flags=re.DOTALL)) == 3
    assert len(pdf) < 1_000_000


@pytest.mark.slow
def test_a_pdf_without_a_browser_is_one_sentence(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    if shutil.which("chromium"):
        pytest.skip("a browser lies beside Python")

    with pytest.raises(OpskitError, match="needs Chromium, Chrome or Edge"):
        jupyter.report(db, out=str(tmp_path / "x.pdf"))


@pytest.mark.slow
def test_a_report_ends_with_1_when_the_doctor_has_an_error_so_that_cron_is_a_monitor(
    db: Database, tmp_path: Path
) -> None:
    files(db, "waits.csv")  # and there is no node

    done = opskit(db.settings, "report", "-o", str(tmp_path / "r.html"), "--json")

    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert any("no" in error and "node" in error for error in answer["errors"]), answer
    assert Path(answer["path"]).stat().st_size == answer["bytes"]


@pytest.mark.slow
def test_a_cell_that_fails_is_one_sentence_without_a_password(db: Database, tmp_path: Path) -> None:
    cell = "raise ValueError('postgresql://me:s3cret@host/x is wrong')"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)]), tmp_path / "mine.ipynb")

    done = opskit(db.settings, "report", str(tmp_path / "mine.ipynb"), "-o", str(tmp_path / "r.html"))

    assert done.returncode == 1
    assert "mine.ipynb, cell" in done.stderr
    assert "ValueError" in done.stderr.splitlines()[-1]
    assert "s3cret" not in done.stderr
    assert not (tmp_path / "r.html").exists()


@pytest.mark.slow
def test_a_report_only_reads_whatever_its_notebook_tries(db: Database, tmp_path: Path) -> None:
    cell = "import opskit\nfrom opskit import queue\nqueue.pause(opskit.connect(), actor='me')"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)]), tmp_path / "mine.ipynb")

    with pytest.raises(OpskitError, match="read-only"):
        jupyter.report(db, str(tmp_path / "mine.ipynb"), out=str(tmp_path / "r.html"))

    assert stats.pauses(db).empty
    assert "OPSKIT_READ_ONLY" not in os.environ


@pytest.mark.parametrize(("since", "hours"), [("90m", 1.5), ("24h", 24), ("7d", 168), ("12", 12), (" 1.5 h ", 1.5)])
def test_how_far_back_is_a_time_with_a_unit(since: str, hours: float) -> None:
    assert hours_of(since) == hours


@pytest.mark.parametrize("since", ["", "0h", "yesterday", "-1h", "24hours", "9999d", "nan"])
def test_what_is_no_time_is_told(since: str) -> None:
    with pytest.raises(SettingError, match="90m, 24h or 7d"):
        hours_of(since)


def test_what_a_report_cannot_be_is_told_before_a_kernel_is_started(db: Database, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"\.html, \.pdf or \.ipynb"):
        jupyter.report(db, out="report.docx")
    with pytest.raises(SettingError, match=r"there is no notebook 'nothing'.*02_verification"):
        jupyter.report(db, "nothing")


# -- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [figures.distribution, figures.throughput, figures.nodes, figures.timeline])
def test_a_figure_without_rows_is_a_picture_that_says_so(draw: Any) -> None:
    columns = {"distribution": DISTRIBUTION, "throughput": THROUGHPUT, "nodes": NODES, "timeline": TIMELINE}
    figure = draw(frame_of([], columns[draw.__name__]))

    assert Image.open(io.BytesIO(picture.png(figure))).width == 2 * picture.WIDTH
    assert figure.layout.annotations[0].text in picture.text(figure)


def test_a_picture_has_a_bar_of_each_states_colour(db: Database) -> None:
    files(db, "a.csv", "b.csv")
    claimed(db, "node-a")
    put_node(db, "node-a", "lease_until = now() + interval '1 hour'")

    image = Image.open(io.BytesIO(picture.png(figures.distribution(stats.distribution(db)))))

    colors = {color for _, color in image.getcolors(1 << 24) or ()}
    assert (0x80, 0x80, 0x80, 255) in colors
    assert (0x00, 0x72, 0xB2, 255) in colors


def test_a_figure_to_which_somebody_adds_what_a_picture_does_not_know_is_shown_all_the_same() -> None:
    figure = figures.distribution(frame_of([], DISTRIBUTION))
    figure.add_pie(values=[1, 2])

    assert "application/vnd.plotly.v1+json" in figure._repr_mimebundle_()
