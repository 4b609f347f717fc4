"""A TCP proxy between nodes and their database, which fails on the statement and in the way it is told.

It reads the client's half of PostgreSQL's protocol far enough to know which statement passes: Query and
Parse carry a text, Bind names what Parse has prepared. A fault strikes the first statement whose
text holds a phrase:

    before   the statement is not delivered
    after    the statement is delivered and answered (in autocommit, or being COMMIT: it is committed),
             but the answer never reaches the client

and there it does one of:

    drop     ends the connection in order (FIN)
    reset    ends it by RST
    hole     keeps it open and lets nothing through: a black hole; what the server holds for it, it goes on holding
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.cluster import FIRST_PORT, free_port

_RESET = struct.pack("ii", 1, 0)
_GLANCE = 0.02


@dataclass
class Fault:
    """What shall go wrong so many times, after so many statements that pass; `struck` is set when it has."""

    phrase: str
    when: str
    how: str
    spared: int = 0
    times: int = 1
    struck: threading.Event = field(default_factory=threading.Event)

    def happened(self) -> None:
        """It has struck; perhaps for the last time."""
        if not self.times:
            self.struck.set()


class Proxy:
    """Listens on a port below 32768 and passes everything on to one server until told otherwise."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.server = (parts.hostname, parts.port or 5432)
        self.fault: Fault | None = None
        self.closed = False
        self.how_cut: str | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", free_port(FIRST_PORT + 50)), backlog=64)
        port = self._listener.getsockname()[1]
        self.url = (
            f"{parts.scheme}://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
            "?sslmode=disable&gssencmode=disable"
        )
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        """End it and all that goes through it."""
        self.closed = True
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def strike(self, phrase: str, when: str, how: str, *, spared: int = 0, times: int = 1) -> Fault:
        """Have the statements that hold *phrase* fail so many times, after those that are spared."""
        fault = Fault(phrase, when, how, spared, times)
        with self._lock:
            self.fault = fault
        return fault

    def cut(self, how: str) -> None:
        """Cut everything: what is open fails so now, what is opened fails so at once, until `mend`."""
        self.how_cut = how

    def mend(self) -> None:
        """Let new connections through again; what lies in a black hole stays there."""
        self.how_cut = None

    def take(self, text: str) -> Fault | None:
        """The fault that this statement meets."""
        with self._lock:
            fault = self.fault
            if fault is None or fault.phrase not in text:
                return None
            fault.spared -= 1
            if fault.spared >= 0:
                return None
            fault.times -= 1
            if not fault.times:
                self.fault = None
            return fault

    def _accept(self) -> None:
        while not self.closed:
            ready, _, _ = select.select([self._listener], [], [], _GLANCE)
            if ready:
                client, _ = self._listener.accept()
                link = threading.Thread(target=_Link(self, client).run, daemon=True)
                self._threads.append(link)
                link.start()


class _Link:
    """One client's connection and its counterpart to the server; one thread does both ways."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy, self._client = proxy, client
        self._statements: dict[bytes, str] = {}
        self._from_client = self._from_server = b""
        self._greeted = False
        self._answering: Fault | None = None

    def run(self) -> None:
        with contextlib.closing(self._client):
            try:
                server = socket.create_connection(self._proxy.server, timeout=10)
            except OSError:
                return
            with contextlib.closing(server):
                for end in (self._client, server):
                    end.setblocking(True)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(OSError):
                    how = self._pass_on(server)
                    if how == "hole":
                        while not self._proxy.closed:
                            threading.Event().wait(_GLANCE)
                    if how == "reset":
                        for end in (self._client, server):
                            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _pass_on(self, server: socket.socket) -> str:
        """Pass bytes on until one side ends or a fault strikes; answers how to end."""
        while not self._proxy.closed:
            if self._proxy.how_cut is not None:
                return self._proxy.how_cut
            ready, _, _ = select.select([self._client, server], [], [], _GLANCE)
            if self._client in ready:
                data = self._client.recv(1 << 16)
                if not data:
                    return "drop"
                onward, fault = self._asked(data)
                if fault is not None and fault.when == "before":
                    fault.happened()
                    return fault.how
                server.sendall(onward)
                self._answering = self._answering or fault
            if server in ready:
                data = server.recv(1 << 16)
                if not data:
                    return "drop"
                if self._answering is None:
                    self._client.sendall(data)
                elif self._answered(data):
                    self._answering.happened()
                    return self._answering.how
        return "drop"

    def _asked(self, data: bytes) -> tuple[bytes, Fault | None]:
        """The whole messages of a client so far, and the fault that one of them meets."""
        self._from_client += data
        whole, fault = b"", None
        while len(self._from_client) >= 5:
            begin = 1 if self._greeted else 0
            (length,) = struct.unpack_from("!I", self._from_client, begin)
            if len(self._from_client) < begin + length:
                break
            message, self._from_client = self._from_client[: begin + length], self._from_client[begin + length :]
            whole += message
            if self._greeted:
                text = self._statement(message[:1], message[5:])
                fault = fault or (self._proxy.take(text) if text else None)
            # An encryption or cancel request is eight or more bytes of another version: not the greeting yet.
            elif struct.unpack_from("!H", message, 4)[0] == 3:
                self._greeted = True
        return whole, fault

    def _statement(self, kind: bytes, body: bytes) -> str:
        """The text of the statement that a message executes; "" when it executes none."""
        if kind == b"Q":
            return body.rstrip(b"\0").decode()
        if kind == b"P":
            name, text, *_ = body.split(b"\0")
            self._statements[name] = text.decode()
        if kind == b"B":
            return self._statements.get(body.split(b"\0")[1], "")
        return ""

    def _answered(self, data: bytes) -> bool:
        """Whether the server is ready for the next statement: it has done with the last."""
        self._from_server += data
        while len(self._from_server) >= 5:
            (length,) = struct.unpack_from("!I", self._from_server, 1)
            if len(self._from_server) < 1 + length:
                return False
            if self._from_server[:1] == b"Z":
                return True
            self._from_server = self._from_server[1 + length :]
        return False
