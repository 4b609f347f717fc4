"""A plain HTTP call with whatever headers, over a real connection; and the page's WebSocket."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol


def ask(
    address: str, path: str, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """Status, headers with lower-case names, and text of the answer.

    Args:
        address: Where the server is.
        path: What is asked for.
        method: How.
        body: Sent as JSON; bytes as they are.
        headers: By name, with _ for -; Host, too.
    """
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        if isinstance(data, str):
            given = {"Content-Type": "application/json"} | given
        connection.request(method, path, body=data, headers=given)
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        return response.status, {name.lower(): value for name, value in response.getheaders()}, text
    finally:
        connection.close()


def websocket_status(address: str, origin: str | None = None, host: str | None = None) -> int:
    """How the page's WebSocket is answered: 101 when it is opened."""
    where = urlsplit(address)
    headers = {} if origin is None else {"Origin": origin}
    try:
        with (
            socket.create_connection((where.hostname or "", where.port or 80), timeout=30) as plain,
            connect(
                f"ws://{host or where.netloc}/_stcore/stream",
                sock=plain,
                additional_headers=headers,
                subprotocols=[Subprotocol("streamlit")],
                compression=None,
                proxy=None,
            ),
        ):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@contextlib.contextmanager
def page_session(address: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A tab without a browser, as long as it is open: its session and the headers that its uploads need."""
    where = urlsplit(address)
    cookie = ask(address, "/_stcore/health")[1]["set-cookie"].partition(";")[0]
    token = cookie.partition("=")[2]
    rerun = BackMsg()
    rerun.rerun_script.query_string = ""
    with (
        socket.create_connection((where.hostname or "", where.port or 80), timeout=30) as plain,
        connect(
            f"ws://{where.netloc}/_stcore/stream",
            sock=plain,
            additional_headers={"Origin": address, "Cookie": cookie},
            subprotocols=[Subprotocol("streamlit"), Subprotocol(token)],
            compression=None,
            proxy=None,
            max_size=None,
        ) as page,
    ):
        page.send(rerun.SerializeToString())
        while True:
            message = ForwardMsg()
            message.ParseFromString(page.recv(timeout=30))
            if message.WhichOneof("type") == "new_session":
                yield message.new_session.initialize.session_id, {"Cookie": cookie, "X_Xsrftoken": token}
                return
