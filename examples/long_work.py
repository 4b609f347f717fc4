"""A processor that works for long without reading: it reports progress, so that its claim is not taken for stale.

PYTHONPATH=examples python -m opskit.worker --processor long_work:process
"""

from __future__ import annotations

import hashlib

import opskit

ROUNDS = 200


def process(file: opskit.ClaimedFile) -> dict[str, str]:
    """Stretch the file's checksum by many rounds, and report each."""
    with file.open() as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    for done in range(ROUNDS):
        digest = hashlib.pbkdf2_hmac("sha256", digest, file.id.encode(), 1000)
        file.progress(done + 1, ROUNDS)  # costs nothing; sent with the next heartbeat
    return {"key": digest.hex()}
