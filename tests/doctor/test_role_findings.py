"""Findings about roles: what the doctor says to one that may little, and what a role must be allowed."""

from __future__ import annotations

import dataclasses
import re
import subprocess

from opskit import doctor
from opskit.database import Database
from tests.support.examining import examined, mend, role, the_one
from tests.support.nodes import ask
from tests.support.tables import ROOT, application, environ, psql_program

TABLE, NODES = "dev_uploaded_files", "dev_processing_nodes"


# -- roles ---------------------------------------------------------------------------------------
WRITER = "IN ROLE pg_read_all_data, pg_write_all_data, pg_monitor"


def test_a_role_that_may_nothing_gets_findings_and_no_exception(healthy: Database) -> None:
    with role(healthy.settings, "stranger") as theirs, Database(theirs, pooled=False) as db:
        found = doctor.examine(db, missing=[], queues_new=True)

        lacks = [f for f in found if " lacks " in f.what and "processing_logs" not in f.what]
        (denied,) = [finding for finding in found if " may not look at: " in finding.what]
        assert {finding.level for finding in lacks} == {"error"}
        assert [re.sub("stranger_[0-9a-f]+ ", "", finding.what) for finding in lacks] == [
            f"lacks SELECT, UPDATE on {TABLE}",
            f"lacks SELECT, INSERT, UPDATE, DELETE on {NODES}",
            "lacks SELECT, INSERT, DELETE on dev_processing_events",
            "lacks SELECT on dev_processing_pauses",
        ]
        assert denied.level == "warning"
        assert {"queue", "claims", "nodes", "pauses", "waiting", "durations"} <= set(re.findall(r"\w+", denied.what))
        for finding in found:
            mend(healthy.settings, finding)

    with role(healthy.settings, "node") as theirs, Database(theirs, pooled=False) as db:
        for finding in [each for each in doctor.examine(db, missing=[], queues_new=True) if " lacks " in each.what]:
            mend(healthy.settings, finding)
        with application(healthy.settings, application_name="another role's session"):
            # What is left is what this role cannot see of others: who keeps vacuum back.
            (hidden,) = examined(db)
            assert re.search(r"^\d+ sessions of other roles cannot be judged by this role", hidden.what)
            mend(healthy.settings, hidden)
        assert examined(db) == []


def test_the_roles_that_come_with_it_are_enough(healthy: Database) -> None:
    program = psql_program()
    with role(healthy.settings, "node", "IN ROLE pg_monitor") as theirs, Database(theirs, pooled=False) as db:
        me = db.one("doctor/session")["role"]
        given = [f"-v{kind}={kind}_of_{me}" for kind in ("node", "operator", "viewer")]
        try:
            subprocess.run(
                [program, healthy.settings.database_url or "", *given, "-f", ROOT / "sql/roles.sql"],
                env=environ(healthy.settings), capture_output=True, check=True,
            )  # fmt: skip
            ask(healthy, f"GRANT node_of_{me} TO {me}")

            # All but one thing, which an operator's role schedules.
            assert the_one(db, f"^{me} lacks DELETE on ").mend.startswith("opskit prune  # once a day")
            ask(healthy, f"GRANT operator_of_{me} TO {me}")
            assert examined(db) == []
        finally:
            for kind in ("node", "operator", "viewer"):
                ask(healthy, f"DROP OWNED BY {kind}_of_{me}")
                ask(healthy, f"DROP ROLE {kind}_of_{me}")


def test_a_grant_for_our_columns_alone_will_do(healthy: Database) -> None:
    columns = ", ".join(
        row["column_name"] for row in healthy.run("columns") if row["column_name"].startswith("processing_")
    )
    with role(healthy.settings, "node", "IN ROLE pg_monitor") as theirs, Database(theirs, pooled=False) as db:
        me = db.one("doctor/session")["role"]
        ask(healthy, f"GRANT SELECT ON {TABLE} TO {me}")
        for beside in ("nodes", "events", "pauses", "logs"):
            ask(healthy, f"GRANT ALL ON dev_processing_{beside} TO {me}")
        finding = the_one(db, f"lacks UPDATE on {TABLE}")
        ask(healthy, f"GRANT UPDATE ({columns}) ON {TABLE} TO {me}")

        assert finding.mend == f"GRANT UPDATE ({columns}) ON {TABLE} TO {me};"
        assert examined(db) == []


def test_a_door_that_only_reads_needs_no_more_than_that(healthy: Database) -> None:
    with role(healthy.settings, "reader", "IN ROLE pg_read_all_data, pg_monitor") as theirs:
        with Database(theirs, pooled=False) as db:
            # Without the logs table a node works on, and keeps no logs.
            assert {f.level for f in examined(db) if "processing_logs" not in f.what} == {"error"}
        with Database(dataclasses.replace(theirs, read_only=True), pooled=False) as db:
            assert examined(db) == []


def test_row_level_security_that_hides_rows_from_the_node(healthy: Database) -> None:
    ask(healthy, f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    assert examined(healthy) == []  # a superuser sees everything
    with role(healthy.settings, "node", WRITER) as theirs, Database(theirs, pooled=False) as db:
        finding = the_one(db, f"^row-level security hides rows of {TABLE} from node_")
        mend(healthy.settings, finding)

        assert finding.level == "error"
        assert examined(db) == []


def test_a_limit_on_a_roles_connections(healthy: Database) -> None:
    limited = f"{WRITER} CONNECTION LIMIT 3"
    with role(healthy.settings, "node", limited) as theirs, Database(theirs, pooled=False) as db:
        finding = the_one(db, "^1 of 3 connections of the role is in use")
        mend(healthy.settings, finding)

        assert re.match(r"ALTER ROLE node_\w+ CONNECTION LIMIT 26;", finding.mend)
        assert examined(db) == []
