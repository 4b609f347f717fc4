"""The notebooks, run as people and papermill run them; and what they need to be tried without harm."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from opskit import doctor, jupyter, migration, queue, stats
from opskit.cli import main
from opskit.database import Database, embedded, queries
from opskit.errors import DatabaseError, MissingExtraError, OpskitError, SettingError
from opskit.jupyter import notebooks
from opskit.queue import claims, nodes, reaper
from opskit.settings import Settings
from opskit.stats.frames import frame_of
from opskit.support import notebook_output
from tests.support import servers
from tests.support.nodes import add_files, ask
from tests.support.tables import tables_of

ROOT = Path(__file__).parents[2]
NAMES = ("01_migration", "02_verification", "03_incident", "04_capacity", "05_drill", "06_processor", "07_report")
FIGURE = "application/vnd.plotly.v1+json"
SECONDS = 60  # the longest that one cell may take


def notebook(name: str) -> Any:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(book: Any) -> list[Any]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def execute(book: Any, folder: Path, **environ: str) -> Any:
    client = NotebookClient(book, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return client.execute(env={**os.environ, **environ})


def run(name: str, settings: Settings, folder: Path, **wanted: str) -> tuple[Any, dict[str, Any]]:
    """Run a notebook on a database; answers it, and the values of the expressions *wanted* at its end."""
    book = notebook(name)
    values = ", ".join(f"{key!r}: {expression}" for key, expression in wanted.items())
    book.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{values}}}, default=str))"))
    done = execute(book, folder, **settings.environ())
    return done, json.loads(done.cells.pop().outputs[0]["text"])


def outputs(book: Any) -> list[Any]:
    return [output for cell in code_cells(book) for output in cell.outputs]


def shown(book: Any) -> list[Any]:
    """The figures that a notebook shows."""
    return [output["data"][FIGURE] for output in outputs(book) if FIGURE in output.get("data", {})]


def printed(book: Any) -> str:
    return "".join(output["text"] for output in outputs(book) if output["output_type"] == "stream")


def complaints(book: Any) -> list[str]:
    """What a reader would take for an alarm: errors and whatever stands on stderr."""
    return [
        str(output.get("text") or output.get("evalue"))
        for output in outputs(book)
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]


def shell(settings: Settings, *arguments: str) -> Any:
    """What `opskit … --json` says."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert (
            main.main([*arguments, "--json", "--database-url", settings.database_url or "", "--env", settings.env]) == 0
        )
    return json.loads(out.getvalue())


def everything(db: Database) -> dict[str, list[str]]:
    """All rows of one environment's tables, as text."""
    return {
        table: [row["row"] for row in ask(db, f'SELECT t::text AS row FROM "{table}" AS t ORDER BY 1')]
        for table in tables_of(db.settings)
    }


def scratches(db: Database) -> list[str]:
    return [row["nspname"] for row in ask(db, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'opskit_scratch%'")]


@pytest.fixture
def busy(db: Database) -> Iterator[Database]:
    """The samples processed by two nodes, one file failed, one in the hands of a third node, two in the queue."""
    with Database(dataclasses.replace(db.settings, lease_seconds=3600)) as calm:
        queue.enqueue(calm, jupyter.samples())
        jupyter.work(calm, "node-a", "node-b", max_files=7)
        add_files(calm, "bad.csv", "runs.csv", "waits.csv", "waits too.csv")
        node = nodes.register(calm, "node-c", str(uuid.uuid4()))
        assert node is not None
        bad = claims.claim(calm, node)
        assert bad.row is not None
        claims.fail(
            calm, id=bad.row["id"], token=bad.token, outcome="rejected", error="line 17 is bad", max_failures=3,
            retry_seconds=0, actor="node-c",
        )  # fmt: skip
        claims.claim(calm, node)
        yield calm


# -- the notebooks themselves ----------------------------------------------------------------


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


INCIDENT = {
    "claims": "[claim['verdict'] for claim in preview]",
    "groups": "failures['error'].tolist()",
    "ended": "[claim['outcome'] for claim in cleaned.ended]",
    "requeued": "[row['was'] for row in requeued]",
    "totals": "[int(before['total_files']), int(after['total_files'])]",
    "reasons": "acts['reason'].dropna().tolist()",
}


def incident(db: Database, folder: Path, **parameters: object) -> tuple[Any, dict[str, Any]]:
    """The runbook, run with parameters as papermill sets them."""
    book = notebook("03_incident")
    book.cells.insert(
        2, nbformat.v4.new_code_cell("\n".join(f"{key} = {value!r}" for key, value in parameters.items()))
    )
    values = ", ".join(f"{key!r}: {expression}" for key, expression in INCIDENT.items())
    book.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{values}}}, default=str))"))
    done = execute(book, folder, **db.settings.environ())
    return done, json.loads(done.cells.pop().outputs[0]["text"])


