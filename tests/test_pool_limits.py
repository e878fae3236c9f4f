"""The pool's promises: order, limits, expiry, and a `repr` that is right at every moment."""

from __future__ import annotations

import httpcore
import pytest
from doors import ALL_DOORS, EMPTY, Door, through
from routes import response
from servers import FIN, RECEIVE, STALL, Server, send

pytestmark = pytest.mark.parametrize("door", ALL_DOORS)


@pytest.mark.httpcore_differs("wakes every waiter, and the fastest gets the connection")
def test_waiters_are_served_in_order(door: str, engine: str) -> None:
    """One connection serves its queue first in, first out."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool(max_connections=1)
            held = await pool.open("GET", server.url())
            tasks = []
            for number in range(10):
                tasks.append(door.start(pool.request("GET", server.url(), headers={"X-Nonce": str(number)})))
                assert await door.until(lambda number=number: f", {number + 1} queued" in pool.counts), (
                    pool.counts
                )
            await held.close()
            for task in tasks:
                await task.outcome()
            nonces = [request.header(b"X-Nonce") for request in server.requests[1:]]
            assert nonces == [b"%d" % number for number in range(10)]

    through(door, engine, scenario)


def test_a_waiter_for_another_origin_is_not_held_up(door: str, engine: str) -> None:
    """A queued request does not block one behind it whose connection is free."""

    async def scenario(door: Door) -> None:
        with Server() as busy, Server() as free:
            pool = door.pool(max_connections=2)
            held = [await pool.open("GET", busy.url()), await pool.open("GET", free.url())]
            waiting = door.start(pool.request("GET", busy.url()))
            assert await door.until(lambda: ", 1 queued" in pool.counts)
            behind = door.start(pool.request("GET", free.url()))
            assert await door.until(lambda: ", 2 queued" in pool.counts)
            # The idle connection goes to the first in the queue that it can serve, or is replaced for it.
            await held[1].read()
            await held[1].close()
            await waiting.outcome()
            await behind.outcome()
            await held[0].close()

    through(door, engine, scenario)


def test_max_connections_is_never_exceeded(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool(max_connections=3)
            tasks = [door.start(pool.request("GET", server.url("/wait?gap=0.005"))) for _ in range(30)]
            while not all(task.done for task in tasks):
                assert len(server.open_connections()) <= 3
                assert len(pool.raw.connections) <= 3
                await door.sleep(0.001)
            for task in tasks:
                await task.outcome()
            assert server.accepted == 3

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("counts active connections as well (encode/httpcore#1000)")
def test_idle_connections_are_capped(door: str, engine: str) -> None:
    """`max_keepalive_connections` caps idle connections, and only those."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool(max_keepalive_connections=2)
            streams = [await pool.open("GET", server.url()) for _ in range(5)]
            for closed, stream in enumerate(streams, 1):
                await stream.read()
                await stream.close()
                assert (
                    pool.counts
                    == f"{5 - closed} active, 0 queued | {5 - closed} active, {min(closed, 2)} idle"
                )
            assert await door.until(lambda: len(server.open_connections()) == 2)

    through(door, engine, scenario)


def test_no_idle_connection_is_kept(door: str, engine: str) -> None:
    """With `max_keepalive_connections=0` each request has a connection of its own."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool(max_keepalive_connections=0)
            for number in range(1, 4):
                await pool.request("GET", server.url())
                assert pool.counts == EMPTY
                assert server.accepted == number

    through(door, engine, scenario)


def test_connections_expire(door: str, engine: str) -> None:
    """After `keepalive_expiry` an idle connection is not used; at 0.0 it is gone with the next look."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            for expiry, nap in ((0.05, 0.1), (0.0, 0.01)):
                pool = door.pool(keepalive_expiry=expiry)
                before = server.accepted
                await pool.request("GET", server.url())
                await door.sleep(nap)
                await pool.request("GET", server.url())
                assert server.accepted == before + 2
            lasting = door.pool(keepalive_expiry=60.0)
            before = server.accepted
            for _ in range(3):
                await lasting.request("GET", server.url())
            assert server.accepted == before + 1

    through(door, engine, scenario)


