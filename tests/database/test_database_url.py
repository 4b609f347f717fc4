"""DATABASE_URL as other libraries write it: understood where that is harmless, else one sentence without a password."""

from __future__ import annotations

import pytest

from opskit.database import database_url
from opskit.errors import SettingError

UNDERSTOOD = {
    "postgresql+psycopg://u:p%40@h:5/db?sslmode=require": {"password": "p@", "port": "5", "sslmode": "require"},
    "postgresql+psycopg2://u@h/db": {"user": "u", "host": "h", "dbname": "db"},
    "postgresql+asyncpg://u@h/db?ssl=require": {"sslmode": "require"},
    "postgres://u@h/db": {"host": "h"},
    "psql://u@h/db": {"host": "h"},
    "postgis://h/db": {"dbname": "db"},
    "jdbc:postgresql://h/db?user=a&password=b%26c&ssl=true": {"user": "a", "password": "b&c", "sslmode": "require"},
    "postgresql://u@h/db?schema=app&connection_limit=5&pgbouncer=true": {"options": "-c search_path=app"},
    "postgresql://h/db?schema=my App": {"options": '-c search_path="my\\ App"'},
    "postgresql://h/db?options=-csearch_path%3Dx%20-cjit%3Doff": {"options": "-csearch_path=x -cjit=off"},
    "postgresql://h1:1,h2:2/db?target_session_attrs=read-write&application_name=me@x": {
        "host": "h1,h2", "application_name": "me@x", "target_session_attrs": "read-write",
    },
    "postgresql:///db?host=/var/run": {"host": "/var/run"},
    "postgresql://[::1]:5433/db": {"host": "::1", "port": "5433"},
    "postgresql://u:p:w#x@h/db": {"password": "p:w#x"},
    "host=x dbname=y": {"host": "x", "dbname": "y"},
}  # fmt: skip

REFUSED = {
    "mysql://u:s3cret@h/db": "begins with mysql://, which is not PostgreSQL; write postgresql://",
    "sqlite:///x.db": "begins with sqlite://",
    "mongodb+srv://u:s3cret@h/db": r"begins with mongodb\+srv://",
    "mydb": "has no scheme; it must look like postgresql://",
    "u:s3cret@h/db": "has no scheme",
    "postgresql://u:s3@cret@h/db": "write %40 for @",
    "postgresql://u:s3/cret@h/db": "%2F for /",
    "postgresql://u:12/s3cret@h/db": "%2F for /",
    "postgresql://u:s3?cret@h/db": r"%3F for \?",
    "postgresql://u:s3%cret@h/db": "%25 for %",
    "postgresql://u@h/db?foo=1": "has the parameter 'foo', which PostgreSQL does not know; leave it out",
    "host=h password=s3 cret": "between ' and '",
}


@pytest.mark.parametrize("url", UNDERSTOOD)
def test_a_url_of_another_library_is_understood(url: str) -> None:
    found = database_url.parsed(database_url.understood(url))

    assert UNDERSTOOD[url].items() <= found.items()


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_cannot_be_used_is_told_in_a_sentence_without_its_password(url: str) -> None:
    with pytest.raises(SettingError, match=REFUSED[url]) as refused:
        database_url.parsed(database_url.understood(url))

    assert "s3" not in str(refused.value)
    assert "cret" not in str(refused.value)
    assert "\n" not in str(refused.value)
