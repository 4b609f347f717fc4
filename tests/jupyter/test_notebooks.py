"""The notebooks, run as people and papermill run them."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import json
import re
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from opskit import jupyter, migration
from opskit.cli import main
from opskit.database import Database, embedded, queries
from opskit.settings import Settings
from tests.support import servers
from tests.support.nodes import add_files, ask
from tests.support.notebooks import (
    NAMES,
    ROOT,
    code_cells,
    complaints,
    everything,
    execute,
    notebook,
    printed,
    run,
    scratches,
    shown,
)


def shell(settings: Settings, *arguments: str) -> Any:
    """What `opskit … --json` says."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert (
            main.main([*arguments, "--json", "--database-url", settings.database_url or "", "--env", settings.env]) == 0
        )
    return json.loads(out.getvalue())


# -- the notebooks themselves ----------------------------------------------------------------


@pytest.mark.slow
def test_the_migration_is_tried_on_a_copy_and_the_real_table_stays_as_it_is(busy: Database, tmp_path: Path) -> None:
    before = everything(busy)

    book, values = run(
        "01_migration",
        busy.settings,
        tmp_path,
        copied="scratch.copied",
        real_plan="len(plan)",
        ran="len(ran)",
        missing="missing",
        again="len(again)",
        waiting="int(now['waiting_files'].iloc[0])",
        kept="len(kept) == len(columns_before)",
        cut_over="by_themselves",
        missing_again="missing_again",
        as_before="as_before",
    )

    assert complaints(book) == []
    assert len(shown(book)) == 1
    assert values["copied"] == values["waiting"] == shell(busy.settings, "stats", "concurrency")[0]["total_files"] == 17
    assert (values["real_plan"], values["missing"], values["again"]) == (0, [], 0)
    assert values["ran"] > 15
    assert values["kept"]
    assert values["cut_over"] == [False, True, False]
    assert f"{busy.names['nodes']} is missing" in values["missing_again"]
    assert values["as_before"]
    assert everything(busy) == before
    assert migration.check(busy)
    assert scratches(busy) == []


@pytest.mark.slow
def test_the_migration_of_an_application_table_that_is_not_migrated_is_planned_and_not_run(
    settings: Settings, tmp_path: Path
) -> None:
    with Database(settings) as db:
        ask(db, f"CREATE TABLE {settings.files} (id serial PRIMARY KEY, original_filename text, file_content bytea)")
        ask(db, f"INSERT INTO {settings.files} (original_filename) VALUES ('a'), ('b')")

        book, values = run("01_migration", settings, tmp_path, plan="len(plan)", copied="scratch.copied")

        assert complaints(book) == []
        assert values == {"plan": len(migration.plan(db)), "copied": 2}
        assert values["plan"] > 15
        assert "ADD COLUMN IF NOT EXISTS processing_status" in printed(book)


@pytest.mark.slow
def test_the_verification_shows_the_numbers_of_opskit_stats_and_changes_nothing(busy: Database, tmp_path: Path) -> None:
    before = everything(busy)

    book, values = run(
        "02_verification",
        busy.settings,
        tmp_path,
        distribution="stats.records(distribution)",
        longest="stats.records(longest)",
        now="stats.records(now)",
        throughput="stats.records(throughput)",
        columns="list(columns['column_name'])",
        missing="missing",
    )

    assert complaints(book) == []
    assert values["missing"] == []
    assert values["columns"] == [row["column_name"] for row in busy.run("columns")]
    assert values["distribution"] == shell(busy.settings, "stats", "distribution")
    for name, key in (("throughput", "throughput"), ("longest", "longest-running")):
        said = shell(busy.settings, "stats", key)
        timeless = [column for column in said[0] if "start" not in column and "minutes" not in column]
        assert [[row[column] for column in timeless] for row in values[name]] == [
            [row[column] for column in timeless] for row in said
        ]
    (now,) = shell(busy.settings, "stats", "concurrency")
    for column in ("total_files", "queued", "processing", "completed", "failed", "stale_files", "active_servers"):
        assert values["now"][0][column] == now[column], column
    drawn, running, ended = shown(book)
    assert sum(sum(trace["x"]) for trace in drawn["data"]) == now["total_files"] == 17
    assert len(running["data"][0]["x"]) == now["processing"] == 1
    assert sum(sum(trace["y"]) for trace in ended["data"]) == now["completed"] + now["failed"] == 14
    assert queries.text("distribution") in printed(book)
    assert everything(busy) == before


@pytest.mark.slow
def test_the_incident_is_found_cleaned_up_and_survived_and_the_real_data_are_not_touched(
    busy: Database, tmp_path: Path
) -> None:
    before = everything(busy)

    book, values = run(
        "05_drill",
        busy.settings,
        tmp_path,
        files="len(before)",
        found="list(preview['verdict'])",
        at_once="[len(at_once.ended), len(at_once.pending)]",
        ended="[row['outcome'] for row in done.ended]",
        refused="refused",
        requeued="[row['was'] for row in requeued]",
        nodes="[row['completed'] for row in summaries]",
        attempts="[attempts, completed, len(ended_badly)]",
        distribution="int(distribution['file_count'].sum())",
        minutes="float(longest['minutes_processing'].iloc[0])",
    )

    count = len(jupyter.samples())
    assert complaints(book) == []
    assert len(shown(book)) == 4
    assert values["found"] == ["silent"]
    assert (values["at_once"], values["ended"]) == ([0, 1], ["queued"])
    assert "lost" in values["refused"]
    assert values["requeued"] == ["failed"]
    assert all(values["nodes"])
    assert sum(values["nodes"]) == count - 3
    assert values["attempts"] == [count + 2, count, 2]
    assert values["files"] == values["distribution"] == count
    assert values["minutes"] == pytest.approx(47, abs=0.5)
    assert everything(busy) == before
    assert scratches(busy) == []


