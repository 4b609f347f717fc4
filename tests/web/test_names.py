"""Long names: their middle is left out, no two become alike, and the whole name is where one points at it."""

from __future__ import annotations

import json
import re

import pytest
import streamlit as st

from opskit.database import Database
from opskit.support import wording
from tests.support.dashboard import Open, execute, said

NODES = [f"ip-10-0-0-1-4242-17958445990{n:02}" for n in range(3)]
SAME_ENDS = [f"ip-10-0-0-1-rack-{n}-eu-central-1.compute.internal" for n in "abc"]


@pytest.mark.parametrize("names", [NODES, SAME_ENDS, ["a", "a" * 100, "a" * 101], ["x" * 50 + "1", "x" * 50 + "2"]])
def test_short_names_stay_apart_and_short(names: list[str]) -> None:
    short = wording.told_apart(names, 26)

    assert len(set(short.values())) == len(names)
    for name, form in short.items():
        assert form == name or ("…" in form and name.startswith(form.split("…")[0]) and name.endswith(form[-2:]))


def test_a_short_name_is_as_long_as_is_granted() -> None:
    assert wording.shortened("a" * 20 + "b" * 20) == "a" * 20 + "b" * 20
    assert wording.shortened("a" * 50 + "b" * 50, 11) == "aaaaa…bbbbb"
    assert wording.shortened("a" * 50 + "b" * 50, 10) == "aaaaa…bbbb"


def test_the_overview_shows_three_alike_nodes_apart_and_whole_on_hover(open_page: Open, db: Database) -> None:
    for name in SAME_ENDS:
        execute(
            db,
            "INSERT INTO {nodes} (server_id, boot, host, pid, version, started_at, beat_at, lease_until, lease_seconds)"
            " VALUES (%s, gen_random_uuid(), 'h', 1, '0', now(), now(), now() + interval '1 h', 3600)",
            name,
        )
        execute(
            db,
            "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_completed_at)"
            " VALUES ('f', 'completed', %s, now())",
            name,
        )

    app = open_page()

    page = said(app)
    shown = re.findall(r'<a href="node\?id=([^"]+)" title="([^"]+)">([^<]+)</a>', page)
    assert {whole for _, whole, _ in shown} == set(SAME_ENDS)
    assert len({short for *_, short in shown}) == 3
    (chart,) = app.get("vega_lite_chart") or app.get("arrow_vega_lite_chart")
    spec = json.loads(chart.proto.spec)
    labels = json.loads(spec["encoding"]["y"]["axis"]["labelExpr"].removesuffix("[datum.label]")[1:-1])
    assert set(labels) == set(SAME_ENDS)
    assert len(set(labels.values())) == 3
    assert spec["encoding"]["tooltip"][0]["field"] == "server"


def test_a_mark_from_before_the_first_file_is_no_line_on_the_trends(open_page: Open, db: Database) -> None:
    def shapes(event_minutes: int) -> int:
        execute(db, "UPDATE {events} SET at = now() - %s * interval '1 min'", event_minutes)
        st.cache_resource.clear()
        (chart,) = open_page().get("plotly_chart")
        return len(json.loads(chart.proto.spec)["layout"].get("shapes", []))

    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_completed_at)"
        " VALUES ('f', 'completed', 'a', now() - interval '10 min')",
    )
    execute(db, "DELETE FROM {events}")
    execute(db, "INSERT INTO {events} (kind, server_id, actor) VALUES ('pause', '*', 'ann')")

    assert shapes(5) == 1
    assert shapes(40) == 0
