"""`opskit report`: a notebook run on a database, and kept as one file that can be mailed: HTML, PDF, or a notebook.

Nothing in it is loaded from elsewhere; pictures are inside. It holds no secret: the database's URL reaches the kernel
through its environment, and papermill writes only the environment's name and the hours into it.
"""

from __future__ import annotations

import html
import importlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opskit import doctor
from opskit.database import Database
from opskit.errors import MissingExtraError, OpskitError, SettingError
from opskit.jupyter import given
from opskit.jupyter.notebooks import FOLDER
from opskit.support.logs import masked

DEFAULT = "07_report"
KINDS = (".html", ".pdf", ".ipynb")
_UNITS = {"m": 60, "h": 3600, "d": 86400}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
_LONGEST_PRINT_SECONDS = 120
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em }}
h1 {{ font-size: 1.6em }} h2 {{ font-size: 1.25em; margin-top: 1.6em }}
img {{ max-width: 100%; height: auto }} pre {{ white-space: pre-wrap }}
table {{ border-collapse: collapse; font-size: .9em; display: block; overflow-x: auto }}
th, td {{ padding: .25em .7em; border-bottom: 1px solid #8884; text-align: left; vertical-align: top }}
a.anchor-link, .jp-InputPrompt, .jp-OutputPrompt, .prompt {{ display: none }}
</style></head><body>
{body}
</body></html>
"""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was made.

    Attributes:
        path: Where it lies.
        size: Its size [bytes].
        errors: What the doctor calls an error, each in a sentence; empty when nothing needs a person at once.
    """

    path: Path
    size: int
    errors: list[str]


def report(
    db: Database, notebook: str | Path | None = None, *, since: str | float = "24h", out: str | Path = "report.html"
) -> Report:
    """Run a notebook on a database, and keep what it shows.

    The notebook reads only (OPSKIT_READ_ONLY), whatever the settings say.

    Args:
        db: An open database.
        notebook: Its path, or the name of one of the package's, such as 02_verification. Defaults to 07_report.
        since: How far back, such as 90m, 24h or 7d, or a number of hours; for a notebook with the parameter `since`.
        out: The file to be written; .html, .pdf or .ipynb.

    Raises:
        SettingError: *since* or *out* cannot be used, or there is no such notebook.
        MissingExtraError: Papermill or nbconvert is not installed.
        OpskitError: A cell failed, or no browser is there for a PDF.
    """
    given.database(db)
    target, hours = Path(out).expanduser(), hours_of(since)
    if target.suffix not in KINDS:
        raise SettingError(f"the report {str(out)!r} must end in .html, .pdf or .ipynb")
    source = _found(str(notebook or DEFAULT))
    papermill, nbconvert = _needed("papermill"), _needed("nbconvert")
    # By the doctor before the notebook: a database that cannot be reached is told before a kernel is started.
    findings = doctor.examine(db)
    with tempfile.TemporaryDirectory(prefix="opskit-report-") as folder:
        done = Path(folder) / "report.ipynb"
        _run(papermill, db, source, done, hours)
        if target.suffix == ".ipynb":
            made = done
        else:
            made = Path(folder) / "report.html"
            made.write_text(page(nbconvert, done, title=f"opskit {db.settings.env}: {source.stem}"), encoding="utf-8")
            if target.suffix == ".pdf":
                made = _printed(made)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, target)
        except OSError as error:
            raise OpskitError(f"the report cannot be written to {str(target)!r}: {error.strerror}") from error
    errors = [f"{finding.what}: {finding.why}" for finding in findings if finding.level == "error"]
    return Report(path=target, size=target.stat().st_size, errors=errors)


def hours_of(since: str | float) -> float:
    """A length of time such as 90m, 24h or 7d, in hours; a number alone means hours.

    Raises:
        SettingError: It is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhd]?)\s*", str(since), flags=re.ASCII)
    hours = float(found[1]) * _UNITS[found[2] or "h"] / 3600 if found else 0.0
    if not 0 < hours <= 24 * 365:
        raise SettingError(f"--since is {str(since)!r}; it must be a time such as 90m, 24h or 7d, at most 365d")
    return int(hours) if hours == int(hours) else hours


def page(nbconvert: Any, notebook: Path, *, title: str) -> str:
    """A notebook that was run as one HTML page without its code, which loads nothing."""
    exporter = nbconvert.HTMLExporter(template_name="basic", exclude_input=True, embed_images=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of outputs that a page cannot show: their picture or text stands in
        body, _ = exporter.from_filename(str(notebook))
    # The template's own frames and scripts for widgets and formulas would ask elsewhere.
    body = re.sub(r"<script\b.*?</script>", "", body, flags=re.DOTALL | re.IGNORECASE)
    return _PAGE.format(title=html.escape(title), body=body)


def _found(notebook: str) -> Path:
    given, own = Path(notebook).expanduser(), FOLDER / f"{notebook.removesuffix('.ipynb')}.ipynb"
    for place in (given, own):
        if place.is_file():
            return place
    names = ", ".join(sorted(path.stem for path in FOLDER.glob("*.ipynb")))
    raise SettingError(f"there is no notebook {notebook!r}; give a path, or one of {names}")


def _needed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError(name, "notebooks") from None


def _run(papermill: Any, db: Database, source: Path, done: Path, hours: float) -> None:
    with warnings.catch_warnings(), _environment(db):
        warnings.simplefilter("ignore")  # of papermill's own dependencies, and of parameters that we have looked for
        known = papermill.inspect_notebook(str(source))
        wanted = {"environment": db.settings.env, "since": hours}
        try:
            papermill.execute_notebook(
                str(source),
                str(done),
                parameters={name: value for name, value in wanted.items() if name in known},
                # One that names no kernel is meant for this one.
                kernel_name=None if "kernelspec" in _metadata(source) else "python3",
                progress_bar=False,
                log_output=False,
                cwd=str(Path.cwd()),
            )
        except papermill.exceptions.PapermillExecutionError as error:
            said = " ".join(f"{error.ename}: {error.evalue}".split())
            raise OpskitError(f"{source.name}, cell {error.cell_index}: {masked(said)}") from error


def _metadata(notebook: Path) -> dict[str, Any]:
    try:
        found = json.loads(notebook.read_text(encoding="utf-8"))
        return dict(found["metadata"])
    except (OSError, ValueError, KeyError, TypeError):
        raise OpskitError(f"{str(notebook)!r} is no notebook") from None


@contextmanager
def _environment(db: Database) -> Iterator[None]:
    """The environment of the kernel: the database of these settings, read only."""
    before = dict(os.environ)
    os.environ.update(db.settings.environ() | {"OPSKIT_READ_ONLY": "1", "PLOTLY_RENDERER": "plotly_mimetype"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _printed(source: Path) -> Path:
    """An HTML file as PDF, by a browser of this machine."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise OpskitError("a PDF needs Chromium, Chrome or Edge, and none is here; say -o report.html")
    target = source.with_suffix(".pdf")
    # Chromium's own cage needs rights that root in a container has not; the page is ours and runs no script.
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               f"--user-data-dir={source.parent / 'browser'}", "--no-pdf-header-footer", f"--print-to-pdf={target}",
               source.as_uri()]  # fmt: skip
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_PRINT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise OpskitError(f"{browser} did not print the report within {_LONGEST_PRINT_SECONDS} s") from None
    if not target.exists():
        last = (said.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OpskitError(f"{browser} did not print the report: {last}")
    return target
