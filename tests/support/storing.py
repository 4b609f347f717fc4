"""One stream kept in the storage, as an upload keeps it."""

from __future__ import annotations

from typing import BinaryIO

from opskit.files import storage
from opskit.settings import Settings


def stored(settings: Settings, name: str | None, stream: BinaryIO, *, limit_bytes: int) -> storage.Stored:
    """Keep a stream's bytes."""
    with storage.arriving(settings, name, stream, limit_bytes=limit_bytes) as arrived:
        storage.keep([arrived])
        return arrived.stored
