"""Nasty CSV and JSON lines, of the kinds that public collections and trackers of other readers are known for.

csv-spectrum, the cases of Papa Parse, csvkit, CSVLint and Python's csv, pandas' tracker, JSONTestSuite. All is written
here; none is copied.
"""

from __future__ import annotations

_EDGE = 1 << 18  # where the reader's pieces end
_BLOCK = 1 << 20


def _straddling(middle: bytes, edge: int, back: int, *, quoted: bool = False) -> bytes:
    """Rows of two fields, with something that begins *back* bytes before a piece of the file ends."""
    begin, row = b"a,b\n", b"0123456789,0123456\n"
    rows = (edge - back - len(begin)) // len(row) - 1
    lead = begin + row * rows
    pad = edge - back - len(lead) - (1 if quoted else 0)
    return lead + (b'"' if quoted else b"") + b"p" * pad + middle + (b'"' if quoted else b"") + b",z\n1,2\n"


CSV: dict[str, bytes] = {
    # quotes, line breaks, emptiness
    "a comma in quotes": b'name,town\nAnn,"Rome, Italy"\n',
    "empty fields": b'a,b,c\n1,"",""\n2,3,4\n,,\n',
    "empty fields, CRLF": b'a,b,c\r\n1,"",""\r\n2,3,4\r\n',
    "escaped quotes": b'a,b\n1,"ha ""ha"" ha"\n3,4\n',
    "quotes alone": b'a,b\n"""",""""""\n',
    "a quote at each end": b'a,b\n"""x""","""y"""\n',
    "line breaks in quotes": b'a,b,c\n"1\n2",x,y\n3,"4\n\n5",z\n',
    "CRLF in quotes": b'a,b\r\n"1\r\n2",x\r\n3,4\r\n',
    "a lone CR in quotes": b'a,b\n"1\r2",x\n',
    "LF in quotes of a CRLF file": b'a,b\r\n"1\n2",x\r\n',
    "no line end at the end": b"a,b\n1,2",
    "no line end after quotes": b'a,b\n1,"2"',
    "an empty last field without a line end": b"a,b\n1,",
    "all quoted": b'"a","b"\n"1","2"\n',
    "a header over two lines": b'"a\nb",c\n1,2\n',
    "one column": b"a\n1\n2\n",
    "one column with an empty line within": b"a\n1\n\n2\n",
    "one column of quotes": b'a\n""\n"x"\n',
    "a header alone": b"a,b\n",
    "a header without a line end": b"a,b",
    "JSON in a cell": b'id,doc\n1,"{""type"": ""Point"", ""at"": [1.5, 2]}"\n',
    "quoted and plain fields in turn": b'a,b,c\n"1",2,"3"\n4,"5",6\n',
    # kinds of blanks and of line breaks that are none
    "blanks around fields": b"a , b\n 1 , 2 \n",
    "a row of blanks": b"a,b\n  ,\t\n",
    "a form feed and a vertical tab": b"a,b\n1\x0c2,3\x0b4\n",
    "separators of records and units": b"a,b\n1\x1c2\x1d,3\x1e4\x1f\n",
    "next line, line and paragraph separators": "a,b\n1\x852,3\u20284\u2029\n".encode(),
    "no-break and zero-width blanks": "a,b\n\u00a01\u200b,\u2007\u202f\n".encode(),
    # scripts
    "scripts and emoji": "имя,数,😀\nЖ,٣,👩‍👩‍👧\n".encode(),
    "right to left with marks": "a,b\nשלום,\u200fمرحبا\u202e\n".encode(),
    "combining and composed": "é,e\u0301\n1,2\n".encode(),
    "a mark and quotes": b'\xef\xbb\xbf"a","b"\n"1","2"\n',
    "UTF-16 with CRLF": "a,b\r\nü,2\r\n".encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + 'a;b\n"x\ny";2\n'.encode("utf-16-be"),
    "the last code point": "a,b\n\U0010ffff,\ufffd\n".encode(),
    # what looks like something else
    "texts that look like NULL": b"a,b\nNULL,null\nNA,N/A\n\\N,None\n",
    "formulas": b"a,b\n=1+1,+2\n-3,@x\n",
    "numbers as they are": b"a,b\n007,1e5\n+1.10,1_000\n0x1F,.5\n",
    "backslashes": b"a,b\n\\,\\\\\n\\n,C:\\new\n",
    "a backslash before a quote": b'a,b\n"x\\",2\n',
    "a hash": b"a,b\n#1,2\n# no comment,3\n",
    "single quotes": b"a,b\n'1,2'\n",
    "an end mark within quotes": b'a,b\n"\\.",1\n"x\n\\.\ny",2\n',
    "an end mark in a row": b"a,b\n\\.,1\n1,\\.\n",
    "a percent and a dollar": b"a,b\n%s,$1\n{0},:x\n",
    "very short rows": b"a,b\n,\n,\n",
    # names
    "an index without a name": b",a,b\n0,1,2\n1,3,4\n",
    "names twice": b"a,a,a\n1,2,3\n",
    "names that differ in case": b"A,a\n1,2\n",
    "names of the system": b"ctid,xmin,_file_id,tableoid\n1,2,3,4\n",
    "names of SQL": b'select,"table","a""b",a b\n1,2,3,4\n',
    "a number as a name": b"2023,2024\n1,2\n",
    "1,500 columns": b",".join(b"c%d" % n for n in range(1500)) + b"\n" + b",".join(b"%d" % n for n in range(1500)),
    # sizes, and edges of pieces and blocks
    "a field of 3 MB": b"a,b\n1," + b"x" * (3 << 20) + b"\n2,3\n",
    "a quoted field of 3 MB with line breaks": b'a,b\n1,"' + b"xyz\n" * (3 << 18) + b'"\n2,3\n',
} | {
    f"{what} {back} bytes before {edge}": _straddling(middle, edge, back, quoted=quoted)
    for edge in (_EDGE, _BLOCK)
    for back in (1, 2)
    for what, middle, quoted in (
        ("two quotes", b'""x', True),
        ("a line break in quotes", b"\r\nx", True),
        ("a euro", "€".encode(), False),
        ("a quote's end", b"", True),
    )
}
"""Files that all readers read alike, with commas but where the header has none."""

