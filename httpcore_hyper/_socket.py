"""The socket object that a network stream gives away. No input or output of its own."""

from __future__ import annotations

import socket

__all__ = ["BorrowedSocket"]


class BorrowedSocket(socket.socket):
    """A second descriptor for a connection that belongs to a pool.

    The pool ends the connection whatever happens to this object, so dropping it without closing it is no
    leak and warns of nothing.
    """

    def __del__(self) -> None:
        self.close()
