"""The figures shown are those of the committed run, and the benchmarks' own arithmetic is right."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from opskit.database import Database

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("bench", "figures"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("name", ["goals", "page", "page-by-page", "page-views", "readers"])
def test_the_figures_shown_are_those_of_the_committed_run(name: str) -> None:
    import figures

    target, _ = figures.SHOWN[name]
    shown = target.read_text().split(figures.begin(name))[1].split(figures.END)[0]

    assert shown == figures.block(name), "run: python benchmarks/figures.py"


def test_every_run_that_is_shown_is_compared() -> None:
    import figures

    assert set(figures.SHOWN) == {"goals", "page", "page-by-page", "page-views", "readers"}


def test_a_missed_goal_is_shown_as_missed() -> None:
    import figures

    goals = [
        {"what": "a", "goal": "< 1", "measured": "2", "ratio": 2.0, "met": "MISSED"},
        {"what": "b", "goal": "> 1", "measured": "3", "ratio": None, "met": "met"},
    ]
    run = {"at": "2026-11-25 10:00 UTC", "cores": 2, "postgresql": "18", "python": "3.11", "command": "make bench"}

    text = figures.goals({**run, "goals": goals})

    assert "2 goals, 1 missed" in text
    assert "| a | < 1 | 2 | 2 | MISSED |" in text
    assert "| b | > 1 | 3 |  | met |" in text


def test_every_program_that_the_benchmarks_page_names_is_there() -> None:
    page = (BENCHMARKS / "README.md").read_text()

    named = {word for word in page.replace("`", " ").split() if word.startswith("benchmarks/") and word.endswith(".py")}

    assert len(named) >= 7
    assert all((BENCHMARKS.parent / name).exists() for name in named)


@pytest.mark.slow
def test_every_page_is_measured_and_is_the_page_that_was_asked_for(db: Database) -> None:
    import page

    lines = list(page.measure_pages(db, 0))

    assert [line["page"] for line in lines] == ["overview", *page.PAGES[1:]]
    assert all(line["pieces"] > 5 for line in lines), lines


def test_a_quantile_is_a_value_that_was_measured() -> None:
    import bench

    values = [float(n) for n in range(100)]

    assert bench.quantile(values, 0.5) == 50
    assert bench.quantile(values, 0.99) == 99
    assert bench.quantile([7.0], 0.99) == 7
