"""What a refusal says of a column, word for word, and which functions, triggers and types are ours or nobody's."""

from __future__ import annotations

import dataclasses

import pytest

from opskit.database import Database
from opskit.settings import Settings
from tests.migration.test_refusal_rules import PLAIN, T, problem
from tests.support.nodes import ask

KINDS = (
    "CREATE SCHEMA other",
    "CREATE TYPE other.color AS ENUM ('a')",
    "CREATE DOMAIN other.word AS text CHECK (value <> '')",
    "CREATE DOMAIN other.words AS other.word",
    "CREATE TABLE other.states (name text PRIMARY KEY)",
    "CREATE TABLE letters (a text, b text REFERENCES other.states, processing_server_id text REFERENCES other.states)",
)
COLUMNS = {
    "plain": ("processing_errors varchar", None),
    "a domain": ("processing_errors other.words", None),
    "a domain of dates": ("processing_started_at date", "is date where timestamp is needed"),
    "an enum": ("processing_status other.color",
                "is other.color (enum) where text of at least 10 characters is needed"),
    "an array": ("processing_status other.color[]",
                 "is other._color (array) where text of at least 10 characters is needed"),
    "a foreign key": ("number text REFERENCES other.states, processing_errors text", None),
    "a foreign key of the server": (
        "processing_server_id text CONSTRAINT k REFERENCES other.states",
        "the foreign key k of dev_uploaded_files binds processing_server_id to other.states, which knows nothing "
        "of it; run: ALTER TABLE dev_uploaded_files DROP CONSTRAINT k",
    ),
    "room beside ours": ("processing_status text, " + ", ".join(f"c{n} int" for n in range(1580)), None),
}  # fmt: skip


@pytest.mark.parametrize("what", COLUMNS)
def test_a_column_that_is_refused_is_named_once_with_its_type(bare: Database, what: str) -> None:
    column, expected = COLUMNS[what]
    if expected and expected.startswith("is "):
        expected = f"column {column.split()[0]} of {T} {expected}; rename it, or change its type"

    assert problem(bare, "migrate/refuse_columns", *KINDS, f"{PLAIN}, {column})") == expected


GUARD = "dev_uploaded_files_processing_guard"
WAKE = "dev_uploaded_files_processing_wake"
FUNCTION = "CREATE FUNCTION {name}() RETURNS {type} LANGUAGE plpgsql AS 'BEGIN {body} RETURN NULL; END'"
TRIGGER = "CREATE TRIGGER {name} BEFORE UPDATE ON dev_uploaded_files FOR EACH ROW EXECUTE FUNCTION {function}()"


def function(body: str = "", name: str = GUARD, type: str = "trigger") -> str:
    return FUNCTION.format(name=name, body=body, type=type)


NOT_OURS = "for a function of its own, and another function has it"
NAMES = {
    "an older guard": ([function("-- processing_token\n")], None),
    "an older wake": ([function("PERFORM pg_notify(''opskit_dev'', '''');", WAKE)], None),
    "one that our trigger calls": ([function(), TRIGGER.format(name=GUARD, function=GUARD)], None),
    "nobody's": ([function()], NOT_OURS),
    "one that another trigger calls": ([function(), TRIGGER.format(name="audit", function=GUARD)], NOT_OURS),
    "one that our trigger does not call": (
        [function(), function(name="audit"), TRIGGER.format(name=GUARD, function="audit")], NOT_OURS,
    ),
    "one that answers a number": ([function("-- processing_token\n", type="int")], NOT_OURS),
    "another function": ([function(name="audit")], None),
    "another trigger": ([function(name="audit"), TRIGGER.format(name="audit", function="audit")], None),
    "a trigger of our name": (
        [function("-- processing_token\n"), function(name="audit"), TRIGGER.format(name=GUARD, function="audit")],
        "for a trigger of its own, and another trigger",
    ),
    "columns of another table": (
        ["CREATE TABLE letters (scope text, actor text, reason text)", "CREATE TABLE dev_processing_pauses (a int)"],
        "a table of other columns has it",
    ),
    "a type elsewhere": (["CREATE SCHEMA other", "CREATE TYPE other.dev_processing_logs AS ENUM ('a')"], None),
    "another type": (["CREATE TYPE color AS ENUM ('a')"], None),
    "a type": (["CREATE TYPE dev_processing_logs AS ENUM ('a')"], "and a type has it"),
}  # fmt: skip


