"""The optional libraries of the readers: which are missing here, and what that costs."""

from __future__ import annotations

from importlib.util import find_spec

_WHAT = {
    "pyarrow": "Parquet files fail",
    "python_calamine": ".xls, .xlsb and .ods files fail",
    "zstandard": ".zst files fail",
    "msgspec": "JSON lines take several times as long",
    "pgpq": "Parquet files take about twice as long",
}


def lacking() -> dict[str, str]:
    """What each library that is not installed would be for, by the name that pip knows it under."""
    return {name.replace("_", "-"): what for name, what in _WHAT.items() if find_spec(name) is None}
