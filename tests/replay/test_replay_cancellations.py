"""httpcore's tests of cancellation through its pool, replayed over real sockets."""

from __future__ import annotations

import threading

import pytest
from doors import ANYIO, ASYNCIO, OWN, TRIO, Door
from replays import HELLO_HEAD, Replay, house, pool_into, reprs
from servers import RECEIVE, RECEIVE_HEAD, Server, send, wait

pytestmark = [
    # A thread cannot be cancelled: the sync door has no such test.
    pytest.mark.parametrize("replay", [ASYNCIO, TRIO], indirect=True),
    pytest.mark.parametrize("way", [OWN, ANYIO]),
]
# More than the buffers of both sides of a connection hold together.
TOO_MUCH = b"x" * (32 * 1024 * 1024)


async def cancel(door: Door, server: Server, way: str, method: str, content: bytes | None) -> None:
    """Cancel a request whose connection has come to the last step of its script."""
    pool = pool_into(server, door)
    left: list[list[str]] = []

    async def request() -> None:
        try:
            await pool.request(method, "http://example.com", content=content)
        finally:
            # At the very moment the caller learns of it; nothing could run in between.
            left.append(reprs(pool))

    task = door.start(request(), way)
    last = len(server.scripts[0]) - 1
    assert await door.until(lambda: server.connections and server.connections[0].stage == last)
    assert not task.done
    task.cancel()
    await task.settled()
    assert task.cancelled
    assert left == [[]]
    assert pool.counts == "0 active, 0 queued | 0 active, 0 idle"


def test_a_cancel_while_sending_closes_the_connection(replay: Replay, way: str) -> None:
    """The server reads the head and nothing more, so that the body cannot be sent."""

    async def scenario(door: Door) -> None:
        held = threading.Event()
        with house(scripts=[[RECEIVE_HEAD, wait(held)]]) as server:
            await cancel(door, server, way, "POST", TOO_MUCH)
            held.set()
            assert await door.until(lambda: server.connections[0].ended)

    replay(scenario)


def test_a_cancel_while_reading_closes_the_connection(replay: Replay, way: str) -> None:
    """The server sends a part of what it has announced, and no more."""

    async def scenario(door: Door) -> None:
        held = threading.Event()
        with house(scripts=[[RECEIVE, send(HELLO_HEAD + b"Hello"), wait(held)]]) as server:
            await cancel(door, server, way, "GET", None)
            held.set()
            assert await door.until(lambda: server.connections[0].ended)

    replay(scenario)
