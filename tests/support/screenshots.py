"""Take README's pictures of the page anew: `python tests/support/screenshots.py [FOLDER] [--every]`. Needs Chromium."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from playwright.sync_api import Page, expect

from opskit import migration
from opskit.database import Database
from opskit.settings import Settings
from tests.support import servers
from tests.support.chromium import CHROMIUM, PATIENCE, chromium, serving

DOCS = Path(__file__).parents[2] / "docs"

# Name of the picture, page, scheme, width and height [px].
PICTURES = (
    ("overview", "Overview", "light", 1400, 1240),
    ("overview-dark", "Overview", "dark", 1400, 1240),
    ("cleanup", "Cleanup", "light", 1400, 760),
    ("timeline", "Timeline", "light", 1400, 640),
)
PAGES = ("Overview", "Nodes", "Files", "Failures", "Cleanup", "Timeline", "Doctor", "History")
EVERY = tuple(
    (f"{name.lower()}-{kind}", name, scheme, width, height)
    for name in PAGES
    for kind, scheme, width, height in (
        ("light", "light", 1400, 1180),
        ("dark", "dark", 1400, 1180),
        ("phone", "light", 390, 1600),
    )
)

# What is there once a page has been drawn to its end.
DRAWN = {
    "Overview": [
        "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg",
        "text=Longest running",
        ".barlayer .point",
    ],
    "Cleanup": ["[data-testid=stExpander]"],
    "Timeline": [".barlayer .point"],
    "Doctor": ["text=opskit cleanup"],
}

# A night at a company that takes in statements, orders and invoices: five nodes, one of which died a few minutes ago.
NODES = """
    INSERT INTO dev_processing_nodes (server_id, boot, host, pid, version, started_at, beat_at, lease_until,
                                      lease_seconds, token, progress_done, progress_total, progress_at,
                                      looked_lease, looked_at)
    SELECT 'ingest-' || n, gen_random_uuid(), 'ingest-' || n, 4100 + n, '1.0.0', now() - interval '26 h',
           now() - dead, ends, 30, lpad(n::text, 32, '0')::uuid,
           (ARRAY[61, 18, 44, 92, 7])[n], 100, now() - dead,
           ends, now() - interval '3 min'
      FROM (SELECT n, CASE n WHEN 4 THEN interval '4 min' ELSE interval '0' END AS dead,
                   now() + CASE n WHEN 4 THEN interval '-210 s' ELSE interval '1 h' END AS ends
              FROM generate_series(1, 5) AS n) AS nodes
"""
ENDED = """
    INSERT INTO dev_uploaded_files (original_filename, file_size, processing_status, processing_server_id,
                                    processing_queued_at, processing_started_at, processing_completed_at,
                                    processing_attempt, processing_errors)
    SELECT (ARRAY['statement', 'orders-eu', 'orders-us', 'invoices'])[n % 4 + 1] || '-' || to_char(ended, 'YYYYMMDD')
               || '-' || lpad(n::text, 4, '0') || (ARRAY['.csv', '.parquet', '.jsonl', '.xlsx'])[n % 4 + 1],
           40000 + n * 7919 % 90000000, CASE WHEN bad THEN 'failed' ELSE 'completed' END, 'ingest-' || n % 5 + 1,
           ended - ran - interval '8 s', ended - ran, ended, CASE WHEN n % 61 = 0 THEN 2 ELSE 1 END,
           CASE WHEN bad THEN (ARRAY['ValueError: line ' || n || ' has no amount', 'Reject: not a statement of account',
                                     'UnicodeDecodeError: byte ' || n || ' is no UTF-8'])[n % 3 + 1] END
      FROM (SELECT n, now() - (100 + n * 20 + 1500 * (1 - cos(n / 700.0))) * interval '1 s' AS ended,
                   (12 + n * 37 % 71) * interval '1 s' AS ran, n * 7 % 43 = 0 AS bad
              FROM generate_series(1, 4200) AS n) AS files
"""
NOW = """
    INSERT INTO dev_uploaded_files (original_filename, file_size, processing_status, processing_server_id,
                                    processing_queued_at, processing_started_at, processing_attempt, processing_token,
                                    processing_epoch)
    SELECT (ARRAY['orders-eu-20261124-0007.parquet', 'statement-20261124-0112.csv', 'invoices-20261124-0019.xlsx',
                  'orders-us-20261124-0044.jsonl', 'statement-20261124-0113.csv'])[n], 8000000 * n, 'processing',
           'ingest-' || n, now() - interval '9 min', now() - (CASE n WHEN 4 THEN 340 ELSE 23 * n END) * interval '1 s',
           1, lpad(n::text, 32, '0')::uuid, 1
      FROM generate_series(1, 5) AS n
    UNION ALL SELECT 'payroll-october.csv', 512000, 'processing', 'batch-old', NULL, now() - interval '95 min',
                     0, NULL, NULL
    UNION ALL SELECT 'statement-20261124-0' || 113 + n || '.csv', 90000 * n, 'queued', NULL,
                     now() - (38 - n) * interval '4 s', NULL, 0, NULL, NULL FROM generate_series(1, 37) AS n
