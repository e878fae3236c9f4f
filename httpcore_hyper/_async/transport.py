"""httpx's transport over our pool. Knows httpx only as the module that it is given."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import _rust
from .._flavour import Flavour, Replacement, public_module, whole_body
from .._ssl import Policy, checked
from .connection_pool import SCHEMES, AsyncEnginePool
from .flavoured import build
from .response_stream import AsyncResponseStream

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
    _parts: _Parts

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
        *,
        tls: Policy = "auto",
    ) -> None:
        """Takes httpx's own arguments, and `tls` as the pools do."""
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
        policy = checked(tls)
        if isinstance(type(self._pool), Replacement):
            # `install()` has put ours there.
            vars(self._pool)["_policy"] = policy
            return
        # The pool that httpx made has opened nothing yet: its settings are all there is of it.
        ours: Any = build(self._flavour).pools[type(self._pool).__name__]
        pool = ours.__new__(ours)
        pool.__dict__.update(self._pool.__dict__, _policy=policy)
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request: straight to the engine where nobody stands between it and httpx, else by httpx."""
        pool: Any = self._pool
        body = whole_body(request.stream)
        if body is None or not self._is_direct(pool, request):
            return await super().handle_async_request(request)
        url = request.url
        try:
            exchange = pool._engine().exchange(
                request.method.encode("ascii"),
                url.raw_scheme,
                url.raw_host,
                url.port,
                url.raw_path,
                request.headers.raw,
                body,
                request.extensions.get("timeout"),
                request.extensions.get("sni_hostname") or None,
            )
            try:
                status, headers, extensions, first, ended = await exchange.head()
            except BaseException:
                exchange.close()
                raise
        except _rust.Moved:
            # Another request found a reason to delegate the pool while this one was in the queue.
            return await super().handle_async_request(request)
        except Exception:
            with self._parts.mapping():
                raise
        extensions["network_stream"] = pool._classes.network_stream(exchange.network_stream())
        return self._parts.response(
            status_code=status,
            headers=headers,
            stream=self._parts.stream(exchange, first, ended, extensions),
            extensions=extensions,
        )

    def _is_direct(self, pool: Any, request: httpx.Request) -> bool:
        """Whether httpx's and httpcore's own code between here and the engine would change nothing."""
        extensions = request.extensions
        return (
            self._parts.look_up("handle_async_request") is self._parts.handle
            and isinstance(pool, AsyncEnginePool)
            and "target" not in extensions
            and extensions.get("trace") is None
            and request.method.isascii()
            and request.url.raw_scheme in SCHEMES
            and pool._is_untouched()
        )


@dataclass(frozen=True)
class _Parts:
    """What the direct way needs of one httpx."""

    look_up: Callable[[str], Any]
    """Looks into the class of httpx's own transport."""
    handle: Any
    """What was there when it was seen first: a mock puts its own in that place."""
    mapping: Callable[[], AbstractContextManager[None]]
    """httpx's own way from httpcore's exceptions to its own."""
    response: Callable[..., httpx.Response]
    stream: Callable[..., httpx.AsyncByteStream]


def build_transport(httpx: ModuleType, flavour: Flavour) -> Any:
    """The transport class over httpx, or a fork of it, and the flavour that it stands on."""
    name = "AsyncHTTPTransport"
    theirs = getattr(httpx, name)
    mapping = import_module(f"{httpx.__name__}._transports.default").map_httpcore_exceptions
    stream = type(
        "AsyncResponseStream",
        (AsyncResponseStream, httpx.AsyncByteStream),
        {"__module__": "httpcore_hyper", "_mapping": staticmethod(mapping)},
    )
    parts = _Parts(
        look_up=theirs.__dict__.get,
        handle=theirs.__dict__.get("handle_async_request"),
        mapping=mapping,
        response=httpx.Response,
        stream=stream,
    )
    body = {
        "__module__": public_module(httpx.__name__),
        "__qualname__": name,
        "__doc__": AsyncEngineTransport.__doc__,
        "_flavour": flavour,
        "_DEFAULT_LIMITS": httpx._config.DEFAULT_LIMITS,
        "_parts": parts,
    }
    return type(name, (AsyncEngineTransport, theirs), body)
