"""A figure as a picture and as text, without a browser: what GitHub, a mail and a report show in its place.

It draws what the figures of this package and its notebooks hold: stacked or free bars, lines, marks and text, over axes
of numbers, of their logarithms, and of times.
"""

from __future__ import annotations

import base64
import contextlib
import html
import importlib
import io
import json
import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import plotly.graph_objects as go
from PIL import Image, ImageDraw, ImageFont

INK = "#777777"  # text and axes: as readable on white as on black
WIDTH = 900
"""Width of a picture [px]; it is drawn with twice as many."""
_SCALE = 2
_TOP, _BOTTOM, _RIGHT, _LEAST_LEFT, _MOST_LEFT = 62, 48, 24, 50, 300  # px
_LETTER = 13  # px
_GRID = "#80808040"
_OTHERS = ("#0072B2", "#D55E00", "#009E73", "#A67C00", "#CC79A7", "#56B4E9")  # of traces that name no colour
_STEPS_MS = [
    size * 1000
    for size in (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 2592000)
]
_DAY_MS = 86_400_000
Box = tuple[float, float, float, float]


_INTERACTIVE = "application/vnd.plotly.v1+json"


class Figure(go.Figure):  # type: ignore[misc]  # plotly has no types
    """A figure that a notebook shows and keeps three times: to be pointed at, as a picture, and in words.

    JupyterLab and VS Code draw the first; GitHub, nbconvert, a mail and a JupyterLab without plotly show the second. It
    is a picture in HTML: as image/png, plotly's renderer would show it, in its own width, until the mouse comes.
    """

    def _ipython_display_(self) -> None:
        if os.environ.get("PLOTLY_RENDERER", "plotly_mimetype") != "plotly_mimetype":
            super()._ipython_display_()
            return
        display: Any = importlib.import_module("IPython.display").display
        display(self._repr_mimebundle_(), raw=True)

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {_INTERACTIVE: json.loads(self.to_json()), "text/plain": repr(self)}
        with contextlib.suppress(Exception):  # somebody has put in what the picture does not know
            data, words = base64.b64encode(png(self)).decode(), html.escape(repr(self))
            how = f'width="{WIDTH}" style="max-width:100%;height:auto"'
            shown["text/html"] = f'<img src="data:image/png;base64,{data}" alt="{words}" {how}>'
        return shown

    def __repr__(self) -> str:
        try:
            return text(self)
        except Exception:
            return str(super().__repr__())


def png(figure: go.Figure) -> bytes:
    """The figure as PNG: transparent, its text as readable on white as on black."""
    return _Drawing(figure).png()


def text(figure: go.Figure) -> str:
    """The figure in words: its title, and for each trace how many bars or marks it has and what they add up to."""
    parts = []
    for trace in figure.data:
        values = _values(trace, "x" if trace.orientation == "h" else "y") if trace.type == "bar" else []
        if values and trace.base is None:
            parts.append(f"{trace.name}: {sum(values):,.6g}")
        elif len(trace.x or ()) and trace.name and trace.name != "state":
            parts.append(f"{trace.name}: {len(trace.x)}")
    notes = [html.unescape(note.text) for note in figure.layout.annotations]
    return f"{figure.layout.title.text}: {', '.join(parts + notes) or 'nothing'}"