@pytest.fixture
def troubled(busy: Database) -> Database:
    """A node that is silent with a file in its hands, and one failed file."""
    ask(
        busy,
        f"UPDATE {busy.names['nodes']} SET beat_at = now() - interval '2 hours', "
        "lease_until = now() - interval '1 hour' WHERE server_id = 'node-c'",
    )
    return busy


@pytest.mark.slow
def test_the_runbook_changes_nothing_without_act_and_says_what_it_would_do(troubled: Database, tmp_path: Path) -> None:
    before = everything(troubled)
    with Database(dataclasses.replace(troubled.settings, read_only=True)) as viewer:
        (group,) = stats.failures(viewer)["error"].tolist()

        book, values = incident(viewer, tmp_path, error=group, server_id="node-c")

    assert complaints(book) == []
    assert values["claims"] == ["silent"]
    assert values["groups"] == [group]
    assert (values["ended"], values["requeued"]) == ([], [])
    assert printed(book).count("act is False: nothing was changed") == 2
    assert len(shown(book)) == 2
    assert everything(troubled) == before


@pytest.mark.slow
def test_the_runbook_acts_with_a_reason_and_proves_that_nothing_was_lost(troubled: Database, tmp_path: Path) -> None:
    (group,) = stats.failures(troubled)["error"].tolist()

    book, values = incident(troubled, tmp_path, error=group, act=True, reason="node-c lost its disk")

    assert complaints(book) == []
    assert values["ended"] == ["queued"]
    assert values["requeued"] == ["failed"]
    assert values["totals"] == [17, 17]
    assert "node-c lost its disk" in values["reasons"]
    assert stats.stale(troubled).empty
    assert stats.failures(troubled).empty
    ended = stats.events(troubled, kind="attempt")
    assert troubled.actor in ended["actor"].tolist()


@pytest.mark.slow
def test_the_runbook_does_not_act_without_a_reason(troubled: Database, tmp_path: Path) -> None:
    before = everything(troubled)

    with pytest.raises(CellExecutionError, match="the history wants to know why"):
        incident(troubled, tmp_path, act=True)

    assert everything(troubled) == before


@pytest.mark.slow
def test_a_processor_is_developed_against_a_file_that_failed_and_nothing_changes(db: Database, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"a,b\n\xff\n")
    with Database(dataclasses.replace(db.settings, processor="opskit.jupyter:refusing", max_failures=1)) as own:
        queue.enqueue(own, [tmp_path / "bad.txt"])
        jupyter.work(own, "node-a")
        before = everything(own)

        book, values = run(
            "06_processor", own.settings, tmp_path, seen="type(seen).__name__", same="seen.__notes__",
            answer="str(answer)", tried="tried['outcome'].tolist()", played="played",
        )  # fmt: skip

        assert complaints(book) == []
        assert values["seen"] == "UnicodeDecodeError"
        assert "the same error as the stored one" in values["same"]
        assert values["answer"] == "this is no text: byte 4"
        assert (values["tried"], values["played"]) == (["rejected"], False)
        assert everything(own) == before


@pytest.mark.slow
def test_where_no_file_has_failed_a_processor_is_developed_in_a_place_to_play(db: Database, tmp_path: Path) -> None:
    before = everything(db)

    book, values = run(
        "06_processor", db.settings, tmp_path, seen="type(seen).__name__", tried="tried['outcome'].tolist()",
        played="played",
    )  # fmt: skip

    assert complaints(book) == []
    assert values["played"] is True
    assert values["seen"] in ("UnicodeDecodeError", "IndexError")
    assert {"completed", "rejected"} <= set(values["tried"])
    assert everything(db) == before
    assert scratches(db) == []


