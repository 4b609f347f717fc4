"""Complete and claim is one text three times, as psql cannot include a part of a statement: only the pick differs."""

from __future__ import annotations

import pytest

from opskit.database import queries

PLAIN = "complete_and_claim"


def after_the_pick(name: str) -> list[str]:
    text = queries.text(name)
    _, begin, rest = text.partition("), done AS (")
    assert begin, name
    return [line.rstrip(",;") for line in rest.splitlines() if line.strip()]


@pytest.mark.parametrize("name", ["complete_and_claim_in_turn", "complete_and_claim_of_lane"])
def test_a_claim_by_lanes_completes_fences_and_claims_as_the_one_without(name: str) -> None:
    plain = after_the_pick(PLAIN)

    assert after_the_pick(name) == [*plain, '          f.:"lane"::text AS lane']
    assert len(plain) > 15
