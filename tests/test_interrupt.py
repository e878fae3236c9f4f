"""Ctrl-C and other signals in a sync call: seen at once, in every phase, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from doors import DOORS, SYNC, Door, Own, run
from pools import Pool
from routes import response
from servers import RECEIVE, RECEIVE_HEAD, STALL, Server, send, wait
from test_pool_limits import EMPTY

# The design's figure is 100 ms; ten times that for a loaded machine.
DEADLINE = 1.0
OK = response(b"ok")
BIG = b"x" * (20 << 20)


@pytest.fixture(autouse=True)
def python_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupter:
    """Sends SIGINT to this process once `reached` is true, and notes when."""

    def __init__(self, reached: Callable[[], object], number: int = signal.SIGINT) -> None:
        self.sent_at = 0.0
        self._reached = reached
        self._number = number
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        limit = time.monotonic() + 5.0
        while not self._reached() and time.monotonic() < limit:
            time.sleep(0.001)
        # Long enough for the caller to be deep in the wait that is interrupted.
        time.sleep(0.05)
        self.sent_at = time.monotonic()
        os.kill(os.getpid(), self._number)

    def __enter__(self) -> Interrupter:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join()


def interrupted(
    engine: str, server: Server, work: Callable[[Pool], object], reached: Callable[[Server], object]
) -> Pool:
    """Run `work` until Ctrl-C ends it, in time, and with an empty pool at that moment."""
    door = DOORS[SYNC](engine)

    async def scenario(door: Door) -> None:
        pool = door.pool(max_connections=1)
        with Interrupter(lambda: reached(server)) as interrupter:
            with pytest.raises(KeyboardInterrupt):
                await work(pool)
            late = time.monotonic() - interrupter.sent_at
        assert late < DEADLINE, f"{late:.2f} s until Ctrl-C came out"
        assert pool.counts == EMPTY
        assert not door.foreign

    run(door, scenario)
    return door.pools[0]


def test_while_connecting(engine: str) -> None:
    with Server(accept=False) as server:
        interrupted(engine, server, lambda pool: pool.request("GET", server.url()), lambda server: True)


def test_while_writing(engine: str) -> None:
    gate = threading.Event()
    with Server([[RECEIVE_HEAD, wait(gate), STALL]]) as server:
        work = lambda pool: pool.request("POST", server.url(), content=BIG)  # noqa: E731 - one call, named
        interrupted(engine, server, work, lambda server: server.requests)
        gate.set()
        assert server.wait_for(lambda: server.connections[0].ended, DEADLINE)


@pytest.mark.parametrize("sent", [b"", OK[:20], OK[:-1]], ids=["before", "in-head", "in-body"])
def test_while_reading(engine: str, sent: bytes) -> None:
    with Server([[RECEIVE, *([send(sent)] if sent else []), STALL]]) as server:
        work = lambda pool: pool.request("GET", server.url())  # noqa: E731 - one call, named
        interrupted(engine, server, work, lambda server: server.requests)
        assert server.wait_for(lambda: server.connections[0].ended, DEADLINE)


def test_while_queued(engine: str) -> None:
    """The waiter leaves the queue; the request that has the slot is not touched."""
    door = DOORS[SYNC](engine)

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool(max_connections=1)
            held = await pool.open("GET", server.url())
            with Interrupter(lambda: ", 1 queued" in pool.counts) as interrupter:
                with pytest.raises(KeyboardInterrupt):
                    await pool.request("GET", server.url())
                assert time.monotonic() - interrupter.sent_at < DEADLINE
            assert pool.counts == "1 active, 0 queued | 1 active, 0 idle"
            assert await held.read() == b"ok"
            await held.close()
            assert (await pool.request("GET", server.url())).status == 200
            assert server.accepted == 1

    run(door, scenario)


def test_next_request_after_an_interrupt(engine: str) -> None:
    door = DOORS[SYNC](engine)

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, STALL]]) as server:
            pool = door.pool(max_connections=1)
            with Interrupter(lambda: server.requests), pytest.raises(KeyboardInterrupt):
                await pool.request("GET", server.url())
            assert (await pool.request("GET", server.url())).status == 200

    run(door, scenario)


def test_a_handler_that_returns_lets_the_request_go_on(engine: str) -> None:
    """L-25: signals that are handled interrupt nothing; the handler runs while the request waits."""
    ran: list[float] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: ran.append(time.monotonic()))
    gate = threading.Event()
    try:

        async def scenario(door: Door) -> None:
            with Server([[RECEIVE, wait(gate), send(OK), STALL]]) as server:
                task = threading.Thread(target=lambda: (_until(lambda: ran), gate.set()))
                task.start()
                with Interrupter(lambda: server.requests, signal.SIGUSR1) as interrupter:
                    # Answered only once the handler has run.
                    assert (await door.pool().request("GET", server.url())).status == 200
                    assert ran[0] - interrupter.sent_at < DEADLINE
                task.join()

        run(DOORS[SYNC](engine), scenario)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_raises_ends_the_request(engine: str) -> None:
    """L-25: what a signal handler raises comes out of the call as it is."""

    def handler(*_: object) -> None:
        raise Own("from the handler")

    before = signal.signal(signal.SIGUSR1, handler)
    try:

        async def scenario(door: Door) -> None:
            with Server([[RECEIVE, STALL]]) as server:
                pool = door.pool()
                with Interrupter(lambda: server.requests, signal.SIGUSR1), pytest.raises(Own):
                    await pool.request("GET", server.url())
                assert pool.counts == EMPTY
                assert (await pool.request("GET", server.url())).status == 200

        run(DOORS[SYNC](engine), scenario)
    finally:
        signal.signal(signal.SIGUSR1, before)


def _until(predicate: Callable[[], object]) -> None:
    limit = time.monotonic() + 5.0
    while not predicate() and time.monotonic() < limit:
        time.sleep(0.001)
