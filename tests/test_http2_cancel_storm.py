"""Cancel storms over one HTTP/2 connection: whatever is cancelled, no stream, slot or window is lost."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from doors import ALL_DOORS, ANYIO, OWN, SYNC, Door, through
from frames import Peer, Peers
from pools import Pool
from servers import Server

FULL_SIZE = os.environ.get("HTTPCORE_HYPER_TESTS") == "full"
CANCELS = 10_000 if FULL_SIZE else 500
WORKERS = 10
ONE_FRAME, LARGE, HUGE = 16_000, 300_000, 20 << 20
CONNECTION_WINDOW = 16 << 20
# As in `test_cancel_storm.py`: the moment of a cancel is drawn from about the time that an exchange takes.
FIRST_RANGE, GROWTH, SHRINKAGE = 0.01, 1.01, 0.95


def serves(windows: list[int]) -> Callable[[Peer], None]:
    """Answers `/N` by so many bytes, and notes the window that there is each time."""

    def serve(peer: Peer) -> None:
        peer.greet()
        while True:
            stream = peer.read_whole_request()
            windows.append(peer.windows[0])
            if stream not in peer.resets:
                peer.answer(stream, bytes(int(peer.path(stream)[1:])))

    return serve


class Tally:
    def __init__(self) -> None:
        self.cancelled = 0
        self.answered = 0
        self.range = FIRST_RANGE
        self.wrong: list[Any] = []


@pytest.mark.timeout(900 if FULL_SIZE else 60)
@pytest.mark.parametrize("door", ALL_DOORS)
def test_a_storm_of_cancels_leaves_the_connection_whole(door: str, engine: str) -> None:
    """0 streams, 0 slots, the whole window: the next large body arrives on the same connection."""
    windows: list[int] = []

    async def scenario(door: Door) -> None:
        with Server([Peers().plays(serves(windows))]) as server:
            pool = door.pool(http1=False, http2=True)
            assert len((await pool.request("GET", server.url("/1"))).body) == 1
            tally = Tally()
            work = closers if door.name == SYNC else cancels
            workers = [door.start(work(door, pool, server, tally, number)) for number in range(WORKERS)]
            for worker in workers:
                await worker.outcome(deadline=900)
            assert not tally.wrong, tally.wrong[:5]
            assert tally.cancelled >= CANCELS
            assert tally.answered > CANCELS // 20, "next to nothing was answered: this proved nothing"
            assert pool.counts == "0 active, 0 queued | 0 active, 1 idle"
            assert len((await pool.request("GET", server.url(f"/{HUGE}"))).body) == HUGE
            assert (await pool.request("GET", server.url("/1"))).status == 200
            # The client gives back what it has read in large steps: after one of them all of it is there.
            for _ in range(CONNECTION_WINDOW // ONE_FRAME):
                if windows[-1] == CONNECTION_WINDOW:
                    break
                assert (await pool.request("GET", server.url(f"/{ONE_FRAME}"))).status == 200
            assert windows[-1] == CONNECTION_WINDOW
            assert server.accepted == 1

    through(door, engine, scenario)


async def cancels(door: Door, pool: Pool, server: Server, tally: Tally, number: int) -> None:
    dice = random.Random(number)
    while tally.cancelled < CANCELS and not tally.wrong:
        size = dice.choice((0, 10, LARGE))
        body = bytes(dice.choice((0, 10, LARGE)))
        task = door.start(exchange(pool, server, size, body, tally), dice.choice((OWN, ANYIO)))
        await door.sleep(dice.uniform(0, tally.range))
        task.cancel()
        if not await door.until(lambda task=task: task.done):
            tally.wrong.append("a cancelled task did not end")
        elif task.cancelled:
            tally.cancelled += 1
            tally.range *= GROWTH
        elif task.error is not None:
            tally.wrong.append(task.error)


async def exchange(pool: Pool, server: Server, size: int, body: bytes, tally: Tally) -> None:
    reply = await pool.request("POST", server.url(f"/{size}"), content=body)
    if len(reply.body) != size:
        tally.wrong.append(f"asked for {size} bytes, got {len(reply.body)}")
    tally.answered += 1
    tally.range *= SHRINKAGE


LOCK = threading.Lock()


async def closers(door: Door, pool: Pool, server: Server, tally: Tally, number: int) -> None:
    """What a thread can do: close a response that it has read in part, or not at all."""
    dice = random.Random(number)
    while tally.cancelled < CANCELS and not tally.wrong:
        size = dice.choice((10, LARGE, 4 * LARGE))
        try:
            async with await pool.open("GET", server.url(f"/{size}")) as response:
                for _ in range(dice.randrange(4)):
                    if await anext(response, None) is None:
                        break
                else:
                    with LOCK:
                        tally.cancelled += 1
                    continue
            with LOCK:
                tally.answered += 1
        except Exception as error:
            tally.wrong.append(error)
