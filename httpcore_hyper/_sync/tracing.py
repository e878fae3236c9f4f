# Generated from _async/tracing.py by scripts/sync.py. Not edited by hand.
"""A request whose events somebody listens to: by its `trace` extension, or by a logger at DEBUG level.

The exchange stops at each event until the listener has returned, in httpcore's order and with httpcore's
payloads, on the caller's own task or thread. Nothing is read or written ahead of an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from .. import _rust
from .._flavour import whole_body
from .opening import open_traced
from .response_stream import ResponseStream

if TYPE_CHECKING:
    import httpcore

    from .connection_pool import EnginePool

__all__ = ["TracedStream", "send_traced"]


def send_traced(
    pool: EnginePool, request: httpcore.Request, exchange: _rust.Exchange
) -> httpcore.Response:
    """Takes a stepwise exchange from its place in the queue to the response head."""
    flavour = pool._flavour
    connects = exchange.acquire()
    pool._log_closed()
    if connects:
        open_traced(pool, request, exchange)
    request = pool._told(request)
    stream_id = exchange.stream_id()
    logger = flavour.http11_logger if stream_id is None else flavour.http2_logger
    payload: dict[str, Any] = {"request": request}
    if stream_id is not None:
        if connects:
            with flavour.Trace("send_connection_init", logger, request, payload):
                pass  # sent with the headers
        payload["stream_id"] = stream_id
    try:
        try:
            with flavour.Trace("send_request_headers", logger, request, payload):
                exchange.send()
            if stream_id is not None:
                # Another request may have opened its stream meanwhile.
                payload["stream_id"] = stream_id = exchange.stream_id()
            with flavour.Trace("send_request_body", logger, request, payload):
                whole = whole_body(request.stream)
                if whole is not None:
                    exchange.write(whole)
                else:
                    for chunk in cast(Iterable[bytes], request.stream):
                        exchange.write(chunk)
                exchange.finish()
        except flavour.module.WriteError:
            pass  # the server may have answered early, and closed
        with flavour.Trace("receive_response_headers", logger, request, payload) as trace:
            status, headers, extensions, first, ended = exchange.head()
            if stream_id is None:
                trace.return_value = (
                    extensions["http_version"],
                    status,
                    extensions["reason_phrase"],
                    headers,
                )
            else:
                trace.return_value = (status, headers)
        extensions["network_stream"] = pool._classes.network_stream(exchange.network_stream())
        stream = TracedStream(exchange, first, ended, extensions, pool, request)
        return flavour.responses.make(status, headers, stream, extensions)
    except BaseException:
        with flavour.ShieldCancellation():
            closed = {} if stream_id is None else {"stream_id": stream_id}
            with flavour.Trace("response_closed", logger, request, closed):
                exchange.close()
        raise


class TracedStream(ResponseStream):
    """The body of a response to such a request."""

    def __init__(
        self,
        exchange: _rust.Exchange,
        first: bytes | None,
        ended: bool,
        extensions: dict[str, Any],
        pool: EnginePool,
        request: httpcore.Request,
    ) -> None:
        super().__init__(exchange, first, ended, extensions)
        self._pool = pool
        self._flavour = pool._flavour
        self._logger = pool._flavour.http11_logger
        self._of_stream: dict[str, Any] = {}
        if "stream_id" in extensions:
            self._logger = pool._flavour.http2_logger
            self._of_stream["stream_id"] = extensions["stream_id"]
        self._request = request
        self._told = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            payload = {"request": self._request, **self._of_stream}
            with self._flavour.Trace("receive_response_body", self._logger, self._request, payload):
                for chunk in super().__iter__():
                    yield chunk
        except BaseException:
            with self._flavour.ShieldCancellation():
                self.close()
            raise

    def close(self) -> None:
        """Ends the exchange, also when a listener raises: idempotent."""
        if self._told:
            return
        self._told = True
        try:
            with self._flavour.Trace("response_closed", self._logger, self._request, self._of_stream):
                self._close()
            self._pool._log_closed()
        finally:
            self._close()
