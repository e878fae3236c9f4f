"""What `close()` does to requests in every state, and what a forgotten response does to its slot."""

from __future__ import annotations

import gc
import warnings

import httpcore
import pytest
from doors import ALL_DOORS, Door
from routes import response
from servers import RECEIVE, STALL, Server, send
from test_pool_limits import EMPTY, through

pytestmark = pytest.mark.parametrize("door", ALL_DOORS)
CUT_SHORT = [RECEIVE, send(response(b"ok")[:-1]), STALL]


def test_close_ends_a_body_in_flight(door: str, engine: str) -> None:
    """L-12, L-14: reading on after `close()` is ReadError, never the end of the body."""

    async def scenario(door: Door) -> None:
        with Server([CUT_SHORT]) as server:
            pool = door.pool()
            stream = await pool.open("GET", server.url())
            await pool.close()
            # What had arrived before may still be read; the end may not come.
            with pytest.raises(httpcore.ReadError):
                await stream.read()
            await stream.close()
            assert pool.counts == EMPTY
            assert await door.until(lambda: server.connections[0].ended)

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("it waits on, for ever without a pool timeout")
def test_close_fails_a_queued_request(door: str, engine: str) -> None:
    """L-15: a request that is queued when the pool closes fails at once with ConnectError."""

    async def scenario(door: Door) -> None:
        with Server([CUT_SHORT]) as server:
            pool = door.pool(max_connections=1)
            held = await pool.open("GET", server.url())
            task = door.start(pool.request("GET", server.url()))
            assert await door.until(lambda: ", 1 queued" in pool.counts)
            await pool.close()
            with pytest.raises(httpcore.ConnectError):
                await task.outcome(1.0)
            await held.close()

    through(door, engine, scenario)


def test_a_closed_pool_works_again(door: str, engine: str) -> None:
    """L-16, L-17: closing twice is nothing, and a request after it opens a connection."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            for number in (1, 2):
                assert (await pool.request("GET", server.url())).status == 200
                assert server.accepted == number
                await pool.close()
                await pool.close()
                assert pool.counts == EMPTY

    through(door, engine, scenario)


def test_the_pool_is_a_context_manager(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            if door.is_async:
                async with pool.raw as entered:
                    assert entered is pool.raw
                    await pool.request("GET", server.url())
            else:
                with pool.raw as entered:
                    assert entered is pool.raw
                    await pool.request("GET", server.url())
            assert pool.counts == EMPTY
            assert await door.until(lambda: not server.open_connections())

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("keeps the slot for ever")
def test_a_forgotten_response_frees_its_slot(door: str, engine: str) -> None:
    """L-21: a response that is dropped without `close()` gives its slot back, and warns."""

    async def scenario(door: Door) -> None:
        with Server([CUT_SHORT]) as server:
            pool = door.pool(max_connections=1)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                await _open_and_forget(door, pool, server)
                gc.collect()
                assert await door.until(lambda: pool.counts == EMPTY, 1.0), pool.counts
            assert [warning.category for warning in caught] == [ResourceWarning]
            assert (await pool.request("GET", server.url(), timeout={"pool": 1.0})).status == 200

    through(door, engine, scenario)


async def _open_and_forget(door: Door, pool, server: Server) -> None:
    request = httpcore.Request("GET", server.url(), headers={"Host": "x"})
    if door.is_async:
        await pool.raw.handle_async_request(request)
    else:
        pool.raw.handle_request(request)
