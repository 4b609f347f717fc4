"""The doctor and its runbooks on the page."""

from __future__ import annotations

import pytest

from opskit import queue
from opskit.database import Database
from opskit.web.dashboard import readings
from tests.support.dashboard import Open, click, execute, fine, said


def test_the_doctor_says_what_why_and_what_mends_it(open_page: Open, full: Database) -> None:
    queue.resume(full, "*", actor="ann")
    app = open_page("doctor.py")
    assert "node-4 is paused" in said(app)
    assert "opskit resume node-4" in said(app)

    queue.resume(full, "node-4", actor="ann")
    click(app, "examine_again")

    assert "node-4 is paused" not in said(app)


def test_the_doctor_says_when_all_is_well(open_page: Open, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(readings.STATISTICS, "doctor", lambda db: [])

    assert "All is well" in said(open_page("doctor.py"))


def test_the_doctor_shows_the_runbook_beside_its_finding(open_page: Open, db: Database) -> None:
    execute(db, "INSERT INTO dev_uploaded_files (original_filename) VALUES ('a.csv')")

    app = open_page("doctor.py")

    assert [one.label for one in app.expander] == ["Runbook: No node is alive"]
    assert "opskit worker --drain" in said(app)


def test_the_overview_leads_to_the_runbook_of_a_finding(open_page: Open, db: Database) -> None:
    execute(db, "INSERT INTO dev_uploaded_files (original_filename) VALUES ('a.csv')")

    assert "[What to do](doctor?runbook=no-node-alive)" in said(open_page())


def test_an_alerts_address_opens_its_runbook_also_while_the_database_is_away(open_page: Open) -> None:
    app = open_page(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    app.query_params["runbook"] = "breaker-open"
    app.switch_page("views/doctor.py").run()

    assert fine(app)
    assert "The breaker is open" in said(app)
    assert "doctor?runbook=" not in said(app) or "](doctor?runbook=" in said(app)


def test_an_address_with_an_unknown_runbook_says_which_there_are(open_page: Open, db: Database) -> None:
    app = open_page()
    app.query_params["runbook"] = "<b>nonsense"
    app.switch_page("views/doctor.py").run()

    assert fine(app)
    assert "there is no runbook '<b>nonsense'; there are: breaker-open" in said(app)
