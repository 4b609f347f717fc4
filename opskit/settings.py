"""The settings: where each comes from, what it means, and what it may be.

Every setting is one field of `Settings`: its environment variable, its flag, its help and its
default stand beside each other; `--help` and docs/reference/settings.md are made from it.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import dataclasses
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

from opskit.errors import SettingError
from opskit.support import allowed_hosts, notebook_output, retry_rules
from opskit.support.logs import masked

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
class Settings:
    """What a process of opskit needs to know; made by `Settings.load`."""

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

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **given: Unpack[GivenSettings]) -> Settings:
        """Read the settings: what is *given* first, then the environment, then the defaults.

        Args:
            environ: Where variables are looked up. Defaults to the process's own.
            given: Settings by field name; None means "not given".

        Raises:
            SettingError: A value is not usable; the message names it and what would be.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            source = field.metadata["env"]
            value: Any = given.get(field.name)
            if value is None:
                # An empty variable counts as unset: that is what a shell or a manifest means by it.
                value = environ.get(source, "").strip() or None
            if value is not None:
                values[field.name] = _convert(source, str(field.type), value)
        unknown = set(given) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise SettingError(f"there is no setting {sorted(unknown)[0]!r}")
        values.setdefault("home", _home_above() or cls.home)
        return cls(**values)

    def __post_init__(self) -> None:
        if self.env not in ENVIRONMENTS:
            raise SettingError(f"OPSKIT_ENV is {self.env!r}; it must be 'production' or 'development'")
        if self.on_orphan not in ("requeue", "fail"):
            raise SettingError(f"OPSKIT_ON_ORPHAN is {self.on_orphan!r}; it must be 'requeue' or 'fail'")
        if self.on_outage not in ("stop", "continue"):
            raise SettingError(f"OPSKIT_ON_OUTAGE is {self.on_outage!r}; it must be 'stop' or 'continue'")
        if self.content_encoding not in ("raw", "base64"):
            raise SettingError(f"OPSKIT_CONTENT_ENCODING is {self.content_encoding!r}; it must be 'raw' or 'base64'")
        if not _is_text_encoding(self.text_encoding):
            raise SettingError(f"OPSKIT_TEXT_ENCODING is {self.text_encoding!r}; it must be an encoding such as cp1252")
        if self.log_format not in ("text", "json"):
            raise SettingError(f"OPSKIT_LOG_FORMAT is {self.log_format!r}; it must be 'text' or 'json'")
        if not re.fullmatch(r"[\w.]+:[\w.]+(\?.*)?", self.processor):
            raise SettingError(f"OPSKIT_PROCESSOR is {self.processor!r}; it must look like package.module:function")
        if self.page_url and not self.page_url.startswith(("http://", "https://")):
            raise SettingError(f"OPSKIT_PAGE_URL is {self.page_url!r}; it must begin with http:// or https://")
        self._check_table()
        chosen = [name for name in ("exec", "post") if getattr(self, name)]
        if self.processor != DEFAULT_PROCESSOR:
            chosen.append("processor")
        if len(chosen) > 1:
            both = " and ".join(env_name(name) for name in chosen)
            raise SettingError(f"{both} are set; a file is processed by one of them, so unset the other")
        try:
            allowed_hosts.patterns(self.hosts)
        except ValueError as error:
            raise SettingError(
                f"OPSKIT_HOSTS has {str(error)!r}; it lists names without port: opskit.example.com, *.example.com"
            ) from None
        try:
            retry_rules.rules(self.retry)
        except ValueError as error:
            raise SettingError(
                f"OPSKIT_RETRY has {str(error)!r}; it lists exceptions like ConnectionError=20:30s: how often, "
                "how far apart"
            ) from None
        for name, least in (
            ("lease_seconds", 0.1),
            ("stale_after_seconds", 0.1),
            ("poll_seconds", 0.01),
            ("retry_seconds", 0),
            ("drain_seconds", 0),
            ("max_failures", 1),
            ("quarantine_after", 0),
            ("hard_limit_seconds", 0.01),
            ("memory_limit", 64),
            ("log_days", 0),
            ("sign_in_hours", 0.001),
            ("page_upload_mb", 1),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value < float("inf"):
                raise SettingError(f"{env_name(name)} is {value:g}; it must be at least {least:g}")
        for name in ("port", "pg_port"):
            if not 1 <= getattr(self, name) <= 65535:
                raise SettingError(f"{env_name(name)} is {getattr(self, name)}; a port is between 1 and 65535")

    def _check_table(self) -> None:
        if not self.table or "\0" in self.table:
            raise SettingError(f"OPSKIT_TABLE is {self.table!r}; it must be the name of a table")
        if len(self.table.encode()) > LONGEST_TABLE_NAME:
            raise SettingError(
                f"OPSKIT_TABLE is {self.table!r}; a name of at most {LONGEST_TABLE_NAME} bytes is needed, "
                "because PostgreSQL cuts longer names of indexes"
            )

    @property
    def prefix(self) -> str:
        """What the names of this environment's tables begin with: "" or "dev_"."""
        return ENVIRONMENTS[self.env]

    @property
    def shown_columns(self) -> tuple[str, ...] | None:
        """The application's columns that are shown with a file; None for all of them."""
        names = tuple(name.strip() for name in self.show_columns.split(",") if name.strip())
        return None if names == ("*",) else names

    @property
    def files(self) -> str:
        """Name of this environment's files table."""
        return self.prefix + self.table

    @property
    def home_path(self) -> Path:
        """The home folder, absolute."""
        return Path(self.home).expanduser().absolute()

    @property
    def storage_root(self) -> str:
        """Folder or URL under which uploads are kept and relative paths begin."""
        return self.storage or str(self.home_path / "uploads")

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._shown().items())
        return f"Settings({given})"

    def _repr_html_(self) -> str:
        """What a notebook shows, and keeps in its file: no secret."""
        return notebook_output.record("opskit settings", self._shown())

    def _shown(self) -> dict[str, Any]:
        """The settings without their secrets; an URL keeps all but its password."""
        return {field.name: _masked(field, getattr(self, field.name)) for field in dataclasses.fields(self)}

    def environ(self) -> dict[str, str]:
        """These settings as environment variables, for a process of opskit to be started."""
        values = {field.metadata["env"]: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: str(int(value)) if isinstance(value, bool) else str(value)
            for name, value in values.items()
            if value is not None and value != ""
        }


