"""httpcore's tests of its pool, replayed over real sockets: what is kept, for how long, and how many.

A Unix socket stands for every origin, so that the URLs, and with them every `repr`, are those of a pool
on the open network.
"""

from __future__ import annotations

import httpcore
import pytest
from doors import Door
from pools import Pool
from replays import HELLO_HEAD, Replay, hello_and_close, house, origin, pool_into, reprs, shown, shown_pool
from servers import RECEIVE, STALL, send

with_and_without_tls = pytest.mark.parametrize("scheme", ["http", "https"])
IDLE, ACTIVE, EMPTY = (
    "0 active, 0 queued | 0 active, 1 idle",
    "1 active, 0 queued | 1 active, 0 idle",
    "0 active, 0 queued | 0 active, 0 idle",
)


async def exchange(pool: Pool, url: str, during: list[str], **options: object) -> None:
    """One request whose connections look like `during` while its body is open."""
    stream = await pool.open("GET", url, **options)
    async with stream:
        assert reprs(pool) == during
        assert await stream.read() == b"Hello, world!"
        # Read, but not closed: nothing has changed.
        assert reprs(pool) == during
    assert stream.status == 200


@with_and_without_tls
def test_connections_are_kept_alive(replay: Replay, scheme: str) -> None:
    """A connection is used again for its own origin, and stays idle beside that of another."""
    other = "other.com" if scheme == "http" else "example.com"
    first, second = origin(scheme), origin("http", other)

    async def scenario(door: Door) -> None:
        with house() as server:
            pool = pool_into(server, door)
            assert repr(pool.raw) == shown_pool(door, EMPTY)
            for count in (1, 2):
                stream = await pool.open("GET", f"{scheme}://example.com/")
                async with stream:
                    assert reprs(pool) == shown(door, f"{first}, HTTP/1.1, ACTIVE, Request Count: {count}")
                    assert repr(pool.raw) == shown_pool(door, ACTIVE)
                    assert await stream.read() == b"Hello, world!"
                assert stream.status == 200
                assert reprs(pool) == shown(door, f"{first}, HTTP/1.1, IDLE, Request Count: {count}")
                assert repr(pool.raw) == shown_pool(door, IDLE)
            kept = f"{first}, HTTP/1.1, IDLE, Request Count: 2"
            stream = await pool.open("GET", f"http://{other}/")
            async with stream:
                assert reprs(pool) == shown(door, kept, f"{second}, HTTP/1.1, ACTIVE, Request Count: 1")
                assert repr(pool.raw) == shown_pool(door, "1 active, 0 queued | 1 active, 1 idle")
                assert await stream.read() == b"Hello, world!"
            assert reprs(pool) == shown(door, kept, f"{second}, HTTP/1.1, IDLE, Request Count: 1")
            assert repr(pool.raw) == shown_pool(door, "0 active, 0 queued | 0 active, 2 idle")
            assert server.accepted == 2

    replay(scenario)


@with_and_without_tls
def test_a_request_can_ask_to_close(replay: Replay, scheme: str) -> None:
    """`Connection: close` in the request is enough, whatever the response says."""
    during = f"{origin(scheme)}, HTTP/1.1, ACTIVE, Request Count: 1"

    async def scenario(door: Door) -> None:
        with house() as server:
            pool = pool_into(server, door)
            url = f"{scheme}://example.com/"
            await exchange(pool, url, shown(door, during), headers={"Connection": "close"})
            assert reprs(pool) == []
            assert await door.until(lambda: server.connections[0].ended)

    replay(scenario)


@with_and_without_tls
def test_a_connection_that_expires_at_once_is_dropped(replay: Replay, scheme: str) -> None:
    during = f"{origin(scheme)}, HTTP/1.1, ACTIVE, Request Count: 1"

    async def scenario(door: Door) -> None:
        with house() as server:
            pool = pool_into(server, door, keepalive_expiry=0.0)
            await exchange(pool, f"{scheme}://example.com/", shown(door, during))
            assert reprs(pool) == []
            assert await door.until(lambda: server.connections[0].ended)

    replay(scenario)


@with_and_without_tls
def test_a_connection_that_may_not_be_kept_is_dropped(replay: Replay, scheme: str) -> None:
    during = f"{origin(scheme)}, HTTP/1.1, ACTIVE, Request Count: 1"

    async def scenario(door: Door) -> None:
        with house() as server:
            pool = pool_into(server, door, max_keepalive_connections=0)
            await exchange(pool, f"{scheme}://example.com/", shown(door, during))
            assert reprs(pool) == []
            assert await door.until(lambda: server.connections[0].ended)

    replay(scenario)


