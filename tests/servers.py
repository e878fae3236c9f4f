"""A scripted server: real sockets, one thread per connection, faults as data.

A script is a list of steps; connection *i* runs script *i*, and each later connection serves the
routes of `routes.py` (or another `app`). What the peer did is recorded and can be waited for.
Nothing here knows the library under test, and nothing here waits without being woken by `close()`.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import routes
from nested_tls import NestedTLS
from routes import Request

RECEIVE_SIZE = 65536
# What is kept of the bytes of one connection, to be compared by tests; later bytes are only counted.
KEPT_BYTES = 1 << 20
# SO_LINGER on with zero seconds: the only reliable way to end a connection by RST.
LINGER_RST = struct.pack("ii", 1, 0)
# The first byte of a TLS connection: the type of its first record.
TLS_HANDSHAKE = b"\x16"
# A thread that outlives this after every socket was shut down is a bug of the server itself.
JOIN_DEADLINE = 10.0


class Step(NamedTuple):
    verb: str
    args: tuple[Any, ...] = ()


Script = Sequence[Step]

# One complete request: head, and body by its framing.
RECEIVE = Step("receive")
# Only the head; the body stays unread in the socket.
RECEIVE_HEAD = Step("receive_head")
# Read and drop until the peer ends the connection.
STALL = Step("stall")
# End our direction, then read on until the peer ends its own: the peer sees a FIN, we see its answer.
FIN = Step("fin")
# End our direction and go on with the script.
HALF_CLOSE = Step("half_close")
# Take what has arrived, then close both directions. Unread bytes would turn the FIN into a RST.
CLOSE = Step("close")
# Close both directions with whatever lies unread: the kernel answers it with a RST.
DROP = Step("drop")
RST = Step("rst")
# Serve the routes until the peer ends the connection.
SERVE = Step("serve")
# Answer the TLS handshake that comes next; the script goes on inside.
START_TLS = Step("start_tls")
# First of a script on a server with a certificate: what follows is on the wire itself, below TLS.
RAW = Step("raw")
# Some bytes, whatever they are.
HEAR = Step("take")


def send(data: bytes) -> Step:
    return Step("send", (data,))


def drip(data: bytes, gap: float, size: int = 1) -> Step:
    """`size` bytes at a time, with `gap` seconds between two pieces."""
    return Step("drip", (data, gap, size))


def flood(data: bytes, times: int) -> Step:
    """The same bytes over and over, until the peer has gone or `times` is reached."""
    return Step("flood", (data, times))


def wait(event: threading.Event) -> Step:
    """Hold the script, without reading, until the test sets the event."""
    return Step("wait", (event,))


def sip(size: int, gap: float, total: int) -> Step:
    """Read slowly: about `size` bytes, then a gap, until `total` bytes have come."""
    return Step("sip", (size, gap, total))


def call(play: Callable[[Connection], object]) -> Step:
    """Have a function play the server's part on `connection.sock`, until it returns or the peer has gone."""
    return Step("call", (play,))


def pause(seconds: float) -> Step:
    """Hold the script for a gap that is itself the fault under test."""
    return Step("pause", (seconds,))


def reset_after(data: bytes) -> list[Step]:
    return [RECEIVE, *([send(data)] if data else []), RST]


def finish_after(data: bytes) -> list[Step]:
    return [RECEIVE, *([send(data)] if data else []), FIN]


class _Ended(Exception):
    """The connection is over; its script stops where it is."""