REFUSED: dict[str, tuple[bytes, str]] = {
    "a trailing delimiter in rows": (b"a,b\n1,2,\n", "line 2: extra data"),
    "a row too short": (b"a,b,c\n1,2\n", "line 2: missing data"),
    "an empty line within": (b"a,b\n1,2\n\n3,4\n", "line 3: missing data"),
    "a comment before the header": (b"# made today\na,b\n1,2\n", "line 2: extra data"),
    "a title before the header": (b"Sales of 2024\n\na,b\n1,2\n", "line 3: extra data"),
    "an escaped quote of another kind": (b'a,b\n"x\\"y",2\n', "line 2: a quote stands within a field"),
    "a blank before a quote": (b'a, "b,c"\n1,2\n', "line 1: "),
    "a blank after a quote": (b'a,b\n"1" ,2\n', "line 2: a quote stands within a field"),
    "an open quote": (b'a,b\n1,"2\n3,4\n', "unterminated CSV quoted field"),
    "inches": (b'a,b\n1,5"\n', "line 2: a quote stands within a field"),
    "a total of one cell": (b"a,b\n1,2\nTotal\n", 'line 4: missing data|line 3: missing data for column "b"'),
    "NUL in a cell": (b"a,b\n1,\x00\n", "NUL"),
    "a short row under a name over two lines": (b'a,"b\nc"\n1\n', 'line 3: missing data for column "b c"'),
    "half a character at the end": (b"a,b\n1,\xe2\x82", "not UTF-8|invalid byte sequence"),
    "Latin-1 in the middle of a long file": (b"a,b\n" + b"1,2\n" * 400_000 + b"\xe9,1\n", "line 400002: invalid byte"),
}
"""Files that other readers take, each in its own way: here they are rejected, with the sentence."""

