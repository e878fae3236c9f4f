"""Chapter L, signals: handlers run while a sync call waits, whatever they do, and however many signals come.

Connecting, writing, reading and queued under Ctrl-C are in `test_interrupt`, a name look-up in `programs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
import uvloop
from routes import response
from servers import RECEIVE, STALL, Server, send, wait

import httpcore_hyper
from httpcore_hyper import ConnectionPool

# The promise is 100 ms; ten times that for a loaded machine.
DEADLINE = 1.0
OK = response(b"ok")
BODY = bytes(range(256)) * (16 << 10)  # 4 MiB: more than all buffers on the way
EMPTY = "Requests: 0 active, 0 queued | Connections: 0 active, 0 idle"


@contextlib.contextmanager
def handling(number: int, handler: Any) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextlib.contextmanager
def ringing(interval: float) -> Iterator[list[int]]:
    """SIGALRM every so often, counted by its handler."""
    rung: list[int] = []
    with handling(signal.SIGALRM, lambda *_: rung.append(1)):
        signal.setitimer(signal.ITIMER_REAL, interval, interval)
        try:
            yield rung
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def kill_once(reached: Callable[[], object], number: int, sent_at: list[float]) -> threading.Thread:
    """Sends the signal to this process once the moment is reached."""

    def run() -> None:
        limit = time.monotonic() + 5.0
        while not reached() and time.monotonic() < limit:
            time.sleep(0.001)
        sent_at.append(time.monotonic())
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


class Strange(BaseException):
    """Of nobody's family."""


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, OSError, Strange]
)
def test_whatever_a_handler_raises_comes_out(error: type[BaseException]) -> None:
    """L-25: as it is, in time, and the pool is empty at that moment."""
    raised = error("from the handler")

    def handler(*_: object) -> None:
        raise raised

    with Server([[RECEIVE, STALL]]) as server, ConnectionPool() as pool, handling(signal.SIGUSR1, handler):
        sent_at: list[float] = []
        thread = kill_once(lambda: server.requests, signal.SIGUSR1, sent_at)
        with pytest.raises(error) as caught:
            pool.request("GET", server.url())
        late = time.monotonic() - sent_at[0]
        assert caught.value is raised
        assert EMPTY in repr(pool)
        assert late < DEADLINE
        thread.join()
        assert pool.request("GET", server.url()).status == 200


def test_a_handler_may_use_the_same_pool() -> None:
    """In the middle of a request that waits; both are answered."""
    gate = threading.Event()
    seen: list[int] = []
    with Server([[RECEIVE, wait(gate), send(OK), STALL]]) as server, ConnectionPool() as pool:

        def handler(*_: object) -> None:
            seen.append(pool.request("GET", server.url()).status)
            gate.set()

        with handling(signal.SIGUSR1, handler):
            thread = kill_once(lambda: server.requests, signal.SIGUSR1, [])
            assert pool.request("GET", server.url()).status == 200
            thread.join()
        assert seen == [200]


@pytest.mark.parametrize("others", [1, 4])
def test_while_other_threads_drive_the_pool(others: int) -> None:
    """The main thread sees its signals in time, whichever thread waits for the sockets of all."""
    stalled = [[RECEIVE, STALL]] * (others + 1)
    failed: list[BaseException] = []

    def stall() -> None:
        try:
            pool.request("GET", server.url())
        except httpcore_hyper._rust.Moved:
            raise
        except Exception as error:
            failed.append(error)

    def handler(*_: object) -> None:
        raise Strange

    with Server(stalled) as server, ConnectionPool() as pool, handling(signal.SIGUSR1, handler):
        threads = [threading.Thread(target=stall) for _ in range(others)]
        for thread in threads:
            thread.start()
        assert server.wait_for(lambda: len(server.requests) == others, 5.0)
        sent_at: list[float] = []
        killing = kill_once(lambda: len(server.requests) > others, signal.SIGUSR1, sent_at)
        with pytest.raises(Strange):
            pool.request("GET", server.url())
        assert time.monotonic() - sent_at[0] < DEADLINE
        killing.join()
        pool.close()
        for thread in threads:
            thread.join()
        assert len(failed) == others


def test_a_storm_of_signals_changes_nothing() -> None:
    """L-25, EINTR: every byte arrives both ways while a thousand signals a second come."""
    with Server() as server, ConnectionPool() as pool, ringing(0.001) as rung:
        while len(rung) < 50:
            answer = pool.request("POST", server.url("/echo"), content=BODY)
            assert answer.content == BODY
            pool.close()


def test_a_storm_of_children_changes_nothing() -> None:
    """L-25, SIGCHLD: a hundred children end while requests are made."""
    ended: list[int] = []

    def breed() -> None:
        for _ in range(10):
            for child in [subprocess.Popen(["true"]) for _ in range(10)]:
                child.wait()

    with Server() as server, ConnectionPool() as pool, handling(signal.SIGCHLD, lambda *_: ended.append(1)):
        thread = threading.Thread(target=breed)
        thread.start()
        while thread.is_alive():
            assert pool.request("GET", server.url("/slow?gap=0.001")).content == b"slow"
        thread.join()
        assert ended


@pytest.mark.parametrize("runner", ["asyncio", "uvloop", "trio"])
def test_interrupt_of_a_loop(runner: str) -> None:
    """Ctrl-C in a loop that waits for an answer is the loop's to handle; nothing is left of the request."""
    if runner == "asyncio" and sys.version_info < (3, 11):
        pytest.skip("asyncio.run leaves Ctrl-C to the interpreter before 3.11, wherever it strikes")
    pool = httpcore_hyper.AsyncConnectionPool()
    run = {"asyncio": asyncio.run, "uvloop": uvloop.run, "trio": lambda work: trio.run(_awaited, work)}[
        runner
    ]
    with Server([[RECEIVE, STALL]]) as server, handling(signal.SIGINT, signal.default_int_handler):
        thread = kill_once(lambda: server.requests, signal.SIGINT, [])
        with pytest.raises(KeyboardInterrupt):
            run(pool.request("GET", server.url()))
        thread.join()
        assert EMPTY in repr(pool)
        assert server.wait_for(lambda: server.connections[0].ended, DEADLINE)


async def _awaited(work: Any) -> Any:
    return await work