class Connection:
    """One accepted connection, its script and what its peer did."""

    def __init__(self, server: Server, sock: socket.socket, number: int, script: Script) -> None:
        self.server = server
        # A socket, or TLS within TLS on one.
        self.sock: Any = sock
        self.number = number
        self.script = script
        # The index of the step that runs now.
        self.stage = 0
        # The script has done all it does; the fault is on the wire.
        self.finished = False
        self.requests: list[Request] = []
        self.received = 0
        # Bytes that `flood` has handed to the kernel.
        self.sent = 0
        self.raw = b""
        # "fin" or "rst" if the peer ended it, "us" if the script did.
        self.ended: str | None = None
        self.ended_at = 0.0
        self._buffer = b""

    def run(self) -> None:
        try:
            below = self.script and self.script[0] is RAW
            if self.server.tls is not None and not below and self._peer_speaks_tls():
                self._start_tls()
            for stage, step in enumerate(self.script):
                self._record(stage=stage)
                getattr(self, "_" + step.verb)(*step.args)
            self._record(finished=True)
            self._stall()
        except _Ended:
            pass
        except Exception as error:
            self.server.errors.append(error)
        finally:
            self.sock.close()

    def _record(self, **facts: Any) -> None:
        with self.server.changed:
            for name, value in facts.items():
                setattr(self, name, value)
            self.server.changed.notify_all()

    def _end(self, how: str) -> None:
        if self.ended is None and not self.server.closing.is_set():
            self._record(ended=how, ended_at=time.monotonic())

    def _peer_speaks_tls(self) -> bool:
        """Plain requests may come to the same address: one Unix socket stands for every origin."""
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE
        except OSError:
            return False

    def _start_tls(self) -> None:
        assert self.server.tls is not None, "the script speaks TLS, but the server has no certificate"
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock = NestedTLS(self.server.tls, self.sock)
            else:
                self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
        except OSError:
            self._end("rst")
            raise _Ended from None

    def _raw(self) -> None:
        """Nothing more to do: it is looked at before the script runs."""

    @property
    def wire(self) -> socket.socket:
        """Another handle on what lies below TLS, for the caller to close."""
        return socket.socket(fileno=os.dup(self.sock.fileno()))

    def _call(self, play: Callable[[Connection], object]) -> None:
        try:
            play(self)
        except OSError:
            self._end("rst")
            raise _Ended from None

    def _take(self, size: int = RECEIVE_SIZE) -> bytes:
        """At least one byte from the peer, or the end of the script."""
        try:
            data = self.sock.recv(size)
        except OSError:
            self._end("rst")
            raise _Ended from None
        if not data:
            self._end("fin")
            raise _Ended
        self.received += len(data)
        if len(self.raw) < KEPT_BYTES:
            self.raw += data
        return data

    def _fill(self) -> bytes:
        self._buffer += self._take()
        return self._buffer

    def _receive_head(self) -> Request:
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        request = Request.parse(head + b"\r\n\r\n")
        self.requests.append(request)
        with self.server.changed:
            self.server.requests.append(request)
            self.server.changed.notify_all()
        return request

    def _receive(self) -> Request:
        request = self._receive_head()
        if request.is_chunked:
            while (end := routes.chunked_end(self._buffer)) is None:
                self._fill()
        else:
            end = request.content_length
            while len(self._buffer) < end:
                self._fill()
        request.raw_body, self._buffer = self._buffer[:end], self._buffer[end:]
        self._record()
        return request

    def _send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            # Its FIN may be the first thing it did; whoever cannot be written to has gone either way.
            self._end("rst")
            raise _Ended from None

    def _drip(self, data: bytes, gap: float, size: int) -> None:
        for start in range(0, len(data), size):
            if start:
                self._pause(gap)
            self._send(data[start : start + size])

    def _flood(self, data: bytes, times: int) -> None:
        for _ in range(times):
            self._send(data)
            self.sent += len(data)

    def _wait(self, event: threading.Event) -> None:
        # A short period instead of a second event: `close()` must be able to end it.
        while not event.wait(0.02):
            if self.server.closing.is_set():
                raise _Ended

    def _pause(self, seconds: float) -> None:
        if self.server.closing.wait(seconds):
            raise _Ended

    def _sip(self, size: int, gap: float, total: int) -> None:
        while self.received < total:
            self._take(size)
            self._pause(gap)

    def _stall(self) -> None:
        while True:
            self._take()

    def _half_close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def _fin(self) -> None:
        self._half_close()
        self._record(finished=True)
        self._stall()

    def _close(self) -> None:
        while select.select([self.sock], [], [], 0)[0]:
            self._take()
        self._leave()

    def _drop(self) -> None:
        self._leave()

    def _rst(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
        self._leave()

    def _leave(self) -> None:
        self.sock.close()
        self._end("us")
        self._record(finished=True)
        raise _Ended

    def _serve(self) -> None:
        while True:
            for step in self.server.app(self._receive()):
                getattr(self, "_" + step[0])(*step[1])


class Server:
    """A listening socket on 127.0.0.1 (or a Unix path) and everything that connects to it."""

    def __init__(
        self,
        scripts: Iterable[Script] = (),
        *,
        unix: bool = False,
        accept: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        app: Callable[[Request], Iterable[tuple[str, tuple[Any, ...]]]] = routes.respond,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.app = app
        self.tls = tls
        self.scripts = list(scripts)
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        self.errors: list[Exception] = []
        self.changed = threading.Condition()
        # For tests of back-pressure: the kernel's send buffer of the connections that follow.
        self.send_buffer: int | None = None
        self.closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._acceptor: threading.Thread | None = None
        self._fillers: list[socket.socket] = []
        self._directory = tempfile.mkdtemp(prefix="hh") if unix else None
        self.path = os.path.join(self._directory, "socket") if self._directory else None
        self._listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        if not unix:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(self.path or (host, port))
        self.host = "127.0.0.1"
        self.port = 0 if unix else self._listener.getsockname()[1]
        if accept:
            self._listener.listen(1024)
            self._acceptor = self._spawn(self._accept, "accept")
        else:
            self._listener.listen(0)
            self._fill_backlog()

    def url(self, path: str = "/", host: str | None = None) -> str:
        return f"{'http' if self.tls is None else 'https'}://{host or self.host}:{self.port or 80}{path}"

    @property
    def accepted(self) -> int:
        return len(self.connections)

    def owns(self, thread: threading.Thread) -> bool:
        return thread in self._threads

    def open_connections(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.ended is None]

    def wait_for(self, predicate: Callable[[], Any], deadline: float) -> bool:
        """Block until a recorded fact makes `predicate` true. Not for a thread that runs a loop."""
        with self.changed:
            return bool(self.changed.wait_for(predicate, deadline))

    def _spawn(self, run: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=run, name=f"server-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self.closing.is_set():
                sock.close()
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.send_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
            number = len(self.connections)
            script = self.scripts[number] if number < len(self.scripts) else [SERVE]
            connection = Connection(self, sock, number, script)
            with self.changed:
                self.connections.append(connection)
                self.changed.notify_all()
            self._spawn(connection.run, str(number))

    def _fill_backlog(self) -> None:
        """Connect until the kernel drops the next SYN, so that nobody else gets in."""
        address = (self.host, self.port)
        while True:
            filler = socket.socket(self._listener.family)
            filler.setblocking(False)
            self._fillers.append(filler)
            filler.connect_ex(address)
            if not select.select([], [filler], [], 0.05)[1]:
                return

    def close(self) -> None:
        """End every socket and join every thread; a script that failed fails the test here."""
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        # Once nobody accepts any more, the list of sockets is complete.
        if self._acceptor is not None:
            self._acceptor.join(JOIN_DEADLINE)
        for sock in [*self._fillers, *(connection.sock for connection in self.connections)]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for filler in self._fillers:
            filler.close()
        for thread in self._threads:
            thread.join(JOIN_DEADLINE)
            assert not thread.is_alive(), f"{thread.name} did not end"
        if self._directory:
            shutil.rmtree(self._directory)
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
