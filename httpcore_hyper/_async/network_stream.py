"""The network stream: the socket under a response, with httpcore's interface."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

from .. import _rust
from .._flavour import Flavour
from .._socket import BorrowedSocket
from .._ssl import Sessions

if TYPE_CHECKING:
    import httpcore

    _Base = httpcore.AsyncNetworkStream
else:
    _Base = object  # the flavour's own class comes behind this one

__all__ = ["AsyncNetworkStream"]


class AsyncNetworkStream(_Base):
    """The stream under a response.

    It can be read and written once the connection has left HTTP: after a 101, or a CONNECT that succeeded.
    Bytes that came with the response head are the first to be read.
    """

    _flavour: Flavour

    def __init__(self, native: _rust.AsyncNetworkStream) -> None:
        self._native = native
        self._socket: socket.socket | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Up to `max_bytes` bytes, `b""` at the end of the stream.

        `timeout` is in seconds. Raises `ReadTimeout` and `ReadError`, the latter also on a connection that
        still speaks HTTP. Nothing is lost if it is cancelled.
        """
        operation = self._native.read(max_bytes, timeout)
        try:
            return await operation.outcome() or b""
        except BaseException:
            operation.close()
            raise

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Writes all of `buffer`.

        `timeout` bounds each wait for the peer to take bytes, in seconds. Raises `WriteTimeout` and
        `WriteError`.
        """
        operation = self._native.write(buffer, timeout)
        try:
            await operation.outcome()
        except BaseException:
            operation.close()
            raise

    async def aclose(self) -> None:
        """Closes the connection. Reads and writes under way fail. Idempotent."""
        self._native.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Puts TLS over the connection, and returns the stream to go on with.

        `server_hostname` is whom the certificate must name. `timeout` is in seconds and bounds the handshake.
        Raises `ConnectTimeout` and `ConnectError`, the latter also on a connection that still speaks HTTP.
        After a failure or a cancellation the connection is closed.
        """
        sessions = Sessions(self._flavour, ssl_context)
        operation = self._native.start_tls(sessions, server_hostname, timeout)
        try:
            await operation.outcome()
        except BaseException:
            operation.close()
            raise
        return type(self)(self._native)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore's streams tell, under the same keys; `None` for others.

        `client_addr` and `server_addr` are as `getsockname()` and `getpeername()` give them. `socket` is a
        `socket.socket` on the same connection: shutting it down ends what is read or written here.
        `is_readable` is true of a closed connection too. `ssl_object` is the TLS session: an
        `ssl.SSLObject`, or what tools ask one for. `tls_backend` says who does its cryptography, `"rustls"`
        or `"python"`. The `socket` lies under it.
        """
        if info == "ssl_object":
            return self._native.ssl_object()
        if info == "tls_backend":
            return self._native.tls_backend()
        if info == "client_addr":
            return self._native.client_addr()
        if info == "server_addr":
            return self._native.server_addr()
        if info == "is_readable":
            return self._native.is_readable()
        if info == "socket":
            if self._socket is None:
                self._socket = BorrowedSocket(fileno=self._native.duplicate())
            return self._socket
        return None
