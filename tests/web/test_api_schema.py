"""The API and its own document: schemathesis calls every endpoint as the document allows, and as it does not."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.applications import Starlette
from starlette.routing import Mount

from opskit import queue
from opskit.database import Database
from opskit.queue import claims, nodes
from opskit.settings import Settings
from opskit.web.api.app import create_api

pytestmark = pytest.mark.slow  # the whole module: to draw the cases alone takes seconds
pytest_plugins = ["schemathesis.pytest.plugin"]

TOKEN = "a token"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Place:
    """Where the API finds its database: the one of the test that runs."""

    database: Database

    def __call__(self) -> Database:
        return self.database


PLACE = Place()
API = create_api(PLACE, Settings.load({}, node_id="api", api_token=TOKEN), upload_limit_bytes=1 << 20)
# A stream that never ends has tests of its own: tests/web/test_events.py.
DOCUMENT = schemathesis.openapi.from_asgi("/api/openapi.json", Starlette(routes=[Mount("/api", API)]))


@pytest.fixture
def something_everywhere(db: Database) -> Iterator[None]:
    """A database that has something in every answer."""
    table = db.settings.files
    with db.connection() as connection:
        connection.execute(
            f"""INSERT INTO {table} (original_filename, processing_status, processing_server_id, processing_started_at,
                                     processing_completed_at, processing_errors)
                VALUES ('held.csv', 'queued', NULL, NULL, NULL, NULL),
                       ('stale.csv', 'processing', 'older', now() - interval '2 h', NULL, NULL),
                       ('bad.csv', 'failed', 'older', now() - interval '2 h', now(), 'line 3 is bad'),
                       ('good.csv', 'completed', 'older', now() - interval '2 h', now(), NULL),
                       (NULL, 'queued', NULL, NULL, NULL, NULL)""".encode()
        )
    boot = nodes.register(db, "node-a", str(uuid.uuid4()))
    assert boot is not None
    claims.claim(db, boot)
    queue.pause(db, "node-a", actor="test", reason="to have a pause")
    PLACE.database = db
    yield
    del PLACE.database


# What these take depends on more than one value, or on the table: they may refuse what their document allows.
CHOOSY = (
    "/processing/throughput",
    "/processing/timeline",
    "/processing/requeue",
    "/processing/cancel",
    "/processing/expedite",
    "/processing/files",
    "/processing/distribution",
    "/processing/failures",
    "/processing/events",
)


@pytest.mark.usefixtures("something_everywhere")
# The pool's own threads roll dice while a case is drawn.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@DOCUMENT.exclude(path="/processing/concurrency-stats/stream").parametrize()
@hypothesis.seed(20261123)
@hypothesis.settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_every_endpoint_does_what_its_document_says(case: Any) -> None:
    excluded = [positive_data_acceptance] if case.operation.path in CHOOSY else []
    if case.operation.path == "/processing/files" and case.method == "POST":
        excluded.append(negative_data_rejection)  # a form holds nothing but text: "0" is no wrong type there
    case.call_and_validate(headers=HEADERS, excluded_checks=excluded)
