"""Everything that can go wrong, as one tree.

OpskitError
├── SettingError                 a value that a person gave is not usable
│   ├── UnknownActError          no act has this number
│   └── UnknownNodeError         no node has this server ID
├── MissingExtraError            an optional package is not installed
├── QueryError                   an SQL file and its caller disagree
├── DatabaseUnavailableError     no answer from PostgreSQL in time
├── ConnectionClosedError        this Database was closed by its own program
├── DatabaseError                PostgreSQL answered with an error
│   └── NotMigratedError         the schema lacks what this version needs
├── StillCountingError           what has ended is still being counted
├── EmbeddedServerError          the embedded PostgreSQL cannot be started or stopped
├── MigrationRefusedError        migrating would harm what is there
├── ProcessorError               the processor cannot be imported
├── NotClaimableError            the file asked for cannot be claimed now
├── ClaimLostError               somebody else has the file now
├── CompletionError              the transaction of completing() did not end as it should
├── TooLargeError                an upload is larger than is taken
└── ForbiddenError               this door may not do that
    └── TokenNeededError         it may, to whoever shows the token

`Reject` and `Retry` stand apart: they are what a processor raises to say that the file itself is bad, or that it wants
to be called again later.

An error's docstring is its default message. HTTP statuses and exit codes live in the doors.
"""

from __future__ import annotations

import inspect


class OpskitError(Exception):
    """opskit could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or "").splitlines()[0])

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the sentence. `%debug` still leads to where it was raised."""
        return [f"{type(self).__name__}: {self}"]


class SettingError(OpskitError):
    """A setting has a value that cannot be used."""


class UnknownNodeError(SettingError):
    """No node has this server ID."""


class UnknownActError(SettingError):
    """No act has this number."""


class MissingExtraError(OpskitError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, *, of: str = "opskit") -> None:
        super().__init__(f"{package} is not installed; run: pip install '{of}[{extra}]'")
        self.package, self.extra = package, extra


class QueryError(OpskitError):
    """An SQL file and its caller disagree about its variables."""


class DatabaseUnavailableError(OpskitError):
    """The database cannot be reached."""


class ConnectionClosedError(OpskitError):
    """This connection was closed; call opskit.connect()"""


class DatabaseError(OpskitError):
    """The database refused the statement."""

    sqlstate: str | None = None


class StillCountingError(OpskitError):
    """The files that have ended are still being counted; ask again in a moment."""


class NotMigratedError(DatabaseError):
    """The tables are not migrated yet; run: opskit migrate"""


class EmbeddedServerError(OpskitError):
    """The embedded PostgreSQL could not be started or stopped."""


class MigrationRefusedError(OpskitError):
    """The migration was refused before anything was changed."""


class ProcessorError(OpskitError):
    """The processor cannot be loaded."""


class NotClaimableError(OpskitError):
    """The file cannot be claimed now."""


class ClaimLostError(OpskitError):
    """The claim is lost: another node, or an operator, has ended it; nothing was written."""


class CompletionError(OpskitError):
    """The transaction of completing() was not committed, or did not hold the completion any more."""


class TooLargeError(OpskitError):
    """The file is larger than is taken here."""


class ForbiddenError(OpskitError):
    """This action is not allowed here."""


class TokenNeededError(ForbiddenError):
    """This action needs the header "Authorization: Bearer …" with the token of OPSKIT_API_TOKEN."""


class Reject(Exception):
    """Raised by a processor: the file is bad, trying again is useless; it fails at once."""


class Retry(Exception):
    """Raised by a processor: call again later; the file is queued again, due then, and nothing is counted.

    Args:
        message: Why, for the history.
        after_seconds: How long to wait [s], at most 30 days. Defaults to 60.
        counted: Whether it counts as a failure. What is not counted is bounded, too: from the 21st time since the last
            requeue on it counts.

    Raises:
        ValueError: *after_seconds* is no such time.
    """

    SECONDS = 60.0
    LONGEST_SECONDS = 30 * 86400.0

    def __init__(self, message: str = "", *, after_seconds: float = SECONDS, counted: bool = False) -> None:
        if not 0 <= after_seconds <= self.LONGEST_SECONDS:
            raise ValueError(f"Retry(after_seconds={after_seconds!r}); it must be between 0 and 30 days")
        super().__init__(message or f"to be called again in {after_seconds:g} s")
        self.after_seconds, self.counted = float(after_seconds), counted
