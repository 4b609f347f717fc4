"""What a frame looks like: to people in a notebook, and to Excel.

A `Frame` is a DataFrame in every other respect. Its columns, dtypes and values are those of the statistic; only how it
is shown is its own: times without microseconds, text to the left, an empty answer as a sentence, and a line below it
where the answer was cut.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from opskit.queue.error_lines import last_line
from opskit.support import notebook_output

_IDS = ("id", "file_id")


class Frame(pd.DataFrame):
    """A DataFrame that says what it left out.

    `attrs["more"]` says whether the answer was cut, and `attrs["note"]` in words at what. `attrs["empty"]` is the
    sentence for an answer without rows, `attrs["page"]` the address of the same view on the page, where it is known.
    """

    @property
    def _constructor(self) -> type[Frame]:
        return Frame

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        if not self.columns.is_unique or isinstance(self.columns, pd.MultiIndex):
            return str(pd.DataFrame(self)._repr_html_())  # type: ignore[operator]  # no stub names it
        most = pd.get_option("display.max_rows") or len(self)
        shown = _shortened(self, most)
        columns = {str(name): pd.api.types.is_numeric_dtype(self[name].dtype) for name in self.columns}
        # The numbers of rows that were picked from a longer answer say nothing.
        plain = self.index.name is None and pd.api.types.is_integer_dtype(self.index.dtype)
        return notebook_output.frame(
            columns if plain else {str(self.index.name or ""): False} | columns,
            [_cells(row) for row in shown.itertuples(index=not plain, name=None)],
            hidden=len(self) - len(shown),
            most_letters=pd.get_option("display.max_colwidth") or 10_000,
            below=[line for line in (self._said(), self.attrs.get("note", "")) if line],
            page=self.attrs.get("page", ""),
        )

    def __repr__(self) -> str:
        lines = [super().__repr__() if len(self) else self._said(), self.attrs.get("note", "")]
        return "\n".join(line for line in lines if line)

    def _said(self) -> str:
        return "" if len(self) else str(self.attrs.get("empty") or "no rows")

    def sort_values(self, by: Any, *args: Any, **how: Any) -> Any:
        """As pandas does; ids that are numbers come in the order of numbers, although they are text."""
        names = [by] if isinstance(by, str) else list(by)
        if how.get("key") is None and set(names) & set(_IDS):
            how["key"] = _as_numbers
        return super().sort_values(by, *args, **how)

    def to_excel(self, *args: Any, **how: Any) -> None:  # type: ignore[misc]  # final to checkers only
        """As pandas does; Excel knows no time zones: times are UTC, and their columns say so."""
        zoned = [name for name in self.columns if isinstance(self[name].dtype, pd.DatetimeTZDtype)]
        plain = pd.DataFrame(self)
        for name in zoned:
            plain[name] = plain[name].dt.tz_convert("UTC").dt.tz_localize(None)
        plain = plain.rename(columns={name: name if "UTC" in str(name) else f"{name} [UTC]" for name in zoned})
        plain.to_excel(*args, **{"index": False, **how})


def _as_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    known = column.dropna()
    if column.name in _IDS and len(known) and known.astype("string").str.fullmatch(r"\d{1,18}").all():
        return column.astype("Int64")
    return column


def _shortened(frame: Any, most: int) -> Any:
    """The beginning and the end of a long frame."""
    if len(frame) <= most:
        return frame
    half = max((pd.get_option("display.min_rows") or most) // 2, 1)
    return pd.concat([frame.head(half), frame.tail(half)])


def _cells(row: tuple[Any, ...]) -> list[Any]:
    """The values as Python's own; None for what is missing, and the line that tells it for a traceback."""
    values = [None if _missing(value) else value.item() if hasattr(value, "item") else value for value in row]
    return [last_line(value) if isinstance(value, str) and value.startswith("Traceback") else value for value in values]


def _missing(value: Any) -> bool:
    found = pd.isna(value)
    return isinstance(found, bool) and found
