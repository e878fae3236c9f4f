"""httpcore's connection pools on Tokio and hyper: drop-in classes, faster httpx.

The public names are below; everything else is private. Models and exceptions are httpcore's own.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from . import _rust
from ._async.connection_pool import AsyncConnectionPool, AsyncHTTPProxy, AsyncSOCKSProxy
from ._sync.connection_pool import ConnectionPool, HTTPProxy, SOCKSProxy

if TYPE_CHECKING:
    from ._async.transport import AsyncHTTPTransport
    from ._sync.transport import HTTPTransport

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
]

__version__ = version("httpcore_hyper")

if _rust.__version__ != __version__:
    raise ImportError(
        f"httpcore_hyper is {__version__} but its native module is {_rust.__version__}: "
        "two installations are mixed up, reinstall httpcore_hyper"
    )

# These two subclass httpx's transports, and httpx is an optional dependency.
_TRANSPORTS = {
    "AsyncHTTPTransport": "httpcore_hyper._async.transport",
    "HTTPTransport": "httpcore_hyper._sync.transport",
}


def __getattr__(name: str) -> Any:
    if name not in _TRANSPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_TRANSPORTS[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise ImportError(f"{name} needs httpx: pip install 'httpcore-hyper[httpx]'", name="httpx") from None