def test_the_first_idle_connection_makes_room(door: str, engine: str) -> None:
    """A full pool closes the idle connection that is first in its list, whatever its origin."""

    async def scenario(door: Door) -> None:
        with Server() as first, Server() as second, Server() as third:
            pool = door.pool(max_connections=2)
            await pool.request("GET", first.url())
            await pool.request("GET", second.url())
            await pool.request("GET", first.url())
            await pool.request("GET", third.url())
            assert await door.until(lambda: not first.open_connections())
            assert [str(server.port) in pool.raw.connections[0].info() for server in (second, third)] == [
                True,
                False,
            ]
            await pool.request("GET", second.url())
            assert second.accepted == 1

    through(door, engine, scenario)


def test_repr_and_info_are_right_at_each_moment(door: str, engine: str) -> None:
    """Active while the body is open, idle right after `close`, gone right after `Connection: close`."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            name = type(pool.raw).__name__
            assert (
                repr(pool.raw) == f"<{name} [Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]>"
            )
            origin = f"'http://127.0.0.1:{server.port}', HTTP/1.1"
            for count in (1, 2):
                stream = await pool.open("GET", server.url())
                assert pool.counts == "1 active, 0 queued | 1 active, 0 idle"
                assert [c.info() for c in pool.raw.connections] == [
                    f"{origin}, ACTIVE, Request Count: {count}"
                ]
                await stream.read()
                assert pool.counts == "1 active, 0 queued | 1 active, 0 idle"
                await stream.close()
                assert pool.counts == "0 active, 0 queued | 0 active, 1 idle"
                assert [c.info() for c in pool.raw.connections] == [f"{origin}, IDLE, Request Count: {count}"]
            kind = "AsyncHTTPConnection" if door.is_async else "HTTPConnection"
            assert repr(pool.raw.connections) == f"[<{kind} [{origin}, IDLE, Request Count: 2]>]"
            await pool.request("GET", server.url("/close"))
            assert pool.raw.connections == []
            assert pool.counts == EMPTY

    through(door, engine, scenario)


def test_a_response_given_up_closes_its_connection(door: str, engine: str) -> None:
    """A body that was not read to its end takes its connection along, at once."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(response(b"ok")[:-1]), STALL]]) as server:
            pool = door.pool()
            async with await pool.open("GET", server.url()):
                pass
            assert pool.counts == EMPTY
            assert await door.until(lambda: server.connections[0].ended)

    through(door, engine, scenario)


def test_pool_timeout(door: str, engine: str) -> None:
    """Waiting for a slot ends with PoolTimeout; `pool: 0` takes a free slot and never waits."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool(max_connections=1)
            held = await pool.open("GET", server.url(), timeout={"pool": 0})
            for value in (0, 0.02):
                with pytest.raises(httpcore.PoolTimeout, match=r"^$"):
                    await pool.request("GET", server.url(), timeout={"pool": value})
                assert pool.counts == "1 active, 0 queued | 1 active, 0 idle"
            await held.read()
            await held.close()
            assert (await pool.request("GET", server.url(), timeout={"pool": 0})).status == 200

    through(door, engine, scenario)


def test_dead_connections_do_not_count(door: str, engine: str) -> None:
    """A connection that its peer closed while idle makes room for a new one at once."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(response(b"ok")), FIN]]) as server:
            pool = door.pool(max_connections=1)
            await pool.request("GET", server.url())
            assert await door.until(lambda: server.connections[0].finished)
            assert (await pool.request("GET", server.url(), timeout={"pool": 0})).status == 200
            assert server.accepted == 2

    through(door, engine, scenario)
