"""What the tests in a browser share: a database with something to see, and steps on the page."""

from __future__ import annotations

import time

from playwright.sync_api import Locator, Page
from psycopg import sql

from opskit.database import Database


def seed(db: Database) -> None:
    """Three nodes, one of them dead; claims well and stale; ends good and bad."""
    with db.connection() as connection:
        connection.execute(
            sql.SQL(
                """
                INSERT INTO {} (server_id, boot, host, pid, version, started_at, beat_at, lease_until, lease_seconds)
                SELECT 'node-' || n, gen_random_uuid(), 'host', n, '0', now(), now(),
                       now() + CASE n WHEN 3 THEN -1 ELSE 1 END * interval '1 h', 3600
                  FROM generate_series(1, 3) AS n
                """
            ).format(sql.Identifier(db.names["nodes"]))
        )
        connection.execute(
            sql.SQL(
                """
                INSERT INTO {} (original_filename, processing_status, processing_server_id, processing_started_at,
                                processing_completed_at, processing_errors)
                SELECT 'done-' || n, CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END, 'node-' || n % 3 + 1,
                       now() - n * interval '9 min', now() - n * interval '9 min', CASE WHEN n % 10 = 0 THEN 'bad' END
                  FROM generate_series(1, 60) AS n
                UNION ALL SELECT 'stale.csv', 'processing', 'legacy-1', now() - interval '2 h', NULL, NULL
                UNION ALL SELECT 'young.csv', 'processing', 'legacy-2', now() - interval '59 min', NULL, NULL
                UNION ALL SELECT 'next.csv', 'queued', NULL, NULL, NULL, NULL
                """
            ).format(sql.Identifier(db.names["files"]))
        )


def metric(page: Page, label: str) -> str:
    tile = page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True))
    return tile.get_by_test_id("stMetricValue").inner_text().strip()


def boxes(parts: Locator) -> list[dict[str, float]]:
    """Where each of them is drawn, all at one moment; who is not drawn has a width of 0."""
    places: list[dict[str, float]] = parts.evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect()).map(({x, y, width, height}) => ({x, y, width, height}))"
    )
    return places


def widest(page: Page, parts: Locator, seconds: float = 60) -> dict[str, float]:
    """Where the widest of them is, once it stays there: a chart is drawn anew when it learns how wide its column is."""
    last, deadline = None, time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = max((box for box in boxes(parts) if box["width"] > 0), key=lambda box: box["width"], default=None)
        if found is not None and found == last:
            return found
        last = found
        page.wait_for_timeout(300)
    raise AssertionError(f"nothing stays in its place; last: {last}")
