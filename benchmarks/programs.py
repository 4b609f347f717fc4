"""Programs and servers as processors: what a node gets out of them when they do nothing.

python benchmarks/programs.py, or `python benchmarks/all.py --subjects programs`, which keeps the figures. Two minutes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import ENDED, RATE, Finding, Size, alone, ask, drained, empty, environ, median_of, one, settle, stop, until

from opskit.database import Database

EXEC_GOAL, POST_GOAL = 50, 500
# One thread, one connection after the other: no faster than the simplest server of an application.
SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = b""
    while part := client.recv(65536):
        data += part
        head, end, body = data.partition(b"\\r\\n\\r\\n")
        if end and len(body) >= int(head.lower().split(b"content-length: ")[1].split(b"\\r\\n")[0]):
            client.sendall(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
            data = b""
"""


def measure(db: Database, size: Size) -> Finding:
    """One node that runs `true` for each file, and one that posts each to a local server."""
    finding = Finding()
    with tempfile.TemporaryDirectory() as folder, server() as url:
        path = Path(folder) / "file.csv"
        path.write_text("a,b\n1,2\n")
        cases = {
            f"--exec, {EXEC_GOAL}": lambda: rate(db, path, max(200, size.files // 20), OPSKIT_EXEC="true {path}"),
            f"--post, {POST_GOAL}": lambda: rate(db, path, max(1000, size.files // 5), OPSKIT_POST=url),
        }
        for case, measured in median_of(size.rounds, cases).items():
            name, goal = case.split(", ")
            finding.table.append({"processor": name, "files/s": round(measured, 1)})
            ratio = measured / int(goal)
            finding.goal(f"{name}, 1 node", f"≥ {goal} files/s", f"{measured:,.0f} files/s", ratio >= 1, ratio)
    return finding


def rate(db: Database, path: Path, files: int, **more: str) -> float:
    """Files per second of one node, which waits when the files come."""
    empty(db)
    node = subprocess.Popen(
        [sys.executable, "-m", "opskit.worker"],
        env={**environ(db, NODE_ID="w0"), **more}, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: ask(db, "SELECT 1 FROM dev_processing_nodes WHERE stopped_at IS NULL"), 30)
        settle(db)
        ask(
            db,
            "INSERT INTO dev_uploaded_files (original_filename, storage_path, processing_status) "
            f"SELECT 'f' || n, %s, 'queued' FROM generate_series(1, {files}) AS n",
            str(path),
        )
        until(lambda: drained(db))
    finally:
        stop([node])
    return float(one(db, RATE.format(ENDED)))


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a server that answers 204 to everything."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, env={**os.environ})
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/process"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


if __name__ == "__main__":
    alone("programs", measure, __doc__)
