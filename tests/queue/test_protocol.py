"""A node as docs/reference/protocol.md describes it: the texts of `opskit query`, values as text, `''` for none."""

from __future__ import annotations

import re
import uuid
from typing import Any

import psycopg
import pytest

from opskit.database import Database, queries
from tests.support.nodes import add_files, counts
from tests.support.pages import ROOT
from tests.support.tables import attempts, row

PAGE = (ROOT / "docs/reference/protocol.md").read_text(encoding="utf-8")
STATEMENTS = sorted({name for name in re.findall(r"`([a-z_]+)`", PAGE) if (queries.FOLDER / f"{name}.sql").exists()})
TOKEN = re.compile(r"""--[^\n]*|'(?:[^']|'')*'|(?<!:)"[^"]*"|::|:"(?P<name>\w+)"|:'(?P<value>\w+)'""")


class Reader:
    """What the page tells a driver to do with the texts, and nothing else of opskit."""

    def __init__(self, db: Database) -> None:
        self.names = {**db.names, "channel": f"opskit_{db.names['files']}"}
        self.connection = psycopg.connect(
            str(db.settings.database_url), autocommit=True, cursor_factory=psycopg.RawCursor
        )
        self.connection.execute("SET TimeZone = 'UTC'")

    def variables(self, name: str) -> tuple[str, list[str]]:
        """The text for a driver, and its variables in the order of `$1`, `$2`."""
        lines = (queries.FOLDER / f"{name}.sql").read_text(encoding="utf-8").split("\n")
        begin = max(number for number, line in enumerate(lines) if line.startswith("\\")) + 1
        order: list[str] = []

        def bound(found: re.Match[str]) -> str:
            if found["name"]:
                return f'"{self.names[found["name"]]}"'
            if not found["value"]:
                return found[0]
            if found["value"] not in order:
                order.append(found["value"])
            return f"${order.index(found['value']) + 1}"

        return TOKEN.sub(bound, "\n".join(lines[begin:])), order

    def run(self, name: str, **values: object) -> list[dict[str, Any]]:
        """The rows of a statement; what is not given goes as the empty text."""
        text, order = self.variables(name)
        cursor = self.connection.execute(text, [str(values.get(key, self.names.get(key, ""))) for key in order])
        if cursor.description is None:
            return []
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, each, strict=True)) for each in cursor.fetchall()]


def register(reader: Reader, boot: str, **more: object) -> int:
    """A node with nothing but what the table of the page asks for; its epoch."""
    policy = {"on_orphan": "requeue", "max_failures": 3, "stale_after_seconds": 3600, "lease_seconds": 30}
    (answer,) = reader.run(
        "register", server_id="other", boot=boot, host="here", pid=1, version="other", **policy, **more
    )
    return int(answer["epoch"])


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_variable_with_a_default_in_psql_may_go_as_nothing(name: str) -> None:
    text = (queries.FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    for variable in re.findall(r"\\if :\{\?(\w+)\}", text):
        casts = re.findall(rf":'{variable}'(?:, ''\))?::", text)
        assert all("''" in cast for cast in casts), f"{name}: '' is refused for {variable}"


def test_a_node_in_another_language_lives_by_the_page_alone(db: Database) -> None:
    assert {"register", "heartbeat", "claim", "complete_and_claim", "complete", "fail", "release", "held"} <= set(
        STATEMENTS
    )
    first, second, *_ = add_files(db, "a", "b", "c", "d")
    reader = Reader(db)
    me: dict[str, object] = {"server_id": "other", "boot": str(uuid.uuid4())}
    me["epoch"] = register(reader, str(me["boot"]))
    assert reader.run("held", server_id="other") == []
    assert [each["state"] for each in reader.run("heartbeat", **me)] == ["active"]

    tokens = [str(uuid.uuid4()) for _ in range(5)]
    (one,) = reader.run("claim", **me, token=tokens[0], after="-infinity")
    assert one["outcome"] == "claimed"
    (two,) = reader.run(
        "complete_and_claim", **me, id=first, done_token=tokens[0], result="{}", token=tokens[1], after="-infinity"
    )
    assert row(db, first)["processing_status"] == "completed"
    assert [each["answer"] for each in reader.run("release", id=second, token=tokens[1], reason="not now")] == [
        "queued"
    ]
    assert str(two["id"]) == second

    (again,) = reader.run("claim", **me, token=tokens[2], after="-infinity")
    failed = {"outcome": "rejected", "error": "bad", "max_failures": 3, "retry_seconds": 30}
    (answer,) = reader.run("fail", id=again["id"], token=tokens[2], **failed)
    assert answer["answer"] == "failed"
    assert sorted(each["outcome"] for each in attempts(db, again["id"])) == ["rejected", "released"]

    (more,) = reader.run("claim", **me, token=tokens[3], after="-infinity")
    (done,) = reader.run("complete", id=more["id"], token=tokens[3], result='{"rows": 2}')
    assert done["answer"] == "done"
    (late,) = reader.run("complete", id=first, token=tokens[4], result="{}")
    assert late["answer"] == "lost"
    (advanced,) = reader.run("advance", **me)
    assert advanced["epoch"] == int(str(me["epoch"])) + 1
    reader.run("deregister", **me, reason="done")
    reader.connection.close()
    assert counts(db) == {"completed": 2, "failed": 1, "queued": 1}
    assert str(again["id"]) == second  # what was given back keeps its place


def test_a_node_in_another_language_takes_the_lanes_that_it_names(db: Database) -> None:
    reader = Reader(db)
    register(reader, str(uuid.uuid4()), lanes='{"only": ["gpu"]}')
    reader.connection.close()
    assert [each["lanes"] for each in db.run("nodes")] == ["gpu"]