async def fetch_all(door: Door, pool: Pool, urls: list[str]) -> list[list[str]]:
    """Fetch all of them at once, and look at the connections while each response is open."""

    async def fetch(url: str) -> list[str]:
        stream = await pool.open("GET", url)
        async with stream:
            seen = reprs(pool)
            assert await stream.read() == b"Hello, world!"
        return seen

    tasks = [door.start(fetch(url)) for url in urls]
    return [await task.outcome() for task in tasks]


def test_one_connection_at_a_time_for_many_origins(replay: Replay) -> None:
    """A pool of one connection makes room for each origin in turn."""
    hosts = ["a.com", "b.com", "c.com", "d.com", "e.com"]

    async def scenario(door: Door) -> None:
        with house() as server:
            pool = pool_into(server, door, max_connections=1)
            seen = await fetch_all(door, pool, [f"http://{host}/" for host in hosts])
            assert seen == [
                shown(door, f"{origin('http', host)}, HTTP/1.1, ACTIVE, Request Count: 1") for host in hosts
            ]
            assert server.accepted == len(hosts)

    replay(scenario)


@with_and_without_tls
def test_one_connection_at_a_time_when_the_server_closes(replay: Replay, scheme: str) -> None:
    """Each of five requests to one origin has a connection of its own, one after the other."""

    async def scenario(door: Door) -> None:
        with house(app=hello_and_close) as server:
            pool = pool_into(server, door, max_connections=1, http2=scheme == "https")
            seen = await fetch_all(door, pool, [f"{scheme}://a.com/"] * 5)
            once = shown(door, f"{origin(scheme, 'a.com')}, HTTP/1.1, ACTIVE, Request Count: 1")
            assert seen == [once] * 5
            assert server.accepted == 5

    replay(scenario)


@with_and_without_tls
def test_one_connection_serves_all_in_turn(replay: Replay, scheme: str) -> None:
    """Five requests to one origin share the one connection, and a closed pool shows none."""

    async def scenario(door: Door) -> None:
        with house() as server:
            pool = pool_into(server, door, max_connections=1, http2=scheme == "https")
            seen = await fetch_all(door, pool, [f"{scheme}://a.com/"] * 5)
            name = f"{origin(scheme, 'a.com')}, HTTP/1.1, ACTIVE, Request Count"
            assert sorted(seen) == [shown(door, f"{name}: {count}") for count in range(1, 6)]
            assert server.accepted == 1
            await pool.close()
            assert repr(pool.raw) == shown_pool(door, EMPTY)

    replay(scenario)


@with_and_without_tls
def test_a_closed_pool_ends_the_response_in_flight(replay: Replay, scheme: str) -> None:
    """Its head was read; its body, which never came, is a ReadError, not an empty one."""

    async def scenario(door: Door) -> None:
        with house(scripts=[[RECEIVE, send(HELLO_HEAD), STALL]]) as server:
            pool = pool_into(server, door)
            stream = await pool.open("GET", f"{scheme}://example.com/")
            async with stream:
                await pool.close()
                with pytest.raises(httpcore.ReadError):
                    await stream.read()

    replay(scenario)


@with_and_without_tls
def test_waiting_for_a_connection_times_out(replay: Replay, scheme: str) -> None:
    async def scenario(door: Door) -> None:
        with house() as server:
            pool = pool_into(server, door, max_connections=1)
            url = f"{scheme}://example.com/"
            async with await pool.open("GET", url):
                with pytest.raises(httpcore.PoolTimeout):
                    await pool.request("GET", url, timeout={"pool": 0.0001})
            assert server.accepted == 1

    replay(scenario)


@with_and_without_tls
def test_no_time_to_wait_is_enough_for_a_free_connection(replay: Replay, scheme: str) -> None:
    """`pool: 0` fails only where there would be something to wait for."""

    async def scenario(door: Door) -> None:
        with house() as server:
            at_once = {"timeout": {"pool": 0}}
            url = f"{scheme}://example.com/"
            pool = pool_into(server, door, max_connections=1)
            for _ in range(2):
                reply = await pool.request("GET", url, **at_once)
                assert (reply.status, reply.body) == (200, b"Hello, world!")
            pool = pool_into(server, door, max_connections=1)
            stream = await pool.open("GET", url, **at_once)
            async with stream:
                with pytest.raises(httpcore.PoolTimeout):
                    await pool.request("GET", url, **at_once)
                assert await stream.read() == b"Hello, world!"
            assert stream.status == 200

    replay(scenario)
