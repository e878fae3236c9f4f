"""Chapter K over HTTP/2: connections that are kept, and what happens to them while nobody looks."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from certificates import client_context, server_context
from doors import EMPTY, Door
from frames import Peer, Peers
from http2_matrix import (
    Play,
    answer,
    check_next,
    end,
    generous,
    greeted,
    new_pool,
    nonce_of,
    reset,
    serving,
)
from hyperframe.frame import DataFrame, PingFrame, SettingsFrame
from matrix import CE, FULL_SIZE, ONE_IDLE, RE, RPE, Row, Scenario, attempt, check, check_closed, fails
from servers import HEAR, RST, Server
from verdicts import judge, parametrize

NEVER_REPEATED = ("GET", "POST", "DELETE")
# Connections whose end and next request meet.
MEETINGS = 500 if FULL_SIZE else 40
# Seconds within which they do.
JITTER = 0.002
DICE = random.Random(8)


def while_idle(what: Callable[[Peer], object], used: int) -> Scenario:
    """Something comes on an idle connection; the next request goes over connection `used`, and succeeds."""

    async def scenario(door: Door) -> None:
        idle, done = threading.Event(), threading.Event()

        def play(peer: Peer) -> None:
            answer(peer, peer.read_whole_request())
            peer.connection._wait(idle)
            try:
                what(peer)
            finally:
                done.set()

        peers = Peers()
        with serving(peers, greeted(play)) as server:
            pool = new_pool(door)
            check("next", await check_next(door, pool, server, peers) == 0, "no connection")
            idle.set()
            check("reached", await door.until(done.is_set), "the server did nothing")
            number = await check_next(door, pool, server, peers)
            check("next", number == used, f"the next request went over connection {number}, not {used}")
            check("after", pool.counts == ONE_IDLE, pool.counts)
            await check_closed(door, pool, server)

    return scenario


async def expiry_passes(door: Door) -> None:
    peers = Peers()
    with serving(peers) as server:
        pool = new_pool(door, keepalive_expiry=0.05)
        await check_next(door, pool, server, peers)
        await door.sleep(0.1)
        check("next", await check_next(door, pool, server, peers) == 1, "an expired connection was used")
        await check_closed(door, pool, server)


def ends_on_second_request(fault: Play, *errors: type[BaseException]) -> Scenario:
    """Without a word that would tell whether it was looked at: an error, and nothing is sent twice."""

    async def scenario(door: Door) -> None:
        def play(peer: Peer) -> None:
            answer(peer, peer.read_whole_request())
            fault(peer, peer.read_whole_request())

        for method in NEVER_REPEATED:
            peers = Peers()
            with serving(peers, greeted(play)) as server:
                pool = new_pool(door)
                await check_next(door, pool, server, peers)
                outcome = await attempt(door, pool.request(method, server.url(), content=b"body"))
                wrong = fails(*errors).judge(outcome)
                check("verdict", wrong is None, f"{method}: {wrong}")
                check("wire", server.accepted == 1, f"{method} was sent again")
                check("after", pool.counts == EMPTY, f"the pool holds {pool.counts}")
                check("next", await check_next(door, pool, server, peers) == 1, "not on a new connection")
                await check_closed(door, pool, server)

    return scenario


def meets(goodbye: bool) -> tuple[list[str], Callable[[Peer], None]]:
    """A server that serves one request on each connection and ends it within a moment; what it has served."""
    served: list[str] = []

    def play(peer: Peer) -> None:
        peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: 100})
        stream = peer.read_whole_request()
        served.append(nonce_of(peer, stream))
        answer(peer, stream)
        peer.connection._pause(DICE.uniform(0, JITTER))
        if goodbye:
            peer.say_goodbye(stream)
        end(peer)
        peer.read_to_the_end()

    return served, play


def meets_the_end(method: str, *, goodbye: bool) -> Scenario:
    """Wherever the end falls around the next request: none is served twice; a GOAWAY costs none."""

    async def scenario(door: Door) -> None:
        served, play = meets(goodbye)
        with Server([Peers().plays(play)] * 3 * MEETINGS) as server:
            pool = new_pool(door)
            for number in range(MEETINGS):
                content = b"body" if method == "POST" else None
                request = pool.request(
                    method, server.url(), headers={"X-Nonce": f"{number}"}, content=content
                )
                outcome = await attempt(door, request)
                if goodbye:
                    check("verdict", outcome.error is None, f"request {number}: {outcome.error!r}")
                elif outcome.error is not None:
                    wrong = fails(RPE, RE).judge(outcome)
                    check("verdict", wrong is None, f"request {number}: {wrong}")
                await door.sleep(DICE.uniform(0, JITTER))
            check("wire", len(served) == len(set(served)), "a request was served twice")
            check("foreign", not door.foreign, f"{door.foreign!r}")
            await check_closed(door, pool, server)

    return scenario


async def idle_connections_are_counted(door: Door) -> None:
    """Of two origins' connections one is kept."""
    first, second = Peers(), Peers()
    with serving(first) as one, serving(second) as other:
        pool = new_pool(door, max_keepalive_connections=1)
        for server, peers in ((one, first), (other, second)):
            await check_next(door, pool, server, peers)
            check("after", pool.counts == ONE_IDLE, pool.counts)
        await check_closed(door, pool, one)


