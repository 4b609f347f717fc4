"""The loader of the SQL files reads them as psql does."""

from __future__ import annotations

import csv
import io
import uuid
from pathlib import Path
from typing import Any

import pytest

from opskit.database import Database, queries
from opskit.database.names import names
from opskit.errors import QueryError
from opskit.settings import Settings
from tests.support.tables import psql


def put_query(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """A query file of the test's own; its name."""
    name = f"probe_{uuid.uuid4().hex}"
    (folder / f"{name}.sql").write_text(text, encoding="utf-8")
    monkeypatch.setattr(queries, "FOLDER", folder)
    return name


# -- the loader ------------------------------------------------------------------------------

# SQL, its identifiers, its values.
TEXTS = {
    "none": ("SELECT 1 AS a", set(), set()),
    "both": ("""SELECT :'x' AS a, :"files" FROM (SELECT 1 AS :"files") AS f""", {"files"}, {"x"}),
    "cast": ("SELECT '1'::int AS a, :'x'::text AS b, 2::text AS c", set(), {"x"}),
    "cast of a cast": ("SELECT :'x'::text::varchar(3) AS a", set(), {"x"}),
    "comment": ("SELECT 1 AS a -- it's :'no' and :\"no\"; :bare\n, :'x' AS b", set(), {"x"}),
    "block comment": ("SELECT /* it's :'no' ; :bare \n :\"no\" */ :'x' AS a", set(), {"x"}),
    "literal": ("SELECT ':\"no\" ; it''s :bare' AS a, :'x' AS b", set(), {"x"}),
    "literal at an end": ("SELECT 'a:'||:'x'||':b' AS a", set(), {"x"}),
    "empty literal": ("SELECT '' AS a, :'x' AS b, '' AS c", set(), {"x"}),
    "quoted name": ("""SELECT 1 AS ":'no' "" ; it's :bare", :'x' AS b""", set(), {"x"}),
    "dollars": ("SELECT $$ it's :'no' ; :bare $$ AS a, :'x' AS b", set(), {"x"}),
    "named dollars": ("SELECT $body$ $$ :'no' $$ ; $body$ AS a, :'x' AS b", set(), {"x"}),
    "percent": ("SELECT 10 % 3 AS a, '%s %(id)s 5%' AS b, :'x' AS c", set(), {"x"}),
    "percent alone": ("SELECT 10 % 3 AS a, '%s %(id)s 5%' AS b", set(), set()),
    "percent in a name": ("SELECT 1 AS \"50%\", :'x' AS b", set(), {"x"}),
    "slice": ("SELECT (ARRAY[1, 2, 3])[1:2] AS a, :'x' AS b", set(), {"x"}),
    "braces": ("SELECT '{}'::text[] AS a, :'x' AS b", set(), {"x"}),
    "twice": ("SELECT :'x' AS a, :'x' AS b", set(), {"x"}),
    "semicolon": ("SELECT :'x' AS a;\n-- the end;\n", set(), {"x"}),
    "psql's own lines": ("\\set y :'x'\nSELECT :'x' AS a\n  \\set z ':no'\n", set(), {"x"}),
}


VALUES = ["plain", "it's", "50% %s", ':"files"', "a\\b", ""]


@pytest.mark.parametrize(("text", "identifiers", "values"), TEXTS.values(), ids=TEXTS)
def test_only_variables_are_taken_for_variables(
    text: str, identifiers: set[str], values: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = queries.statement(put_query(tmp_path, monkeypatch, text))

    assert (statement.names, statement.values) == (identifiers, values)


@pytest.mark.fast_cases(5)
@pytest.mark.parametrize(("text", "identifiers", "values"), TEXTS.values(), ids=TEXTS)
def test_python_and_psql_get_the_same_rows_from_the_same_text(
    text: str,
    identifiers: set[str],
    values: set[str],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = put_query(tmp_path, monkeypatch, text)
    value = VALUES[len(text) % len(VALUES)] or "not nothing, which CSV shows as no row"

    with Database(settings, pooled=False) as db:
        ours = db.run(name, **dict.fromkeys(values, value))
    done = psql(
        settings, "-v", f"x={value}", "-v", f"files={names(settings)['files']}", "-f", str(tmp_path / f"{name}.sql")
    )

    assert done.returncode == 0, done.stderr
    (shown,) = csv.reader(io.StringIO(done.stdout.split("\n", 1)[1]))
    assert list(ours[0]) == next(csv.reader(io.StringIO(done.stdout)))
    for mine, theirs in zip(ours[0].values(), shown, strict=True):
        assert theirs == ("{" + ",".join(map(str, mine)) + "}" if isinstance(mine, list) else str(mine))


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_bound_and_an_identifier_quoted(
    value: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = put_query(tmp_path, monkeypatch, """SELECT :'x'::text AS a, 1 AS :"files" """)
    odd = value or "x"
    monkeypatch.setattr("opskit.database.connections.names", lambda _: {"files": odd})

    with Database(settings, pooled=False) as db:
        (found,) = db.run(name, x=value)

    assert found == {"a": value, odd: 1}


def test_a_filter_that_is_not_given_lets_everything_through_as_in_psql(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (
        r"\if :{?of} \else \set of '' \endif",
        r"\if :{?ids} \else \set ids '{}' \endif",
        r"\if :{?actor} \else \set actor psql \endif",
        "SELECT :'of' AS of, :'ids' AS ids, :'actor' AS actor",
    )
    name = put_query(tmp_path, monkeypatch, "\n".join(lines))

    with Database(settings, pooled=False) as db:
        assert db.run(name, actor="me") == [{"of": "", "ids": "{}", "actor": "me"}]
        assert db.run(name, actor="me", of="a") == [{"of": "a", "ids": "{}", "actor": "me"}]
        with pytest.raises(QueryError, match="is not given 'actor'"):
            db.run(name, of="a")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, r"sql/probe_\w+\.sql is not given 'x'"),
        ({"x": 1, "y": 2}, r"sql/probe_\w+\.sql does not know 'y'"),
        ({"y": 2}, "is not given 'x'"),
    ],
)
def test_a_variable_that_is_unset_or_unknown_is_loud(
    given: dict[str, Any], complaint: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = put_query(tmp_path, monkeypatch, "SELECT :'x' AS a")

    with Database(settings, pooled=False) as db, pytest.raises(QueryError, match=complaint):
        db.run(name, **given)


def test_an_identifier_that_is_missing_is_loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = queries.statement(put_query(tmp_path, monkeypatch, """SELECT 1 FROM :"filse" """))

    with pytest.raises(QueryError, match="needs the name 'filse'"):
        statement.compose({"files": "x"})


@pytest.mark.parametrize("text", ["SELECT :x", "SELECT 1 FROM :files", "SELECT x[1:n]", "SELECT 1 :limit::int"])
def test_raw_interpolation_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = put_query(tmp_path, monkeypatch, text)

    with pytest.raises(QueryError, match=r"has :\w+; write"):
        queries.statement(name)


def test_several_statements_are_split_and_cannot_be_run_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = put_query(tmp_path, monkeypatch, "SELECT ';'; -- ;\n;;\n/* ; */ SELECT $$;$$ AS \"a;b\" ;\n\\echo ;\n")

    found = [statement.compose({}).as_string().split("SELECT ")[-1].strip() for statement in queries.statements(name)]

    assert found == ["';'", '$$;$$ AS "a;b"']
    with pytest.raises(QueryError, match="holds 2 statements where one is expected"):
        queries.statement(name)


def test_a_query_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(QueryError, match=r"there is no query 'distrbution'; there are: .*distribution") as refused:
        queries.text("distrbution")

    assert "_session" not in str(refused.value)
