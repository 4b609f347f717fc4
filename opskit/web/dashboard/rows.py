"""Rows as a table that is drawn at once, without a canvas; on a phone each row is a card."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from opskit.support import wording
from opskit.support.visible import directions_shown
from opskit.web.dashboard import columns, fleets, times

MOST_CARDS = 100
LONGEST_NAME = 40
# The page's own colours, each 4.5 : 1 or better on its ground.
STYLE = """
.rows table {width: 100%; border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums}
.rows {overflow-x: auto; margin-bottom: .5rem}
.rows th, .rows td {text-align: left; padding: .3rem .6rem; border: 0 solid #8a93a355; border-bottom-width: 1px}
.rows th {font-weight: 400; opacity: .85} .rows td.number, .rows th.number {text-align: right}
.rows td {white-space: nowrap} .rows td.words {white-space: normal; overflow-wrap: anywhere}
.rows a {color: inherit; text-decoration: underline; text-underline-offset: .15em}
.rows .state::before {content: "●"; padding-right: .35em; color: var(--state)}
.rows .bar {display: inline-block; width: 5rem; height: .5rem; margin-right: .5rem; background: #8a93a344}
.rows .bar i {display: block; height: 100%; background: #1f6feb}
.facts {display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: .5rem}
.facts.facts, .facts.facts * {margin: 0; padding: 0}
.facts dt {font-size: .875rem; font-weight: 400; opacity: .85}
.verdict.verdict {margin: 0 0 .5rem}
.rows.phone {display: none}
@media (min-width: 641px) {[data-testid=stElementContainer]:has(.rows.phone) {display: none}}
@media (max-width: 640px) {
.rows.phone {display: block}
[class*=st-key-wide-] {display: none}
.rows table, .rows tbody, .rows tr, .rows td {display: block}
.rows thead {position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)}
.rows tr {border: 1px solid #8a93a388; border-radius: .5rem; padding: .45rem .7rem; margin-bottom: .5rem}
.rows td, .rows td.number {border: 0; padding: .1rem 0; text-align: left; white-space: normal; overflow-wrap: anywhere}
.rows td:empty {display: none} .rows td:first-child {font-weight: 600}
.rows td:first-child a {display: inline-block; padding: .2rem 0; min-height: 1.5rem}
.rows td:not(:first-child), .rows td.number:not(:first-child) {display: inline-block; margin-right: .9rem}
.rows td:empty:not(:first-child) {display: none}
.rows td:not(:first-child)::before {content: attr(data-label) " "; opacity: .85}
}
"""
COLORS = {
    "green": "#1a7f37", "red": "#cf222e", "blue": "#1f6feb", "gray": "#8a93a3", "yellow": "#bf8700",
    "orange": "#d9730d", "violet": "#8250df",
}  # fmt: skip


STATE_COLORS: dict[str, str] = {**columns.BADGES, **columns.NODE_BADGES}
TITLE = "What"
"""The column that is a card's title, where there is one; else the first one is."""
WIDE_ONLY = ("Host", "Process", "Version", "Started", "For example", "Place", "7 d", "By the hour")
"""The columns that a card leaves out: the page that it leads to has them."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name of others, shortened in its middle where it is long; whole where one points at it.

    Attributes:
        whole: The name.
        address: Where it leads to, below the server's own address; "" for nowhere.
    """

    whole: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """A state in its colour."""

    name: str
    color: str


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole [%], as a bar; None where it is not known."""

    percent: float | None


Cell = str | int | datetime | Name | State | Share | None


def table(lines: Sequence[Mapping[str, Cell]], *, phone: bool = False) -> None:
    """Draw them; on a phone the first column is a card's title, and what is empty is left out.

    Args:
        lines: The rows, all with the same columns.
        phone: They stand for a table that a phone does not show; see `wide`.
    """
    if not lines:
        return
    shown = lines[:MOST_CARDS] if phone else lines
    kinds = {name: " class=number" if isinstance(value, int) else "" for name, value in lines[0].items()}
    head = "".join(f"<th scope=col{kinds[name]}>{html.escape(name)}</th>" for name in lines[0])
    apart = wording.told_apart(
        (cell.whole for line in shown for cell in line.values() if isinstance(cell, Name)), LONGEST_NAME
    )
    body = "".join(
        "<tr>" + "".join(_cell(name, value, apart) for name, value in line.items()) + "</tr>" for line in shown
    )
    # What is wider than its place scrolls, by keyboard as well.
    kind = "rows phone" if phone else "rows"
    st.html(
        f'<div class="{kind}" tabindex="0" role="group" aria-label="Table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    if len(lines) > len(shown):
        st.html(f'<p class="rows phone">The first {len(shown):,} of {len(lines):,}; a wider screen shows all.</p>')


def facts(values: Mapping[str, str]) -> str:
    """A few facts beside each other, each below its name, as HTML.

    Args:
        values: The facts by their names.
    """
    told = "".join(f"<div><dt>{html.escape(name)}</dt><dd>{safe(value)}</dd></div>" for name, value in values.items())
    return f'<dl class="facts">{told}</dl>'


def cards(name: str, lines: Sequence[Mapping[str, Any]], addresses: Sequence[str]) -> DeltaGenerator:
    """Draw the rows of a table as cards for phones; returns the place for the table that wider screens show.

    Args:
        name: The table's name on its page.
        lines: Its rows, as `st.dataframe` takes them: states are lists of one, shares are floats.
        addresses: Where each row's card leads to; "" for nowhere.
    """
    table([_card(line, address) for line, address in zip(lines, addresses, strict=True)], phone=True)
    return st.container(key=f"wide-{name}")


def node(server_id: str) -> Name:
    """A node's name, which leads to its page."""
    return Name(server_id, address("node", id=server_id))


def file(file_id: str, name: str | None) -> Name:
    """A file's name, which leads to its page."""
    return Name(name or file_id, address("file", id=file_id))


def address(page: str, **asked: str) -> str:
    """A page with what is asked of it; "" for the page that is open, with what is asked of that already."""
    known = {} if page else {name: st.query_params.get_all(name) for name in st.query_params}
    return f"{page}?{urlencode(known | fleets.asked(**asked), doseq=True)}"


def _card(line: Mapping[str, Any], address: str) -> dict[str, Cell]:
    """A row of a wide table; its title leads on."""
    card: dict[str, Cell] = {}
    title = TITLE if TITLE in line else next(iter(line))
    for name in (title, *(name for name in line if name != title and name not in WIDE_ONLY)):
        value = line[name]
        if name == title:
            shown = f"{times.local(value):%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value or "–")
            card[name] = Name(shown, address)
        elif isinstance(value, list):
            card[name] = State(str(value[0]), STATE_COLORS.get(str(value[0]), "gray")) if value else None
        elif isinstance(value, float):
            card[name] = Share(value) if name == "Progress" else f"{value:,g}"
        else:
            card[name] = value
    return card


def _cell(column: str, value: Cell, apart: Mapping[str, str]) -> str:
    label = f' data-label="{html.escape(column)}"'
    if value is None or value == "" or (isinstance(value, Share) and value.percent is None):
        return f"<td{label}></td>"
    if isinstance(value, Name):
        return f"<td{label}>{_name(value, apart[value.whole])}</td>"
    if isinstance(value, State):
        return f"<td{label}>{state(value)}</td>"
    if isinstance(value, Share):
        part = f"{value.percent:.0f}"
        return f'<td{label}><span class="bar"><i style="width: {part}%"></i></span>{part} %</td>'
    if isinstance(value, datetime):
        if not 1 < value.year < 9999:
            return f"<td{label}></td>"
        return f"<td{label}>{times.local(value):%Y-%m-%d %H:%M:%S}</td>"
    if isinstance(value, int):
        return f'<td{label} class="number">{value:,}</td>'
    return f'<td{label} class="words">{safe(value)}</td>'


def state(value: State) -> str:
    """A state in its colour, as HTML."""
    color = COLORS.get(value.color, COLORS["gray"])
    return f'<span class="state" style="--state: {color}">{safe(value.name)}</span>'


def _name(name: Name, short: str) -> str:
    title = f' title="{safe(name.whole)}"' if short != name.whole else ""
    if not name.address:
        return f"<span{title}>{safe(short)}</span>"
    return f'<a href="{html.escape(name.address)}"{title}>{safe(short)}</a>'


def safe(text: str) -> str:
    """Text of others for HTML: shown as it is."""
    return html.escape(directions_shown(text))
