"""The check of the libraries that `load_table` reads files with."""

from __future__ import annotations

from collections.abc import Iterator

from opskit.database import Database
from opskit.doctor.finding import Condition, Finding
from opskit.files.libraries import lacking

_LOADER = "opskit.processors:load_table"


def libraries(db: Database) -> Iterator[Finding]:
    """Libraries that are not installed here, where the processor is the one that needs them."""
    if db.settings.processor.partition("?")[0] != _LOADER or not (found := lacking()):
        return
    yield Finding(
        "warning",
        f"not installed here: {', '.join(found)}",
        "; ".join(found.values()),
        "pip install 'opskit[fast]'  # on every node",
        condition=Condition.LIBRARIES_MISSING,
    )
