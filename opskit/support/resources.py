"""Folders that ship with the package: beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent.parent


def folder(name: str) -> Path:
    """The folder of SQL files, samples, notebooks or runbooks.

    Args:
        name: sql, samples, notebooks or docs/runbooks.
    """
    packaged = PACKAGE / f"_{name}"
    return packaged if packaged.is_dir() else PACKAGE.parent / name
