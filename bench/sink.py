"""Reads uploads to their end and answers 200. A program of its own; nothing of the benchmark is imported.

It is a measuring device, not an HTTP server: one request at a time on a connection, and bodies that hold only
`x`, so that the end of a chunked body cannot be mistaken.
"""

from __future__ import annotations

import re
import socket
import sys
import threading

BUFFER = 1024 * 1024  # one read takes what loopback holds
CHUNKED_END = b"\r\n0\r\n\r\n"
HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def serve(peer: socket.socket) -> None:
    """One connection: request after request until the client closes."""
    buffer = bytearray(BUFFER)
    view = memoryview(buffer)
    kept = b""
    while True:
        while HEAD_END not in kept:
            size = peer.recv_into(view)
            if not size:
                return
            kept += bytes(view[:size])
        head, kept = kept.split(HEAD_END, 1)
        if b"100-continue" in head.lower():
            peer.sendall(CONTINUE)
        if length := LENGTH.search(head):
            left = int(length[1]) - len(kept)
            while left > 0:
                size = peer.recv_into(view)
                if not size:
                    return
                left -= size
        elif b"chunked" in head.lower():
            tail = (b"\r\n" + kept)[-len(CHUNKED_END) :]
            while tail != CHUNKED_END:
                size = peer.recv_into(view)
                if not size:
                    return
                tail = (tail + bytes(view[max(0, size - len(CHUNKED_END)) : size]))[-len(CHUNKED_END) :]
        kept = b""
        peer.sendall(ANSWER)


def guarded(peer: socket.socket) -> None:
    # A client that is stopped in the middle is no fault of the sink's.
    try:
        serve(peer)
    except OSError:
        pass
    finally:
        peer.close()


def main() -> None:
    door = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
    while True:
        peer, _ = door.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=guarded, args=(peer,), daemon=True).start()


if __name__ == "__main__":
    main()
