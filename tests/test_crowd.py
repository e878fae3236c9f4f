"""Many threads on one pool: each gives way to the others between its request and the answer.

Nothing is lost by it; timeouts, ends and Ctrl-C are those of a thread that waits by itself.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore
import pytest
from routes import Request
from servers import Server
from test_interrupt import DEADLINE as INTERRUPTED
from test_interrupt import Interrupter

import httpcore_hyper

THREADS, EACH = 8, 60
# Seconds after which a peer that says nothing is given up, or a late one answers.
TIMEOUT = 0.2
DEADLINE = 20.0


def answer(request: Request) -> list[tuple[str, tuple[Any, ...]]]:
    """Its own target, or of "/silent" nothing for ever, of "/late" something after a while."""
    if request.target == b"/silent":
        return [("stall", ())]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.target)
    late = [("pause", (TIMEOUT,))] if request.target == b"/late" else []
    return [*late, ("send", (head + request.target,))]


@contextlib.contextmanager
def crowd(server: Server, pool: httpcore_hyper.ConnectionPool) -> Iterator[list[BaseException]]:
    """Threads that send requests all the time; what goes wrong in them."""
    stopped = threading.Event()
    failures: list[BaseException] = []

    def run(number: int) -> None:
        count = 0
        try:
            while not stopped.is_set():
                count += 1
                path = f"/{number}/{count}"
                assert pool.request("GET", server.url(path)).content == path.encode()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def test_each_thread_gets_its_own_answers() -> None:
    """None is lost, none is another one's, and what they leave is what one thread leaves."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for count in range(EACH):
                path = f"/{number}/{count}"
                # Some of the answers are late, so that some turns are in vain.
                late = "/late" if count % 20 == number else path
                assert pool.request("GET", server.url(late)).content == late.encode()
        except BaseException as error:
            failures.append(error)

    with Server(app=answer) as server, httpcore_hyper.ConnectionPool(max_connections=THREADS) as pool:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert server.accepted <= THREADS
        assert all(connection.is_idle() for connection in pool.connections)


def test_large_bodies_come_whole() -> None:
    """A look takes no more of a body than a piece; the rest is read as ever."""
    size = 300_000
    body = bytes(range(256)) * (size // 256)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with (
        Server(app=lambda request: [("send", (head + body,))]) as server,
        httpcore_hyper.ConnectionPool(max_connections=THREADS) as pool,
        ThreadPoolExecutor(THREADS) as threads,
    ):
        responses = threads.map(lambda _: pool.request("GET", server.url()), range(THREADS * EACH))
        assert all(response.content == body for response in responses)
        assert server.accepted <= THREADS


def test_a_timeout_fires_among_others() -> None:
    """The peer says nothing, and the others go on."""
    with Server(app=answer) as server, httpcore_hyper.ConnectionPool(max_connections=2 * THREADS) as pool:
        with crowd(server, pool) as failures:
            for _ in range(5):
                began = time.monotonic()
                with pytest.raises(httpcore.ReadTimeout):
                    pool.request("GET", server.url("/silent"), extensions={"timeout": {"read": TIMEOUT}})
                assert TIMEOUT <= time.monotonic() - began < 10 * TIMEOUT
        assert not failures


def test_an_interrupt_arrives_among_others() -> None:
    """The main thread waits in vain, and Ctrl-C ends that."""
    # A shell may have started us with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Server(app=answer) as server, httpcore_hyper.ConnectionPool(max_connections=2 * THREADS) as pool:
            with crowd(server, pool) as failures:

                def is_waiting() -> bool:
                    return any(request.target == b"/silent" for request in list(server.requests))

                with Interrupter(is_waiting) as interrupter:
                    with pytest.raises(KeyboardInterrupt):
                        pool.request("GET", server.url("/silent"))
                    late = time.monotonic() - interrupter.sent_at
            assert late < INTERRUPTED, f"{late:.2f} s until Ctrl-C came out"
            assert not failures
    finally:
        signal.signal(signal.SIGINT, before)


def test_closing_the_pool_ends_all_of_them() -> None:
    """Requests in flight fail, wherever their threads are with them."""
    with Server(app=answer) as server, httpcore_hyper.ConnectionPool(max_connections=THREADS) as pool:
        ended: list[BaseException] = []
        for _ in range(5):
            with crowd(server, pool) as failures:
                assert server.wait_for(lambda: len(server.requests) > THREADS, DEADLINE)
                pool.close()
                # A request that comes later opens a connection anew.
                pool.request("GET", server.url("/after"))
            ended += failures
            server.requests.clear()
        assert ended
        assert all(isinstance(error, httpcore.ReadError) for error in ended), ended