@pytest.mark.parametrize("what", NAMES)
def test_a_name_is_refused_that_is_not_ours_and_would_be_in_the_way(bare: Database, what: str) -> None:
    texts, expected = NAMES[what]
    said = problem(bare, "migrate/refuse_names", f"{PLAIN})", *texts)

    assert (said is None) if expected is None else (expected in (said or "")), said


def test_the_type_of_an_array_gives_way_to_a_table_of_its_name(settings: Settings) -> None:
    own = dataclasses.replace(settings, table="_letters", env="production")
    with Database(own, pooled=False) as db:
        assert problem(db, "migrate/refuse_names", "CREATE TABLE letters (a int)") is None


def test_a_role_is_refused_for_the_tables_of_its_own_schema_alone(bare: Database) -> None:
    role = "stranger_of_" + (bare.settings.database_url or "").rpartition("/")[2]
    (me,) = ask(bare, "SELECT current_user::text AS name")
    texts = [
        f"CREATE ROLE {role}", f"CREATE ROLE my_{role}", f"GRANT CREATE, USAGE ON SCHEMA public TO my_{role}",
        "CREATE SCHEMA other", f"GRANT ALL ON SCHEMA other TO {role}, my_{role}", f"{PLAIN})",
        f"ALTER TABLE {T} OWNER TO my_{role}", "CREATE TABLE other.dev_processing_nodes (a int)",
        f"ALTER TABLE other.dev_processing_nodes OWNER TO {role}", f"SET LOCAL ROLE my_{role}",
    ]  # fmt: skip

    assert me["name"]
    assert problem(bare, "migrate/refuse_rights", *texts) is None
    assert "dev_processing_nodes belongs to" in (
        problem(bare, "migrate/refuse_rights", *texts[:-1], "ALTER TABLE other.dev_processing_nodes SET SCHEMA public",
                texts[-1]) or ""
    )  # fmt: skip


RESTRICTIVE = "CREATE POLICY r ON {table} AS RESTRICTIVE TO {role} USING (id > 0)"
PERMISSIVE = "CREATE POLICY p ON {table} TO {role} USING (true) WITH CHECK (true)"
LEAVE_OUT = ", and leave that role out of the restrictive policies"
POLICIES = {
    "none": ([], ""),
    "its own": ([PERMISSIVE], None),
    "everybody's": ([PERMISSIVE.replace("{role}", "PUBLIC")], None),
    "another role's": ([PERMISSIVE.replace("{role}", "pg_monitor")], ""),
    "another table's": ([PERMISSIVE.replace("{table}", "letters")], ""),
    "a restrictive one of its own": ([PERMISSIVE, RESTRICTIVE], LEAVE_OUT),
    "a restrictive one of another role": ([PERMISSIVE, RESTRICTIVE.replace("{role}", "pg_monitor")], None),
    "a restrictive one of another table": ([PERMISSIVE, RESTRICTIVE.replace("{table}", "letters")], None),
    "a restrictive one alone": ([RESTRICTIVE.replace("id > 0", "true")], LEAVE_OUT),
    "a restrictive one of another table alone": ([RESTRICTIVE.replace("{table}", "letters")], ""),
}  # fmt: skip


@pytest.mark.parametrize("what", POLICIES)
def test_row_level_security_is_in_the_way_where_no_policy_of_the_table_lets_the_role_see_all(
    bare: Database, what: str
) -> None:
    policies, more = POLICIES[what]
    role = "owner_of_" + (bare.settings.database_url or "").rpartition("/")[2]
    texts = [
        f"CREATE ROLE {role}", f"GRANT CREATE, USAGE ON SCHEMA public TO {role}", f"{PLAIN})",
        "CREATE TABLE letters (id bigint)", f"ALTER TABLE {T} OWNER TO {role}",
        f"ALTER TABLE {T} ENABLE ROW LEVEL SECURITY", f"ALTER TABLE {T} FORCE ROW LEVEL SECURITY",
        *(one.format(table=T, role=role) for one in policies),
        f"SET LOCAL ROLE {role}",
    ]  # fmt: skip
    said = problem(bare, "migrate/refuse_rights", *texts)

    assert (said is None) is (more is None), said
    if more is not None:
        assert (said or "").endswith(f"TO {role} USING (true) WITH CHECK (true){more}")
