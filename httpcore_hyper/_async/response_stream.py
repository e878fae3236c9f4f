"""The body of a response: chunks as they come, and the end of the exchange."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .. import _rust

__all__ = ["AsyncResponseStream"]


class AsyncResponseStream:
    """The body of one response. Closing it gives the connection back to the pool, or closes it.

    Closing never waits, so a cancelled caller can do it.
    """

    _mapping: Callable[[], AbstractContextManager[None]] = staticmethod(nullcontext)
    """What an error of the body is raised in: it may become one of another library's there."""

    def __init__(
        self,
        exchange: _rust.AsyncExchange,
        first: bytes | None,
        ended: bool,
        extensions: dict[str, Any],
    ) -> None:
        """Puts `trailers`, filled when the body has ended, into the extensions of an HTTP/2 response."""
        self._exchange = exchange
        self._first = first
        self._ended = ended
        self._closed = False
        self._trailers: list[tuple[bytes, bytes]] | None = None
        if "stream_id" in extensions:
            self._trailers = extensions["trailers"] = exchange.trailers() if ended else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _AsyncParts(self)

    def rest(self) -> bytes:
        """What nobody has read of a body that is all here; an iteration finds nothing after it."""
        first, self._first = self._first, None
        return b"" if first is None else first

    async def aclose(self) -> None:
        """Ends the exchange: idempotent, and done when it returns."""
        self._close()

    def _close(self) -> None:
        self._closed = True
        self._exchange.close()

    def __del__(self) -> None:
        if not self._closed:
            warnings.warn(
                f"unclosed response stream {self!r}: its connection was held until now",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self._close()


class _AsyncParts:
    """One iteration over a body. As in httpcore, an error in it or its abandonment closes the response.

    An object and no generator: whoever stops early just drops it, on any loop and at any time, and no
    loop has to finalise it.
    """

    def __init__(self, stream: AsyncResponseStream) -> None:
        self._stream: AsyncResponseStream | None = stream

    def __aiter__(self) -> _AsyncParts:
        return self

    async def __anext__(self) -> bytes:
        stream = self._stream
        if stream is None:
            raise StopAsyncIteration
        if stream._first is not None:
            first, stream._first = stream._first, None
            return first
        if not stream._ended:
            try:
                chunk = await stream._exchange.read()
            except BaseException:
                self._stream = None
                stream._close()
                with stream._mapping():
                    raise
            if chunk is not None:
                return chunk
            stream._ended = True
            if stream._trailers is not None:
                stream._trailers.extend(stream._exchange.trailers())
        self._stream = None
        raise StopAsyncIteration

    def __del__(self) -> None:
        if self._stream is not None:
            self._stream._close()
