"""The body of a response: chunks as they come, and the end of the exchange."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator

from .. import _rust

__all__ = ["AsyncResponseStream"]


class AsyncResponseStream:
    """The body of one response. Closing it gives the connection back to the pool, or closes it.

    Closing never waits, so a cancelled caller can do it.
    """

    def __init__(self, exchange: _rust.AsyncExchange, first: bytes | None, ended: bool) -> None:
        self._exchange = exchange
        self._first = first
        self._ended = ended
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            if self._first is not None:
                first, self._first = self._first, None
                yield first
            if not self._ended:
                while (chunk := await self._exchange.read()) is not None:
                    yield chunk
                self._ended = True
        except BaseException:
            # Also when the consumer stops early and the generator is closed.
            self._close()
            raise

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
