"""A point of the trends that stands alone is seen: a line would need two."""

from __future__ import annotations

from typing import Any

import pytest

from opskit.stats import trends_figure


@pytest.mark.parametrize(
    ("y", "sizes"),
    [
        ([None, 4.0, None], [0, 6, 0]),
        ([4.0], [6]),
        ([1.0, 2.0, None, 3.0], [0, 0, 0, 6]),
    ],
)
def test_a_point_without_neighbours_is_a_dot(y: list[Any], sizes: list[int]) -> None:
    line = trends_figure._line("wait p50", list(range(len(y))), y, "red", "y3", "%{y}")

    assert line.mode == "lines+markers"
    assert [size if value is not None else 0 for size, value in zip(line.marker.size, y, strict=True)] == sizes


@pytest.mark.parametrize("y", [[], [None, None], [1.0, 2.0], [None, 1.0, 2.0]])
def test_a_line_without_a_lone_point_has_no_dots(y: list[Any]) -> None:
    assert trends_figure._line("wait p50", list(range(len(y))), y, "red", "y3", "%{y}").mode == "lines"
