"""httpcore's connection pools on Tokio and hyper: drop-in classes, faster httpx.

The public names are below; everything else is private. Models and exceptions are httpcore's own.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._native import missing as _missing  # before all that needs a native module

from . import _rust  # isort: skip
from ._flavour import HTTPCORE
from ._install import install, uninstall
from ._optional import load

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

# Said here as well as in Cargo.toml, since it takes five milliseconds to look it up where it was installed.
__version__ = "0.1.0"

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

# Made when they are asked for first: few programs need both doors, and httpx is an optional dependency.
_LAZY = {
    **dict.fromkeys(("ConnectionPool", "HTTPProxy", "SOCKSProxy"), "._sync.flavoured"),
    **dict.fromkeys(("AsyncConnectionPool", "AsyncHTTPProxy", "AsyncSOCKSProxy"), "._async.flavoured"),
    "HTTPTransport": "._sync.transport",
    "AsyncHTTPTransport": "._async.transport",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name.endswith("Transport"):
        httpx = load("httpx", for_name=name, extra="httpx")
        made = import_module(_LAZY[name], __name__).build_transport(httpx, HTTPCORE)
    else:
        made = import_module(_LAZY[name], __name__).build(HTTPCORE).pools[name]
    # Kept, so that the name is one class for ever.
    return globals().setdefault(name, made)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
