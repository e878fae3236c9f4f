"""The six pools for httpcore2, the fork of httpcore: its classes, exceptions and loggers over the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._async.flavoured import build as _build_async
from ._flavour import Flavour
from ._optional import load
from ._sync.flavoured import build as _build_sync

if TYPE_CHECKING:
    from . import (
        AsyncConnectionPool,
        AsyncHTTPProxy,
        AsyncSOCKSProxy,
        ConnectionPool,
        HTTPProxy,
        SOCKSProxy,
    )
else:
    FLAVOUR = Flavour.of(load("httpcore2", for_name=__name__, extra="httpx2"))
    globals().update(_build_sync(FLAVOUR).pools)
    globals().update(_build_async(FLAVOUR).pools)

__all__ = [
    "AsyncConnectionPool",
    "AsyncHTTPProxy",
    "AsyncSOCKSProxy",
    "ConnectionPool",
    "HTTPProxy",
    "SOCKSProxy",
]