"""
EVENTS = """
    INSERT INTO dev_processing_events (at, kind, outcome, next_status, file_id, server_id, attempt, started_at, reason,
                                       actor, details)
    VALUES (now() - interval '41 min', 'stop', NULL, NULL, NULL, 'ingest-2', NULL::int, NULL::timestamptz, 'drained',
            'ingest-2', NULL::jsonb),
           (now() - interval '39 min', 'boot', NULL, NULL, NULL, 'ingest-2', NULL, NULL, 'registered',
            'ingest-2', NULL),
           (now() - interval '30 min', 'attempt', 'crashed', 'queued', '60', 'ingest-5', 1, now() - interval '34 min',
            'killed by signal 9, perhaps out of memory', 'ingest-5', NULL),
           (now() - interval '24 min', 'pause', NULL, NULL, NULL, '*', NULL, NULL, 'disk of the lake is full',
            'ann', NULL),
           (now() - interval '21 min', 'resume', NULL, NULL, NULL, '*', NULL, NULL, 'disk grown',
            'ann', NULL),
           (now() - interval '12 min', 'attempt', 'orphaned', 'queued', '12', 'ingest-3', 1, now() - interval '17 min',
            'Orphaned: ingest-3 has been silent', 'ingest-1', '{"cleanup": true}')
"""


# A server works on one file at a time: what would lie over an attempt of EVENTS or NOW goes.
TIDY = """
    DELETE FROM dev_uploaded_files AS f
     WHERE processing_status IN ('completed', 'failed')
       AND (EXISTS (SELECT FROM dev_processing_events AS e
                     WHERE e.kind = 'attempt' AND e.server_id = f.processing_server_id
                       AND e.started_at < f.processing_completed_at AND e.at > f.processing_started_at)
            OR EXISTS (SELECT FROM dev_uploaded_files AS now
                        WHERE now.processing_status = 'processing' AND now.processing_server_id = f.processing_server_id
                          AND now.processing_started_at < f.processing_completed_at))
"""
BEAT = "UPDATE dev_processing_nodes SET beat_at = now(), progress_at = now() WHERE server_id <> 'ingest-4'"


@contextmanager
def served() -> Iterator[tuple[str, Database]]:
    """The page over a database that looks like one at work: its address, and the database."""
    with servers.running_server() as server, tempfile.TemporaryDirectory() as folder:
        name = server.create_database().rpartition("/")[2]
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} RENAME TO intake".encode())
        url = server.url.rpartition("/")[0] + "/intake"
        settings = Settings.load({}, database_url=url, env="development", home=folder)
        with Database(settings) as db:
            migration.migrate(db)
            for statement in (NODES, ENDED, NOW, EVENTS, TIDY):
                run(db, statement)
            with serving(settings, Path(folder)) as address:
                yield address, db


def run(db: Database, statement: str) -> None:
    with db.connection() as connection:
        connection.execute(statement.encode())


def shoot(page: Page, name: str) -> None:
    """Wait until a page has been drawn to its end."""
    expect(page).to_have_title(re.compile(f"^{name} "), timeout=PATIENCE)
    expect(page.get_by_text(re.compile("^as of "))).to_have_count(1, timeout=PATIENCE)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    for place in DRAWN.get(name, ["[data-testid=stDataFrame]"]):
        expect(page.locator(place).locator("visible=true").last).to_be_visible(timeout=PATIENCE)
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)  # what moves into place has arrived


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DOCS, help="where to, default docs/")
    parser.add_argument("--every", action="store_true", help="every page instead: light, dark, and as wide as a phone")
    given = parser.parse_args(argv)
    if CHROMIUM is None:
        print("there is no Chromium on this machine", file=sys.stderr)
        return 1
    given.folder.mkdir(parents=True, exist_ok=True)
    with served() as (url, db), chromium() as browser:
        for picture, name, scheme, width, height in EVERY if given.every else PICTURES:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]  # light or dark
            page = context.new_page()
            run(db, BEAT)
            page.goto(url if name == "Overview" else f"{url}/{name.lower()}")
            shoot(page, name)
            if name == "Overview":  # it has ticked since: no node may be silent for want of a heartbeat
                run(db, BEAT)
                page.wait_for_timeout(6000)
            page.screenshot(path=given.folder / f"{picture}.png")
            print(given.folder / f"{picture}.png", flush=True)
            context.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
