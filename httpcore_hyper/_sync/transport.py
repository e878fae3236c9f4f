# Generated from _async/transport.py by scripts/sync.py. Not edited by hand.
"""httpx's transport over our pool. Imported only where httpx is installed."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
from httpx._config import DEFAULT_LIMITS

from .connection_pool import ConnectionPool, HTTPProxy, SOCKSProxy

if TYPE_CHECKING:
    from httpx._types import CertTypes, ProxyTypes

__all__ = ["HTTPTransport"]

_OURS: dict[type, Any] = {
    httpcore.ConnectionPool: ConnectionPool,
    httpcore.HTTPProxy: HTTPProxy,
    httpcore.SOCKSProxy: SOCKSProxy,
}


class HTTPTransport(httpx.HTTPTransport):
    """httpx's own transport, with httpcore's pool replaced by ours.

    httpx makes the pool from the arguments and keeps doing everything above it.
    """

    __module__ = "httpcore_hyper"

    def __init__(
        self,
        verify: ssl.SSLContext | str | bool = True,
        cert: CertTypes | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = DEFAULT_LIMITS,
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
            limits=limits,
            proxy=proxy,
            uds=uds,
            local_address=local_address,
            retries=retries,
            socket_options=socket_options,
        )
        # The pool that httpx made has opened nothing yet: its settings are all there is of it.
        pool = _OURS[type(self._pool)].__new__(_OURS[type(self._pool)])
        pool.__dict__.update(self._pool.__dict__)
        self._pool = pool
