"""A pool of either engine, called the same way on each door: one `await` for sync and async alike.

What a pool raises passes `Door.watch`; nothing is translated, retried or hidden here.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpcore
from engines import delegated

if TYPE_CHECKING:
    from doors import Door

# A request that hangs fails by its own timer long before the test's.
TIMEOUTS = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}


class Reply:
    """A response that was read to its end."""

    def __init__(self, response: Any, body: bytes) -> None:
        self.status: int = response.status
        self.headers: list[tuple[bytes, bytes]] = response.headers
        self.extensions: dict[str, Any] = response.extensions
        self.body = body

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Stream:
    """A response whose body is iterated by the scenario; `async with` closes it."""

    def __init__(self, door: Door, response: Any, context: Any = None) -> None:
        self._door = door
        self._context = context
        self.raw = response
        self.status: int = response.status
        self.headers: list[tuple[bytes, bytes]] = response.headers
        self.extensions: dict[str, Any] = response.extensions
        self._parts: Any = None

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        with self._door.watch():
            if self._parts is None:
                self._parts = self.raw.aiter_stream() if self._door.is_async else self.raw.iter_stream()
                self._parts = aiter(self._parts) if self._door.is_async else iter(self._parts)
            chunk = await _next_or_none(self._parts) if self._door.is_async else next(self._parts, None)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def read(self) -> bytes:
        return b"".join([part async for part in self])

    async def close(self) -> None:
        """Leave `pool.stream()`, or close the response of `handle_request`; end an abandoned iteration."""
        with self._door.watch():
            if self._context is not None:
                leave = self._context.__aexit__ if self._door.is_async else self._context.__exit__
                await settle(leave(None, None, None))
            else:
                await settle(self.raw.aclose() if self._door.is_async else self.raw.close())
            if self._parts is not None and hasattr(self._parts, "aclose"):
                await self._parts.aclose()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


async def _next_or_none(parts: AsyncIterator[bytes]) -> bytes | None:
    try:
        return await parts.__anext__()
    except StopAsyncIteration:
        return None


async def settle(result: Any) -> Any:
    """The value of a call that is a coroutine on the async doors only."""
    return await result if inspect.isawaitable(result) else result


class Pool:
    """A pool of either engine, called the same way on each door."""

    def __init__(self, door: Door, raw: Any) -> None:
        self._door = door
        self.raw = raw

    def __repr__(self) -> str:
        return repr(self.raw)

    @property
    def counts(self) -> str:
        """`repr(pool)` without the class: `1 active, 0 queued | 1 active, 0 idle`."""
        inner = repr(self.raw).partition("[")[2].rpartition("]")[0]
        return inner.replace("Requests: ", "").replace("Connections: ", "")

    @property
    def infos(self) -> list[str]:
        """The last words of each connection: `ACTIVE, Request Count: 1`."""
        return [connection.info().split(", ", 2)[-1] for connection in self.raw.connections]

    @property
    def delegated(self) -> str | None:
        return delegated(self._door.engine, self.raw)

    async def send(self, request: httpcore.Request) -> Stream:
        with self._door.watch():
            call = self.raw.handle_async_request if self._door.is_async else self.raw.handle_request
            return Stream(self._door, await settle(call(request)))

    async def open(
        self,
        method: str | bytes,
        url: Any,
        *,
        headers: Any = None,
        content: Any = None,
        timeout: dict[str, Any] | None = None,
        extensions: dict[str, Any] | None = None,
    ) -> Stream:
        """What `pool.stream()` opens: the response, its body unread. The caller closes it."""
        timeouts = TIMEOUTS if timeout is None else {**TIMEOUTS, **timeout}
        with self._door.watch():
            context = self.raw.stream(
                method,
                url,
                headers=headers,
                content=content,
                extensions={"timeout": timeouts, **(extensions or {})},
            )
            response = await settle(context.__aenter__() if self._door.is_async else context.__enter__())
            return Stream(self._door, response, context)

    async def request(self, method: str | bytes, url: Any, **options: Any) -> Reply:
        stream = await self.open(method, url, **options)
        try:
            body = await stream.read()
        finally:
            await stream.close()
        return Reply(stream, body)

    async def close(self) -> None:
        with self._door.watch():
            await settle(self.raw.aclose() if self._door.is_async else self.raw.close())
