"""Applications of one process share their routes, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fastapi.routing import APIRoute

from opskit.database import Database
from opskit.settings import Settings
from opskit.web.api.app import create_api
from tests.support.api import served


def of(home: Path, node: str) -> Settings:
    return Settings.load({}, database_url="postgresql://u:p@127.0.0.1:1/x", home=str(home), node_id=node)


def nowhere() -> Database:
    raise AssertionError("nobody asks for the database")


def test_a_second_application_makes_no_route_again(tmp_path: Path) -> None:
    one, other = (
        [route for route in create_api(nowhere, of(tmp_path, name)).routes if isinstance(route, APIRoute)]
        for name in ("a", "b")
    )

    assert len(one) > 30
    assert [*map(id, one)] == [*map(id, other)]


def test_each_application_answers_by_its_own_settings(db: Database, settings: Settings) -> None:
    clients = {name: served(db, dataclasses.replace(settings, node_id=name)) for name in ("a", "b")}

    for name in ("a", "b", "a"):
        assert clients[name].get("/api/processing/server-info").json()["serverId"] == name


def test_every_call_is_named_after_its_function_and_no_name_stands_twice(tmp_path: Path) -> None:
    document = create_api(nowhere, of(tmp_path, "a")).openapi()

    names = [call["operationId"] for calls in document["paths"].values() for call in calls.values()]

    assert {"concurrency_stats", "server_information", "healthz", "requeue"} <= {*names}
    assert len(names) == len({*names})
