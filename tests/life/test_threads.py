"""Chapter L, threads and finalisers: one pool for many threads, closed and collected at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpcore
import pytest
import trio
import uvloop
from doors import ALL_DOORS
from lab import Always, respond_by_http2
from routes import response
from servers import RECEIVE, STALL, Server, call, send
from sockets import held_towards

import httpcore_hyper
from httpcore_hyper import ConnectionPool, _rust

FULL_SIZE = os.environ.get("HTTPCORE_HYPER_TESTS") == "full"
# How long the storms last. The full one is what faults.md asks for.
STORM = 600.0 if FULL_SIZE else 1.5
HALF = [RECEIVE, send(response(b"half")[:-2]), STALL]


@pytest.fixture
def collecting() -> Iterator[None]:
    """A collection at every allocation that can begin one: finalisers run in the middle of anything."""
    before = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)


def in_threads(number: int, work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(work, range(number)))


def test_a_hundred_threads_on_one_pool() -> None:
    """L-18: 2,000 requests over 10 connections, each with its own answer."""
    with Server() as server, ConnectionPool(max_connections=10) as pool:

        def work(thread: int) -> int:
            for number in range(20):
                nonce = f"{thread}-{number}".encode()
                answer = pool.request("POST", server.url("/echo"), content=nonce)
                assert answer.content == nonce
            return 20

        assert sum(in_threads(100, work)) == 2_000
        assert server.accepted == 10


@pytest.mark.timeout(STORM + 60)
def test_close_from_another_thread_at_any_moment() -> None:
    """L-17: requests in flight fail with httpcore's classes or succeed; the pool works on."""
    enough = threading.Event()
    served: list[int] = []

    with Server() as server, ConnectionPool(max_connections=4) as pool:

        def work(_: int) -> None:
            while not enough.is_set():
                with contextlib.suppress(httpcore.ConnectError, httpcore.ReadError, httpcore.WriteError):
                    served.append(pool.request("GET", server.url("/chunked")).status)

        with ThreadPoolExecutor(8) as threads:
            working = [threads.submit(work, number) for number in range(8)]
            limit = time.monotonic() + STORM
            while time.monotonic() < limit and not any(one.done() for one in working):
                pool.close()
                time.sleep(0.002)
            enough.set()
            for one in working:
                one.result()
        assert served
        assert pool.request("GET", server.url()).status == 200


def test_close_inside_a_callback() -> None:
    """L-17: a listener closes the pool under its own request, which fails as if another had done it."""
    with Server([[RECEIVE, STALL]] * 2) as server, ConnectionPool() as pool:

        def trace(name: str, info: Any) -> None:
            if name == "http11.receive_response_headers.started":
                pool.close()

        with pytest.raises(httpcore.ReadError):
            pool.request("GET", server.url(), extensions={"trace": trace})
        assert "0 active, 0 queued" in repr(pool)
        asynchronous = httpcore_hyper.AsyncConnectionPool()

        async def atrace(name: str, info: Any) -> None:
            if name == "http11.receive_response_headers.started":
                await asynchronous.aclose()

        with pytest.raises(httpcore.ReadError):
            asyncio.run(asynchronous.request("GET", server.url(), extensions={"trace": atrace}))
        assert "0 active, 0 queued" in repr(asynchronous)


def test_the_gil_held_for_a_second() -> None:
    """L-19: a thread that holds it in C delays the others, and no lock of ours waits the other way round."""
    hold = ctypes.PyDLL(None).usleep
    with Server() as server, ConnectionPool(max_connections=5) as pool:
        enough = threading.Event()

        def work(_: int) -> int:
            served = 0
            while not enough.is_set():
                served += pool.request("GET", server.url()).status == 200
            return served

        with ThreadPoolExecutor(20) as threads:
            working = [threads.submit(work, number) for number in range(20)]
            assert server.wait_for(lambda: len(server.requests) > 20, 5.0)
            hold(1_000_000)
            before = len(server.requests)
            assert server.wait_for(lambda: len(server.requests) > before + 20, 5.0)
            enough.set()
            assert all(one.result() for one in working)


