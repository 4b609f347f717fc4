"""What is no open database, given to a function of a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import opskit
from opskit import jupyter
from opskit.errors import SettingError

ADDRESS = "postgresql://ann:Passw0rd@127.0.0.1/opskit"
CALLS: dict[str, Callable[[Any], object]] = {
    "replay": lambda db: opskit.replay(db, 1),
    "try_all": lambda db: jupyter.try_all(db, [1, 2]),
    "watch": opskit.watch,
    "report": jupyter.report,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("given", [ADDRESS, None, opskit, 7, {}], ids=["str", "NoneType", "module", "int", "dict"])
def test_what_is_no_open_database_is_one_sentence_without_its_value(call: str, given: object) -> None:
    with pytest.raises(SettingError) as raised:
        CALLS[call](given)

    kind = type(given).__name__
    assert str(raised.value) == f"db is of the type {kind}, not an open database; open one: db = opskit.connect()"
