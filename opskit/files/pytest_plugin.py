"""The pytest plugin: the fixture `opskit_file`, which pytest finds by itself where opskit is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from opskit.files.claimed import ClaimedFile


@pytest.fixture
def opskit_file() -> Callable[..., ClaimedFile]:
    """Makes claimed files for a processor under test: `opskit_file(b"a,b", name="x.csv")`; see `opskit.claimed`."""
    from opskit.files.testing import claimed

    return claimed