@pytest.mark.slow
def test_the_capacity_is_computed_from_the_numbers_of_opskit_stats_by_papermill(
    busy: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import papermill  # loads the clients of three clouds: two seconds

    before = everything(busy)
    ended = shell(busy.settings, "stats", "throughput")
    probe = notebook("04_capacity")
    probe.cells.append(nbformat.v4.new_code_cell("import json\nprint(json.dumps([count, run_seconds, peak_per_hour]))"))
    probe.cells.append(nbformat.v4.new_code_cell("print(json.dumps([nodes_needed(n) for n in (1, 1e6, 1e7)]))"))
    nbformat.write(probe, tmp_path / "in.ipynb")
    monkeypatch.setenv("OPSKIT_HOME", busy.settings.home)

    papermill.execute_notebook(
        tmp_path / "in.ipynb",
        tmp_path / "out.ipynb",
        parameters={
            "database_url": busy.settings.database_url, "environment": "development", "since": 24, "wait_seconds": 5,
        },
        progress_bar=False,
        cwd=tmp_path,
    )  # fmt: skip

    book = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    count, run_seconds, peak = json.loads(book.cells[-2].outputs[0]["text"])
    few, more, most = json.loads(book.cells[-1].outputs[0]["text"])
    assert complaints(book) == []
    assert len(shown(book)) == 2
    assert count == sum(row["file_count"] for row in ended) == 14
    assert run_seconds == pytest.approx(sum(row["file_count"] * row["mean_run_seconds"] for row in ended) / count)
    assert 0 < peak <= count
    assert few == 1
    assert more <= most
    assert most >= 1e7 * run_seconds / 3600
    assert everything(busy) == before


@pytest.mark.slow
def test_parameters_choose_the_environment(db: Database, tmp_path: Path) -> None:
    production = dataclasses.replace(db.settings, env="production")
    with Database(production) as other:
        migration.migrate(other)
        add_files(other, "only in production.csv")
    book = notebook("02_verification")
    tagged = next(n for n, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ()))
    chosen = f"environment, database_url = 'production', {db.settings.database_url!r}"
    book.cells.insert(tagged + 1, nbformat.v4.new_code_cell(chosen))

    done = execute(book, tmp_path)

    assert "uploaded_files (production): nothing is missing" in printed(done)
    assert [sum(trace["x"]) for trace in shown(done)[0]["data"]] == [1, 0, 0, 0]


@pytest.mark.slow
def test_a_newcomer_without_a_database_sees_real_numbers(tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="opskit-newcomer-", dir=servers.fast_folder()))
    home.chmod(0o755)
    settings = Settings.load({}, home=str(home), pg_bin=servers.PG_BIN, pg_port=servers.FIRST_PORT + 50)
    try:
        embedded.start(settings, servers.FAST)  # as the notebook would, only without waiting for the disk

        book, values = run("02_verification", settings, tmp_path, now="stats.records(now)")

        assert complaints(book) == []
        assert values["now"][0]["completed"] == len(jupyter.samples())
        assert len([row for row in shown(book)[0]["layout"]["yaxis"]["ticktext"] if "notebook-" in row]) == 2
    finally:
        servers.remove(home)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_holds_no_sql_of_its_own(name: str) -> None:
    words = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|TRUNCATE|WHERE|FROM)\b")
    for cell in code_cells(notebook(name)):
        assert not words.search(cell.source), cell.source
        assert not re.search(r"\.execute\(|read_sql|%sql", cell.source), cell.source
        tokens = tokenize.generate_tokens(io.StringIO(cell.source).readline)
        literals = [token.string for token in tokens if token.type == tokenize.STRING]
        assert not [text for text in literals if re.match(r"(?i)\W*(select|update|delete|insert|with)\s", text)]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_made_for_people_and_for_papermill(name: str) -> None:
    book = notebook(name)

    assert book.cells[0].cell_type == "markdown"
    assert book.cells[0].source.startswith("# ")
    assert [cell.id for cell in book.cells] == [str(n) for n in range(len(book.cells))]
    (parameters,) = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", ())]
    assert book.cells.index(parameters) == 1
    assert {"environment = None", "database_url = None"} <= {
        line.split("  #")[0] for line in parameters.source.splitlines()
    }
    # A sentence for each step: its SQL, its frame and its chart at most stand between two.
    assert "cccc" not in "".join(cell.cell_type[0] for cell in book.cells)


@pytest.mark.slow
def test_the_notebooks_are_committed_without_outputs() -> None:
    paths = [str(ROOT / "notebooks" / f"{name}.ipynb") for name in NAMES]

    done = subprocess.run(
        [sys.executable, "-m", "nbstripout", "--verify", *paths], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(cell.outputs or cell.execution_count for name in NAMES for cell in code_cells(notebook(name)))


def test_the_folders_page_names_every_notebook() -> None:
    told = re.findall(r"`(\w+)\.ipynb`", (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8"))

    assert tuple(told) == NAMES == tuple(sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")))


@pytest.mark.slow
def test_an_error_is_one_sentence(tmp_path: Path) -> None:
    cell = """
        import opskit
        from opskit import stats
        away = opskit.Settings.load(database_url="postgresql://127.0.0.1:1/x")
        stats.distribution(opskit.Database(away, statement_seconds=1))
    """
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(inspect.cleandoc(cell))])

    with pytest.raises(CellExecutionError):
        execute(book, tmp_path)

    (error,) = book.cells[0].outputs
    (line,) = error["traceback"]
    assert line.startswith("DatabaseUnavailableError: the database cannot be reached: ")
    assert "\n" not in line
