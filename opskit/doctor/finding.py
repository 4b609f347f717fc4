"""What a check finds, and how it words it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from opskit.database import Database
from opskit.settings import DEFAULT_TABLE, Settings
from opskit.support import notebook_output


class Condition(StrEnum):
    """What a finding is about: each has a runbook of this name in docs/runbooks/."""

    BREAKER_OPEN = "breaker-open"
    CLAIMS_STUCK = "claims-stuck"
    CLOCK_OFF = "clock-off"
    COMMITS_NOT_DURABLE = "commits-not-durable"
    CONNECTIONS_SHORT = "connections-short"
    DEAD_ROWS = "dead-rows"
    ENVIRONMENTS_DIFFER = "environments-differ"
    FILES_FAIL = "files-fail"
    LANES_NOT_TAKEN = "lanes-not-taken"
    FOREIGN_INDEXES = "foreign-indexes"
    FOREIGN_TRIGGER = "foreign-trigger"
    HEARTBEATS_COST = "heartbeats-cost"
    ID_NOT_UNIQUE = "id-not-unique"
    LIBRARIES_MISSING = "libraries-missing"
    NO_ANSWER_IN_TIME = "no-answer-in-time"
    NO_NODE_ALIVE = "no-node-alive"
    NO_NODE_CLAIMS = "no-node-claims"
    NOBODY_PRUNES = "nobody-prunes"
    NODE_IN_QUARANTINE = "node-in-quarantine"
    NODE_SILENT = "node-silent"
    NOT_ALLOWED_TO_LOOK = "not-allowed-to-look"
    NOT_MIGRATED = "not-migrated"
    OLD_SNAPSHOT = "old-snapshot"
    OPEN_SCHEMA = "open-schema"
    PAUSED = "paused"
    POOLER_WITHOUT_LISTEN = "pooler-without-listen"
    QUEUE_WAITS = "queue-waits"
    RIGHTS_LACKING = "rights-lacking"
    ROWS_HIDDEN = "rows-hidden"
    ROWS_WITHOUT_STATUS = "rows-without-status"
    SERVER_IS_STANDBY = "server-is-standby"
    SESSIONS_READ_ONLY = "sessions-read-only"
    STALE_THRESHOLD = "stale-threshold"
    STANDBYS_MISSING = "standbys-missing"
    UNLOGGED_TABLE = "unlogged-table"
    VERSIONS_DIFFER = "versions-differ"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        level: "error" when files are not processed or promises do not hold, else "warning".
        what: What was found.
        why: Why it matters.
        mend: The commands that mend it, one a line: SQL where it ends with a semicolon, else the shell's.
        check: The check that found it, such as "queue".
        condition: What it is about; its runbook has this name.
        concerns: Whom it names: server IDs, `*` for all nodes, or the error that files fail with; none elsewhere.
        page: Address of the page that shows it and its runbook; "" where it is not known.
    """

    level: str
    what: str
    why: str
    mend: str
    check: str = ""
    condition: Condition = field(kw_only=True)
    concerns: tuple[str, ...] = field(default=(), kw_only=True)
    page: str = field(default="", kw_only=True, repr=False, compare=False)

    def facts(self) -> dict[str, Any]:
        """The finding for programs: all but the address of the page."""
        facts = asdict(self) | {"concerns": list(self.concerns)}
        del facts["page"]
        return facts

    @property
    def runbook(self) -> str:
        """Address of its runbook on the page; "" where the page's is not known."""
        return f"{self.page}?runbook={self.condition}" if self.page else ""

    def _repr_html_(self) -> str:
        """What a notebook shows: itself, its runbook and where the page shows it."""
        return notebook_output.finding(self.facts(), runbook=self.runbook, page=self.page)


class Findings(list[Finding]):
    """The findings; a list like any other."""

    def _repr_html_(self) -> str:
        """What a notebook shows: a table, its commands one a line."""
        page = self[0].page if self else ""
        return notebook_output.findings([one.facts() | {"runbook": one.runbook} for one in self], page=page)


Check = Callable[[Database], Iterator[Finding]]


def opskit(db: Database, words: str, *, env: str | None = None) -> str:
    """A command for the environment that was examined, whatever the shell's own is."""
    return command(db.settings, words, env=env)


def command(settings: Settings, words: str, *, env: str | None = None) -> str:
    """A command of the shell for an environment and a table, spelled alike in every door."""
    flags = f" --env {env or settings.env}" if env or settings.env == "production" else ""
    if settings.table != DEFAULT_TABLE:
        flags += f" --table {shlex.quote(settings.table)}"
    verb, _, rest = words.partition(" ")
    return f"opskit {verb}{flags} {rest}".rstrip()


def lines(*commands: str) -> str:
    """Several commands, one a line."""
    return "\n".join(commands)
