"""The pools for httpcore2, and the transports for httpx2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._async.transport import build_transport as _build_async
from ._optional import load
from ._sync.transport import build_transport as _build_sync
from .httpcore2 import (
    AsyncConnectionPool,
    AsyncHTTPProxy,
    AsyncSOCKSProxy,
    ConnectionPool,
    HTTPProxy,
    SOCKSProxy,
)

if TYPE_CHECKING:
    from . import AsyncHTTPTransport, HTTPTransport
else:
    from .httpcore2 import FLAVOUR

    _httpx2 = load("httpx2", for_name=__name__, extra="httpx2")
    HTTPTransport = _build_sync(_httpx2, FLAVOUR)
    AsyncHTTPTransport = _build_async(_httpx2, FLAVOUR)

__all__ = [
    "AsyncConnectionPool",
    "AsyncHTTPProxy",
    "AsyncHTTPTransport",
    "AsyncSOCKSProxy",
    "ConnectionPool",
    "HTTPProxy",
    "HTTPTransport",
    "SOCKSProxy",
]
