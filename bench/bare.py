"""A connection without a client: bytes to send, and how many come back. For answers that are all alike."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

RECEIVE = 65536  # more than any of the answers


class Line:
    """A connected socket, with the request that is always sent and the size of its answer."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self.sock = socket.create_connection((parts.hostname, parts.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._size = 0
        self._body = 0
        self._arrived = 0

    def take(self, data: bytes) -> int | None:
        """The length of the body, when all of the answer has come."""
        if not self._size:
            self._learn(data)
        self._arrived += len(data)
        if self._arrived < self._size:
            return None
        self._arrived = 0
        return self._body

    def _learn(self, data: bytes) -> None:
        """Reads the first answer's head, which comes in one piece."""
        head = data[: data.index(b"\r\n\r\n") + 4]
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"answered with {head!r}")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
        self._body = int(length)
        self._size = len(head) + self._body