async def two_names_never_share(door: Door) -> None:
    """One address, and one certificate that names both: RFC 9113 section 9.1.1 would allow it."""
    peers = Peers()
    with Server([peers.serve()] * 3, tls=server_context("h2")) as server:
        pool = door.pool(http2=True, ssl_context=client_context())
        for host in ("127.0.0.1", "localhost", "127.0.0.1"):
            reply = await pool.request("GET", server.url(host=host))
            check("verdict", reply.extensions["http_version"] == b"HTTP/2", f"{reply.extensions}")
        check("after", server.accepted == 2, f"{server.accepted} connections for two names")
        check("after", len(peers[0].requests) == 2, f"{len(peers[0].requests)} requests on the first one")
        await check_closed(door, pool, server)


async def two_schemes_never_share(door: Door) -> None:
    peers = Peers()
    with serving(peers) as server:
        pool = new_pool(door)
        await check_next(door, pool, server, peers)
        reply = await pool.request("GET", server.url().replace("http:", "ws:"))
        check("verdict", reply.status == 200, f"{reply.status}")
        check("after", server.accepted == 2, "http and ws shared a connection")
        await check_closed(door, pool, server)


async def new_connection_always_reset(door: Door) -> None:
    """A connection that fails at once is dialled once, not for ever."""
    # Behind the preface: a RST before it may be the connect's.
    with Server([[HEAR, RST]] * 20) as server:
        pool = new_pool(door)
        for number in range(1, 11):
            outcome = await attempt(door, pool.request("GET", server.url()))
            # A RST that arrives before a write is consumed by it; what is left to read is an end.
            wrong = fails(RE, RPE).judge(outcome)
            check("verdict", wrong is None, str(wrong))
            await door.until(lambda number=number: server.accepted >= number)
            check("wire", server.accepted == number, f"{server.accepted} dials for {number} requests")
            check("after", pool.counts == EMPTY, f"the pool holds {pool.counts}")
        await check_closed(door, pool, server)


async def server_restarts(door: Door) -> None:
    """Whoever saw the end fails no request once the server is back."""
    peers = Peers()
    with serving(peers) as server:
        port = server.port
        pool = new_pool(door)
        await check_next(door, pool, server, peers)
    outcome = await attempt(door, pool.request("GET", server.url()))
    wrong = fails(CE).judge(outcome)
    check("verdict", wrong is None, f"while it was down: {wrong}")
    with Server([Peers().serve()], port=port) as server:
        reply = await pool.request("GET", server.url("/next"))
        check("next", reply.body == b"/next", f"{reply.status} {reply.body!r}")
        await check_closed(door, pool, server)


async def read_but_not_closed(door: Door) -> None:
    """A connection is active until the response is closed, and another request may have it meanwhile."""
    peers = Peers()
    with serving(peers, generous) as server:
        pool = new_pool(door, max_connections=1)
        stream = await pool.open("GET", server.url())
        check("verdict", await stream.read() == b"ok", "wrong body")
        check("after", pool.counts == "1 active, 0 queued | 1 active, 0 idle", f"before close: {pool.counts}")
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        check("after", pool.counts == "1 active, 0 queued | 1 active, 0 idle", f"before close: {pool.counts}")
        await stream.close()
        check("after", pool.counts == ONE_IDLE, f"after close: {pool.counts}")
        await check_closed(door, pool, server)


def pings(peer: Peer) -> None:
    peer.send(PingFrame(0, opaque_data=b"anything"))


def talks_http1(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")


def says_goodbye(peer: Peer) -> None:
    peer.say_goodbye(1)


def answers_again(peer: Peer) -> None:
    """Another body for a request that has its answer: nobody is given it."""
    peer.send(DataFrame(1, b"EVIL", flags=["END_STREAM"]))


ROWS = [
    Row("K-01-http2", "FIN while idle", scenario=while_idle(end, 1)),
    Row("K-02-http2", "RST while idle", scenario=while_idle(reset, 1)),
    Row("K-03-http2", "a text of HTTP/1.1 while idle", scenario=while_idle(talks_http1, 1)),
    Row("K-03a-http2", "GOAWAY while idle", scenario=while_idle(says_goodbye, 1)),
    Row("K-03b-http2", "a PING while idle", scenario=while_idle(pings, 0)),
    Row("K-03c-http2", "a second answer while idle", scenario=while_idle(answers_again, 0)),
    Row("K-04-http2", "an expired connection is not used", scenario=expiry_passes),
    Row(
        "K-05-http2",
        "FIN after a second request is an error, never a retry",
        scenario=ends_on_second_request(end, RPE),
    ),
    Row(
        "K-06-http2",
        "RST after a second request is an error, never a retry",
        scenario=ends_on_second_request(reset, RE),
    ),
    Row("K-07-http2", "requests that meet a GOAWAY", scenario=meets_the_end("GET", goodbye=True)),
    Row("K-07a-http2", "POSTs that meet a GOAWAY", scenario=meets_the_end("POST", goodbye=True)),
    Row("K-08-http2", "POSTs that meet a FIN", scenario=meets_the_end("POST", goodbye=False)),
    Row("K-09-http2", "the keep-alive limit counts idle connections", scenario=idle_connections_are_counted),
    Row("K-10-http2", "two names of one address never share a connection", scenario=two_names_never_share),
    Row("K-11-http2", "two schemes never share a connection", scenario=two_schemes_never_share),
    Row("K-12-http2", "a new connection that is reset is dialled once", scenario=new_connection_always_reset),
    Row("K-13-http2", "a restarted server is found again at once", scenario=server_restarts),
    Row("K-15-http2", "a connection is active until its responses are closed", scenario=read_but_not_closed),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
