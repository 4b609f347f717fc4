"""Rows of a sheet that are written alike are read at once, and are what they are when each cell is read by itself."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import pytest

from opskit.errors import Reject
from opskit.files.formats.cells import Cells
from opskit.files.formats.row_shapes import RowShapes
from opskit.files.formats.workbook import NotPlainError, Workbook
from opskit.files.formats.xml_rows import Row, SheetRows
from tests.files.test_excel_exactness import sheet_of, written_by_hand
from tests.support.loads import Connection, Load, rows_of

TEXTS = ["plain", "", "a &amp; b", 'say "no"', "_x000D_", "é\n日本", "x" * 5000]
STYLES = '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="46"/><xf numFmtId="4"/></cellXfs>'
NUMBERS = [
    "0", "-0", "1", "-17", "007", "+1", "0.1", "0.10000000000000001", "100.09999999999999", "-0.5", "1.50", "1E-5",
    "1.0000000000000001E-5", "123456789012345678", "12345678901234567890123", "0.12345678901234567890123", "59", "60.5",
    "45292", "45292.999999", "2958466", "-1", "1e9", "99999999999999999999.5", "3.0",
]  # fmt: skip
CELLS: list[Callable[[random.Random], str]] = [
    lambda rng: f' t="s"><v>{rng.randrange(len(TEXTS))}</v></c>',
    lambda rng: f"><v>{rng.choice(NUMBERS)}</v></c>",
    lambda rng: f' t="n"><v>{rng.choice(NUMBERS)}</v></c>',
    lambda rng: f' s="1"><v>{rng.choice(NUMBERS)}</v></c>',
    lambda rng: f' s="2"><v>{rng.choice(NUMBERS)}</v></c>',
    lambda rng: f' s="3"><v>{rng.choice(NUMBERS)}</v></c>',
    lambda rng: f' t="b"><v>{rng.randrange(2)}</v></c>',
    lambda rng: f' t="str"><f>A{rng.randrange(9)}&amp;""</f><v>{rng.choice(TEXTS[2:])}</v></c>',
    lambda rng: f"><f>1+1</f><v>{rng.randrange(99)}</v></c>",
    lambda rng: f' t="inlineStr"><is><t>{rng.choice(TEXTS)}</t></is></c>',
    lambda rng: ' t="e"><v>#N/A</v></c>',
    lambda rng: ' s="3"/>',
]


def sheet(seed: int) -> str:
    """Rows of a few kinds, some of them with something else in them."""
    rng = random.Random(seed)
    kinds = [
        {place: rng.choice(CELLS) for place in sorted(rng.sample(range(30), rng.randrange(1, 9)))} for _ in range(3)
    ]
    rows, number = [], 0
    for _ in range(60):
        number += rng.choice((1, 1, 1, 2))
        kind = dict(rng.choice(kinds))
        if rng.random() < 0.1:
            kind[rng.choice(list(kind))] = rng.choice(CELLS)
        cells = ""
        for place, cell in kind.items():
            letters = chr(65 + place) if place < 26 else "A" + chr(39 + place)
            cells += f'<c r="{letters}{number}"{cell(rng)}'
        rows.append(f'<row r="{number}" spans="1:30">{cells}</row>' + rng.choice(("", "\n")))
    return sheet_of("".join(rows))


def read(content: bytes) -> tuple[list[Row], dict[str, Any]]:
    book = Workbook("a.xlsx", io.BytesIO(content))
    cells = Cells("a.xlsx", book)
    rows = SheetRows("a.xlsx", book, cells)
    return [row for some in rows.rows(book.sheets[0].path) for row in some], cells.said


def test_three_ways_to_read_a_sheet_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise NotPlainError

    single: list[int] = []
    by_cell = SheetRows._row
    texts = "".join(f"<si><t>{text}</t></si>" for text in TEXTS)
    for seed in range(40):
        content = written_by_hand(sheet(seed), texts=texts, styles=STYLES)
        with monkeypatch.context() as patched:
            patched.setattr(SheetRows, "_row", lambda *given: single.append(1) or by_cell(*given))
            by_shapes = read(content)
            patched.setattr(RowShapes, "learn", lambda *_: None)
            by_cells = read(content)
            patched.setattr(SheetRows, "_plain_rows", refuse)
            by_parser = read(content)
        assert by_shapes == by_cells == by_parser, seed
    assert len(single) < 40 * 60 * 1.6, "hardly a row was read by its shape"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ('<row r="4"><c r="A4"><v>3</v></c></row><row r="4"><c r="A4"><v>4</v></c></row>', "row 4 stands twice"),
        ('<row r="1048577"><c r="A1"><v>3</v></c></row>', "row 1048577; a sheet has 1048576"),
        ('<row r="5"><c r="A5" t="s"><v>77</v></c></row>', "row 5: a cell names a text that is not in the workbook"),
    ],
)
def test_a_row_that_no_sheet_has_is_refused_though_it_is_written_as_others_are(
    load: Load, rows: str, sentence: str
) -> None:
    alike = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(1, 4))
    texts = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(1, 4))
    content = written_by_hand(sheet_of((texts if "77" in rows else alike) + rows), texts="<si><t>a</t></si>")

    with pytest.raises(Reject, match=sentence):
        load("a.xlsx", content)


def test_a_number_of_seventeen_digits_is_the_shortest_text_of_its_double(connection: Connection, load: Load) -> None:
    numbers = ["100.09999999999999", "0.10000000000000001", "100.1", "123456.78900000001"]
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>{number}</v></c></row>' for n, number in enumerate(numbers, 2))

    loaded = load("a.xlsx", written_by_hand(sheet_of('<row r="1"><c r="A1" t="str"><v>h</v></c></row>' + rows)))

    assert rows_of(connection, loaded) == [(repr(float(number)),) for number in numbers]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["alike", "in one row", "parsed"])
def test_texts_that_are_shared_become_no_more_than_the_file_justifies(load: Load, shape: str) -> None:
    text = f"<si><t>{'x' * 32_000}</t></si>"
    cell = '<c t="s"><v>0</v></c>' if shape == "in one row" else '<c r="A{n}" t="s"><v>0</v></c>'
    rows = (
        f'<row r="1">{cell * 16_384}</row>'
        if shape == "in one row"
        else "".join(f'<row r="{n}">{cell.format(n=n)}</row>' for n in range(1, 60_000))
    )
    if shape == "parsed":
        rows = rows.replace("<row", "<!-- a comment --><row", 1)

    with pytest.raises(
        Reject, match=r"a\.xlsx(, row 1: more than 64 MB| becomes more than \d+ MB, far more than it is)"
    ):
        load("a.xlsx", written_by_hand(sheet_of(rows), texts=text))
