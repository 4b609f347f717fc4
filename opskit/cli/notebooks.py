"""Notebooks: copy and open them, and make a report of one."""

from __future__ import annotations

import argparse

from opskit import jupyter
from opskit.cli.verbs import Verbs
from opskit.database import Database
from opskit.errors import SettingError
from opskit.settings.command_line import settings_of
from opskit.support import console
from opskit.support.wording import count


def add_notebooks(verbs: Verbs) -> None:
    """Add `opskit notebooks`."""
    one = verbs.add("notebooks", notebooks, "copy the notebooks to a folder, and open them")
    one.add_argument("folder", nargs="?", default="notebooks", metavar="DIR", help="defaults to notebooks")
    one.add_argument(
        "--open", action="store_true",
        help="open them in JupyterLab, on the database of the settings; what follows -- is JupyterLab's",
    )  # fmt: skip
    one.add_argument("--overwrite", action="store_true", help="replace those that are there already")
    verbs.finish(one)


def notebooks(given: argparse.Namespace) -> int:
    """Copy the notebooks, name those that differ from this version's, and open them."""
    if given.rest and not given.open:
        raise SettingError(f"{' '.join(given.rest)!r} is JupyterLab's, which is not opened; add --open before --")
    folder = given.folder
    copied = jupyter.copy(folder, overwrite=given.overwrite)
    older = jupyter.differing(folder)
    if given.json:
        answer = {"folder": folder, "copied": [str(path) for path in copied]}
        console.as_json(answer | {"differing": [path.name for path in older]})
    else:
        console.out.print(f"{count(len(copied), 'notebook')} copied to {folder}", soft_wrap=True)
        if older:
            names = ", ".join(path.name for path in older)
            told = f"kept, and not as this version has them: {names}; --overwrite replaces them"
            console.err.print(told, soft_wrap=True)
        elif not copied and not given.overwrite:
            console.err.print("those that are there were kept; --overwrite replaces them")
    return jupyter.open_lab(folder, settings_of(given), arguments=given.rest) if given.open else 0


def add_report(verbs: Verbs) -> None:
    """Add `opskit report`."""
    one = verbs.add("report", report, "run a notebook and keep it as one file; exit 1 if the doctor has an error")
    one.add_argument("notebook", nargs="?", metavar="NOTEBOOK", help="a path or a name; defaults to 07_report")
    one.add_argument("--since", default="24h", metavar="TIME", help="how far back: 90m, 24h, 7d; defaults to 24h")
    one.add_argument(
        "-o", "--out", default="report.html", metavar="FILE",
        help="what is written: .html, .pdf or .ipynb; defaults to report.html",
    )  # fmt: skip
    verbs.finish(one)


def report(given: argparse.Namespace) -> int:
    """Make a report; exit code 1 when the doctor has an error."""
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        made = jupyter.report(db, given.notebook, since=given.since, out=given.out)
    if given.json:
        answer = {"environment": settings.env, "path": str(made.path), "bytes": made.size, "errors": made.errors}
        console.as_json(answer)
    else:
        console.out.print(f"{made.path}: {made.size / 1024:,.0f} kB ({settings.env})", soft_wrap=True)
        for error in made.errors:
            console.err.print(f"doctor: {error}", soft_wrap=True)
    return 1 if made.errors else 0
