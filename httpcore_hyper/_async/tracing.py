"""A request whose events somebody listens to: by its `trace` extension, or by a logger at DEBUG level.

The exchange stops at each event until the listener has returned, in httpcore's order and with httpcore's
payloads, on the caller's own task or thread. Nothing is read or written ahead of an event.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any, cast

from .. import _rust
from .._flavour import whole_body
from .opening import open_traced
from .response_stream import AsyncResponseStream

if TYPE_CHECKING:
    import httpcore

    from .connection_pool import AsyncEnginePool

__all__ = ["AsyncTracedStream", "send_traced"]


async def send_traced(
    pool: AsyncEnginePool, request: httpcore.Request, exchange: _rust.AsyncExchange
) -> httpcore.Response:
    """Takes a stepwise exchange from its place in the queue to the response head."""
    flavour = pool._flavour
    connects = await exchange.acquire()
    await pool._log_closed()
    if connects:
        await open_traced(pool, request, exchange)
    request = pool._told(request)
    stream_id = exchange.stream_id()
    logger = flavour.http11_logger if stream_id is None else flavour.http2_logger
    payload: dict[str, Any] = {"request": request}
    if stream_id is not None:
        if connects:
            async with flavour.Trace("send_connection_init", logger, request, payload):
                pass  # sent with the headers
        payload["stream_id"] = stream_id
    try:
        try:
            async with flavour.Trace("send_request_headers", logger, request, payload):
                await exchange.send()
            if stream_id is not None:
                # Another request may have opened its stream meanwhile.
                payload["stream_id"] = stream_id = exchange.stream_id()
            async with flavour.Trace("send_request_body", logger, request, payload):
                whole = whole_body(request.stream)
                if whole is not None:
                    await exchange.write(whole)
                else:
                    async for chunk in cast(AsyncIterable[bytes], request.stream):
                        await exchange.write(chunk)
                await exchange.finish()
        except flavour.module.WriteError:
            pass  # the server may have answered early, and closed
        async with flavour.Trace("receive_response_headers", logger, request, payload) as trace:
            status, headers, extensions, first, ended = await exchange.head()
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
        stream = AsyncTracedStream(exchange, first, ended, extensions, pool, request)
        return flavour.responses.make(status, headers, stream, extensions)
    except BaseException:
        with flavour.AsyncShieldCancellation():
            closed = {} if stream_id is None else {"stream_id": stream_id}
            async with flavour.Trace("response_closed", logger, request, closed):
                exchange.close()
        raise


class AsyncTracedStream(AsyncResponseStream):
    """The body of a response to such a request."""

    def __init__(
        self,
        exchange: _rust.AsyncExchange,
        first: bytes | None,
        ended: bool,
        extensions: dict[str, Any],
        pool: AsyncEnginePool,
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

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            payload = {"request": self._request, **self._of_stream}
            async with self._flavour.Trace("receive_response_body", self._logger, self._request, payload):
                async for chunk in super().__aiter__():
                    yield chunk
        except BaseException:
            with self._flavour.AsyncShieldCancellation():
                await self.aclose()
            raise

    async def aclose(self) -> None:
        """Ends the exchange, also when a listener raises: idempotent."""
        if self._told:
            return
        self._told = True
        try:
            async with self._flavour.Trace("response_closed", self._logger, self._request, self._of_stream):
                self._close()
            await self._pool._log_closed()
        finally:
            self._close()
