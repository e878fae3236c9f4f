"""A task that never has to wait for its bytes leaves the loop to others all the same, as with httpcore."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator

import pytest
from doors import ASYNC_DOORS, Door, through
from servers import Server, call, send

# Seconds for which the task computes for each chunk: more than it may go on for without a turn of the others.
BUSY = 0.002
CHUNKS = 50
# Less than is read ahead and the kernel keeps: a server can send all of it to a task that does not read.
BODY = b"x" * (3 * 512 * 1024)


class Beside:
    """Another task of the loop, which runs whenever it may, and when that was."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._turns = 0
        self.seen: list[int] = []
        """How often it had run, each time that the first one computed."""

    async def run(self) -> None:
        while True:
            await self._door.sleep(0)
            self._turns += 1

    def compute(self) -> None:
        """What keeps the loop, in the first task."""
        self.seen.append(self._turns)
        until = time.perf_counter() + BUSY
        while time.perf_counter() < until:
            pass

    @property
    def had_its_turns(self) -> bool:
        """Nearly always between two looks; trio takes the tasks of one round in any order."""
        return len(set(self.seen)) * 3 > len(self.seen)


@pytest.mark.parametrize("connection", ["new", "idle"])
@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_beside_an_upload_that_never_waits(door: str, connection: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        beside = Beside(door)

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(CHUNKS):
                beside.compute()
                yield b"chunk"

        with Server() as server:
            pool = door.pool()
            if connection == "idle":
                await pool.request("GET", server.url())
            other = door.start(beside.run())
            reply = await pool.request("POST", server.url(), content=door.body(chunks()))
            assert reply.status == 200
            assert len(beside.seen) == CHUNKS
            assert beside.had_its_turns, beside.seen
            other.cancel()
            await other.settled()

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_beside_a_download_that_is_here(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        beside = Beside(door)
        sent = threading.Event()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        with Server([[send(head + BODY), call(lambda _: sent.set())]]) as server:
            stream = await door.pool().open("GET", server.url())
            assert await door.until(sent.is_set)
            other = door.start(beside.run())
            length = 0
            async for chunk in stream:
                beside.compute()
                length += len(chunk)
            assert length == len(BODY)
            assert beside.had_its_turns, beside.seen
            await stream.close()
            other.cancel()
            await other.settled()

    through(door, engine, scenario)
