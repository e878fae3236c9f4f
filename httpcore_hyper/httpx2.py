"""The pools for httpcore2, and the transports for httpx2."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._async.transport import build_transport as _build_async
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

    try:
        _httpx2 = import_module("httpx2")
    except ModuleNotFoundError as error:
        if error.name != "httpx2":
            raise
        _words = "httpcore_hyper.httpx2 needs httpx2: pip install 'httpcore-hyper[httpx2]'"
        raise ImportError(_words, name="httpx2") from None
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
