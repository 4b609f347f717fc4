"""An S3 of this machine, and a bucket in it for the test and for the processes that it starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import fsspec
import pytest


@contextlib.contextmanager
def object_store() -> Iterator[str]:
    """The URL of an S3 that runs until the end."""
    from moto.server import ThreadedMotoServer  # half a second, which only who uses it pays

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@contextlib.contextmanager
def bucket(
    monkeypatch: pytest.MonkeyPatch, url: str, name: str, **variables: str
) -> Iterator[fsspec.AbstractFileSystem]:
    """The store with a bucket; *variables* are set beside those that name the store."""
    known = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for variable, value in (known | {"AWS_DEFAULT_REGION": "us-east-1"} | variables).items():
        monkeypatch.setenv(variable, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    store = fsspec.filesystem("s3")
    if not store.exists(name):  # moto's buckets live as long as this process
        store.mkdir(name)
    yield store
    fsspec.get_filesystem_class("s3").clear_instance_cache()
