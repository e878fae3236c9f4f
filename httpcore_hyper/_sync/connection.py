# Generated from _async/connection.py by scripts/sync.py. Not edited by hand.
"""Connections as Python sees them: views, which hold nothing and ask the engine each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _rust
from .network_stream import NetworkStream

if TYPE_CHECKING:
    import httpcore

    from .flavoured import Classes

    _Base = httpcore.ConnectionInterface
else:
    _Base = object  # the flavour's own class comes behind this one

__all__ = [
    "ForwardHTTPConnection",
    "HTTP2Connection",
    "HTTP11Connection",
    "HTTPConnection",
    "RequestView",
    "Socks5Connection",
    "TunnelHTTPConnection",
]


class HTTPConnection(_Base):
    """One connection of a pool, under the name and with the questions of httpcore's class."""

    def __init__(
        self,
        classes: Classes,
        pool: _rust.Pool,
        description: _rust._Description,
        proxy_origin: str | None = None,
    ) -> None:
        self._classes = classes
        self._pool = pool
        self._id, self._origin, self._version, *_ = description
        self._proxy_origin = proxy_origin

    @property
    def _connection(self) -> HTTP11Connection | HTTP2Connection | None:
        """The protocol's half, as httpcore has it: `None` before the connection is open."""
        native = self._pool.network_stream(self._id)
        description = self._pool.connection(self._id)
        if native is None or description is None:
            return None
        kind = HTTP2Connection if description[2] == "HTTP/2" else HTTP11Connection
        return kind(self._classes.network_stream(native))

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Refused: which connection serves a request is for the pool to say."""
        raise self._classes.flavour.module.ConnectionNotAvailable(
            "Only the pool assigns requests to connections."
        )

    def close(self) -> None:
        """Refused: a connection is closed by closing its pool or its response."""
        raise RuntimeError("Close the pool, or the response that the connection serves.")

    def info(self) -> str:
        """As httpcore's: `'http://example.com:80', HTTP/1.1, IDLE, Request Count: 1`."""
        description = self._pool.connection(self._id)
        origin = self._shown_origin
        if description is None:
            return f"{origin!r}, {self._version}, CLOSED"
        _, _, self._version, status, request_count, _ = description
        if status == "CONNECTING":
            return self._connecting()
        return f"{origin!r}, {self._version}, {status}, Request Count: {request_count}"

    @property
    def _shown_origin(self) -> str | None:
        return self._origin

    def _connecting(self) -> str:
        return "CONNECTING"

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        """Whether the connection leads to this origin."""
        return str(origin) == self._origin

    def is_available(self) -> bool:
        """Whether a request could be assigned to the connection now; of HTTP/2, unless it is closed."""
        description = self._pool.connection(self._id)
        return description is not None and (description[2] == "HTTP/2" or description[3] == "IDLE")

    def has_expired(self) -> bool:
        """`False`: the engine looks at a connection's expiry and socket before each use."""
        return False

    def is_idle(self) -> bool:
        """Whether the connection is kept alive and serves no request."""
        description = self._pool.connection(self._id)
        return description is not None and description[3] == "IDLE"

    def _requests(self) -> list[RequestView]:
        """Those that it serves, or that wait for it."""
        description = self._pool.connection(self._id)
        return [] if description is None else [RequestView(self) for _ in range(description[5])]

    def is_closed(self) -> bool:
        """Whether the connection has left the pool."""
        return self._pool.connection(self._id) is None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.info()}]>"


class ForwardHTTPConnection(HTTPConnection):
    """A connection to a proxy that sends the requests on to one origin. It is told by the proxy's name."""

    @property
    def _shown_origin(self) -> str | None:
        return self._proxy_origin


class TunnelHTTPConnection(HTTPConnection):
    """A connection through a proxy's tunnel. It is the proxy's until the tunnel is there."""

    def _connecting(self) -> str:
        if self._pool.network_stream(self._id) is None:
            return "CONNECTING"
        return f"{self._proxy_origin!r}, HTTP/1.1, ACTIVE, Request Count: 1"


class Socks5Connection(HTTPConnection):
    """A connection through a SOCKS proxy."""


class HTTP11Connection:
    """What tools look for on their way from a connection to its socket."""

    def __init__(self, stream: NetworkStream) -> None:
        self._network_stream = stream


class HTTP2Connection(HTTP11Connection):
    """The same of a connection that speaks HTTP/2."""


class RequestView:
    """A request that the pool is serving or has queued."""

    def __init__(self, connection: HTTPConnection | None) -> None:
        self.connection = connection
        """The connection that it was assigned, `None` while it is queued."""

    def is_queued(self) -> bool:
        """Whether it waits for a connection."""
        return self.connection is None
