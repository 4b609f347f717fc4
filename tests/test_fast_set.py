"""The fast set: `make test` and `make test-slow` are together all tests."""

from __future__ import annotations

import pytest

from tests.conftest import spread


@pytest.mark.parametrize(
    ("cases", "wanted", "fast"),
    [(10, 3, {0, 4, 9}), (10, 1, {0}), (10, 2, {0, 9}), (3, 3, {0, 1, 2}), (2, 5, {0, 1}), (1, 1, {0})],
)
def test_fast_cases_are_the_first_the_last_and_evenly_between(cases: int, wanted: int, fast: set[int]) -> None:
    assert spread(cases, wanted) == fast


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("case", range(4))
def test_all_other_cases_are_slow(request: pytest.FixtureRequest, case: int) -> None:
    chosen = request.session.items
    here = [item for item in chosen if item.nodeid.partition("[")[0] == request.node.nodeid.partition("[")[0]]
    slow = request.node.get_closest_marker("slow") is not None

    assert slow == (case in (1, 2)) or len(here) < 4