@pytest.mark.timeout(STORM + 60)
def test_finalisers_at_any_moment(collecting: None) -> None:
    """L-20: responses in cycles are dropped unread, and collected by whichever thread comes to it."""
    limit = time.monotonic() + STORM

    class Knot:
        def __init__(self, response: httpcore.Response) -> None:
            self.response, self.knot = response, self

    with (
        Server([HALF] * 2) as server,
        ConnectionPool(max_connections=8) as pool,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ResourceWarning)

        def work(_: int) -> int:
            served = 0
            while time.monotonic() < limit:
                request = httpcore.Request("GET", server.url(), headers={"Host": "x"})
                Knot(pool.handle_request(request))
                served += 1
            return served

        assert all(in_threads(16, work))
        gc.collect()
        assert "0 active, 0 queued" in repr(pool)
        assert pool.request("GET", server.url(), extensions={"timeout": {"pool": 5.0}}).status == 200


def test_a_finaliser_may_use_the_pool(collecting: None) -> None:
    """Also in the middle of a request of the same thread."""
    with Server() as server, ConnectionPool() as pool:
        made: list[int] = []

        class Last:
            def __init__(self) -> None:
                self.knot = self

            def __del__(self) -> None:
                made.append(pool.request("GET", server.url()).status)

        for _ in range(20):
            Last()
            assert pool.request("GET", server.url()).status == 200
        gc.collect()
        assert made == [200] * 20


def test_a_dropped_pool_closes_its_sockets() -> None:
    """L-22: sync and async, with an idle connection and with one in use."""
    with Server([HALF, [RECEIVE, send(response(b"ok")), STALL]] * 2) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for make in (_used_pool, _used_async_pool):
            dropped = weakref.ref(make(server.url()))
            gc.collect()
            assert dropped() is None
            deadline = time.monotonic() + 1.0
            while held_towards(server.port) and time.monotonic() < deadline:
                time.sleep(0.001)
            assert held_towards(server.port) == 0


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("runner", [None, asyncio.run, uvloop.run, trio.run], ids=ALL_DOORS)
def test_a_dropped_pool_is_not_kept_by_its_timers(runner: Callable[..., Any] | None, http2: bool) -> None:
    """L-22: idle connections keep their timers armed, for a long time, and nothing of those who waited."""
    timeouts = {"timeout": {"read": 3600.0, "write": 3600.0, "pool": 3600.0}}
    options = {"http1": not http2, "http2": http2}
    with Server() as server:
        server.scripts = Always([call(respond_by_http2)]) if http2 else []

        async def use() -> None:
            pool = httpcore_hyper.AsyncConnectionPool(**options)
            for _ in range(4):
                assert (await pool.request("GET", server.url(), extensions=timeouts)).status == 200
                assert await _comes_true(lambda: _rust.ledger()["exchanges"] == 0), _rust.ledger()

        if runner is None:
            pool = ConnectionPool(**options)
            for _ in range(4):
                assert pool.request("GET", server.url(), extensions=timeouts).status == 200
                assert _rust.ledger()["exchanges"] == 0
            del pool
        else:
            runner(use) if runner is trio.run else runner(use())
        gc.collect()
        deadline = time.monotonic() + 1.0
        while held_towards(server.port) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert held_towards(server.port) == 0


async def _comes_true(predicate: Callable[[], bool]) -> bool:
    """On a loop a request is counted until the loop and the engine have taken note of its end."""
    limit = time.monotonic() + 1.0
    while not predicate() and time.monotonic() < limit:
        gc.collect()
        await anyio.sleep(0.001)
    return predicate()


def _used_pool(url: str) -> ConnectionPool:
    pool = ConnectionPool()
    held = pool.handle_request(httpcore.Request("GET", url, headers={"Host": "x"}))
    assert pool.request("GET", url).status == 200
    del held
    return pool


def _used_async_pool(url: str) -> httpcore_hyper.AsyncConnectionPool:
    pool = httpcore_hyper.AsyncConnectionPool()

    async def use() -> None:
        held = await pool.handle_async_request(httpcore.Request("GET", url, headers={"Host": "x"}))
        assert (await pool.request("GET", url)).status == 200
        del held

    asyncio.run(use())
    return pool
