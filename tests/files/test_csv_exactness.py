"""CSV: what is stored is what the bytes say, or the file is rejected with its line and the reason."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pytest
import zstandard

from opskit.errors import Reject
from opskit.files import text
from opskit.files.inspecting import inspect_file
from tests.support.loads import Connection, Load, MakeFile, RealDesk, claimed, rows_of, tables

HEADER_AND_ROWS: dict[str, tuple[bytes, list[str], list[tuple[Any, ...]]]] = {
    "semicolons with a comma in the header": (
        b"Nr;Preis (EUR, netto);Ort\n1;3,50;Rom\n2;4,25;Bern\n",
        ["Nr", "Preis (EUR, netto)", "Ort"],
        [("1", "3,50", "Rom"), ("2", "4,25", "Bern")],
    ),
    "as many commas as semicolons": (
        b"Nr;Preis (EUR, netto);Menge (kg, brutto)\n1;3,50;2,25\n",
        ["Nr", "Preis (EUR, netto)", "Menge (kg, brutto)"],
        [("1", "3,50", "2,25")],
    ),
    "decimal commas in every field": (b"a;b\n1,5;2,5\n", ["a", "b"], [("1,5", "2,5")]),
    "commas with semicolons in a field": (
        b"id,tags (a;b),n\n1,x;y,2\n",
        ["id", "tags (a;b)", "n"],
        [("1", "x;y", "2")],
    ),
    "pipes": (b"a|b, c\n1|2, 3\n", ["a", "b, c"], [("1", "2, 3")]),
    "tabs in a file that is called CSV": (b"a\tb\n1\t2\n", ["a", "b"], [("1", "2")]),
    "Excel's line for the delimiter": (b"sep=;\r\na;b\r\n1,5;2\r\n", ["a", "b"], [("1,5", "2")]),
    "quotes around the delimiter": (b'"a;x",b\n"1,5",2\n', ["a;x", "b"], [("1,5", "2")]),
    "line ends of an old Mac": (b"a,b\r1,2\r3,4\r", ["a", "b"], [("1", "2"), ("3", "4")]),
    "mixed line ends": (b"a,b\n1,2\r\n3,4\r5,6\n", ["a", "b"], [("1", "2"), ("3", "4"), ("5", "6")]),
    "mixed line ends after Windows'": (b'a,b\r\n1,"x\ny"\n3,4\r\n', ["a", "b"], [("1", "x\ny"), ("3", "4")]),
    "a Ctrl-Z of DOS": (b"a,b\r\n1,2\r\n\x1a", ["a", "b"], [("1", "2")]),
    "a vertical tab of FileMaker": (b"a,b\n1\x0b2,3\n", ["a", "b"], [("1\x0b2", "3")]),
    "other control characters": (b"a,b\n\x01\x1b,\x7f\n", ["a", "b"], [("\x01\x1b", "\x7f")]),
    "UTF-16 of Windows": (codecs.BOM_UTF16_LE + "a\tä\r\n1\t€\r\n".encode("utf-16-le"), ["a", "ä"], [("1", "€")]),
    "UTF-16, big end first": (codecs.BOM_UTF16_BE + "a,ä\n1,𝄞\n".encode("utf-16-be"), ["a", "ä"], [("1", "𝄞")]),
    "UTF-32": (codecs.BOM_UTF32_LE + "a,ä\n1,€\n".encode("utf-32-le"), ["a", "ä"], [("1", "€")]),
    "escaped quotes at every edge": (b'a,b\n"""x""",""""\n"","a""b"\n', ["a", "b"], [('"x"', '"'), ("", 'a"b')]),
    "spaces as they are": (b"a,b\n 1 , 2\n", ["a", "b"], [(" 1 ", " 2")]),
    "leading zeros and signs": (b"a,b\n007,+1.10\n", ["a", "b"], [("007", "+1.10")]),
    "names of any script": ("数量,Größe\n1,2\n".encode(), ["数量", "Größe"], [("1", "2")]),
    "a row of nothing": (b"a,b\n,\n", ["a", "b"], [(None, None)]),
}


