"""The doctor names the libraries of load_table that are not installed, where that is the processor."""

from __future__ import annotations

import dataclasses
import sys
from importlib.util import find_spec

import pytest

from opskit.database import Database
from opskit.doctor.libraries import libraries
from opskit.files import libraries as known
from opskit.settings import Settings

LOADER = "opskit.processors:load_table"


def findings(settings: Settings, processor: str) -> list[tuple[str, str]]:
    with Database(dataclasses.replace(settings, processor=processor), pooled=False) as db:
        return [(finding.what, finding.why) for finding in libraries(db)]


@pytest.fixture
def without_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that lacks two of them."""
    lacking = ("msgspec", "python_calamine")
    monkeypatch.setattr(known, "find_spec", lambda name: None if name in lacking else find_spec(name))


def test_all_libraries_of_the_loader_are_installed_with_dev(settings: Settings) -> None:
    assert findings(settings, LOADER) == []


@pytest.mark.usefixtures("without_two")
def test_missing_libraries_are_named_with_what_they_cost(settings: Settings) -> None:
    told = (
        "not installed here: python-calamine, msgspec",
        ".xls, .xlsb and .ods files fail; JSON lines take several times as long",
    )

    assert findings(settings, LOADER) == [told]
    assert findings(settings, f"{LOADER}?mode=replace") == [told]


@pytest.mark.usefixtures("without_two")
def test_other_processors_need_none_of_them(settings: Settings) -> None:
    assert findings(settings, "opskit.processors:inspect_file") == []


def test_looking_for_them_imports_none_of_them() -> None:
    before = set(sys.modules)

    known.lacking()

    assert not {"pyarrow", "python_calamine", "pgpq"} & (set(sys.modules) - before)
