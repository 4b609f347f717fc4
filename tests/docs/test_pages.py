"""What the documentation says is compared with the code."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs import generate
from opskit import stats
from opskit.cli.main import build_parser
from opskit.database import Database
from opskit.doctor import runbooks
from opskit.doctor.finding import Condition
from opskit.queue.states import FileState, NodeState
from opskit.settings import Settings
from opskit.settings.command_line import flag_name
from tests.support.pages import DOCS, ROOT, name, of, pages, table
from tests.support.tables import application, run


@pytest.mark.parametrize("page", list(generate.pages()), ids=name)
def test_the_generated_parts_of_a_page_are_the_codes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert generate.generated(text) == text, "run: python docs/generate.py"


def test_every_generated_part_is_on_a_page() -> None:
    shown = {
        part
        for page in generate.pages()
        for part in re.findall(r"<!-- generated: ([\w-]+) -->", page.read_text("utf-8"))
    }

    assert shown == set(generate.PARTS)


def test_the_table_of_states_is_the_codes() -> None:
    assert tuple(row[0].strip("` ") for row in table(DOCS / "concepts" / "states.md", "States")) == tuple(FileState)


def test_the_states_of_a_node_are_the_codes() -> None:
    shown = {row[0].strip() for row in table(DOCS / "concepts" / "nodes.md", "States of a node")}

    assert shown == set(NodeState)


def test_the_columns_are_those_of_a_migrated_table(db: Database) -> None:
    shown = {row[0].strip("` "): row[1].strip() for row in table(DOCS / "reference" / "columns.md", "The files table")}

    with application(db.settings) as connection:
        found = run(
            connection,
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = 'dev_uploaded_files' AND column_name LIKE 'processing%%'",
            values=(),
        )
    assert shown == {row["column_name"]: row["data_type"] for row in found}


def test_the_promises_of_readme_and_concepts_are_the_same() -> None:
    def promises(page: Path) -> list[str]:
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", page.read_text(encoding="utf-8"))
        return [" ".join(one.split()) for one in re.findall(r"^\d\. (.*)$", text, flags=re.MULTILINE)]

    assert promises(ROOT / "README.md") == promises(DOCS / "concepts" / "promises.md")
    assert len(promises(ROOT / "README.md")) == 8


# -- runbooks ----------------------------------------------------------------------------------


def test_every_condition_of_the_doctor_has_a_runbook_and_every_runbook_a_condition() -> None:
    assert {page.stem for page in (DOCS / "runbooks").glob("*.md")} - {"index"} == set(Condition)


@pytest.mark.parametrize("condition", list(Condition))
def test_a_runbook_says_what_it_means_and_what_mends_it(condition: Condition) -> None:
    text = (DOCS / "runbooks" / f"{condition}.md").read_text(encoding="utf-8")

    assert re.match(r"# .+\n\n\*(Error|Warning)", text)
    assert "\n## Mend\n" in text


def test_what_needs_a_person_in_the_work_has_a_notebook_that_handles_it() -> None:
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "runbooks").glob("*.md")}
    named = {name: re.findall(r"\n## In Jupyter\n\n`(\w+)`", text) for name, text in pages.items()}

    assert {name for names in named.values() for name in names} <= notebooks
    assert {name for name, names in named.items() if names} >= {
        "no-node-alive", "no-node-claims", "node-silent", "node-in-quarantine", "claims-stuck", "files-fail",
        "breaker-open", "paused", "queue-waits",
    }  # fmt: skip


def test_the_index_and_the_navigation_name_every_runbook() -> None:
    index = (DOCS / "runbooks" / "index.md").read_text(encoding="utf-8")
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    for condition in Condition:
        assert f"| [{runbooks.title(condition)}]({condition}.md) |" in index
        assert f"runbooks/{condition}.md" in navigation


def test_every_alert_names_series_and_a_runbook_that_are_there() -> None:
    rules = yaml.safe_load(of(DOCS / "howto" / "monitoring.md", "yaml")[1].text)["groups"][0]["rules"]
    series = set(re.findall(r"opskit_\w+", generate.series()))

    assert len(rules) >= 5
    for rule in rules:
        assert set(re.findall(r"opskit_[a-z_]+", rule["expr"])) <= series, rule
        if rule["annotations"]["runbook"] != "opskit doctor":
            condition = Condition(rule["annotations"]["runbook"].removeprefix("opskit doctor --explain "))
            assert rule["annotations"]["runbook_url"].endswith(f"/doctor?runbook={condition}")


# -- links and names ---------------------------------------------------------------------------


@pytest.mark.parametrize("page", [ROOT / one for one in ("README.md", "CONTRIBUTING.md", "SECURITY.md")], ids=name)
def test_every_link_of_a_page_outside_the_site_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]+)(#[^)]*)?\)", page.read_text(encoding="utf-8")):
        there = ROOT / target
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor[1:] in slugs, (target, anchor)


def test_the_makes_targets_that_the_pages_name_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        word
        for page in [*pages(), ROOT / "CONTRIBUTING.md"]
        for line in re.findall(
            r"^(?:\$ )?make (.*?)(?:#.*)?$|`make ([a-z- ]+)`", page.read_text("utf-8"), flags=re.MULTILINE
        )
        for word in "".join(line).split()
        if re.fullmatch(r"[a-z-]+", word)
    }

    assert {"up", "test", "docs"} <= named <= targets


def test_every_file_of_the_project_that_a_page_names_is_there() -> None:
    for page in [*pages(), ROOT / "CONTRIBUTING.md"]:
        for path in re.findall(
            r"`((?:sql|tests|benchmarks|opskit|examples|notebooks)/[\w./-]+)`", page.read_text("utf-8")
        ):
            assert (ROOT / path).exists(), (page, path)


def test_the_variables_that_the_pages_name_are_the_codes() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "opskit").rglob("*.py"))
    known = set(re.findall(r"OPSKIT_[A-Z_]*[A-Z]", code))

    for page in pages():
        assert set(re.findall(r"OPSKIT_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8"))) <= known, page


def test_every_statistic_has_its_columns_on_the_page() -> None:
    text = (DOCS / "reference" / "columns.md").read_text(encoding="utf-8")

    for statistic in stats.STATISTICS:
        assert f"\n### {statistic}\n" in text


# -- README ------------------------------------------------------------------------------------


def test_the_python_example_of_readme_runs_as_it_stands(db: Database) -> None:
    (example,) = of(ROOT / "README.md", "python")

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example.text],
        env={**os.environ, **db.settings.environ()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no files yet")


def test_the_python_example_of_the_reference_is_readmes() -> None:
    (readme,) = of(ROOT / "README.md", "python")

    assert of(DOCS / "reference" / "python.md", "python")[0].text == readme.text


def test_help_shows_every_setting() -> None:
    verbs = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()) as printed:
        verbs.choices["up"].parse_args(["--help-settings"])
    shown = " ".join(printed.getvalue().split())
    assert "--lease-seconds" not in verbs.choices["prune"].format_help()

    for field in dataclasses.fields(Settings):
        assert flag_name(field.name) in shown
        assert field.metadata["env"] in shown