@pytest.mark.fast_cases(16)
@pytest.mark.parametrize("what", HEADER_AND_ROWS)
def test_a_dialect_is_read_as_it_is_meant(connection: Connection, load: Load, what: str) -> None:
    content, header, rows = HEADER_AND_ROWS[what]

    loaded = load("a.csv", content)

    assert loaded["columns"] == header
    assert rows_of(connection, loaded) == rows


@pytest.mark.fast_cases(12)
@pytest.mark.parametrize("what", HEADER_AND_ROWS)
@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_rows_are_counted_as_they_are_loaded(load: Load, tmp_path: Path, what: str, packing: str) -> None:
    content = HEADER_AND_ROWS[what][0]
    packed = {"": content, ".gz": gzip.compress(content), ".zst": zstandard.compress(content)}[packing]

    loaded = load(f"a.csv{packing}", packed)

    assert inspect_file(claimed(tmp_path / f"a.csv{packing}", RealDesk()))["rows"] == loaded["rows"]


REFUSED: dict[str, tuple[bytes, str]] = {
    "a stray quote": (b'size,n\n5" pipe,a\n6" pipe,b\n7,c\n', "line 2: a quote stands within a field"),
    "a stray quote far on": (b"a,b\n" + b"1,2\n" * 500_000 + b'x"y",1\n', "line 500002: a quote stands within a field"),
    "a stray quote after quoted fields": (b'a,b\n"x\ny",1\n2" x,3\n', "line 4: a quote stands within a field"),
    "text after a closing quote": (b'a,b\n"x"y,1\n', "line 2: a quote stands within a field"),
    "a blank before a quote": (b'a,b\n "x, y",1\n', "line 2: a quote stands within a field"),
    "two quotes within a field": (b'a,b\nx""y,1\n', "line 2: a quote stands within a field"),
    "a stray quote in the header": (b'5" a,b\n1,2\n', "line 1: "),
    "a quote that is never closed": (b'a,b\n1,2\n"3,4\n', "line 3: unterminated CSV quoted field"),
    "a quote that is never closed in the header": (b'a,"b\n1,2\n', "line 1: the header cannot be read"),
    "a delimiter that cannot be told": (b"a,b;c\n", "line 1: comma or semicolon may separate its fields"),
    "a name cut in two": (
        b"Preis (EUR, netto)\n3,50\n4,25\n",
        r"line 1: the comma cuts a name in two at 'Preis \(EUR'",
    ),
    "a row too short": (b"a,b\n1,2\n3\n", 'line 3: missing data for column "b"'),
    "a row too long behind a note with a line break": (b'a,b\n"1\n1",2\n3,4,5\n', "line 4: extra data"),
    "a half of UTF-16": (
        codecs.BOM_UTF16_LE + "a,b\n1,".encode("utf-16-le") + b"\x00\xd8\n\x00",
        "line 2: not UTF-16-LE",
    ),
    "a NUL far on": (b"a,b\n" + b"1,2\n" * 300_000 + b"\0,1\n", "line 300002: invalid byte sequence"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_read_wrongly_is_rejected_with_its_line(connection: Connection, load: Load, what: str) -> None:
    content, sentence = REFUSED[what]

    with pytest.raises(Reject, match=sentence) as caught:
        load("a.csv", content)

    assert "\n" not in str(caught.value)
    assert tables(connection) == []


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("block", [1, 2, 3, 5, 16])
@pytest.mark.parametrize(
    "content",
    [
        b'a,b\r\n"1\r\n""2""",x\r\n"",""""\r\n\r\n\r\n',
        b'a,b\r"x\ry",1\r"\\.",2\r',
        b'a,b\n1,2\r\n"3\r\n",4\r5,"6""\n7"',
        b"a,b\n\\.x,2\nx\\.,3\n\\.\\.,4\n",
    ],
)
def test_rows_do_not_depend_on_where_blocks_end(
    connection: Connection, load: Load, monkeypatch: pytest.MonkeyPatch, block: int, content: bytes
) -> None:
    monkeypatch.setattr(text, "BLOCK", block)

    loaded = load("a.csv", content)

    _, *rows = (row for row in csv.reader(io.StringIO(content.decode(), newline="")) if row)
    assert rows_of(connection, loaded) == [tuple(row) for row in rows]


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("block", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("content", [b'a,b\n1,2\nx"y,3\n', b'a,b\n"x"y,3\n', b'a,b\nx""y,3\n', b'a,b\n"1\n2"\n3" ,4\n'])
def test_a_stray_quote_is_found_wherever_blocks_end(
    load: Load, monkeypatch: pytest.MonkeyPatch, block: int, content: bytes
) -> None:
    monkeypatch.setattr(text, "BLOCK", block)

    with pytest.raises(Reject, match="a quote stands within a field"):
        load("a.csv", content)


def test_a_setting_names_the_encoding_of_texts_without_a_mark(
    connection: Connection, desk: RealDesk, tmp_path: Path
) -> None:
    from opskit.files.loading import load_table

    (tmp_path / "a.csv").write_bytes("Größe,n\n5 €,1\n".encode("cp1252"))

    loaded = load_table(claimed(tmp_path / "a.csv", desk, text_encoding="cp1252"))

    assert loaded["columns"] == ["Größe", "n"]
    assert rows_of(connection, loaded) == [("5 €", "1")]


def test_an_option_names_the_encoding_and_the_delimiter(connection: Connection, load: Load) -> None:
    loaded = load("a.csv", "Größe:n\n5 €:1\n".encode("cp1252"), encoding="cp1252", delimiter=":")

    assert loaded["columns"] == ["Größe", "n"]
    assert rows_of(connection, loaded) == [("5 €", "1")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("销售.csv", "库存.csv"),
        ("n" * 60 + "1.csv", "n" * 60 + "2.csv"),
        ("résumé.csv", "resume.csv"),
        ("Ω.csv", "Σ.csv"),
        ("!!!.csv", "???.csv"),
        ("नमस्ते.csv", "नमसत.csv"),
    ],
)
def test_files_with_other_names_go_into_other_tables(connection: Connection, load: Load, one: str, other: str) -> None:
    first, second = load(one, b"sku,qty\na,1\n"), load(other, b"shelf,stock\nb,2\n", id="2")

    assert first["table"] != second["table"]
    assert rows_of(connection, first) == [("a", "1")]
    assert rows_of(connection, second) == [("b", "2")]


def test_the_same_header_gives_the_same_column_whatever_stands_beside_it(connection: Connection, load: Load) -> None:
    long, longer = "ü" * 40, "ü" * 40 + "x"
    load("a.csv", f"a,a,a_2,{long}\n1,2,3,4\n".encode(), id="1")
    load("a.csv", f"{longer},a_2,{long}\n5,6,7\n".encode(), id="2")

    (first, second) = connection.execute("SELECT * FROM dev_loaded_a ORDER BY _file_id").fetchall()
    values = [{value for key, value in row.items() if value and key != "_file_id"} for row in (first, second)]
    assert values == [{"1", "2", "3", "4"}, {"5", "6", "7"}]
    same = [key for key in first if first[key] and second[key] and key != "_file_id"]
    assert sorted((first[key], second[key]) for key in same) == [("3", "6"), ("4", "7")]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv", "A.CSV.GZ", "a.csv.zst"])
def test_a_packed_text_is_loaded_as_the_text_that_it_holds(connection: Connection, load: Load, name: str) -> None:
    content = b"a,b\n1,2\n3,4\n"
    packed = (
        zstandard.compress(content) if name.endswith("zst") else gzip.compress(content[:6]) + gzip.compress(content[6:])
    )

    loaded = load(name, packed)

    assert loaded["table"] == "dev_loaded_a"
    assert rows_of(connection, loaded) == [("1", "2"), ("3", "4")]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_text_that_is_cut_off_is_rejected(load: Load, pack: Any) -> None:
    content = "".join(f"{n},{n * n}\n" for n in range(9999)).encode()
    packed = pack(b"a,b\n" + content)
    name = "a.csv.gz" if pack is gzip.compress else "a.csv.zst"

    with pytest.raises(Reject, match=r"is cut off"):
        load(name, packed[: len(packed) // 2])


@pytest.mark.slow
def test_a_zip_bomb_of_text_is_neither_loaded_nor_counted_to_its_end(load: Load, make_file: MakeFile) -> None:
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * (50 << 20), 6)

    with pytest.raises(Reject, match="unpacks to more than"):
        load("a.csv.gz", packed)
    assert "rows" not in inspect_file(make_file("b.csv.gz", packed))
