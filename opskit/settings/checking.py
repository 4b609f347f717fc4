"""What a setting may be: each value that cannot be used is refused with one sentence."""

from __future__ import annotations

import codecs
import re

from opskit.errors import SettingError
from opskit.settings.variables import DEFAULT_PROCESSOR, ENVIRONMENTS, LONGEST_TABLE_NAME, Fields, env_name
from opskit.support import allowed_hosts, retry_rules


def check(settings: Fields) -> None:
    """Refuse values that cannot be used.

    Raises:
        SettingError: The message names the variable, its value and what would be.
    """
    if settings.env not in ENVIRONMENTS:
        raise SettingError(f"OPSKIT_ENV is {settings.env!r}; it must be 'production' or 'development'")
    if settings.on_orphan not in ("requeue", "fail"):
        raise SettingError(f"OPSKIT_ON_ORPHAN is {settings.on_orphan!r}; it must be 'requeue' or 'fail'")
    if settings.on_outage not in ("stop", "continue"):
        raise SettingError(f"OPSKIT_ON_OUTAGE is {settings.on_outage!r}; it must be 'stop' or 'continue'")
    if settings.content_encoding not in ("raw", "base64"):
        raise SettingError(f"OPSKIT_CONTENT_ENCODING is {settings.content_encoding!r}; it must be 'raw' or 'base64'")
    if not _is_text_encoding(settings.text_encoding):
        raise SettingError(f"OPSKIT_TEXT_ENCODING is {settings.text_encoding!r}; it must be an encoding such as cp1252")
    if settings.log_format not in ("text", "json"):
        raise SettingError(f"OPSKIT_LOG_FORMAT is {settings.log_format!r}; it must be 'text' or 'json'")
    if not re.fullmatch(r"[\w.]+:[\w.]+(\?.*)?", settings.processor):
        raise SettingError(f"OPSKIT_PROCESSOR is {settings.processor!r}; it must look like package.module:function")
    if settings.page_url and not settings.page_url.startswith(("http://", "https://")):
        raise SettingError(f"OPSKIT_PAGE_URL is {settings.page_url!r}; it must begin with http:// or https://")
    _check_table(settings.table)
    chosen = [name for name in ("exec", "post") if getattr(settings, name)]
    if settings.processor != DEFAULT_PROCESSOR:
        chosen.append("processor")
    if len(chosen) > 1:
        both = " and ".join(env_name(name) for name in chosen)
        raise SettingError(f"{both} are set; a file is processed by one of them, so unset the other")
    try:
        allowed_hosts.patterns(settings.hosts)
    except ValueError as error:
        raise SettingError(
            f"OPSKIT_HOSTS has {str(error)!r}; it lists names without port: opskit.example.com, *.example.com"
        ) from None
    try:
        retry_rules.rules(settings.retry)
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
        value = getattr(settings, name)
        if value is not None and not least <= value < float("inf"):
            raise SettingError(f"{env_name(name)} is {value:g}; it must be at least {least:g}")
    for name in ("port", "pg_port"):
        if not 1 <= getattr(settings, name) <= 65535:
            raise SettingError(f"{env_name(name)} is {getattr(settings, name)}; a port is between 1 and 65535")


def _check_table(name: str) -> None:
    if not name or "\0" in name:
        raise SettingError(f"OPSKIT_TABLE is {name!r}; it must be the name of a table")
    if len(name.encode()) > LONGEST_TABLE_NAME:
        raise SettingError(
            f"OPSKIT_TABLE is {name!r}; a name of at most {LONGEST_TABLE_NAME} bytes is needed, "
            "because PostgreSQL cuts longer names of indexes"
        )


def _is_text_encoding(name: str) -> bool:
    """Whether Python knows an encoding of this name that makes text of bytes."""
    try:
        codecs.getincrementaldecoder(name)
        return isinstance(bytes(4).decode(name), str)
    except (LookupError, ValueError):
        return False
