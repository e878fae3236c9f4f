"""Chapter X: a request that is cancelled, in every phase, leaves nothing behind and reaches the wire."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import httpcore
import trio
from doors import ANYIO, ASYNC_DOORS, OWN, TRIO, Door
from matrix import (
    EMPTY,
    FULL_SIZE,
    LEFT,
    P0,
    P1,
    Row,
    Scenario,
    check,
    check_after,
    check_closed,
    check_next,
)
from pools import Pool
from routes import response
from servers import RECEIVE, RECEIVE_HEAD, STALL, Script, Server, send, wait
from sockets import held_towards
from verdicts import judge, parametrize

OK = response(b"ok")
BIG = b"x" * (16 << 20)
# A cancelled task ends within 10 ms by design; a hundred times that for a loaded machine.
RETURN_DEADLINE = 1.0

Work = Callable[[Pool, Server], Coroutine[Any, Any, Any]]


def by_each_way(once: Callable[[Door, str], Coroutine[Any, Any, None]]) -> Scenario:
    """Cancel by the loop's own means, then by an anyio scope."""

    async def scenario(door: Door) -> None:
        for way in (OWN, ANYIO):
            await once(door, way)

    return scenario


def phase(
    script: Callable[[threading.Event], Script],
    work: Work,
    reached: Callable[[Server], object],
    settle: float = 0.0,
):
    """Cancel `work` once the server has `reached` the phase, by each way there is."""

    async def once(door: Door, way: str) -> None:
        gate = threading.Event()
        with Server([script(gate)]) as server:
            pool = door.pool()
            states: list[str] = []

            async def observed() -> None:
                try:
                    await work(pool, server)
                finally:
                    # At the very moment that the exception reaches the caller.
                    states.append(pool.counts)

            task = door.start(observed(), way)
            check("reached", await door.until(lambda: reached(server)), f"{way}: the phase was not reached")
            await door.sleep(settle)
            check("reached", not task.done, f"{way}: ended by itself: {task.error!r}")
            task.cancel()
            await task.settled(RETURN_DEADLINE)
            gate.set()
            check("verdict", task.cancelled, f"{way}: {task.error!r}")
            check("foreign", not door.foreign, f"{way}: {door.foreign!r}")
            check(
                "after",
                states == [EMPTY],
                f"{way}: the pool held {states} when the cancellation came out",
            )
            await check_after(door, pool, server, P0)

    return by_each_way(once)


async def _get(pool: Pool, server: Server) -> None:
    await pool.request("GET", server.url())


async def _post(pool: Pool, server: Server) -> None:
    await pool.request("POST", server.url(), content=BIG)


async def _long_head(pool: Pool, server: Server) -> None:
    await pool.request("GET", server.url(), headers=[(b"X-Long", BIG)])


async def connecting(door: Door, way: str) -> None:
    """While TCP connects: plain cancellation, never ConnectError, and the socket is gone."""
    with Server(accept=False) as server:
        before = held_towards(server.port)
        pool = door.pool()
        task = door.start(pool.request("GET", server.url()), way)
        check("reached", await door.until(lambda: held_towards(server.port) > before), "nothing connects")
        task.cancel()
        await task.settled(RETURN_DEADLINE)
        check("verdict", task.cancelled, f"{way}: {task.error!r}")
        check("after", pool.counts == EMPTY, f"{way}: the pool holds {pool.counts}")
        gone = await door.until(lambda: held_towards(server.port) == before, RETURN_DEADLINE)
        check("closed", gone, f"{way}: a connecting socket is left")


async def closing(door: Door) -> None:
    """A cancelled `aclose()` can be called again, and the pool is empty then."""
    for way in (OWN, ANYIO):
        with Server() as server:
            pool = door.pool()
            for task in [door.start(pool.request("GET", server.url("/slow"))) for _ in range(5)]:
                await task.outcome()
            closer = door.start(pool.close(), way)
            closer.cancel()
            await closer.settled(RETURN_DEADLINE)
            await pool.close()
            check("after", pool.counts == EMPTY, pool.counts)
            gone = await door.until(lambda: not server.open_connections(), RETURN_DEADLINE)
            check("peer", gone, "connections stayed open")
            await check_next(door, pool, server)
            await check_closed(door, pool, server)


