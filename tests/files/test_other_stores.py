"""Files are read from Google's and Azure's stores as from S3: emulators of both, with the real client libraries."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from opskit import queue
from opskit.database import Database
from opskit.files import stores
from opskit.queue.error_identity import kind_of
from tests.support.chromium import free_port
from tests.support.nodes import ask, counts, running_nodes, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
# The account that Azurite documents for everybody.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def listens(port: int) -> bool:
    """Whether somebody answers on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an emulator of Google's store."""
    pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    port = free_port()
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    yield "gs://bucket"
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    server.stop()


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A container of Azurite's, Microsoft's own emulator."""
    pytest.importorskip("adlfs")
    home = os.environ.get("AZURITE_HOME")
    program = shutil.which("azurite-blob", path=f"{home}/node_modules/.bin" if home else None)
    if program is None:
        pytest.skip("azurite is not installed: npm install azurite, and AZURITE_HOME is that folder")
    port = free_port()
    running = subprocess.Popen(
        [program, "--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--blobPort", str(port)],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: listens(port), 60, "azurite")
        connection = (
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
            f"AccountKey={AZURITE_KEY};BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        )
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
        fsspec.get_filesystem_class("abfs").clear_instance_cache()
        fsspec.filesystem("abfs").mkdir("container")
        yield "abfs://container"
    finally:
        fsspec.get_filesystem_class("abfs").clear_instance_cache()
        running.terminate()
        running.wait()


@pytest.mark.parametrize("kind", ["gcs", "azure"])
def test_nodes_read_the_files_of_another_store(
    db: Database, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(kind)
    store, path = stores.filesystem(root)
    store.pipe_file(f"{path}/in/a.csv", b"name,amount\na,1\nb,2\n")
    with warnings.catch_warnings():  # of aiohttp, which sends it in one piece
        warnings.simplefilter("ignore", ResourceWarning)
        store.pipe_file(f"{path}/in/deep/b.csv", b"x\n" * 6_000_000)  # more than one range

    assert queue.enqueue(db, [f"{root}/in/"]) == 2
    with running_nodes(db, tmp_path) as start:
        start("node-a", "--drain", act="opskit.processors:inspect_file")
        until(lambda: counts(db) == {"completed": 2}, 60)

    found = ask(db, f"SELECT original_filename AS n, processing_result AS r FROM {db.settings.files} ORDER BY 1")
    assert [(row["n"], row["r"]["size"]) for row in found] == [("a.csv", 20), ("b.csv", 12_000_000)]
    with pytest.raises(FileNotFoundError) as raised:
        stores.opened(f"{root}/nosuch.csv").read(1)
    assert kind_of(raised.value) == "file"
