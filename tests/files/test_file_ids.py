"""`_file_id` says in each row which file it came from, whoever made the table and whatever was loaded before."""

from __future__ import annotations

import pytest

from tests.support.loads import Connection, Load

LATE = b'{"a": 1}\n' * 600_000 + b'{"a": 2, "b": 3}\n'


def ids(connection: Connection) -> dict[str | None, int]:
    """How many rows of the table each file has. A setting that a session has had once is empty in it, not NULL."""
    query = "SELECT nullif(_file_id, '') AS id, count(*) AS rows FROM dev_loaded_a GROUP BY 1"
    return {row["id"]: row["rows"] for row in connection.execute(query)}


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.csv", b"a,b\n1,2\n", 1),
        ("a.jsonl", b'{"a": 1}\n{"a": 2}\n', 2),
        pytest.param("a.jsonl", LATE, 600_001, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("typed", [False, True])
def test_each_file_is_named_in_its_own_rows_and_in_no_others(
    connection: Connection, load: Load, name: str, content: bytes, rows: int, *, typed: bool
) -> None:
    load(name, content, id="7'1", typed=typed)
    load("a.csv", b"a\n3\n", id="8")
    connection.execute("INSERT INTO dev_loaded_a (a) VALUES ('4')")

    assert ids(connection) == {"7'1": rows, "8": 1, None: 1}


def test_rows_that_were_there_before_are_given_no_file(connection: Connection, load: Load) -> None:
    connection.execute("CREATE TABLE dev_loaded_a (a text)")
    connection.execute("INSERT INTO dev_loaded_a VALUES ('0')")

    load("a.csv", b"a\n1\n", id="1")
    load("a.csv", b"a\n2\n", id="2")

    assert ids(connection) == {None: 1, "1": 1, "2": 1}


def test_a_new_table_that_is_given_a_deferred_trigger_takes_its_rows(connection: Connection, load: Load) -> None:
    connection.execute("""
        CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
            CREATE CONSTRAINT TRIGGER noted AFTER INSERT ON dev_loaded_a DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION noted();
        END$$;
        CREATE EVENT TRIGGER watching ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION watch();
    """)

    load("a.csv", b"a\n1\n", id="1")
    load("a.csv", b"a\n2\n", id="2")

    assert ids(connection) == {"1": 1, "2": 1}