async def queued(door: Door, way: str) -> None:
    """A cancelled waiter leaves the queue; whoever has the slot keeps it."""
    with Server() as server:
        pool = door.pool(max_connections=1)
        held = await pool.open("GET", server.url())
        task = door.start(pool.request("GET", server.url()), way)
        check("reached", await door.until(lambda: pool.counts.startswith("1 active, 1 queued")), pool.counts)
        task.cancel()
        await task.settled(RETURN_DEADLINE)
        check("verdict", task.cancelled, f"{task.error!r}")
        check("after", pool.counts == "1 active, 0 queued | 1 active, 0 idle", pool.counts)
        check("verdict", await held.read() == b"ok", "the other request suffered")
        await held.close()
        await check_after(door, pool, server, P1)


async def handed_over(door: Door) -> None:
    """A waiter that is cancelled in the step that gave it the slot passes the slot on."""
    for number in range(40):
        await _hand_over(door, (OWN, ANYIO)[number % 2], cancel_first=number % 4 < 2)


async def _hand_over(door: Door, way: str, *, cancel_first: bool) -> None:
    with Server() as server:
        pool = door.pool(max_connections=1)
        held = await pool.open("GET", server.url())
        await held.read()
        tasks = [door.start(pool.request("GET", server.url()), way) for _ in range(3)]
        check("reached", await door.until(lambda: pool.counts.startswith("1 active, 3 queued")), pool.counts)
        if cancel_first:
            tasks[0].cancel()
        await held.close()
        if not cancel_first:
            tasks[0].cancel()
        for task in tasks[1:]:
            await task.settled()
            check("verdict", task.error is None, f"a waiter behind it failed: {task.error!r}")
        await tasks[0].settled()
        await check_after(door, pool, server, LEFT)


async def cancelled_before_it_starts(door: Door) -> None:
    """Nothing is sent and nothing is kept."""
    with Server() as server:
        pool = door.pool()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await pool.request("GET", server.url())
        check("verdict", scope.cancelled_caught, "the request was made")
        check("after", pool.counts == EMPTY, pool.counts)
        gone = await door.until(lambda: held_towards(server.port) == 0, RETURN_DEADLINE)
        check("closed", gone, "a socket is left")
        check("wire", not server.requests, "the request was sent")
        await check_after(door, pool, server, P0)


async def cancelled_twice_and_late(door: Door) -> None:
    with Server([[RECEIVE, STALL]]) as server:
        pool = door.pool()
        task = door.start(pool.request("GET", server.url()))
        await door.until(lambda: server.requests)
        task.cancel()
        task.cancel()
        await task.settled(RETURN_DEADLINE)
        check("verdict", task.cancelled, f"{task.error!r}")
        finished = door.start(pool.request("GET", server.url()))
        await finished.outcome()
        finished.cancel()
        await check_closed(door, pool, server)


async def deadline_around_a_stream(door: Door) -> None:
    """`wait_for`, `timeout`, `move_on_after` end a read; the response can still be closed."""
    rounds = 2_000 if FULL_SIZE else 50
    stalls = [RECEIVE, send(OK[:-1]), STALL]
    with Server([stalls] * rounds * 2) as server:
        pool = door.pool()
        for number in range(rounds):
            stream = await pool.open("GET", server.url())
            await within(door, number, stream.read())
            await stream.close()
            check("after", pool.counts == EMPTY, pool.counts)
        check("foreign", not door.foreign, f"{door.foreign!r}")
        check("peer", await door.until(lambda: not server.open_connections(), 1.0), "connections stayed open")
        await pool.close()


async def within(door: Door, number: int, work: Coroutine[Any, Any, Any]) -> None:
    """Give `work` two milliseconds, by one of the means that the loop has."""
    with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
        await _within(door, number, work, 0.002)


async def _within(door: Door, number: int, work: Coroutine[Any, Any, Any], seconds: float) -> None:
    if door.name == TRIO and number % 2:
        with trio.move_on_after(seconds):
            await work
    elif door.name == TRIO or number % 3 == 0:
        with anyio.move_on_after(seconds):
            await work
    elif number % 3 == 1 and sys.version_info >= (3, 11):
        async with asyncio.timeout(seconds):
            await work
    else:
        await asyncio.wait_for(work, seconds)


async def first_one_wins(door: Door) -> None:
    with Server() as server:
        pool = door.pool(max_connections=10)
        tasks = [
            door.start(pool.request("GET", server.url("/wait?gap=0.02")), (OWN, ANYIO)[n % 2])
            for n in range(100)
        ]
        await door.until(lambda: any(task.done for task in tasks))
        for task in tasks:
            task.cancel()
        for task in tasks:
            await task.settled(RETURN_DEADLINE)
            check("verdict", task.cancelled or task.error is None, f"{task.error!r}")
        await check_after(door, pool, server, LEFT)


