"""The fast set: `make test` and `make test-slow` are together all tests."""

from __future__ import annotations

import pytest

from tests.conftest import spread, unwanted


@pytest.mark.parametrize(
    ("cases", "wanted", "fast"),
    [(10, 3, {0, 4, 9}), (10, 1, {0}), (10, 2, {0, 9}), (3, 3, {0, 1, 2}), (2, 5, {0, 1}), (1, 1, {0})],
)
def test_fast_cases_are_the_first_the_last_and_evenly_between(cases: int, wanted: int, fast: set[int]) -> None:
    assert spread(cases, wanted) == fast


@pytest.mark.parametrize(
    ("marks", "expression", "left_out"),
    [
        ("pytestmark = pytest.mark.slow", "not slow and not browser", True),
        ("pytestmark = [\n    pytest.mark.browser,\n]", "slow and not browser", True),
        ("pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]", "slow and not browser", False),
        ("pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]", "not slow or browser", False),
        ("pytestmark = pytest.mark.slow", "", False),
        ("pytestmark = pytest.mark.slower", "not slow", False),
        ("@pytest.mark.slow\ndef test_one() -> None:", "not slow", False),
    ],
)
def test_only_a_module_without_a_wanted_test_is_not_loaded(marks: str, expression: str, left_out: bool) -> None:
    assert unwanted(f"import pytest\n\n{marks}\n", expression) is left_out


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("case", range(4))
def test_all_other_cases_are_slow(request: pytest.FixtureRequest, case: int) -> None:
    chosen = request.session.items
    here = [item for item in chosen if item.nodeid.partition("[")[0] == request.node.nodeid.partition("[")[0]]
    slow = request.node.get_closest_marker("slow") is not None

    assert slow == (case in (1, 2)) or len(here) < 4
