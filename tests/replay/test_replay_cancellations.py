"""httpcore's tests of cancellation through its pool, replayed over real sockets."""

from __future__ import annotations

import pytest
from doors import ANYIO, OWN, SYNC, Door
from replays import HELLO_HEAD, Replay, house, pool_into
from servers import RECEIVE, RECEIVE_HEAD, STALL, send, wait

pytestmark = [
    # A thread cannot be cancelled: the sync door has no such test.
    pytest.mark.parametrize("replay", ["asyncio", "trio"], indirect=True),
    pytest.mark.parametrize("way", [OWN, ANYIO]),
]
# More than the buffers of both sides of a connection hold together.
TOO_MUCH = b"x" * (32 * 1024 * 1024)


def test_a_cancel_while_sending_closes_the_connection(replay: Replay, way: str) -> None:
    """The server reads the head and nothing more, so that the body cannot be sent."""

    async def scenario(door: Door) -> None:
        assert door.name != SYNC
        with house(scripts=[[RECEIVE_HEAD, wait(held)]]) as server:
            pool = pool_into(server, door)
            task = door.start(pool.request("POST", "http://example.com", content=TOO_MUCH), way)
            assert await door.until(lambda: server.requests)
            task.cancel()
            await task.settled()
            # Nothing has run since but the waiting for the task's own end.
            assert pool.raw.connections == []
            assert pool.counts == "0 active, 0 queued | 0 active, 0 idle"
            held.set()
            assert await door.until(lambda: server.connections[0].ended)

    import threading

    held = threading.Event()
    replay(scenario)


def test_a_cancel_while_reading_closes_the_connection(replay: Replay, way: str) -> None:
    """The server sends a part of what it has announced, and no more."""

    async def scenario(door: Door) -> None:
        with house(scripts=[[RECEIVE, send(HELLO_HEAD + b"Hello"), STALL]]) as server:
            pool = pool_into(server, door)
            task = door.start(pool.request("GET", "http://example.com"), way)
            assert await door.until(
                lambda: (server.connections and server.connections[0].finished) or server.requests
            )
            task.cancel()
            await task.settled()
            assert pool.raw.connections == []
            assert pool.counts == "0 active, 0 queued | 0 active, 0 idle"
            assert await door.until(lambda: server.connections[0].ended)

    replay(scenario)