async def abandoned_iteration(door: Door) -> None:
    """A response that nobody refers to any more gives its slot back."""
    with Server([[RECEIVE, send(OK[:-1]), STALL]]) as server:
        pool = door.pool()
        with warnings.catch_warnings():
            # That it was not closed is worth a warning, which is not the point here.
            warnings.simplefilter("ignore", ResourceWarning)
            await _read_one_part(pool, server)
            gc.collect()
            freed = await door.until(lambda: pool.counts == EMPTY, RETURN_DEADLINE)
        check("after", freed, f"the pool holds {pool.counts}")
        await check_after(door, pool, server, P0)


async def _read_one_part(pool: Pool, server: Server) -> None:
    request = httpcore.Request("GET", server.url(), headers={"Host": "x"})
    response = await pool.raw.handle_async_request(request)
    async for _ in response.aiter_stream():
        break


async def completion_is_queued(door: Door) -> None:
    """The answer is here, the loop has not looked yet, and then the task is cancelled."""
    for number in range(20):
        with Server() as server:
            pool = door.pool()
            await pool.request("GET", server.url())
            task = door.start(pool.request("GET", server.url()), (OWN, ANYIO)[number % 2])
            for _ in range(5):
                await door.sleep(0)
            # The loop is blocked on purpose, until the answer has come.
            server.wait_for(lambda: len(server.requests) == 2, 0.05)
            time.sleep(0.002)
            task.cancel()
            await task.settled(RETURN_DEADLINE)
            check("verdict", task.cancelled or (task.value and task.value.body == b"ok"), f"{task.error!r}")
            await check_after(door, pool, server, LEFT)


HEAD_ONLY = [RECEIVE, send(OK[:-2])]
PART_OF_BODY = [RECEIVE, send(OK[:-1])]

# While a write is blocked the server cannot tell; a moment is enough for the buffers to fill.
BLOCKED = 0.1

ROWS = [
    Row("X-01", "while connecting", scenario=by_each_way(connecting), doors=ASYNC_DOORS),
    Row(
        "X-03",
        "while the head is written",
        doors=ASYNC_DOORS,
        scenario=phase(lambda gate: [wait(gate), STALL], _long_head, lambda server: server.accepted, BLOCKED),
    ),
    Row(
        "X-04",
        "while the body is written",
        doors=ASYNC_DOORS,
        scenario=phase(
            lambda gate: [RECEIVE_HEAD, wait(gate), STALL], _post, lambda server: server.requests, BLOCKED
        ),
    ),
    Row(
        "X-05",
        "after the request, before the head",
        doors=ASYNC_DOORS,
        scenario=phase(lambda gate: [RECEIVE, STALL], _get, lambda server: server.requests),
    ),
    Row(
        "X-06",
        "between the head and the body",
        doors=ASYNC_DOORS,
        scenario=phase(
            lambda gate: HEAD_ONLY,
            _get,
            lambda server: server.accepted and server.connections[0].finished,
            0.02,
        ),
    ),
    Row(
        "X-07",
        "inside the body",
        doors=ASYNC_DOORS,
        scenario=phase(
            lambda gate: PART_OF_BODY,
            _get,
            lambda server: server.accepted and server.connections[0].finished,
            0.02,
        ),
    ),
    Row("X-09", "while the pool is closed", scenario=closing, doors=ASYNC_DOORS),
    Row("X-10", "while queued", scenario=by_each_way(queued), doors=ASYNC_DOORS),
    Row("X-11", "as the slot is handed over", scenario=handed_over, doors=ASYNC_DOORS),
    Row("X-13", "before it starts", scenario=cancelled_before_it_starts, doors=ASYNC_DOORS),
    Row("X-14", "twice, and too late", scenario=cancelled_twice_and_late, doors=ASYNC_DOORS),
    Row("X-17", "by a deadline around a stream", scenario=deadline_around_a_stream, doors=ASYNC_DOORS),
    Row("X-18", "99 of 100, because one was first", scenario=first_one_wins, doors=ASYNC_DOORS),
    Row("X-19", "by being forgotten", scenario=abandoned_iteration, doors=ASYNC_DOORS),
    Row("X-20", "with the answer already here", scenario=completion_is_queued, doors=ASYNC_DOORS),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
