"""A folder of odd files as people upload them, with what each of them is told; written to be looked at, too.

    python -m tests.support.odd_folder FOLDER && opskit up FOLDER

The kinds are those that public collections are known for: csv-spectrum, the test cases of Papa Parse, csvkit and
pandas, JSONTestSuite. The files are written here; none is copied.
"""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
from pathlib import Path

from tests.support.spreadsheets import ods, open_document, xls

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def _zip(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "a,b\n1,2\n")
    return target.getvalue()


def _far() -> bytes:
    cell = '<table:table-cell office:value-type="string"><text:p>a</text:p></table:table-cell>'
    return open_document(("S", f'<table:table-row table:number-rows-repeated="1000000000">{cell}</table:table-row>'))


LOADED: dict[str, tuple[bytes, list[tuple[str | None, ...]]]] = {
    "comma in quotes.csv": (b'first,address\nJohn,"120 any st., Anytown"\n', [("John", "120 any st., Anytown")]),
    "quotes and newlines.csv": (b'a,b\n1,"ha \n""ha"" \nha"\n', [("1", 'ha \n"ha" \nha')]),
    "json in a cell.csv": (b'key,val\n1,"{""type"": ""Point""}"\n', [("1", '{"type": "Point"}')]),
    "old mac.csv": (b"a,b\r1,2\r", [("1", "2")]),
    "two marks.csv": ("\ufeff\ufeffa;b\n1;2\n".encode(), [("1", "2")]),
    "excel says so, too.csv": (b'"sep=;"\r\na;b\r\n1;2\r\n', [("1", "2")]),
    "excel says.csv": (b"sep=|\r\na|b\r\n1|2\r\n", [("1", "2")]),
    "dos.csv": (b"a,b\r\n1,2\r\n\x1a", [("1", "2")]),
    "wide.csv": ("a,b\nä,€\n".encode("utf-16"), [("ä", "€")]),
    "big number.jsonl": (b'{"a": 123456789012345678901234567890}\n', [("123456789012345678901234567890",)]),
    "old.xls": (xls([("a",), (1,)]), [("1",)]),
    "office.ods": (ods([("a",), ("x",)]), [("x",)]),
}
"""Files that are odd and right, with their rows."""
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty.csv": (b"", "is empty; CSV, TSV and JSON lines"),
    "blank lines.csv": (b"\n\n\n", "there is no header"),
    "latin.csv": (b"n,s\nM\xfcller,1\n", "line 2: not UTF-8 (byte 0xfc); save it as UTF-8"),
    "ragged.csv": (b"a,b\n1,2\n1,2,3\n", "line 3: extra data after last expected column; the header has 2 fields"),
    "short.csv": (b"a,b\n1,2\n1\n", 'line 3: missing data for column "b"'),
    "stray quote.csv": (b'size,what\n5" pipe,a\n', "line 2: a quote stands within a field that does"),
    "open quote.csv": (b'a,b\n1,"2\n3,4\n', "unterminated CSV quoted field"),
    "end mark.csv": (b"a\n1\n\\.\n2\n", r"line 3: a line that is only \., where PostgreSQL may stop reading; write"),
    "two files.csv": (
        "a,b\n1,2\n\ufeffa,b\n3,4\n".encode(), "line 3: the line begins with a byte order mark, as a file does"
    ),
    "sign in.csv": (b"<!DOCTYPE html><html>Sign in</html>", "a page of HTML or XML and no table"),
    "picture.csv": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is of the kind png; CSV, TSV"),
    "nul.csv": (b"a,b\n1,\x002\n" + b"3,4\n" * 50, "of the kind binary (it holds NUL bytes, which a text does not)"),
    "either.csv": (b"a,b;c\n", "comma or semicolon may separate its fields"),
    "list.json": (b'[{"a": 1}]', "write its objects as JSON lines"),
    "list.jsonl": (b'[{"a": 1}]\n', "one whole object on each line"),
    "pretty.jsonl": (b'{\n "a": 1\n}\n', "one whole object on each line"),
    "commas.jsonl": (b'{"a": 1},\n', "one object on each line, and nothing after it"),
    "twice.jsonl": (b'{"a": 1, "a": 2}\n', "line 1: the key 'a' is there twice"),
    "single quotes.jsonl": (b"{'a': 1}\n", "Expecting property name enclosed in double quotes"),
    "half.jsonl": (b'{"a": "\\ud800"}\n', "holds half a character"),
    "cut off.jsonl": (b'{"a": 1}\n{"a": "x', "line 2: Unterminated string at character 7"),
    "cut off.csv.gz": (gzip.compress(b"a,b\n1,2\n" * 99)[:-9], "is cut off: its gzip data has no end"),
    "renamed.xlsx": (_zip("a.csv"), "is a zip archive and no workbook; unpack it"),
    "locked.xlsx": (
        OLE + bytes(2000) + "EncryptedPackage".encode("utf-16-le") + bytes(999), "is protected with a password"
    ),
    "broken.xls": (OLE + bytes(2000), "open it in Excel or LibreOffice and save it as .xlsx"),
    "far.ods": (_far(), "a cell is repeated over more rows than a sheet has"),
    "cut off.parquet": (b"PAR1" + b"\xff" * 60, "is cut off: it begins as a Parquet file and does not end"),
    "cut early.parquet": (b"PAR1 like a text\n", "is cut off: it begins as a Parquet file"),
    "secret.parquet": (b"PARE" + bytes(60), "is an encrypted Parquet file"),
    "no.parquet": (b"a,b\n1,2\n", "is a text and no Parquet file; if it is a table, name it .csv"),
    "export.xls": (b"<html><table><tr><td>1</td></tr></table>", "a page of HTML or XML and no workbook; open it"),
    "export.xlsx": (b"a;b\n1;2\n", "is a text and no workbook; if it is a table, name it .csv"),
    "cut off.xlsx": (_zip("xl/workbook.xml")[:-9], "is cut off or broken: it does not end as a workbook does"),
    "archive.zip": (_zip("a.csv", "b.csv"), "is a zip archive and no table; unpack it"),
    "data.txt": (b"a,b\n1,2\n", "is of the kind text; if it is a table, name it .csv, .tsv or .jsonl"),
    "lines.csv": (b'{"a": 1}\n', "holds JSON and no CSV; name it .jsonl"),
    "list.csv": (b'[{"a": 1}]\n', "holds JSON and no CSV; name it .jsonl"),
    "table.jsonl": (b"a,b\n1,2\n", "line 1: Expecting value at character 1; JSON lines have one object on each line"),
    "letter.csv": (b"{\\rtf1\\ansi Dear}", "is of the kind rtf; CSV, TSV"),
    "not finished.csv": (b"a,b\n1,2\n" + bytes(512), "ends in NUL bytes, as a file does that was not written to its"),
    "late latin.csv": (
        b"a,b\n" + b"1,2\n" * 300_000 + b"\xfc,3\n", 'line 300002: invalid byte sequence for encoding "UTF8": 0xfc'
    ),
    "latin.jsonl": (b'{"a": "M\xfcller"}\n', "; save it as UTF-8, or set OPSKIT_TEXT_ENCODING"),
    "two lines.csv": (b'a,"b\nc"\n1\n', 'line 3: missing data for column "b c"'),
    "packed twice.csv.gz": (gzip.compress(gzip.compress(b"a,b\n1,2\n")), "is packed twice; unpack it once"),
    "paper.csv": (b"%PDF-1.7\n", "is of the kind pdf; CSV, TSV"),
}  # fmt: skip
"""Files that are refused, with the words that tell the uploader why, and what to do."""


def main() -> None:
    """Write the folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (content, _) in {**LOADED, **REFUSED}.items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
