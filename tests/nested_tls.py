"""A server's TLS over anything that sends and receives, such as TLS: `ssl` wraps real sockets alone."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

RECEIVE_SIZE = 65536
Result = TypeVar("Result")


class NestedTLS:
    """A session over `sock`, which shakes hands at once. Raises `OSError` as a socket does."""

    def __init__(self, context: ssl.SSLContext, sock: Any) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._run(self.session.do_handshake)

    def __getattr__(self, name: str) -> Any:
        """All that is not about bytes is about the socket."""
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        try:
            return self._run(lambda: self.session.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def sendall(self, data: bytes) -> None:
        self._run(lambda: self.session.write(data))

    def _run(self, act: Callable[[], Result]) -> Result:
        while True:
            try:
                result = act()
            except ssl.SSLWantReadError:
                self._flush()
                received = self._sock.recv(RECEIVE_SIZE)
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                # Its alert, if the peer is still there.
                self._flush()
                raise
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())
