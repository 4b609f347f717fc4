"""Odd files that people upload: read as they are meant, or refused in a sentence that says what to do."""

from __future__ import annotations

import pytest

from opskit.errors import Reject
from opskit.files.inspecting import inspect_file
from tests.support.binary_workbooks import ERROR, xlsb
from tests.support.loads import Connection, Load, MakeFile, refused, rows_of

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "a.csv",
            b"<html><body><table><tr><td>1</td></tr></table></body></html>",
            "a page of HTML or XML and no table",
        ),
        ("a.csv", b"  <!DOCTYPE html>\n<p>Please sign in</p>", "a page of HTML or XML and no table"),
        ("a.tsv", b'<?xml version="1.0"?>\n<a/>', "a page of HTML or XML and no table"),
        ("a.jsonl", b'[{"a": 1}, {"a": 2}]', "one whole object on each line, without brackets"),
        ("a.jsonl", b'{\n  "a": 1\n}\n', "line 1: .*one whole object on each line"),
        ("a.jsonl", b'{"a": 1},\n{"a": 2},\n', "one object on each line, and nothing after it"),
        ("a.jsonl", b'{"a": 1}{"a": 2}\n', "one object on each line, and nothing after it"),
        ("a.jsonl", b'{"a": "\\u0000"}\n', "the character NUL, which PostgreSQL does not keep"),
        ("a.json", b'[{"a": 1}]', "one on each line, into a .jsonl file"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-le"), "set encoding=utf-16-le"),
        (
            "a.xlsx",
            OLE + bytes(2000) + "EncryptedPackage".encode("utf-16-le") + bytes(999),
            "protected with a password",
        ),
    ],
)
def test_an_odd_file_is_refused_in_a_sentence_that_says_what_to_do(
    connection: Connection, load: Load, name: str, content: bytes, sentence: str
) -> None:
    refused(connection, load, name, content, sentence)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "UTF-16LE", "utf-32-le"])
def test_a_wide_text_without_a_mark_is_read_when_its_encoding_is_named(
    connection: Connection, load: Load, encoding: str
) -> None:
    loaded = load("a.csv", "a,b\n1,é\n".encode(encoding), encoding=encoding)

    assert rows_of(connection, loaded) == [("1", "é")]


def test_an_xlsb_file_arrives_as_text(connection: Connection, load: Load) -> None:
    rows = [("näme", "n", "ok", "e"), ("x\ny", 2.5, True, ERROR), ('"', 17, None, None), ("", 0.1, False, 1e300)]

    loaded = load("a.xlsb", xlsb([("Secret", [("s",)], True), ("Daten", rows, False), ("More", [("m",)], False)]))

    assert rows_of(connection, loaded) == [
        ("x\ny", "2.5", "true", None), ('"', "17", None, None), (None, "0.1", "false", "1e+300"),
    ]  # fmt: skip
    assert (loaded["sheet"], loaded["other_sheets"]) == ("Daten", ["Secret", "More"])


def test_a_sheet_of_an_xlsb_file_can_be_chosen_and_a_wide_row_is_refused(connection: Connection, load: Load) -> None:
    content = xlsb([("S", [("a",)], False), ("T", [("b",), (1, 2)], False)])

    assert load("a.xlsb", content)["columns"] == ["a"]
    with pytest.raises(Reject, match=r"b\.xlsb, row 2: 2 cells under a header of 1"):
        load("b.xlsb", content, sheet="T")
    with pytest.raises(Reject, match=r"c\.xlsb cannot be read"):
        load("c.xlsb", content[:-150])


MARK = "\ufeff"


@pytest.mark.parametrize("content", [b'"1"\r1\n1', b'a\n"1"\r2\n3\r\n4', b'a\r\n"x\ry\n"\rz\n'])
def test_rows_are_counted_as_they_are_loaded_where_line_ends_are_mixed(
    load: Load, make_file: MakeFile, content: bytes
) -> None:
    assert inspect_file(make_file("b.csv", content))["rows"] == load("a.csv", content)["rows"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("cell", ["1", '"a\nb"'])
def test_files_that_were_put_together_are_refused_with_the_line_of_the_second(
    connection: Connection, load: Load, newline: str, encoding: str, cell: str
) -> None:
    part = newline.join(["a,b", f"{cell},2", ""])
    line = 3 + (cell != "1" and newline == "\n")

    refused(
        connection, load, "a.csv", (part + MARK + part).encode(encoding),
        rf"a\.csv, line {line}: the line begins with a byte order mark",
    )  # fmt: skip


def test_a_byte_order_mark_within_a_line_or_quotes_is_kept(connection: Connection, load: Load) -> None:
    loaded = load("a.csv", f'a,b\n1,{MARK}2\n"{MARK}3","\n{MARK}4"\n'.encode())

    assert rows_of(connection, loaded) == [("1", f"{MARK}2"), (f"{MARK}3", f"\n{MARK}4")]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_two_byte_order_marks_at_the_beginning_are_left_out(connection: Connection, load: Load, name: str) -> None:
    content = "a,b\n1,2\n" if name == "a.csv" else '{"a": "1", "b": "2"}\n'

    loaded = load(name, (MARK * 2 + content).encode())

    assert (loaded["columns"], rows_of(connection, loaded)) == (["a", "b"], [("1", "2")])


def test_json_lines_that_were_put_together_are_refused(connection: Connection, load: Load) -> None:
    part = '{"a": 1}\n'

    refused(
        connection, load, "a.jsonl", (part + MARK + part).encode(), r"line 2: .*perhaps two files were put together"
    )
