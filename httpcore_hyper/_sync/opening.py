# Generated from _async/opening.py by scripts/sync.py. Not edited by hand.
"""The way to an open connection, leg by leg, for a request whose events somebody listens to.

Directly, to a proxy that forwards, through a proxy's tunnel, or through SOCKS: listeners are told of each leg
under the name that httpcore has for it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _rust
from .._flavour import delays
from .._proxy import Settings

if TYPE_CHECKING:
    import httpcore

    from .connection_pool import EnginePool

__all__ = ["open_traced"]


def open_traced(
    pool: EnginePool, request: httpcore.Request, exchange: _rust.Exchange
) -> None:
    """Takes a stepwise exchange from its place in the pool to an open connection, with the pool's retries."""
    flavour = pool._flavour
    retries = pool._retries
    pauses = delays()
    way = _Way(pool, request, exchange)
    while True:
        try:
            return way.attempt()
        except (flavour.module.ConnectError, flavour.module.ConnectTimeout):
            if retries <= 0:
                raise
            retries -= 1
            with flavour.Trace("retry", flavour.connection_logger, request, way.target):
                pool._network_backend.sleep(next(pauses))


class _Way:
    """One request's way."""

    def __init__(
        self, pool: EnginePool, request: httpcore.Request, exchange: _rust.Exchange
    ) -> None:
        self._pool = pool
        self._flavour = pool._flavour
        self._request = request
        self._exchange = exchange
        self._origin = request.url.origin
        self._proxy = pool._settings()
        self._timeout = request.extensions.get("timeout", {}).get("connect")
        self.target: dict[str, Any] = {}
        """What is told of the socket."""

    def attempt(self) -> None:
        """All legs, once."""
        proxy, flavour = self._proxy, self._flavour
        if proxy is None:
            self._connect(self._origin.host, self._origin.port)
            self._secure(flavour.connection_logger)
        elif proxy.is_socks:
            self._connect_to_socks(proxy)
            self._secure(flavour.socks_logger)
        else:
            self._connect(proxy.host, proxy.port)
            if proxy.is_secure:
                host = proxy.host.decode("ascii")
                secured = self._secured(proxy.sessions.context, host)
                with flavour.Trace(
                    "start_tls", flavour.connection_logger, self._request, secured
                ) as trace:
                    self._exchange.secure_proxy()
                    trace.return_value = self._stream()
            if not proxy.forwards(self._origin.scheme):
                self._ask(proxy)
                self._secure(flavour.proxy_logger)

    def _connect(self, host: bytes, port: int) -> None:
        pool, flavour = self._pool, self._flavour
        name = "connect_tcp"
        self.target = {
            "host": host.decode("ascii"),
            "port": port,
            "local_address": pool._local_address,
            "timeout": self._timeout,
            "socket_options": pool._socket_options,
        }
        if pool._uds is not None:
            name = "connect_unix_socket"
            self.target = {
                "path": pool._uds,
                "timeout": self._timeout,
                "socket_options": pool._socket_options,
            }
        with flavour.Trace(name, flavour.connection_logger, self._request, self.target) as trace:
            self._exchange.connect()
            trace.return_value = self._stream()

    def _connect_to_socks(self, proxy: Settings) -> None:
        flavour = self._flavour
        self.target = {"host": proxy.host.decode("ascii"), "port": proxy.port, "timeout": self._timeout}
        with flavour.Trace("connect_tcp", flavour.socks_logger, self._request, self.target) as trace:
            self._exchange.connect()
            stream = trace.return_value = self._stream()
        asked = {
            "stream": stream,
            "host": self._origin.host.decode("ascii"),
            "port": self._origin.port,
            "auth": proxy.auth,
        }
        if flavour.tells_socks_timeouts:
            asked["timeouts"] = self._request.extensions.get("timeout", {})
        with flavour.Trace(
            "setup_socks5_connection", flavour.socks_logger, self._request, asked
        ) as trace:
            self._exchange.agree()
            trace.return_value = stream

    def _ask(self, proxy: Settings) -> None:
        """A CONNECT is a request of its own to the listeners."""
        flavour = self._flavour
        logger = flavour.http11_logger
        connect = proxy.connect_request(flavour, self._request)
        payload = {"request": connect}
        try:
            with flavour.Trace("send_request_headers", logger, connect, payload):
                self._exchange.ask_proxy()
            with flavour.Trace("send_request_body", logger, connect, payload):
                pass  # there is none
            with flavour.Trace("receive_response_headers", logger, connect, payload) as trace:
                trace.return_value = self._exchange.proxy_answer()
        except BaseException:
            with flavour.ShieldCancellation():
                with flavour.Trace("response_closed", logger, connect):
                    self._exchange.close()
            raise
        try:
            self._exchange.agree()
        except flavour.module.ProxyError:
            with flavour.Trace("close", flavour.connection_logger, None, {}):
                self._exchange.close()
            raise

    def _secure(self, logger: Any) -> None:
        if self._origin.scheme not in (b"https", b"wss"):
            # A leg that is not there, and the end of the way: which version is spoken is known then.
            self._exchange.secure()
            return
        name = self._request.extensions.get("sni_hostname") or self._origin.host.decode("ascii")
        secured = self._secured(self._pool._tls().context, name)
        with self._flavour.Trace("start_tls", logger, self._request, secured) as trace:
            self._exchange.secure()
            trace.return_value = self._stream()

    def _secured(self, context: Any, server_hostname: Any) -> dict[str, Any]:
        return {"ssl_context": context, "server_hostname": server_hostname, "timeout": self._timeout}

    def _stream(self) -> Any:
        return self._pool._classes.network_stream(self._exchange.network_stream())
