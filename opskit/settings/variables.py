"""Every setting: its variable, its help and its default beside each other, and its keyword.

`--help` and docs/reference/settings.md are made from it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypedDict

ENVIRONMENTS = {"production": "", "development": "dev_"}
DEFAULT_TABLE = "uploaded_files"
DEFAULT_PROCESSOR = "opskit.processors:inspect_file"
# PostgreSQL cuts identifiers at 63 bytes; the longest suffix we add is "_opskit_events_pkey".
LONGEST_TABLE_NAME = 63 - len("_opskit_events_pkey") - len("dev_")


def _setting(default: Any, env: str, help: str, *, secret: bool = False) -> Any:
    """A field of `Settings`; a *secret* one is shown nowhere, and asked for in the environment, not as an argument."""
    return dataclasses.field(default=default, metadata={"env": env, "help": help, "secret": secret})


class OtherSettings(TypedDict, total=False):
    """The settings beside the URL as keyword arguments, for editors (PEP 692); None means "not given"."""

    env: str | None
    node_id: str | None
    table: str | None
    processor: str | None
    exec: str | None
    post: str | None
    post_token: str | None
    lease_seconds: float | None
    stale_after_seconds: float | None
    poll_seconds: float | None
    max_failures: int | None
    retry_seconds: float | None
    lanes: str | None
    except_lanes: str | None
    retry: str | None
    on_orphan: str | None
    on_outage: str | None
    quarantine_after: int | None
    hard_limit_seconds: float | None
    memory_limit: int | None
    drain_seconds: float | None
    log_format: str | None
    log_days: float | None
    content_encoding: str | None
    text_encoding: str | None
    storage: str | None
    storage_only: bool | None
    home: str | None
    pg_bin: str | None
    pg_port: int | None
    host: str | None
    hosts: str | None
    port: int | None
    page_url: str | None
    pages: str | None
    api_token: str | None
    operators: str | None
    viewers: str | None
    show_columns: str | None
    viewers_see_files: bool | None
    sign_in_hours: float | None
    trust_unverified_email: bool | None
    page_upload_mb: int | None
    read_only: bool | None


class GivenSettings(OtherSettings, total=False):
    """All of them."""

    database_url: str | None


@dataclass(frozen=True, kw_only=True, repr=False)
class Fields:
    """One field for each setting; `Settings` is what is made of them."""

    database_url: str | None = _setting(
        None, "DATABASE_URL", "PostgreSQL to use, any libpq URI. Defaults to the embedded server."
    )
    env: str = _setting(
        "development",
        "OPSKIT_ENV",
        "Environment: production, or development (tables with the prefix dev_). Defaults to development.",
    )
    node_id: str | None = _setting(
        None, "NODE_ID", "Server ID of this node. Defaults to hostname-pid, in development with the start time."
    )
    table: str = _setting(
        DEFAULT_TABLE, "OPSKIT_TABLE", "Name of the files table, without prefix. Defaults to uploaded_files."
    )
    processor: str = _setting(
        DEFAULT_PROCESSOR,
        "OPSKIT_PROCESSOR",
        "Function called with each claimed file, module:function, with arguments after a question mark such as "
        "opskit.processors:load_table?mode=replace&typed=1. Defaults to opskit.processors:inspect_file.",
    )
    exec: str = _setting(
        "",
        "OPSKIT_EXEC",
        "Program run for each claimed file instead of a processor, such as 'node convert.mjs {path}'. Placeholders: "
        "{path} {id} {token} {attempt} {name}. Defaults to none.",
    )
    post: str = _setting(
        "",
        "OPSKIT_POST",
        "URL of a server of yours that each claimed file is posted to, and which does the work. Defaults to none.",
    )
    post_token: str | None = _setting(
        None, "OPSKIT_POST_TOKEN", "Sent to OPSKIT_POST as a bearer token. Defaults to none.", secret=True
    )
    lanes: str = _setting(
        "",
        "OPSKIT_LANES",
        "Lanes that this node takes, comma-separated; (none): files without one. Defaults to all.",
    )
    except_lanes: str = _setting(
        "",
        "OPSKIT_EXCEPT_LANES",
        "Lanes that this node does not take, comma-separated; (none): files without one. Defaults to none.",
    )
    lease_seconds: float = _setting(
        30.0,
        "OPSKIT_LEASE_SECONDS",
        "How long a node counts as alive after a heartbeat [s]; it beats three times a lease. Defaults to 30.",
    )
    stale_after_seconds: float = _setting(
        3600.0,
        "OPSKIT_STALE_AFTER_SECONDS",
        "Age without progress at which a claim is stale and fails [s]. Defaults to 3600.",
    )
    poll_seconds: float = _setting(
        5.0,
        "OPSKIT_POLL_SECONDS",
        "How often an idle node looks for work when no notification comes [s]. Defaults to 5.",
    )
    max_failures: int = _setting(
        3, "OPSKIT_MAX_FAILURES", "Bad attempts after which a file is failed, at least 1. Defaults to 3."
    )
    retry_seconds: float = _setting(
        10.0, "OPSKIT_RETRY_SECONDS", "Wait before the first retry [s], doubled each time. Defaults to 10."
    )
    retry: str = _setting(
        "",
        "OPSKIT_RETRY",
        "Other budgets and waits by exception, comma-separated: ConnectionError=20:30s is tried 20 times, 30 s apart; "
        "units s, m, h. Defaults to none.",
    )
    on_orphan: str = _setting(
        "requeue", "OPSKIT_ON_ORPHAN", "What happens to a dead node's file: requeue or fail. Defaults to requeue."
    )
    on_outage: str = _setting(
        "stop",
        "OPSKIT_ON_OUTAGE",
        "What happens to the file in hand while the database is away for a whole lease: stop gives it back, nothing "
        "counted; continue goes on, and the fence decides. Defaults to stop.",
    )
    quarantine_after: int = _setting(
        5,
        "OPSKIT_QUARANTINE_AFTER",
        "Bad attempts in a row after which a node rests between claims, and goes into quarantine when other nodes "
        "have completed as many files that it failed; 0 for never. Defaults to 5.",
    )
    hard_limit_seconds: float | None = _setting(
        None, "OPSKIT_HARD_LIMIT_SECONDS", "Longest time one attempt may take [s]. Defaults to none."
    )
    memory_limit: int | None = _setting(
        None,
        "OPSKIT_MEMORY_LIMIT",
        "Most memory that the process which runs the processor may take, its own and without files it maps [MB]. "
        "Defaults to none.",
    )
    drain_seconds: float = _setting(
        25.0, "OPSKIT_DRAIN_SECONDS", "How long a node told to stop may finish its file [s]. Defaults to 25."
    )
    log_format: str = _setting(
        "text",
        "OPSKIT_LOG_FORMAT",
        "How nodes log: text, or json for one JSON object a line. Defaults to text.",
    )
    log_days: float = _setting(
        14.0,
        "OPSKIT_LOG_DAYS",
        "How long what attempts have said is kept [days]; 0 keeps nothing of it. Defaults to 14.",
    )
    content_encoding: str = _setting(
        "raw",
        "OPSKIT_CONTENT_ENCODING",
        "How file_content is stored when it is the content: raw or base64. Defaults to raw.",
    )
    text_encoding: str = _setting(
        "utf-8",
        "OPSKIT_TEXT_ENCODING",
        "Encoding of CSV, TSV and JSON lines without a byte order mark, such as cp1252. Defaults to utf-8.",
    )
    storage: str = _setting(
        "",
        "OPSKIT_STORAGE",
        "Folder or fsspec URL where uploads are kept and relative paths begin. Defaults to uploads in the home folder.",
    )
    storage_only: bool = _setting(
        False,
        "OPSKIT_STORAGE_ONLY",
        "Read no file outside the storage, whatever storage_path says: 1 or 0. Defaults to 0.",
    )
    home: str = _setting(
        ".opskit",
        "OPSKIT_HOME",
        "Folder of the embedded server, its log and uploads. Defaults to .opskit here, or in a folder above.",
    )
    pg_bin: str | None = _setting(
        None, "OPSKIT_PG_BIN", "Folder with PostgreSQL's programs for the embedded server. Defaults to the best found."
    )
    pg_port: int = _setting(15433, "OPSKIT_PG_PORT", "First port to try for the embedded server. Defaults to 15433.")
    host: str = _setting("127.0.0.1", "OPSKIT_HOST", "Address that page and API listen on. Defaults to 127.0.0.1.")
    hosts: str = _setting(
        "",
        "OPSKIT_HOSTS",
        "Other names that page and API answer to, comma-separated: opskit.example.com or *.example.com. "
        "Defaults to none: on a loopback address 127.0.0.1 and localhost alone.",
    )
    port: int = _setting(8501, "OPSKIT_PORT", "Port that page and API listen on. Defaults to 8501.")
    page_url: str = _setting(
        "",
        "OPSKIT_PAGE_URL",
        "Address at which people reach the page, for links to it from notebooks. Defaults to none.",
    )
    pages: str = _setting(
        "",
        "OPSKIT_PAGES",
        "TOML file with a section for each further fleet on the page: its DATABASE_URL, OPSKIT_ENV, OPSKIT_TABLE and "
        "rights. Defaults to none.",
    )
    api_token: str | None = _setting(
        None,
        "OPSKIT_API_TOKEN",
        "Token that writing calls of the API must carry. Defaults to none: loopback only.",
        secret=True,
    )
    operators: str = _setting(
        "",
        "OPSKIT_OPERATORS",
        "Who may act on the page after signing in: e-mail patterns, comma-separated. Defaults to no sign-in.",
    )
    viewers: str = _setting(
        "",
        "OPSKIT_VIEWERS",
        "Who may look at the page after signing in: e-mail patterns, comma-separated. Defaults to no sign-in.",
    )
    show_columns: str = _setting(
        "",
        "OPSKIT_SHOW_COLUMNS",
        "Columns of the application's that the page and opskit file show with a file, comma-separated; * for all. "
        "Defaults to none.",
    )
    viewers_see_files: bool = _setting(
        False,
        "OPSKIT_VIEWERS_SEE_FILES",
        "Let whoever may look at the page see what is in a file, download it and read its logs, too: 1 or 0. Defaults "
        "to 0: operators only.",
    )
    sign_in_hours: float = _setting(
        12.0, "OPSKIT_SIGN_IN_HOURS", "How long a sign-in holds before one has to sign in again [h]. Defaults to 12."
    )
    trust_unverified_email: bool = _setting(
        False,
        "OPSKIT_TRUST_UNVERIFIED_EMAIL",
        "Believe addresses of which the identity provider does not say that they are verified: 1 or 0. Defaults to 0.",
    )
    page_upload_mb: int = _setting(
        1024,
        "OPSKIT_PAGE_UPLOAD_MB",
        "Most that the page holds in memory of uploads of one tab, and twice that of all tabs [MB]. Defaults to 1024.",
    )
    read_only: bool = _setting(
        False,
        "OPSKIT_READ_ONLY",
        "Refuse every action of page, API, shell and Python; sessions are read-only: 1 or 0. Defaults to 0.",
    )


def env_name(field_name: str) -> str:
    """The environment variable of a setting."""
    return str(Fields.__dataclass_fields__[field_name].metadata["env"])
