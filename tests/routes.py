"""What a well-behaved HTTP/1.1 server answers, path by path, and the requests it was sent.

A request is kept as the bytes that came; an answer is a list of steps of `servers.Connection`.
Every answer carries the request's `X-Nonce`, so that a response to someone else's request shows.
No sockets here.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

Steps = list[tuple[str, tuple[Any, ...]]]


class Request:
    """One request as it came over the wire."""

    def __init__(self, head: bytes, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.head = head
        self.method = method
        self.target = target
        self.headers = headers
        self.raw_body = b""

    @classmethod
    def parse(cls, head: bytes) -> Request:
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        method, target, _ = first.split(b" ", 2)
        headers = [(name, value.strip(b" ")) for name, _, value in (line.partition(b":") for line in lines)]
        return cls(head, method, target, headers)

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def is_chunked(self) -> bool:
        return self.header(b"Transfer-Encoding") is not None

    @property
    def content_length(self) -> int:
        return int(self.header(b"Content-Length") or 0)

    @property
    def body(self) -> bytes:
        return dechunk(self.raw_body) if self.is_chunked else self.raw_body


def chunked_end(data: bytes) -> int | None:
    """Where a chunked body without trailers ends, or None while it is incomplete."""
    position = 0
    while True:
        line_end = data.find(b"\r\n", position)
        if line_end < 0:
            return None
        size = int(data[position:line_end], 16)
        position = line_end + 2 + size + 2
        if position > len(data):
            return None
        if size == 0:
            return position


def dechunk(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
    return body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def response(
    body: bytes = b"ok",
    status: int = 200,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    reason: bytes = b"OK",
) -> bytes:
    """A sized response; the canonical one of the matrix."""
    lines = [b"HTTP/1.1 %d %s" % (status, reason)]
    lines += [b"%s: %s" % header for header in headers]
    lines += [b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def respond(request: Request) -> Steps:
    """The route server. Unknown paths are echoed like `/echo`.

    /            sized `ok`               /echo        the request's body, sized
    /chunked     three chunks             /stream?n=   n bytes, sized        /eof   ends with the connection
    /slow?gap=   head, gap, body          /status/N    status N              /close Connection: close
    """
    url = urlsplit(request.target.decode("latin-1"))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    nonce = request.header(b"X-Nonce")
    extra: tuple[tuple[bytes, bytes], ...] = ((b"X-Nonce", nonce),) if nonce is not None else ()
    if url.path == "/chunked":
        head = b"HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n" % _lines(extra)
        parts = [b"one,", b"two,", b"three"]
        return [("send", (head,)), *(("send", (chunk(part),)) for part in parts), ("send", (b"0\r\n\r\n",))]
    if url.path == "/eof":
        head = b"HTTP/1.1 200 OK\r\n%s\r\n" % _lines(extra)
        return [("send", (head + b"until the end",)), ("fin", ())]
    if url.path == "/close":
        whole = response(b"bye", headers=(*extra, (b"Connection", b"close")))
        return [("send", (whole,)), ("fin", ())]
    if url.path == "/slow":
        whole = response(b"slow", headers=extra)
        return [("send", (whole[:-4],)), ("pause", (float(query.get("gap", "0.05")),)), ("send", (b"slow",))]
    if url.path == "/wait":
        return [
            ("pause", (float(query.get("gap", "0.05")),)),
            ("send", (response(b"waited", headers=extra),)),
        ]
    if url.path.startswith("/status/"):
        status = int(url.path.rpartition("/")[2])
        if status in (204, 304):
            return [("send", (b"HTTP/1.1 %d None\r\n%s\r\n" % (status, _lines(extra)),))]
        return [("send", (response(b"", status, extra, b"Because"),))]
    body = request.body
    if url.path == "/":
        body = b"ok"
    elif url.path == "/stream":
        body = b"x" * int(query.get("n", "1000"))
    whole = response(body, headers=extra)
    if request.method == b"HEAD":
        whole = whole[: len(whole) - len(body)]
    return [("send", (whole,))]


def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join(b"%s: %s\r\n" % header for header in headers)
