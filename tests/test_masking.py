"""What a log, an error and a terminal never show: passwords, signatures, and what a terminal obeys."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from opskit.support.logs import Lines, masked, set_up_logging
from opskit.support.visible import visible, visible_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hunter2@db/x", "postgresql://me:…@db/x"),
        ("postgresql://me:hun/ter2@db/x", "postgresql://me:…@db/x"),
        ("postgresql://db/x?PASSWORD=hunter2", "postgresql://db/x?PASSWORD=…"),
        ("x?a=1&sslpassword=hunter2&b=2", "x?a=1&sslpassword=…&b=2"),
        ("a=1&password=hunter2 b", "a=1&password=… b"),
        ("https://b/x?x-amz-signature=0123&b=2", "https://b/x?x-amz-signature=…&b=2"),
        ("https://b/x?Sig=0123", "https://b/x?Sig=…"),
        ("https://b/x?secret=0123#top", "https://b/x?secret=…#top"),
        ("https://b/x?color=red", "https://b/x?color=red"),
        ("host=db password='a b' user=me", "host=db password=… user=me"),
        ("host=db password=a\\ b user=me", "host=db password=… user=me"),
        ("host=db PassWord = hunter2", "host=db PassWord = …"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=… psql"),
        ("password", "password"),
    ],
)
def test_passwords_and_signatures_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("a\u200bb", "a\\u200bb"),
        ("grün 鍵", "grün 鍵"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_line_of_somebody_else_stands_nowhere_where_one_of_ours_begins() -> None:
    assert visible_lines("one\r\ntwo\nthree\n") == "one\n    two\n    three"


@pytest.mark.parametrize("format", ["text", "json"])
def test_every_line_of_the_log_is_masked_and_has_its_head(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own, stream = logging.getLogger("opskit"), io.StringIO()
    monkeypatch.setattr(own, "handlers", [])
    monkeypatch.setattr(own, "propagate", True)
    monkeypatch.setattr(own, "level", own.level)
    set_up_logging("node-50%s", "production", stream=stream, format=format)

    try:
        raise ValueError("s3://me:hunter2@b")
    except ValueError:
        own.warning("to postgresql://me:hunter2@db\n[forged]", exc_info=sys.exc_info())
    Lines(logging.INFO, "file 1: ").write("a\x1b[2J\nb\n")

    said = stream.getvalue()
    assert "hunter2" not in said
    assert "\x1b" not in said
    if format == "json":
        first, *others = map(json.loads, said.splitlines())
        assert (first["serverId"], first["message"]) == ("node-50%s", "to postgresql://me:…@db\n[forged]")
        assert "s3://me:…@b" in first["exception"]
        assert [line["message"] for line in others] == ["a\x1b[2J", "b"]
    else:
        assert "[node-50%s production] to postgresql://me:…@db\n    [forged]\n" in said
        assert "[node-50%s production] file 1: a\\x1b[2J\n" in said
