"""Chapter L, loops: one async pool in any number of loops, of any kind, one after the other or at once."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import httpcore
import pytest
import trio
import uvloop
from routes import response
from servers import RECEIVE, SERVE, STALL, Server, send, wait

from httpcore_hyper import AsyncConnectionPool, _rust

Work = Callable[[], Coroutine[Any, Any, Any]]


def run_debug(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work, debug=True)


def run_eager(work: Coroutine[Any, Any, Any]) -> Any:
    async def main() -> Any:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        return await asyncio.create_task(work)

    return asyncio.run(main())


def run_runner(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner() as runner:
        return runner.run(work)


def run_trio(work: Coroutine[Any, Any, Any]) -> Any:
    async def main() -> Any:
        return await work

    return trio.run(main)


def run_guest(work: Coroutine[Any, Any, Any]) -> Any:
    """trio as a guest of asyncio: both run in one thread."""

    async def main() -> Any:
        return await work

    async def host() -> Any:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        trio.lowlevel.start_guest_run(
            main, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
        )
        return (await done).unwrap()

    return asyncio.run(host())


RUNNERS: dict[str, Callable[[Coroutine[Any, Any, Any]], Any]] = {
    "asyncio": asyncio.run,
    "debug": run_debug,
    "uvloop": uvloop.run,
    "trio": run_trio,
    "guest": run_guest,
}
if sys.version_info >= (3, 11):
    RUNNERS["runner"] = run_runner
if sys.version_info >= (3, 12):
    RUNNERS["eager"] = run_eager


async def several(pool: AsyncConnectionPool, server: Server) -> None:
    """Sized, chunked and pushed bodies, and a response that is left unread."""
    assert (await pool.request("GET", server.url())).content == b"ok"
    assert (await pool.request("GET", server.url("/chunked"))).content == b"one,two,three"

    async def body() -> Any:
        for _ in range(3):
            yield b"x" * 1000

    assert len((await pool.request("POST", server.url("/echo"), content=body())).content) == 3000
    async with pool.stream("GET", server.url("/slow?gap=0.01")) as opened:
        assert opened.status == 200


@pytest.mark.parametrize("runner", RUNNERS)
def test_three_runs_one_after_the_other(runner: str) -> None:
    """L-06, L-08: the same pool in each of them, on the connections of the first."""
    with Server() as server:
        pool = AsyncConnectionPool()
        for _ in range(3):
            RUNNERS[runner](several(pool, server))
        asyncio.run(pool.aclose())


def test_each_kind_after_each_other() -> None:
    """trio after asyncio after uvloop, and all the others: connections outlive their loops."""
    with Server() as server:
        pool = AsyncConnectionPool()
        for first in RUNNERS.values():
            for second in RUNNERS.values():
                first(pool.request("GET", server.url()))
                second(pool.request("GET", server.url()))
        assert server.accepted == 1
        asyncio.run(pool.aclose())


def test_two_loops_in_two_threads_at_once() -> None:
    """L-07: four loops of three kinds, on one pool with fewer connections than callers."""
    with Server() as server:
        pool = AsyncConnectionPool(max_connections=3)

        async def work() -> int:
            for number in range(50):
                nonce = f"{threading.get_ident()}-{number}"
                answer = await pool.request("POST", server.url("/echo"), content=nonce.encode())
                assert answer.content == nonce.encode()
            return 50

        kinds = [asyncio.run, asyncio.run, uvloop.run, run_trio]
        with ThreadPoolExecutor(len(kinds)) as threads:
            assert sum(threads.map(lambda run: run(work()), kinds)) == 200
        assert server.accepted <= 3
        asyncio.run(pool.aclose())


def test_a_body_in_another_loop_than_its_head() -> None:
    gate = threading.Event()
    whole = response(b"over two loops")
    with Server([[RECEIVE, send(whole[:-5]), wait(gate), send(whole[-5:]), STALL]]) as server:
        pool = AsyncConnectionPool()
        request = httpcore.Request("GET", server.url(), headers={"Host": "x"})
        opened = asyncio.run(pool.handle_async_request(request))
        gate.set()
        assert run_trio(opened.aread()) == b"over two loops"
        run_trio(opened.aclose())
        asyncio.run(pool.aclose())


@pytest.mark.parametrize("kind", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_loop_that_is_closed_under_requests(kind: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """L-05: late answers find nobody, without a word; dropped, the requests give back what they have."""
    gate = threading.Event()
    script = [RECEIVE, wait(gate), send(response(b"late")), SERVE]
    with Server([script] * 3) as server:
        pool = AsyncConnectionPool(max_connections=3)
        loop = kind()
        tasks = [loop.create_task(pool.request("GET", server.url())) for _ in range(3)]

        async def reached() -> None:
            while len(server.requests) < 3:
                await asyncio.sleep(0.001)

        loop.run_until_complete(reached())
        loop.close()
        gate.set()
        assert server.wait_for(lambda: all(c.stage == 3 for c in server.connections), 5.0)
        for task in tasks:
            # asyncio's own complaint about a pending task is no business of ours.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        del tasks, task
        gc.collect()
        assert "0 active, 0 queued" in repr(pool)
        # Connections whose answers came are idle ones; the first one's may have been the loop's own to read,
        # and is closed. Nothing else is left, once the worker is through: of that the ledger alone tells.
        limit = time.monotonic() + 5.0
        while _rust.ledger()["exchanges"] and time.monotonic() < limit:
            time.sleep(0.001)
        held = {name: number for name, number in _rust.ledger().items() if number}
        assert held in [{"connections": number, "descriptors": number} for number in (2, 3)], held
        assert asyncio.run(pool.request("GET", server.url())).status == 200
        asyncio.run(pool.aclose())


def test_a_request_without_a_loop_is_refused() -> None:
    """And leaves nothing: not a slot, not a place in the queue."""
    with Server() as server:
        pool = AsyncConnectionPool(max_connections=1)
        request = pool.request("GET", server.url())
        with pytest.raises(RuntimeError, match="running asyncio loop"):
            request.send(None)
        assert "0 active, 0 queued" in repr(pool)
        asyncio.run(pool.aclose())


def test_what_a_handler_raises_while_a_busy_loop_makes_room_comes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S-06: such a loop asks how many threads there are, and a signal's handler may run amid the question."""
    there = threading.get_ident()

    def interrupted() -> int:
        if threading.get_ident() == there:
            raise KeyboardInterrupt
        return 2

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    async def main(url: str) -> None:
        async with AsyncConnectionPool() as pool:
            spinning = asyncio.create_task(spin())
            while not spinning.done():
                await pool.request("GET", url)

    with Server() as server, monkeypatch.context() as patched:
        patched.setattr(threading, "active_count", interrupted)
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(asyncio.wait_for(main(server.url()), 20.0))


