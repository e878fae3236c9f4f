"""httpcore's connection pools on Tokio and hyper: drop-in classes, faster httpx.

The public names are below; everything else is private. Models and exceptions are httpcore's own.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ._native import missing as _missing  # before all that needs a native module

from . import _rust  # isort: skip
from ._async.flavoured import build as _build_async
from ._flavour import HTTPCORE
from ._install import install, uninstall
from ._optional import load
from ._sync.flavoured import build as _build_sync

if TYPE_CHECKING:
    import httpcore

    from ._async.connection_pool import AsyncEnginePool
    from ._async.transport import AsyncEngineTransport as AsyncHTTPTransport
    from ._sync.connection_pool import EnginePool
    from ._sync.transport import EngineTransport as HTTPTransport

    class ConnectionPool(EnginePool, httpcore.ConnectionPool): ...

    class HTTPProxy(ConnectionPool, httpcore.HTTPProxy): ...

    class SOCKSProxy(ConnectionPool, httpcore.SOCKSProxy): ...

    class AsyncConnectionPool(AsyncEnginePool, httpcore.AsyncConnectionPool): ...

    class AsyncHTTPProxy(AsyncConnectionPool, httpcore.AsyncHTTPProxy): ...

    class AsyncSOCKSProxy(AsyncConnectionPool, httpcore.AsyncSOCKSProxy): ...

else:
    globals().update(_build_sync(HTTPCORE).pools)
    globals().update(_build_async(HTTPCORE).pools)

__all__ = [
    "AsyncConnectionPool",
    "AsyncHTTPProxy",
    "AsyncHTTPTransport",
    "AsyncSOCKSProxy",
    "ConnectionPool",
    "HTTPProxy",
    "HTTPTransport",
    "SOCKSProxy",
    "__version__",
    "install",
    "uninstall",
]

__version__ = version("httpcore_hyper")

if _missing is None and _rust.__version__ != __version__:
    raise ImportError(
        f"httpcore_hyper is {__version__} but its native module is {_rust.__version__}: "
        "two installations are mixed up, reinstall httpcore_hyper"
    )

if _missing is None and hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_rust.before_fork,
        after_in_parent=_rust.after_fork_in_parent,
        after_in_child=_rust.after_fork_in_child,
    )

# These two subclass httpx's transports, and httpx is an optional dependency.
_TRANSPORTS = {"AsyncHTTPTransport": "._async.transport", "HTTPTransport": "._sync.transport"}


def __getattr__(name: str) -> Any:
    if name not in _TRANSPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    httpx = load("httpx", for_name=name, extra="httpx")
    made = import_module(_TRANSPORTS[name], __name__).build_transport(httpx, HTTPCORE)
    # Kept, so that the name is one class for ever.
    return globals().setdefault(name, made)
