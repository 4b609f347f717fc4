"""Each condition of the SQL that changes rows has a mutant, or stands in `without.toml` with the reason."""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict

import pytest

from tests.mutants.conditions import changes_rows, conditions, span
from tests.mutants.kept import LIST, ROOT, kept

# What a migration reads to say how far it is and what it costs, tries on a copy of its own, or builds an index by.
NOT_ASKED = (
    "sql/migrate/_one.sql", "sql/migrate/indexes.sql", "sql/migrate/lanes.sql", "sql/migrate/progress.sql",
    "sql/migrate/sample.sql", "sql/migrate/survey.sql", "sql/migrate/trial.sql", "sql/migrate/trial_copy.sql",
)  # fmt: skip


def asked() -> list[str]:
    """The files whose conditions need mutants: those that change rows, and those by which a migration decides."""
    names = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "sql").rglob("*.sql"))]
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names if "/doctor/" not in name}
    return [
        name
        for name, text in texts.items()
        if name not in NOT_ASKED and (changes_rows(text) or name.startswith("sql/migrate/"))
    ]


def test_no_condition_waits_for_its_mutant() -> None:
    reasons = tomllib.loads((LIST.parent / "without.toml").read_text(encoding="utf-8"))

    assert [(file, reason) for file, by in reasons.items() for reason in by if reason.startswith("open")] == []


def test_each_condition_of_the_sql_that_changes_rows_has_a_mutant_or_a_reason_to_have_none() -> None:
    reasons = tomllib.loads((LIST.parent / "without.toml").read_text(encoding="utf-8"))
    given = {file: Counter(text for texts in by.values() for text in texts) for file, by in reasons.items()}
    mutants = defaultdict(list)
    for mutant in kept():
        mutants[mutant.file].append(mutant)
    found: dict[str, Counter[str]] = {}
    for file in asked():
        text = (ROOT / file).read_text(encoding="utf-8")
        spans = [span(mutant, text) for mutant in mutants[file]]
        bare = Counter(one.text for one in conditions(text) if not any(a < one.end and b > one.start for a, b in spans))
        if bare:
            found[file] = bare

    assert {
        file: (bare - given.get(file, Counter())) for file, bare in found.items() if bare - given.get(file, Counter())
    } == {}
    # What has a mutant now, or is gone, stands there no longer.
    assert {
        file: (said - found.get(file, Counter())) for file, said in given.items() if said - found.get(file, Counter())
    } == {}


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ('UPDATE :"a" SET b = 1 WHERE c AND d OR e;', ["WHERE c", "AND d", "OR e"]),
        (
            "SELECT 1 FROM a JOIN b ON b.x = a.x WHERE a.y BETWEEN 1 AND 2 AND z",
            ["ON b.x = a.x", "WHERE a.y BETWEEN 1 AND 2", "AND z"],
        ),
        ("SELECT CASE WHEN a = 1 THEN 2 END, CASE b WHEN 'x' THEN 3 ELSE 4 END", ["WHEN a = 1"]),
        ('INSERT INTO :"a" SELECT 1 ON CONFLICT DO NOTHING -- WHERE nothing', []),
        (
            "DELETE FROM a WHERE (b OR c IN ('x AND y', 'z'))",
            ["WHERE (b OR c IN ('x AND y', 'z'))", "OR c IN ('x AND y', 'z')"],
        ),
        (
            "SELECT 1 FROM a LEFT JOIN LATERAL (SELECT 2 LIMIT 1) AS l ON true GROUP BY b HAVING count(*) > 1 LIMIT 3",
            ["HAVING count(*) > 1"],
        ),
        ("IF a IS NULL THEN RETURN; END IF;\nCREATE OR REPLACE FUNCTION f()", ["IF a IS NULL"]),
        (
            "\\if :{?a} \\else \\set a '' \\endif\nSELECT 1 FROM :\"a\" WHERE id = :'id' ORDER BY b",
            ["WHERE id = :'id'"],
        ),
    ],
)
def test_a_condition_is_what_stands_after_its_word_up_to_the_next(sql: str, found: list[str]) -> None:
    assert [one.text for one in conditions(sql)] == found
