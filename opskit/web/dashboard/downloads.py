"""A panel's numbers as a file: CSV in which no spreadsheet runs a formula, and Parquet."""

from __future__ import annotations

import io
import json

import pandas as pd

from opskit.web.dashboard import readings

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell begins with that a spreadsheet runs; the wide ones do in Japanese and Chinese."""


def as_frame(reading: readings.Reading) -> pd.DataFrame:
    """A reading as a frame that any file format takes."""
    if isinstance(reading.frame, pd.DataFrame):
        return reading.frame
    rows = [
        {
            key: json.dumps(value, default=str) if isinstance(value, (dict, list)) else value
            for key, value in row.items()
        }
        for row in reading.rows()
    ]
    return pd.DataFrame(rows)


def harmless(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose texts no spreadsheet takes for a formula: what begins like one gets an apostrophe before it."""
    texts = [name for name, column in frame.items() if pd.api.types.is_string_dtype(column) or column.dtype == object]
    return frame.assign(**{str(name): frame[name].map(_as_text, na_action="ignore") for name in texts})


def csv(frame: pd.DataFrame) -> bytes:
    """A frame as CSV that a spreadsheet opens without running anything."""
    # With these line ends (RFC 4180's) a carriage return within a text is quoted, and begins no line of its own.
    return harmless(frame).to_csv(index=False, lineterminator="\r\n").encode()


def _as_text(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def parquet(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet, with its dtypes."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
