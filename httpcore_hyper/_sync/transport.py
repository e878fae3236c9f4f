# Generated from _async/transport.py by scripts/sync.py. Not edited by hand.
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
from .._flavour import Flavour, Replacement, public_module
from .._models import Models
from .._ssl import Policy, checked
from .connection_pool import EnginePool
from .flavoured import build
from .reading import Reader, build_reader
from .response_stream import ResponseStream

if TYPE_CHECKING:
    import httpcore
    import httpx
    from httpx._types import CertTypes, ProxyTypes

    _Base = httpx.HTTPTransport
else:
    _Base = object  # httpx's own class comes behind this one

__all__ = ["EngineTransport", "build_transport"]


class EngineTransport(_Base):
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

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request: straight to the engine where nobody stands between it and httpx, else by httpx."""
        head = None
        try:
            exchange = self._direct_exchange(request)
            if exchange is not None:
                try:
                    head = exchange.head()
                except BaseException:
                    exchange.close()
                    raise
        except _rust.Moved:
            pass  # another request found a reason to delegate the pool while this one was in the queue
        except Exception:
            with self._parts.mapping():
                raise
        if exchange is None or head is None:
            return super().handle_request(request)
        status, lines, extensions, first, ended = head
        pool: Any = self._pool
        extensions["network_stream"] = pool._classes.network_stream(exchange.network_stream())
        stream = self._parts.stream(exchange, first, ended, extensions)
        # The heads of these exchanges have them as httpx keeps them.
        response = self._parts.models.response(status, lines, stream, extensions)  # type: ignore[arg-type]
        if ended and self._parts.reader is not None:
            self._parts.reader.attach(response, stream)
        return response

    def _direct_exchange(self, request: httpx.Request) -> _rust.Exchange | None:
        """The exchange of a request, if httpx's and httpcore's own code between here and the engine would
        change nothing; else `None`, and nothing has been done.
        """
        pool: Any = self._pool
        models = self._parts.models
        if (
            models.reader is None
            or not isinstance(pool, EnginePool)
            or not models.are_untouched()
            or not pool._is_untouched()
        ):
            return None
        exchange: _rust.Exchange | None = pool._engine().model_exchange(models.reader, request)
        return exchange


@dataclass(frozen=True)
class _Parts:
    """What the direct way needs of one httpx."""

    models: Models
    mapping: Callable[[], AbstractContextManager[None]]
    """httpx's own way from httpcore's exceptions to its own."""
    stream: Callable[..., httpx.SyncByteStream]
    reader: Reader | None
    """What has a response read a body that came with its head; `None` for httpx's own way."""


def build_transport(httpx: ModuleType, flavour: Flavour) -> Any:
    """The transport class over httpx, or a fork of it, and the flavour that it stands on."""
    name = "HTTPTransport"
    theirs = getattr(httpx, name)
    mapping = import_module(f"{httpx.__name__}._transports.default").map_httpcore_exceptions
    stream = type(
        "ResponseStream",
        (ResponseStream, httpx.SyncByteStream),
        {"__module__": "httpcore_hyper", "_mapping": staticmethod(mapping)},
    )
    parts = _Parts(
        models=Models(httpx, theirs, "handle_request"),
        mapping=mapping,
        stream=stream,
        reader=build_reader(httpx, stream),
    )
    body = {
        "__module__": public_module(httpx.__name__),
        "__qualname__": name,
        "__doc__": EngineTransport.__doc__,
        "_flavour": flavour,
        "_DEFAULT_LIMITS": httpx._config.DEFAULT_LIMITS,
        "_parts": parts,
    }
    return type(name, (EngineTransport, theirs), body)
