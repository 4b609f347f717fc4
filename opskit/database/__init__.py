"""One PostgreSQL: connections, SQL files, an embedded server."""

from opskit.database.database import Database
from opskit.database.session import Connection, Row

__all__ = ["Connection", "Database", "Row"]