JSON: dict[str, bytes] = {
    "scalars": b'{"a": 1, "b": "x", "c": true, "d": null}\n{"a": -0.0, "b": "", "c": false}\n',
    "large and long numbers": b'{"a": 1E400, "b": 123456789012345678901234567890, "c": 0.1234567890123456789012345}\n',
    "numbers of other forms": b'{"a": 1E+2, "b": -0, "c": 1.50, "d": 10e-3}\n',
    "escapes": b'{"a": "\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud834\\udd1e"}\n',
    "escapes in keys": b'{"\\u0061b": 1, "c\\"d": 2, "e\\nf": 3}\n',
    "separators of lines in a text": '{"a": "x\u2028y\u2029z\x85"}\n'.encode(),
    "delete and C1": '{"a": "\x7f\x80\x9f"}\n'.encode(),
    "a mark at the beginning": b'\xef\xbb\xbf{"a": 1}\n',
    "CRLF and blank lines": b'{"a": 1}\r\n\r\n  \r\n{"a": 2}\r\n',
    "blanks everywhere": b' \t{ "a" :\t[ 1 , 2 ] , "b" : { } } \n',
    "no line end at the end": b'{"a": 1}\n{"a": 2}',
    "keys in another order": b'{"a": 1, "b": 2}\n{"b": 3, "a": 4}\n',
    "keys that come and go": b'{"a": 1}\n{"b": 2}\n{"c": 3}\n{"a": 4, "c": 5}\n',
    "an empty object among others": b'{"a": 1}\n{}\n{"a": 2}\n',
    "nested, and what holds brackets": b'{"a": {"b": "]}", "c": [{"d": "{["}]}}\n{"a": [[], {}, [[]]]}\n',
    "nested 100 deep": b'{"a": ' + b"[" * 100 + b"1" + b"]" * 100 + b"}\n",
    "a text that is JSON": b'{"a": "{\\"b\\": 1}", "b": "[1]", "c": "null"}\n',
    "keys that differ in case": b'{"a": 1, "A": 2}\n',
    "a text of 2 MB": b'{"a": "' + b"x" * (2 << 20) + b'"}\n{"a": "y"}\n',
    "scripts and emoji": '{"ключ": "值", "😀": "👩‍👩‍👧"}\n'.encode(),
    "what is CSV": b'{"a": "1,2\\n\\"3\\"", "b": "\\\\."}\n',
    "UTF-16": '{"a": "ü"}\n'.encode("utf-16"),
    "a list of mixed kinds": b'{"a": [1, "x", null, true, 1.5, {"b": []}]}\n',
}
"""JSON lines that Python's json reads alike."""

NOT_JSON: dict[str, bytes] = {
    "a comma at the end of an object": b'{"a": 1,}\n',
    "a comma at the end of a list": b'{"a": [1,]}\n',
    "a comment": b'{"a": 1} // one\n',
    "a comment within": b'{"a": /* one */ 1}\n',
    "single quotes": b"{'a': 1}\n",
    "a key without quotes": b"{a: 1}\n",
    "a leading zero": b'{"a": 01}\n',
    "a plus": b'{"a": +1}\n',
    "no digit before the point": b'{"a": .5}\n',
    "no digit after the point": b'{"a": 1.}\n',
    "no digit in the exponent": b'{"a": 1e}\n',
    "a hexadecimal number": b'{"a": 0x1F}\n',
    "a true of Python": b'{"a": True}\n',
    "half a word": b'{"a": nul}\n',
    "a tab in a text": b'{"a": "\t"}\n',
    "an escape that is none": b'{"a": "\\x41"}\n',
    "half an escape": b'{"a": "\\u00"}\n',
    "an object that is not closed": b'{"a": 1\n',
    "a list that is not closed": b'{"a": [1\n}\n',
    "a text that is not closed": b'{"a": "1}\n',
    "brackets crossed": b'{"a": [1}]\n',
    "two values": b'{"a": 1 2}\n',
    "no colon": b'{"a" 1}\n',
    "no value": b'{"a": }\n',
    "two colons": b'{"a":: 1}\n',
    "a comma alone": b'{,"a": 1}\n',
    "two on a line": b'{"a": 1}{"a": 2}\n',
    "a form feed between": b'{"a":\x0c1}\n',
    "a no-break blank between": '{"a":\u00a01}\n'.encode(),
    "a mark within": b'{"a": \xef\xbb\xbf1}\n',
    "something behind": b'{"a": 1} x\n',
    "XML": b"<a>1</a>\n",
}
"""What no reader of JSON takes."""

NOT_TAKEN: dict[str, tuple[bytes, str]] = {
    "a key twice": (b'{"a": 1, "a": 1}\n', "the key 'a' is there twice"),
    "a key twice, once escaped": (b'{"a": 1, "\\u0061": 2}\n', "the key 'a' is there twice"),
    "NUL": (b'{"a": "\\u0000"}\n', "NUL"),
    "NUL further in": (b'{"a": ["\\u0000"]}\n', "NUL|unsupported Unicode escape"),
    "half a character": (b'{"a": "\\ud800"}\n', "half a character"),
    "half a character further in": (b'{"a": ["\\udc00"]}\n', "half a character|Unicode"),
    "a number": (b"1\n", "not a JSON object"),
    "a list": (b"[1, 2]\n", "not a JSON object"),
    "null": (b"null\n", "not a JSON object"),
    "a number beyond jsonb": (b'{"a": [1E400000]}\n', "overflow|out of range|range"),
}
"""What Python's json takes, and is rejected by a decision."""