@pytest.mark.parametrize("name", ["sniffio", "anyio"])
def test_a_library_that_another_thread_is_importing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is among the modules already, and has nothing in it yet."""
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    with Server() as server:
        pool = AsyncConnectionPool()
        assert asyncio.run(pool.request("GET", server.url())).status == 200
        asyncio.run(pool.aclose())


@pytest.mark.parametrize("runner", ["asyncio", "uvloop", "trio"])
def test_variables_of_a_context_are_not_kept(runner: str) -> None:
    """The first caller's variables do not live as long as its loop, and no other caller sees them."""
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default=None)

    class Value:
        pass

    async def caller(pool: AsyncConnectionPool, url: str) -> weakref.ref[Value]:
        value = Value()
        token = variable.set(value)
        await pool.request("GET", url)
        variable.reset(token)
        return weakref.ref(value)

    async def main() -> None:
        with Server() as server:
            pool = AsyncConnectionPool()
            # In a context of its own, that ends with it.
            if runner == "trio":
                kept: list[weakref.ref[Value]] = []

                async def call() -> None:
                    kept.append(await caller(pool, server.url()))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call)
                reference = kept[0]
            else:
                reference = await asyncio.create_task(caller(pool, server.url()))
                await asyncio.sleep(0)
            gc.collect()
            assert reference() is None

            async def body() -> Any:
                # The body is iterated by the caller's own task, in its context.
                assert variable.get() == "mine"
                yield b"x"

            variable.set("mine")
            assert (await pool.request("POST", server.url("/echo"), content=body())).content == b"x"
            await pool.aclose()

    RUNNERS[runner](main())
