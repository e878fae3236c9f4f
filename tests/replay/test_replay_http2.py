"""httpcore's tests of HTTP/2 in its pool, replayed over real sockets."""

from __future__ import annotations

import threading

from certificates import server_context
from doors import Door
from http2_server import HELLO, Http2
from pools import Pool
from replays import Replay, house, origin, pool_into, reprs, shown
from servers import call, wait

URL = "https://example.com/"
IDLE = f"{origin('https')}, HTTP/2, IDLE, Request Count"


async def exchange(pool: Pool) -> None:
    reply = await pool.request("GET", URL)
    assert (reply.status, reply.body) == (200, HELLO)


def test_http2_connections_are_kept_alive(replay: Replay) -> None:
    async def scenario(door: Door) -> None:
        with house(scripts=[[call(Http2().answer)]], tls=server_context("h2")) as server:
            pool = pool_into(server, door, http2=True)
            for count in (1, 2):
                await exchange(pool)
                assert reprs(pool) == shown(door, f"{IDLE}: {count}")
            assert server.accepted == 1

    replay(scenario)


def test_a_connection_that_was_said_goodbye_to_is_replaced(replay: Replay) -> None:
    """A GOAWAY after a complete response costs nobody anything: the next request has a new connection."""

    async def scenario(door: Door) -> None:
        looked = threading.Event()
        first, second = Http2(), Http2()
        scripts = [[call(first.answer_one), wait(looked), call(first.say_goodbye)], [call(second.answer)]]
        with house(scripts=scripts, tls=server_context("h2")) as server:
            pool = pool_into(server, door, http2=True)
            await exchange(pool)
            assert reprs(pool) == shown(door, f"{IDLE}: 1")
            looked.set()
            assert await door.until(lambda: server.connections[0].finished)
            await exchange(pool)
            assert reprs(pool) == shown(door, f"{IDLE}: 1")
            assert server.accepted == 2

    replay(scenario)
