"""httpx's transport over our pool. Knows httpx only as the module that it is given."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._flavour import Flavour, Replacement
from .flavoured import build

if TYPE_CHECKING:
    import httpcore
    import httpx
    from httpx._types import CertTypes, ProxyTypes

    _Base = httpx.AsyncHTTPTransport
else:
    _Base = object  # httpx's own class comes behind this one

__all__ = ["AsyncEngineTransport", "build_transport"]


class AsyncEngineTransport(_Base):
    """httpx's own transport, with httpcore's pool replaced by ours.

    httpx makes the pool from the arguments and keeps doing everything above it.
    """

    _flavour: Flavour
    _DEFAULT_LIMITS: httpx.Limits

    def __init__(
        self,
        verify: ssl.SSLContext | str | bool = True,
        cert: CertTypes | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits | None = None,
        proxy: ProxyTypes | None = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> None:
        super().__init__(
            verify=verify,
            cert=cert,
            trust_env=trust_env,
            http1=http1,
            http2=http2,
            limits=self._DEFAULT_LIMITS if limits is None else limits,
            proxy=proxy,
            uds=uds,
            local_address=local_address,
            retries=retries,
            socket_options=socket_options,
        )
        if isinstance(type(self._pool), Replacement):
            return  # `install()` has put ours there
        # The pool that httpx made has opened nothing yet: its settings are all there is of it.
        ours: Any = build(self._flavour).pools[type(self._pool).__name__]
        pool = ours.__new__(ours)
        pool.__dict__.update(self._pool.__dict__)
        self._pool = pool


def build_transport(httpx: ModuleType, flavour: Flavour) -> Any:
    """The transport class over httpx, or a fork of it, and the flavour that it stands on."""
    name = "AsyncHTTPTransport"
    body = {
        "__module__": "httpcore_hyper" if httpx.__name__ == "httpx" else f"httpcore_hyper.{httpx.__name__}",
        "__qualname__": name,
        "__doc__": AsyncEngineTransport.__doc__,
        "_flavour": flavour,
        "_DEFAULT_LIMITS": httpx._config.DEFAULT_LIMITS,
    }
    return type(name, (AsyncEngineTransport, getattr(httpx, name)), body)
