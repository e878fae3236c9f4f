"""Calls: `request` and `stream`, what httpcore's pools offer above `handle_async_request`.

httpcore checks each value of a call, splits the URL and makes a `Request`, and we would take that apart
again: a third of the time that a small request takes. Here is the short way, for plain values that nobody
looks at on their way. What only httpcore can do, and be it to raise its own error, httpcore does. Both calls
wait for the head themselves: a coroutine for the two would cost some hundredths of a small request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .. import _rust
from .._flavour import Flavour
from .response_stream import AsyncResponseStream

if TYPE_CHECKING:
    import httpcore

    from .flavoured import AsyncClasses

    _Pool = httpcore.AsyncConnectionPool
else:
    _Pool = object  # the flavour's own pool comes behind the engine in each class's bases

__all__ = ["AsyncCalls"]


class AsyncCalls(_Pool):
    """The part of an engine's pool that takes calls."""

    _flavour: Flavour
    _classes: AsyncClasses

    async def request(
        self,
        method: bytes | str,
        url: httpcore.URL | bytes | str,
        *,
        headers: Any = None,
        content: Any = None,
        extensions: Any = None,
    ) -> httpcore.Response:
        """Sends a request and returns its response, whose body has been read and closed.

        Takes httpcore's arguments, and raises what it raises.
        """
        exchange = self._short_way(method, url, headers, content, extensions)
        if exchange is not None:
            try:
                head = await exchange.head()
            except _rust.Moved:
                pass  # the pool has been delegated while this request was in its queue
            except BaseException:
                exchange.close()
                raise
            else:
                response = self._respond(exchange, *head)
                stream: Any = response.stream
                try:
                    # Nearly always the whole body has come with the head.
                    if not (stream._ended and self._flavour.responses.fill(response)):
                        await response.aread()
                finally:
                    stream._close()
                return response
        return await super().request(method, url, headers=headers, content=content, extensions=extensions)

    @asynccontextmanager
    async def stream(
        self,
        method: bytes | str,
        url: httpcore.URL | bytes | str,
        *,
        headers: Any = None,
        content: Any = None,
        extensions: Any = None,
    ) -> AsyncIterator[httpcore.Response]:
        """Sends a request and gives its response, whose body has yet to be read, and closes it in the end.

        Takes httpcore's arguments, and raises what it raises.
        """
        exchange = self._short_way(method, url, headers, content, extensions)
        if exchange is not None:
            try:
                head = await exchange.head()
            except _rust.Moved:
                pass  # as above
            except BaseException:
                exchange.close()
                raise
            else:
                response = self._respond(exchange, *head)
                try:
                    yield response
                finally:
                    await response.aclose()
                return
        async with super().stream(
            method, url, headers=headers, content=content, extensions=extensions
        ) as response:
            yield response

    def _short_way(
        self, method: Any, url: Any, headers: Any, content: Any, extensions: Any
    ) -> _rust.AsyncExchange | None:
        """The exchange of a call that needs no help of httpcore's; else `None`, and nothing has been done."""
        timeout = server_name = None
        if extensions is not None:
            if type(extensions) is not dict or "target" in extensions or extensions.get("trace") is not None:
                return None
            timeout = extensions.get("timeout")
            server_name = extensions.get("sni_hostname") or None
        pool: Any = self  # an `AsyncEnginePool`
        if not pool._is_untouched():
            return None
        exchange: _rust.AsyncExchange | None = pool._engine().plain_exchange(
            method, url, headers, content, timeout, server_name
        )
        return exchange

    def _respond(
        self,
        exchange: _rust.AsyncExchange,
        status: int,
        headers: list[tuple[bytes, bytes]],
        extensions: dict[str, Any],
        first: bytes | None,
        ended: bool,
    ) -> httpcore.Response:
        """The response with that head; its stream is an `AsyncResponseStream`."""
        extensions["network_stream"] = self._classes.network_stream(exchange.network_stream())
        stream = AsyncResponseStream(exchange, first, ended, extensions)
        return self._flavour.responses.make(status, headers, stream, extensions)
