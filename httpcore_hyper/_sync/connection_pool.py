# Generated from _async/connection_pool.py by scripts/sync.py. Not edited by hand.
"""The pools: httpcore's classes with the engine put under them.

What is here decides who serves a request, the engine or httpcore's own code (`super()`), and hands the
parts of a request to the engine. Sockets, queues and limits are the engine's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from .. import _rust
from .._flavour import whole_body
from .._native import missing
from .._proxy import Settings, settings_of, ssl_context_of
from .._ssl import Policy, Sessions, acts_on_sockets, checked
from .._surroundings import watch_over
from .calls import Calls
from .connection import HTTPConnection, RequestView
from .tracing import send_traced

if TYPE_CHECKING:
    import httpcore


__all__ = ["EnginePool"]

logger = logging.getLogger("httpcore_hyper")

# What the engine serves. `ws` and `wss` are HTTP until the server switches.
_SCHEMES = frozenset({b"http", b"https", b"ws", b"wss"})

# The engine's own limit; more attempts than any process lives to make.
_MAX_RETRIES = 2**32 - 1


class EnginePool(Calls):
    """The engine's half of a pool class; the other half is the pool of a flavour.

    httpcore's own constructor takes and keeps the arguments, and the engine reads the attributes when the
    first request comes.
    """

    _replaces: type
    """The flavour's own class of this name."""
    _native: _rust.Pool | None = None
    _delegated: str | None = None
    _views: WeakValueDictionary[int, HTTPConnection] | None = None
    _policy: Policy = "auto"
    _sessions: Sessions | None = None
    """The TLS of the engine; made with it."""
    _proxy_settings: Settings | None = None
    """The proxy of the engine; made with it."""
    _watch: _rust.Watch | None = None
    """Made when nothing stood between the callers and the engine; see `_is_untouched`."""
    _uses_lists: bool = False
    """httpcore's own code has served something here: `_connections` and `_requests` are its lists."""

    def __init__(self, *args: Any, tls: Policy = "auto", **options: Any) -> None:
        """Takes httpcore's own arguments, and `tls`: who does the cryptography of `https` and `wss`.

        `"auto"`: rustls, where it is proven to make no difference to the verdicts of `ssl_context`, else
        Python's `ssl`. `"python"`: Python's `ssl` always. `"rustls"`: rustls, or a `ConnectError` that says
        why not. Raises `ValueError` for another word.
        """
        super().__init__(*args, **options)
        self._policy = checked(tls)

    @property
    def delegated(self) -> str | None:
        """Why this pool runs on httpcore's Python engine; `None` while the Rust engine serves it.

        Looked at anew for each request, and kept until the pool is closed.
        """
        if self._delegated is None:
            self._delegated = self._reason_to_delegate()
            if self._delegated is not None:
                logger.debug("%s runs on httpcore's engine: %s", type(self).__name__, self._delegated)
                self._uses_lists = True
                if self._native is not None:
                    self._native.retire()
        return self._delegated

    def _reason_to_delegate(self) -> str | None:
        if missing is not None:
            return missing
        backend = self._network_backend
        if type(backend) not in self._flavour.default_backends or "connect_tcp" in vars(backend):
            return f"network_backend is {backend!r}, which opens its own connections"
        create_connection = self._classes.create_connection.get(self._replaces)
        if "create_connection" in self.__dict__ or type(self).create_connection is not create_connection:
            return "create_connection is overridden"
        proxied = self._is_proxied
        for context in (self._ssl_context, ssl_context_of(self) if proxied else None):
            hooked = None if context is None else acts_on_sockets(context)
            if hooked is not None:
                return f"{hooked}, which the engine would not heed"
        patched = self._classes.way.patched(proxied=proxied)
        return None if patched is None else f"{patched} has been patched"

    @property
    def _is_proxied(self) -> bool:
        return self._proxy is not None or "_proxy_url" in self.__dict__

    def _is_untouched(self) -> bool:
        """Whether nobody stands between the callers and the engine, and no logger listens.

        Then the ways between them may be left out.
        """
        watch = self._watch
        return (watch is not None and watch.is_unchanged(self)) or self._looks_untouched()

    def _looks_untouched(self) -> bool:
        self._watch = None
        if not self._is_found_untouched():
            return False
        watch = watch_over(self, ("create_connection", "handle_request"))
        # Found twice, so that nothing has changed before the watch began.
        if watch is not None and self._is_found_untouched():
            self._watch = watch
        return True

    def _is_found_untouched(self) -> bool:
        return (
            self.delegated is None
            and self._handles_itself()
            and not self._is_logged()
            and self._classes.way.calls_patched() is None
        )

    def _handles_itself(self) -> bool:
        """Whether a request comes to the `handle_request` below, not to a subclass's or a mock's."""
        return (
            type(self).handle_request is EnginePool.handle_request
            and "handle_request" not in self.__dict__
        )

    def _is_logged(self) -> bool:
        """Whether a logger listens to the events of requests."""
        return any(logger.isEnabledFor(logging.DEBUG) for logger in self._loggers())

    def _loggers(self) -> list[logging.Logger]:
        """Those that may hear of a request."""
        flavour = self._flavour
        return [
            *(flavour.http11_logger, flavour.connection_logger),
            *((flavour.http2_logger,) if self._http2 else ()),
            *((flavour.proxy_logger, flavour.socks_logger) if self._is_proxied else ()),
        ]

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Sends a request and returns its response, whose body has yet to be read and closed."""
        untouched = self._is_untouched()
        if request.url.scheme not in _SCHEMES or not (untouched or self.delegated is None):
            # Of a scheme that nobody serves httpcore says so itself.
            return super().handle_request(request)

        traced = request.extensions.get("trace") is not None or (not untouched and self._is_logged())
        # The listeners are told of the body apart from the head, so it is handed over apart as well.
        body = None if traced else whole_body(request.stream)
        if body is None and not isinstance(request.stream, Iterable):
            # httpcore's own complaint about a body of the other door.
            raise AssertionError(f"{request.stream!r} cannot be iterated by this pool")
        url = request.url
        exchange = self._engine().exchange(
            request.method,
            url.scheme,
            url.host,
            url.port,
            url.target,
            request.headers if isinstance(request.headers, list) else list(request.headers),
            body,
            request.extensions.get("timeout"),
            request.extensions.get("sni_hostname") or None,
            traced,
        )
        try:
            if traced:
                return send_traced(self, request, exchange)
            if body is None:
                takes_more = exchange.send()
                if takes_more:
                    for chunk in cast(Iterable[bytes], request.stream):
                        takes_more = exchange.write(chunk)
                        if not takes_more:
                            break
                if takes_more:
                    exchange.finish()
            head = exchange.head()
        except _rust.Moved:
            # Another request found a reason to delegate the pool while this one was in the queue.
            return super().handle_request(request)
        except BaseException:
            exchange.close()
            raise
        return self._respond(exchange, *head)

    def _engine(self) -> _rust.Pool:
        native = self._native
        if native is None:
            native = _rust.Pool(
                self._flavour.module,
                tls=self._tls(),
                max_connections=self._max_connections,
                max_keepalive_connections=self._max_keepalive_connections,
                keepalive_expiry=self._keepalive_expiry,
                retries=min(max(self._retries, 0), _MAX_RETRIES),
                local_address=self._local_address,
                uds=self._uds,
                socket_options=self._socket_options,
                # Told to speak neither, httpcore speaks HTTP/1.1.
                http1=self._http1 or not self._http2,
                http2=self._http2,
                proxy=self._settings(),
            )
            # Another thread may have been first; one engine serves all.
            native = cast(_rust.Pool, self.__dict__.setdefault("_native", native))
        return native

    def _tls(self) -> Sessions:
        if self._sessions is None:
            self._sessions = Sessions(self._flavour, self._ssl_context, self._policy)
        return self._sessions

    def _settings(self) -> Settings | None:
        """What the engine is told of the proxy; read when it is made, and kept with it."""
        if self._proxy_settings is None and self._is_proxied:
            self._proxy_settings = settings_of(self, self._flavour, self._policy)
        return self._proxy_settings

    def _told(self, request: httpcore.Request) -> httpcore.Request:
        """A request as listeners are told of it: the one that is sent."""
        proxy = self._settings()
        if proxy is None or not proxy.forwards(request.url.scheme):
            return request
        return proxy.forwarded_request(self._flavour, request)

    def close(self) -> None:
        """Closes every connection, also those in use, and fails every queued request.

        The pool stays usable: a later request opens connections anew.
        """
        if self._native is not None:
            self._log_closing()
            self._native.close()
        self._delegated = None
        if self._uses_lists:
            super().close()

    def _log_closing(self) -> None:
        if self._native is not None:
            self._log_closed(
                sum(status != "CONNECTING" for _, _, _, status, *_ in self._native.connections())
            )

    def _log_closed(self, number: int | None = None) -> None:
        """Tells of so many connections, else of the idle ones that were closed since it last told of some."""
        log = self._flavour.connection_logger
        if self._native is None or not log.isEnabledFor(logging.DEBUG):
            return
        for _ in range(self._native.take_closed() if number is None else number):
            with self._flavour.Trace("close", log, None, {}):
                pass

    @property
    def connections(self) -> list[Any]:
        """The connections, in the order they were made: views of the engine's, then httpcore's own."""
        return [*self._viewed(), *self._list("_connections")]

    def _viewed(self) -> list[HTTPConnection]:
        if self._native is None:
            return []
        if self._views is None:
            self._views = WeakValueDictionary()
        views = []
        for description in self._native.connections():
            view = self._views.get(description[0])
            if view is None:
                view = self._view(self._native, description)
                self._views[description[0]] = view
            views.append(view)
        return views

    def _view(self, native: _rust.Pool, description: _rust._Description) -> HTTPConnection:
        proxy = self._proxy_settings
        if proxy is None:
            return self._classes.connections["direct"](self._classes, native, description)
        kind = "tunnel"
        if proxy.is_socks:
            kind = "socks"
        elif proxy.forwards(description[1].partition(":")[0].encode()):
            kind = "forward"
        return self._classes.connections[kind](self._classes, native, description, proxy.origin)

    def _list(self, name: str) -> list[Any]:
        """One of httpcore's own two lists, which its constructor makes."""
        return cast(list[Any], self.__dict__.setdefault(name, []))

    # Tools find a request's socket through these two, to shut it down. Changing what they give has no
    # effect, but on the lists that httpcore's own code works with.
    if not TYPE_CHECKING:

        @property
        def _connections(self) -> list[Any]:
            return self._list("_connections") if self._uses_lists else self._viewed()

        @_connections.setter
        def _connections(self, value: list[Any]) -> None:
            self.__dict__["_connections"] = value

        @property
        def _requests(self) -> list[Any]:
            if self._uses_lists or self._native is None:
                return self._list("_requests")
            _, queued, _, _ = self._native.counts()
            active = [request for view in self._viewed() for request in view._requests()]
            return [*active, *(RequestView(None) for _ in range(queued))]

        @_requests.setter
        def _requests(self, value: list[Any]) -> None:
            self.__dict__["_requests"] = value

    def __repr__(self) -> str:
        active, queued, in_use, idle = self._native.counts() if self._native else (0, 0, 0, 0)
        # httpcore's lists hold the requests that it serves itself.
        for request in self._list("_requests"):
            queued += request.is_queued()
            active += not request.is_queued()
        for connection in self._list("_connections"):
            idle += connection.is_idle()
            in_use += not connection.is_idle()
        return (
            f"<{type(self).__name__} "
            f"[Requests: {active} active, {queued} queued | "
            f"Connections: {in_use} active, {idle} idle]>"
        )
