"""The six pools for httpcore2, the fork of httpcore: its classes, exceptions and loggers over the engine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._async.flavoured import build as _build_async
from ._flavour import Flavour
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
    try:
        _module = import_module("httpcore2")
    except ModuleNotFoundError as error:
        if error.name != "httpcore2":
            raise
        _words = "httpcore_hyper.httpcore2 needs httpcore2: pip install 'httpcore-hyper[httpx2]'"
        raise ImportError(_words, name="httpcore2") from None
    FLAVOUR = Flavour.of(_module)
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