def secret_variables() -> frozenset[str]:
    """The environment variables of settings that are secrets."""
    return frozenset(field.metadata["env"] for field in dataclasses.fields(Settings) if field.metadata["secret"])


def holds_secret(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether this value of a setting must not be shown: a token, or a URL with a password in it."""
    return bool(value != _masked(field, value))


def _masked(field: dataclasses.Field[Any], value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    return "…" if field.metadata["secret"] else masked(value)


def _home_above() -> str | None:
    """The home folder of a folder above, when there is none here: a notebook's kernel works in the notebook's folder.

    Only one of this user's own: another's, in /tmp say, would lead to a server that is theirs.
    """
    try:
        here = Path.cwd()
        for folder in (here, *here.parents):
            home = folder / ".opskit"
            with contextlib.suppress(OSError):
                found = home.lstat()
                if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                    return None if folder == here else str(home)
    except OSError:  # the folder that we work in is gone
        pass
    return None


def _is_text_encoding(name: str) -> bool:
    """Whether Python knows an encoding of this name that makes text of bytes."""
    try:
        codecs.getincrementaldecoder(name)
        return isinstance(bytes(4).decode(name), str)
    except (LookupError, ValueError):
        return False


def env_name(field_name: str) -> str:
    """The environment variable of a setting."""
    return str(Settings.__dataclass_fields__[field_name].metadata["env"])


def _convert(source: str, type_name: str, value: Any) -> Any:
    """Turn what was given for *source* into the field's type, or say what is wrong with it."""
    if not isinstance(value, str):
        return value
    kind = type_name.removesuffix(" | None")
    if kind == "bool":
        if value.lower() in ("1", "true", "yes", "on"):
            return True
        if value.lower() in ("0", "false", "no", "off"):
            return False
        raise SettingError(f"{source} is {value!r}; it must be 1 or 0")
    if kind not in ("float", "int"):
        return value
    try:
        return float(value) if kind == "float" else int(value)
    except ValueError:
        wanted = "a number" if kind == "float" else "a whole number"
        raise SettingError(f"{source} is {value!r}; it must be {wanted}") from None


def flag_name(field_name: str) -> str:
    """The flag of a setting: `lease_seconds` is `--lease-seconds`."""
    return "--" + field_name.replace("_", "-")


class _SettingsHelp(argparse.Action):
    """Print the help with the settings in it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it, and end."""
        for group in parser._action_groups:
            group.description = getattr(group, "described", group.description)
        for action in parser._actions:
            action.help = getattr(action, "described", action.help)
        parser.print_help()
        parser.exit()


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Give a parser a flag for every setting, with the variable that sets it otherwise; --help leaves them out."""
    parser.add_argument("--help-settings", action=_SettingsHelp, nargs=0, help="show the settings, too, and exit")
    group = parser.add_argument_group("settings")
    said = "each also an environment variable; a flag goes first"
    group.described = said  # type: ignore[attr-defined]  # kept for --help-settings
    for field in dataclasses.fields(Settings):
        text = f"{field.metadata['help']} [{field.metadata['env']}]".replace("%", "%%")
        metavar = field.metadata["env"].rsplit("_", 1)[-1]
        if field.type == "bool":
            how: dict[str, Any] = {"action": "store_const", "const": "1"}
        else:
            how = {"metavar": metavar}
        flag = group.add_argument(flag_name(field.name), dest=field.name, help=argparse.SUPPRESS, **how)
        flag.described = text  # type: ignore[attr-defined]  # kept for --help-settings


def settings_of(given: argparse.Namespace) -> Settings:
    """The settings that a command line and the environment give.

    Raises:
        SettingError: A value cannot be used.
    """
    values = {field.name: getattr(given, field.name, None) for field in dataclasses.fields(Settings)}
    _warn_of_secrets(values)
    return Settings.load(**values)


def _warn_of_secrets(values: dict[str, str | None]) -> None:
    """Say, once, that what stands on a command line is no secret any more."""
    open_to_all = [field for field in dataclasses.fields(Settings) if holds_secret(field, values[field.name])]
    if not open_to_all:
        return
    flags = " and ".join(flag_name(field.name) for field in open_to_all)
    variables = ", ".join(field.metadata["env"] for field in open_to_all)
    if any(field.name == "database_url" for field in open_to_all):
        variables += " (or leave the password to PGPASSFILE)"
    print(
        f"opskit: every user of this machine can read {flags} in the list of processes; set {variables} instead",
        file=sys.stderr,
    )