@cache
def _font(size: int) -> Any:
    for name in ("DejaVuSans.ttf", "Arial.ttf"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


class _Drawing:
    def __init__(self, figure: go.Figure) -> None:
        self._figure = figure
        self._height = int(figure.layout.height or 320)
        self._image = Image.new("RGBA", (WIDTH * _SCALE, self._height * _SCALE), (0, 0, 0, 0))
        self._pen = ImageDraw.Draw(self._image)
        self._lying = bool(figure.data) and figure.data[0].orientation == "h"
        self._stacked = figure.layout.barmode == "stack"
        stack: dict[float, float] = {}
        self._boxes = [(trace, list(self._bars(trace, stack))) for trace in figure.data]
        names = self._names()
        longest = max((self._width(name) for _, name in names), default=0)
        left = min(max(_LEAST_LEFT, longest + 14), _MOST_LEFT)
        self._area = (left, _TOP, WIDTH - _RIGHT, self._height - _BOTTOM)

    def png(self) -> bytes:
        title = str(self._figure.layout.title.text or "")
        self._say(10, 18, title, size=17)
        if self._figure.layout.xaxis.visible is False:
            for note in self._figure.layout.annotations:
                self._say(WIDTH / 2, self._height / 2, html.unescape(note.text), anchor="mm")
        else:
            self._across, self._up = self._ranges()
            self._axes()
            self._shapes()
            for trace, boxes in self._boxes:
                self._draw(trace, boxes)
            self._legend()
        out = io.BytesIO()
        self._image.save(out, "PNG", optimize=True)
        return out.getvalue()

    # -- what is drawn -----------------------------------------------------------------------

    def _bars(self, trace: Any, stack: dict[float, float]) -> Iterator[Box]:
        """The bars of a trace as (begin, end) along the values and (begin, end) across the lanes."""
        if trace.type != "bar":
            return
        along, across = ("x", "y") if self._lying else ("y", "x")
        lengths, places = _values(trace, along), _values(trace, across)
        bases = _values(trace, "base") if trace.base is not None else None
        for number, (length, place) in enumerate(zip(lengths, places, strict=True)):
            width = trace.width[number] if isinstance(trace.width, (list, tuple)) else trace.width
            width = 1 - (self._figure.layout.bargap or 0.2) if width is None else float(width)
            begin = bases[number] if bases else stack.get(place, 0.0) if self._stacked else 0.0
            if self._stacked and not bases:
                stack[place] = begin + length
            low = place + (trace.offset or 0.0) if trace.offset is not None else place - width / 2
            yield begin, begin + length, low, low + width

    def _ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """What the axes span: across the page, and up."""
        layout = self._figure.layout
        if not any(boxes for _, boxes in self._boxes):
            return self._range_of("x"), self._range_of("y")
        along = [edge for _, boxes in self._boxes for box in boxes for edge in box[:2]]
        lanes = [edge for _, boxes in self._boxes for box in boxes for edge in box[2:]]
        if not self._is_date():
            along.append(0.0)
        values = (min(along, default=0.0), max(along, default=1.0) or 1.0)
        given = layout.xaxis.range if self._lying else layout.yaxis.range
        if given is not None:
            values = (_number(given[0]), _number(given[1]))
        elif self._is_date() and values[0] == values[1]:
            values = (values[0] - 1000, values[1] + 1000)
        if self._lying:
            count = len(layout.yaxis.tickvals or ())
            return values, (count - 0.5, -0.8 if layout.barmode == "overlay" else -0.5)
        across = (min(lanes, default=0.0), max(lanes, default=1.0))
        return across, (values[0], values[1] * 1.05)

    def _range_of(self, name: str) -> tuple[float, float]:
        """What an axis without bars spans; of a logarithmic one in powers of ten."""
        given = self._figure.layout[f"{name}axis"].range
        if given is not None:
            return _number(given[0]), _number(given[1])
        values = [value for trace in self._figure.data for value in self._places(trace, name)]
        low, high = min(values, default=0.0), max(values, default=1.0)
        return (low, high) if high > low else (low - 1, high + 1)

    def _places(self, trace: Any, name: str) -> list[float]:
        return [self._place(value, name) for value in _values(trace, name)]

    def _place(self, value: float, name: str) -> float:
        is_log = self._figure.layout[f"{name}axis"].type == "log"
        return math.log10(max(value, 1e-12)) if is_log else value

    def _is_date(self) -> bool:
        return bool(self._lying and self._figure.layout.xaxis.type == "date")

    def _axes(self) -> None:
        left, top, right, bottom = self._area
        dates = self._figure.layout.xaxis.type == "date"
        for value, label in _ticks(*self._across, dates=dates, log=self._figure.layout.xaxis.type == "log"):
            x = self._x(value)
            self._line(x, top, x, bottom)
            self._say(x, bottom + 12, label, anchor="mm")
        self._say((left + right) / 2, bottom + 34, str(self._figure.layout.xaxis.title.text or ""), anchor="mm")
        if self._lying:
            for place, name in self._names():
                self._say(left - 8, self._y(place), name, anchor="rm")
            return
        self._say(left, top - 12, str(self._figure.layout.yaxis.title.text or ""))
        for value, label in _ticks(*self._up, dates=False, log=self._figure.layout.yaxis.type == "log"):
            self._line(left, self._y(value), right, self._y(value))
            self._say(left - 8, self._y(value), label, anchor="rm")

    def _names(self) -> list[tuple[float, str]]:
        axis = self._figure.layout.yaxis
        names = zip(axis.tickvals or (), axis.ticktext or (), strict=True)
        return [(float(place), html.unescape(str(name))) for place, name in names]

    def _color(self, trace: Any, number: int = 0) -> str:
        named = _of(trace.marker.color, number) or (_of(trace.line.color, 0) if trace.type == "scatter" else None)
        return named or _OTHERS[list(self._figure.data).index(trace) % len(_OTHERS)]

    def _shapes(self) -> None:
        """The lines across the whole area, which mark a value of one axis."""
        left, top, right, bottom = self._area
        for shape in self._figure.layout.shapes:
            if shape.type != "line":
                continue
            color = str(shape.line.color or INK)
            if shape.x0 == shape.x1:
                x = self._x(self._place(_number(shape.x0), "x"))
                self._line(x, top, x, bottom, color)
            elif shape.y0 == shape.y1:
                y = self._y(self._place(_number(shape.y0), "y"))
                self._line(left, y, right, y, color)

    def _draw(self, trace: Any, boxes: list[Box]) -> None:
        words = trace.text if isinstance(trace.text, (list, tuple)) else None
        for number, (begin, end, low, high) in enumerate(boxes):
            color = self._color(trace, number)
            box = (begin, low, end, high) if self._lying else (low, begin, high, end)
            x0, x1 = sorted((self._x(box[0]), self._x(box[2])))
            y0, y1 = sorted((self._y(box[1]), self._y(box[3])))
            if end > begin or trace.base is not None:
                corners = [edge * _SCALE for edge in (x0, y0, max(x1, x0 + 1), y1)]
                self._pen.rectangle(corners, fill=color)
            if words and trace.textposition != "none" and end > begin:
                self._beside(str(words[number]), x0, x1, (y0 + y1) / 2)
        if trace.type == "scatter" and trace.mode == "lines":
            points = zip(self._places(trace, "x"), self._places(trace, "y"), strict=True)
            path = [(self._x(x) * _SCALE, self._y(y) * _SCALE) for x, y in points]
            self._pen.line(path, fill=self._color(trace), width=2 * _SCALE, joint="curve")
        elif trace.type == "scatter":
            for number, (x, y) in enumerate(zip(_values(trace, "x"), _values(trace, "y"), strict=True)):
                if trace.mode == "text":
                    self._say(self._x(x) + 4, self._y(y), html.unescape(str(trace.text[number])), anchor="lm")
                else:
                    self._mark(self._x(x), self._y(y), self._color(trace, number))

    def _beside(self, words: str, x0: float, x1: float, y: float) -> None:
        """Text in its bar, at the end; behind it where it does not fit."""
        words = html.unescape(words)
        if self._width(words) + 12 < x1 - x0:
            self._say(x1 - 6, y, words, anchor="rm", color="#FFFFFF")
        else:
            self._say(x1 + 6, y, words, anchor="lm")

    def _mark(self, x: float, y: float, color: str) -> None:
        points = [(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)]
        self._pen.polygon([(a * _SCALE, b * _SCALE) for a, b in points], fill=color)

    def _legend(self) -> None:
        if self._figure.layout.showlegend is False:
            return
        x = float(WIDTH - _RIGHT)
        for trace in reversed(self._figure.data):
            name = str(trace.name or "")
            x -= self._width(name)
            self._say(x, 46, name, anchor="lm")
            x -= 14
            color = self._color(trace)
            self._pen.rectangle([x * _SCALE, 41 * _SCALE, (x + 10) * _SCALE, 51 * _SCALE], fill=color)
            x -= 14

    # -- places ------------------------------------------------------------------------------

    def _x(self, value: float) -> float:
        left, _, right, _ = self._area
        low, high = self._across
        return left + (right - left) * min(max((value - low) / ((high - low) or 1), 0.0), 1.0)

    def _y(self, value: float) -> float:
        _, top, _, bottom = self._area
        low, high = self._up
        return bottom - (bottom - top) * min(max((value - low) / ((high - low) or 1), 0.0), 1.0)

    def _say(
        self, x: float, y: float, words: str, *, size: int = _LETTER, anchor: str = "lm", color: str = INK
    ) -> None:
        # A line's end would make several lines of it, which have no such anchor.
        words = " ".join(words.split())
        self._pen.text((x * _SCALE, y * _SCALE), words, fill=color, font=_font(size * _SCALE), anchor=anchor)

    def _width(self, words: str) -> float:
        return float(self._pen.textlength(" ".join(words.split()), font=_font(_LETTER * _SCALE))) / _SCALE

    def _line(self, x0: float, y0: float, x1: float, y1: float, color: str = _GRID) -> None:
        self._pen.line([edge * _SCALE for edge in (x0, y0, x1, y1)], fill=color, width=_SCALE)


def _values(trace: Any, name: str) -> list[float]:
    found = trace[name]
    return [] if found is None else [_number(value) for value in found]


def _number(value: Any) -> float:
    """A value of an axis; times in milliseconds, as plotly counts them."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).timestamp() * 1000
    if hasattr(value, "astype"):  # numpy's times
        return float(value.astype("datetime64[us]").astype("int64")) / 1000 if value.dtype.kind == "M" else float(value)
    return float(value)


def _of(color: Any, number: int) -> str | None:
    if isinstance(color, (list, tuple)):
        return str(color[number]) if number < len(color) else None
    return None if color is None else str(color)


def _ticks(low: float, high: float, *, dates: bool, log: bool = False) -> list[tuple[float, str]]:
    """At most eight places of an axis, round ones, with their labels."""
    if log:
        powers = range(math.ceil(low), math.floor(high) + 1)
        return [(power, f"{10.0**power:,.6g}") for power in powers[:: max(1, len(powers) // 8)]]
    span = (high - low) or 1.0
    if dates:
        step = next((step for step in _STEPS_MS if span / step <= 8), span / 6)
    else:
        size = 10 ** math.floor(math.log10(span / 6))
        step = next(size * factor for factor in (1, 2, 5, 10, 20) if span / (size * factor) <= 8)
    begin = math.ceil(low / step) * step
    places = [begin + number * step for number in range(int((high - begin) / step + 1e-9) + 1)]
    return [(place, _label(place, step, dates=dates)) for place in places]


def _label(place: float, step: float, *, dates: bool) -> str:
    if not dates:
        return f"{place:,.6g}"
    moment = datetime.fromtimestamp(place / 1000, UTC)
    if step >= _DAY_MS or place % _DAY_MS == 0:
        return f"{moment:%b %d}"
    return f"{moment:%H:%M:%S}" if step < 60_000 else f"{moment:%H:%M}"
