"""The sample files, and their rows as the tests count them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "samples"


def csv_rows(text: str, delimiter: str = ",") -> list[tuple[str | None, ...]]:
    """A CSV file's rows by Python's own reader; what is empty counts as NULL."""
    return [tuple(cell or None for cell in row) for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