def test_the_capacity_is_computed_from_the_numbers_of_opskit_stats_by_papermill(
    busy: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


# -- taking them out and opening them --------------------------------------------------------


def test_copies_are_made_where_asked_and_work_of_ones_own_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a new" / "folder"

    written = jupyter.copy(target)

    assert [path.name for path in written] == [f"{name}.ipynb" for name in NAMES]
    assert all(path.read_bytes() == (ROOT / "notebooks" / path.name).read_bytes() for path in written)
    written[0].write_text("mine")
    written[1].unlink()
    assert jupyter.copy(target) == [written[1]]
    assert written[0].read_text() == "mine"
    assert jupyter.copy(target, overwrite=True) == written
    assert written[0].read_text() != "mine"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OpskitError, match=r"^the notebooks cannot be copied to '.*file/x': Not a directory$"):
        jupyter.copy(tmp_path / "file" / "x")
    with pytest.raises(OpskitError, match="is where the notebooks come from"):
        jupyter.copy(notebooks.FOLDER, overwrite=True)


def test_without_jupyterlab_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=re.escape("pip install 'opskit[notebooks]'")):
        jupyter.open_lab(tmp_path / "new")

    assert not (tmp_path / "new").exists()


def test_jupyterlab_is_opened_on_the_copies_with_the_database_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jupyterlab").mkdir()
    (tmp_path / "jupyterlab" / "__init__.py").touch()
    (tmp_path / "jupyterlab" / "__main__.py").write_text(
        "import json, os, pathlib, sys\n"
        "names = ('OPSKIT_HOME', 'OPSKIT_ENV', 'PLOTLY_RENDERER')\n"
        "said = {'folder': sys.argv[1], 'rest': sys.argv[2:], **{name: os.environ[name] for name in names}}\n"
        "(pathlib.Path(sys.argv[1]) / 'said.json').write_text(json.dumps(said))\n"
        "sys.exit(7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    given = ["notebooks", "work", "--open", "--env", "production", "--", "--no-browser", "--ip", "0.0.0.0"]
    code = main.main(given)

    said = json.loads((tmp_path / "work" / "said.json").read_text())
    assert code == 7
    assert said == {
        "folder": "work",
        "rest": [*(["--allow-root"] if os.geteuid() == 0 else []), "--no-browser", "--ip", "0.0.0.0"],
        "OPSKIT_HOME": str(tmp_path / ".opskit"),
        "OPSKIT_ENV": "production",
        "PLOTLY_RENDERER": "plotly_mimetype",
    }
    assert (tmp_path / "work" / f"{NAMES[0]}.ipynb").exists()


def test_notebooks_that_an_upgrade_changed_are_told_and_outputs_do_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jupyter.copy(tmp_path)
    ran = nbformat.read(tmp_path / "02_verification.ipynb", as_version=4)
    code_cells(ran)[0].outputs = [nbformat.v4.new_output("stream", text="ran")]
    nbformat.write(ran, tmp_path / "02_verification.ipynb")
    assert jupyter.differing(tmp_path) == []
    text = (tmp_path / "01_migration.ipynb").read_text().replace("# ", "# of before: ", 1)
    (tmp_path / "01_migration.ipynb").write_text(text)

    assert main.main(["notebooks", str(tmp_path)]) == 0

    said = capsys.readouterr().err
    assert "not as this version has them: 01_migration.ipynb; --overwrite" in said
    assert "02_verification" not in said
    assert jupyter.copy(tmp_path, overwrite=True)
    assert jupyter.differing(tmp_path) == []


def test_a_renderer_that_somebody_chose_is_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import os, opskit.jupyter; print(os.environ['PLOTLY_RENDERER'])"],
        env={**os.environ, "PLOTLY_RENDERER": "svg"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "svg\n"


def test_the_shells_verb_copies_the_notebooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main.main(["notebooks"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "7 notebooks copied to notebooks"
    assert main.main(["notebooks", "notebooks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": "notebooks", "copied": [], "differing": []}
    assert sorted(path.name for path in (tmp_path / "notebooks").iterdir()) == [f"{name}.ipynb" for name in NAMES]


# -- the scratch -----------------------------------------------------------------------------


def test_a_database_that_is_not_embedded_gets_no_samples(db: Database) -> None:
    assert jupyter.welcome(db) == 0
    assert db.run("any_file") == []


@pytest.fixture
def as_embedded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty database that counts as the embedded server's."""
    monkeypatch.setattr(embedded, "url", lambda _: database_url)
    return Settings.load({}, database_url=database_url, processor="processors:nothing", poll_seconds=0.2)


def test_production_gets_no_samples_and_not_even_tables(as_embedded: Settings) -> None:
    with Database(dataclasses.replace(as_embedded, env="production")) as db:
        assert jupyter.welcome(db) == 0
        assert ask(db, "SELECT FROM pg_tables WHERE schemaname = current_schema()") == []


def test_the_samples_are_processed_by_the_built_in_processor_whatever_the_settings_and_the_shell_say(
    as_embedded: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSKIT_PROCESSOR", "processors:nothing")
    monkeypatch.setenv("OPSKIT_ENV", "production")

    with Database(as_embedded) as db:
        count = jupyter.welcome(db)
        rows = [db.one("file", id=row["id"]) for row in stats.records(stats.files(db))]
        again = jupyter.welcome(db)

    assert count == len(jupyter.samples())
    assert again == 0
    assert {row["processing_status"] for row in rows} == {"completed"}
    assert all(row["processing_result"]["sha256"] for row in rows)
    assert capsys.readouterr().out == (
        f"dev_uploaded_files (development) was migrated, got {count} sample files, and two nodes processed them\n"
    )


def test_three_who_welcome_at_once_give_each_sample_once(as_embedded: Settings) -> None:
    program = (
        "from opskit import jupyter\nfrom opskit.database import embedded\nfrom opskit.database import Database\n"
        "from opskit.settings import Settings\nsettings = Settings.load()\n"
        "embedded.url = lambda _: settings.database_url\nprint(jupyter.welcome(Database(settings)))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, **as_embedded.environ()},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    said = [one.communicate(timeout=60)[0].splitlines()[-1] for one in started]

    count = len(jupyter.samples())
    assert sorted(said, key=int) == ["0", "0", str(count)]
    with Database(as_embedded) as db:
        assert stats.records(stats.concurrency(db))[0]["total_files"] == count


def test_a_notebook_takes_the_name_of_the_variable_that_holds_the_url(db: Database, tmp_path: Path) -> None:
    add_files(db, "a.csv")
    made = tmp_path / "made.ipynb"

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ORDERS_DATABASE", db.settings.database_url or "")
        papermill.execute_notebook(
            str(ROOT / "notebooks" / "02_verification.ipynb"), str(made), progress_bar=False, cwd=str(tmp_path),
            parameters={"database_env": "ORDERS_DATABASE"},
        )  # fmt: skip

    assert "dev_uploaded_files (development): nothing is missing" in printed(nbformat.read(made, as_version=4))
    password = (db.settings.database_url or "").split("@")[0].rpartition(":")[2]
    assert len(password) > 10
    assert password not in made.read_text()


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notebooks.url_in("") is None
    with pytest.raises(SettingError, match="database_env is 'NO_SUCH', and there is no such environment variable"):
        notebooks.url_in("NO_SUCH")


def test_the_peak_of_a_small_process_is_its_own_also_below_a_large_one() -> None:
    ballast = bytearray(b"x") * (300 << 20)

    done = subprocess.run(
        [sys.executable, "-c", "from opskit.support.processes import peak_bytes; print(peak_bytes())"],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: None,  # fork and exec, as a launcher without vfork does
    )

    assert len(ballast) > 300_000_000
    assert 5_000_000 < int(done.stdout) < 100_000_000


def test_the_doctors_table_has_its_commands_in_lines(db: Database) -> None:
    queue.pause(db, actor="test")
    ask(db, f"ALTER TABLE {db.settings.files} SET UNLOGGED")

    found = doctor.examine(db)

    assert found == doctor.examine(db, missing=[], queues_new=True)
    told = found._repr_html_()
    assert "\\n" not in told
    assert "<pre>" in told
    assert all(html.escape(line) in told for finding in found for line in finding.mend.splitlines())
    assert doctor.Findings()._repr_html_() == "<p>all is well</p>"


def test_a_scratch_begins_empty_and_leaves_nothing_behind(db: Database) -> None:
    add_files(db, "real.csv")

    house = dataclasses.replace(db.settings, processor="ledger:process", stale_after_seconds=7)
    with Database(house) as ours, jupyter.scratch(ours, lease_seconds=7) as scratch:
        assert scratch.settings.lease_seconds == 7
        assert scratch.settings.stale_after_seconds == 3600
        assert scratch.settings.processor == "opskit.processors:inspect_file"
        assert migration.missing(scratch)
        migration.migrate(scratch)
        assert not scratch.run("any_file")
        add_files(scratch, "played.csv")
        migration.rollback(scratch)
        assert scratches(db) == [scratch.schema]

    assert scratches(db) == []
    assert migration.check(db)
    assert [row["original_filename"] for row in ask(db, f"SELECT original_filename FROM {db.settings.files}")] == [
        "real.csv"
    ]


def test_a_copy_is_the_table_as_the_application_made_it_without_the_contents(settings: Settings) -> None:
    with Database(settings) as db:
        ask(
            db,
            f"""CREATE TABLE {settings.files} (
                    id serial PRIMARY KEY, original_filename text NOT NULL, file_content bytea NOT NULL,
                    size_class text GENERATED ALWAYS AS (upper(original_filename)) STORED, processed boolean,
                    CHECK (original_filename <> ''))""",
        )
        ask(
            db,
            f"INSERT INTO {settings.files} (original_filename, file_content) "
            "SELECT 'file-' || n, '\\x00' FROM generate_series(1, 5) AS n",
        )
        migration.migrate(db)

        with jupyter.scratch(db, rows=3) as scratch:
            rows = ask(scratch, f"SELECT * FROM {settings.files} ORDER BY id")
            assert scratch.copied == 3
            assert [row["original_filename"] for row in rows] == ["file-3", "file-4", "file-5"]
            assert rows[0]["size_class"] == "FILE-3"
            assert rows[0].keys() == {
                "id", "original_filename", "file_content", "size_class", "processed", "storage_path", "file_size",
                "uploaded_at", "deleted",
            }  # fmt: skip
            assert rows[0]["file_content"] is None
            with pytest.raises(DatabaseError, match="check constraint"):
                ask(scratch, f"UPDATE {settings.files} SET original_filename = ''")
            with pytest.raises(DatabaseError, match="null value"):
                ask(scratch, f"INSERT INTO {settings.files} (original_filename) VALUES ('x')")
            migration.migrate(scratch)
            assert migration.check(scratch)
        assert ask(db, f"SELECT last_value FROM {settings.files}_id_seq") == [{"last_value": 5}]


def test_a_scratch_of_a_table_that_is_missing_is_empty(settings: Settings) -> None:
    with Database(settings) as db, jupyter.scratch(db, rows=10) as scratch:
        assert scratch.copied == 0
        assert scratch.run("columns") == []


def test_options_of_the_url_are_kept_and_the_way_back_to_the_real_tables_is_closed(settings: Settings) -> None:
    url = f"{settings.database_url}?options=-csearch_path%3Dpublic%20-cstatement_timeout%3D61000"
    with Database(dataclasses.replace(settings, database_url=url)) as db, jupyter.scratch(db) as scratch:
        assert ask(scratch, "SELECT current_schemas(false) AS path, current_setting('statement_timeout') AS t") == [
            {"path": [scratch.schema], "t": "61s"}
        ]


def test_behind_a_pooler_there_is_no_scratch(db: Database) -> None:
    with db.connection():
        db.pooler = True

    with pytest.raises(OpskitError, match="leads through a pooler"):
        jupyter.scratch(db)

    assert scratches(db) == []


def test_scratches_of_killed_processes_go_after_a_day(db: Database) -> None:
    now = int(time.time())
    old, young, other = f"opskit_scratch_{now - 90000}_aa", f"opskit_scratch_{now - 80000}_bb", "opskit_scratch_mine"
    for name in (old, young, other):
        ask(db, f"CREATE SCHEMA {name}")
        ask(db, f"CREATE TABLE {name}.{db.settings.files} (id int)")

    with jupyter.scratch(db) as scratch:
        assert set(scratches(db)) == {young, other, scratch.schema}


def test_time_passes_in_the_scratch_alone(db: Database) -> None:
    real = nodes.register(db, "node-a", str(uuid.uuid4()))
    with jupyter.scratch(db) as scratch:
        migration.migrate(scratch)
        add_files(scratch, "one.csv")
        played = nodes.register(scratch, "node-a", str(uuid.uuid4()))
        assert real is not None
        assert played is not None
        claims.claim(scratch, played)

        scratch.pass_time(minutes=90, seconds=30)

        assert stats.nodes(scratch)["state"].tolist() == ["dead"]
        assert stats.longest_running(scratch)["minutes_processing"].iloc[0] == pytest.approx(90.5, abs=0.1)
        assert queue.preview(scratch)[0]["verdict"] == "silent"
        scratch.pass_time(seconds=3)
        assert [row["outcome"] for row in queue.cleanup(scratch, actor="me").ended] == ["queued"]
    assert stats.nodes(db)["seconds_since_heartbeat"].iloc[0] < 60


def test_nodes_that_cannot_work_are_one_sentence(db: Database) -> None:
    with Database(dataclasses.replace(db.settings, processor="no.such:thing")) as broken:
        add_files(broken, "one.csv")
        with pytest.raises(OpskitError, match=r"^node-a ended with exit code \d+: "):
            jupyter.work(broken, "node-a", "node-b")


# -- what objects look like ------------------------------------------------------------------


def test_a_database_shows_its_environment_and_numbers_and_no_password(settings: Settings) -> None:
    secret = (settings.database_url or "").split(":")[2].split("@")[0]
    with Database(settings) as db:
        unmigrated = db._repr_html_()
        migration.migrate(db)
        add_files(db, "a.csv", "b.csv")
        migrated = db._repr_html_()

    assert len(secret) > 10
    assert secret not in unmigrated + migrated
    assert ">development</b>" in migrated
    assert settings.files in migrated
    assert "not migrated" in unmigrated
    assert "not migrated" not in migrated
    assert "2 queued</span>" in migrated


def test_a_database_that_is_away_is_shown_as_such(settings: Settings) -> None:
    db = Database(dataclasses.replace(settings, database_url="postgresql://me:secret@127.0.0.1:1/x"))

    text = db._repr_html_()

    assert "the database cannot be reached" in text
    assert "secret" not in text
    assert "queued" not in text


def test_a_cleanup_shows_what_it_did(db: Database) -> None:
    row = {
        "original_filename": "<b>.csv",
        "server_id": "node-a",
        "started_at": datetime(2026, 11, 23, 12, tzinfo=UTC),
        "verdict": "dead",
        "outcome": "queued",
        "reason": "silent & gone",
    }

    text = reaper.Cleanup(ended=[row], pending=[row], skipped=["1/x"])._repr_html_()

    assert text.count("<td>&lt;b&gt;.csv</td>") == 2
    assert "silent &amp; gone" in text
    assert "2026-11-23 12:00:00" in text
    assert "Cleaned up 1 stale processing locks" in text
    assert "1 skipped" in text
    assert reaper.Cleanup([], [], [])._repr_html_() == "<p><b>No stale processing locks found</b></p>"


def test_frames_for_people_have_units_and_those_for_programs_do_not(busy: Database) -> None:
    frame = stats.throughput(busy)

    labelled = notebook_output.with_units(frame)

    assert list(frame.columns) == list(stats.THROUGHPUT)
    assert list(labelled.columns) == [
        "bucket_start [UTC]", "processing_status", "processing_server_id", "file_count [files]",
        "mean_wait_seconds [s]", "mean_run_seconds [s]",
    ]  # fmt: skip
    assert (labelled["mean_wait_seconds [s]"] * 1000 % 1).round(6).isin([0, 1]).all()
    for columns in (stats.CONCURRENCY, stats.NODES, stats.FAILURES, stats.STALE):
        empty = frame_of([], columns)
        assert len(notebook_output.with_units(empty).columns) == len(columns)


def test_the_wheel_carries_the_notebooks() -> None:
    import tomllib

    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel["force-include"]["notebooks"] == "opskit/_notebooks"
    assert shutil.which("jupyter-lab") or notebooks.FOLDER == ROOT / "notebooks"
