"""The databases of the tests: cheap to make, and nothing of one test is there for the next."""

from __future__ import annotations

import psycopg
import pytest

from tests.support import servers


def test_a_database_that_is_left_has_no_sessions_at_once_and_is_gone_when_the_next_one_is_left(
    server: servers.Server,
) -> None:
    first, second = server.create_database(), server.create_database()
    with psycopg.connect(first, autocommit=True) as session:
        server.leave_database(first)

        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    psycopg.connect(first).close()
    server.leave_database(second)

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first)
    psycopg.connect(second).close()


@pytest.mark.skipif(servers.SHARED is not None, reason="somebody else's server")
def test_a_copied_database_makes_the_maps_again_that_its_template_lacks(server: servers.Server) -> None:
    maps = (
        "SELECT count(*) FROM pg_database, pg_ls_dir('base/' || oid) AS file "
        "WHERE datname = current_database() AND file ~ '_(fsm|vm)$'"
    )
    with psycopg.connect(server.create_database(), autocommit=True) as connection:
        assert connection.execute(maps).fetchone() == (0,)

        connection.execute("VACUUM pg_class")

        assert connection.execute(maps).fetchone() != (0,)
