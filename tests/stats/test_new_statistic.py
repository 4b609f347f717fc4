"""A new statistic is one SQL file and one entry: every door has it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from docs import generate
from opskit import stats
from opskit.cli.main import main
from opskit.database import Database, queries
from opskit.errors import SettingError
from opskit.stats.catalog import STATISTICS, Parameter, Statistic
from opskit.stats.columns import BYTES, TEXT
from opskit.web.api.app import create_api
from opskit.web.dashboard import readings, sources
from tests.support.tables import files

SQL = """\
-- The largest files.
\\ir _session.sql
\\if :{?row_limit} \\else \\set row_limit 10 \\endif
SELECT original_filename, octet_length(original_filename)::int8 AS file_size
  FROM :"files"
 ORDER BY 2 DESC
 LIMIT :'row_limit'::int;
"""
LARGEST = Statistic(
    name="largest_files",
    sentence="The largest files",
    columns={"original_filename": TEXT, "file_size": BYTES},
    parameters=(Parameter("limit", 10, {"ge": 1}),),
    first=("file_size", "original_filename"),
)


@pytest.fixture
def largest(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    folder = tmp_path / "sql"
    shutil.copytree(queries.FOLDER, folder)
    (folder / "largest_files.sql").write_text(SQL, encoding="ascii")
    monkeypatch.setattr(queries, "FOLDER", folder)
    monkeypatch.setitem(STATISTICS, LARGEST.words, LARGEST)
    for name, value in db.settings.environ().items():
        monkeypatch.setenv(name, value)
    files(db, "a.csv", "longest.csv", "longer.csv")
    yield db
    queries.statement.cache_clear()
    queries.statements.cache_clear()


def get(api: FastAPI, path: str) -> Any:
    async def asked() -> Any:
        transport = httpx.ASGITransport(api, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get(path)).json()

    return asyncio.run(asked())


def test_a_new_statistic_is_one_sql_file_and_one_entry(largest: Database, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"original_filename": "longest.csv", "file_size": 11}, {"original_filename": "longer.csv", "file_size": 10}]

    # Python
    frame = stats.largest_files(largest, limit=2)  # type: ignore[attr-defined]
    assert stats.records(frame) == rows
    assert dict(frame.dtypes.astype(str)) == LARGEST.columns
    assert frame.attrs["more"]
    # Shell
    assert main(["stats", "largest-files", "--limit", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == rows
    assert main(["stats", "largest-files"]) == 0
    assert capsys.readouterr().out.index("file_size") < len("development: largest-files\n") + 20
    # API
    api = create_api(largest, largest.settings)
    answer = get(api, "/processing/largest-files?limit=2")
    described = get(api, "/openapi.json")["paths"]["/processing/largest-files"]["get"]
    assert answer == [{"originalFilename": row["original_filename"], "fileSize": row["file_size"]} for row in rows]
    assert described["summary"] == LARGEST.sentence
    assert [each["name"] for each in described["parameters"]] == ["limit"]
    # Documentation
    assert "### largest-files\n\nThe largest files.\n" in generate.frames()
    assert "| `file_size` | `Int64` | bytes |" in generate.frames()


def test_a_parameter_that_a_statistic_does_not_have_is_named(largest: Database) -> None:
    with pytest.raises(SettingError, match=r"stats\.largest_files has no parameter since_seconds; it has limit"):
        stats.STATISTICS["largest-files"](largest, since_seconds=3.0)


def test_the_page_may_read_every_statistic_and_names_its_other_doors() -> None:
    for one in STATISTICS.values():
        assert one.name in readings.STATISTICS
        assert sources.SOURCES[one.name].sql == one.files


@pytest.mark.parametrize("name", STATISTICS)
def test_what_an_entry_says_of_its_sql_is_so(name: str) -> None:
    one = STATISTICS[name]

    assert set(one.first) <= one.columns.keys()
    if one.made_by is None:
        variables = {parameter.variable for parameter in one.parameters}
        used = set[str]().union(*(queries.statement(file).values for file in {one.files[-1], one.sql_of_lane} - {""}))
        assert used - {"stale_after_seconds", "look_seconds", "lane_column"} == variables
