"""Chapter K: connections that are kept, and what happens to them while nobody looks."""

from __future__ import annotations

import random

from doors import Door
from matrix import (
    CE,
    FULL_SIZE,
    P0,
    PX,
    RE,
    RPE,
    RT,
    Answer,
    Case,
    Row,
    attempt,
    check,
    check_after,
    check_closed,
    check_next,
    fails,
)
from routes import response
from servers import CLOSE, FIN, RECEIVE, RST, STALL, Server, pause, send
from verdicts import judge, parametrize

OK = response(b"ok")
NEVER_REPEATED = ("GET", "POST", "DELETE")


def dies_idle(label: str, *steps) -> Case:
    """The fault comes while the connection is idle; the next request must not meet it."""
    return Case(Answer(body=b"ok"), [RECEIVE, send(OK), pause(0.02), *steps], PX, label=label, settle=True)


def ends_on_second_request(step, error: type[BaseException]):
    """The peer ends a reused connection without a byte of an answer: an error, and nothing is sent twice."""

    async def scenario(door: Door) -> None:
        for method in NEVER_REPEATED:
            with Server([[RECEIVE, send(OK), RECEIVE, step]]) as server:
                pool = door.pool()
                await pool.request("GET", server.url())
                outcome = await attempt(
                    door, pool.request(method, server.url(), headers={"Content-Length": "0"})
                )
                wrong = fails(error).judge(outcome)
                check("verdict", wrong is None, f"{method}: {wrong}")
                check("wire", (server.accepted, len(server.requests)) == (1, 2), f"{method} was sent again")
                await check_after(door, pool, server, P0)

    return scenario


async def expiry_passes(door: Door) -> None:
    with Server() as server:
        pool = door.pool(keepalive_expiry=0.05)
        await pool.request("GET", server.url())
        await door.sleep(0.1)
        await check_next(door, pool, server)
        check("next", server.accepted == 2, "an expired connection was used")
        await check_closed(door, pool, server)


async def post_meets_a_late_fin(door: Door) -> None:
    """Wherever the FIN falls around the write of a POST, its body arrives at most once."""
    count = 500 if FULL_SIZE else 60
    dice = random.Random(8)
    scripts = [[RECEIVE, send(OK), pause(dice.uniform(0, 0.002)), CLOSE] for _ in range(2 * count)]
    with Server(scripts) as server:
        pool = door.pool()
        for number in range(count):
            await attempt(door, pool.request("GET", server.url()))
            await door.sleep(dice.uniform(0, 0.002))
            outcome = await attempt(door, pool.request("POST", server.url(), content=b"body %d" % number))
            if outcome.error is not None:
                wrong = fails(RPE, RE).judge(outcome)
                check("verdict", wrong is None, str(wrong))
        bodies = [request.body for request in server.requests if request.method == b"POST"]
        check("wire", len(bodies) == len(set(bodies)), "a POST was delivered twice")
        check("foreign", not door.foreign, f"{door.foreign!r}")
        await check_closed(door, pool, server)


async def one_idle_connection_is_kept(door: Door) -> None:
    with Server() as server:
        pool = door.pool(max_keepalive_connections=1)
        tasks = [door.start(pool.request("GET", server.url("/slow?gap=0.1"))) for _ in range(10)]
        for task in tasks:
            check("verdict", (await task.outcome()).status == 200, "a request failed")
        check("after", pool.counts == "0 active, 0 queued | 0 active, 1 idle", pool.counts)
        await check_closed(door, pool, server)


async def two_names_never_share(door: Door) -> None:
    with Server() as server:
        pool = door.pool()
        for host in ("127.0.0.1", "localhost", "127.0.0.1"):
            await pool.request("GET", server.url(host=host))
        check("after", server.accepted == 2, f"{server.accepted} connections for two names")
        await check_closed(door, pool, server)


async def two_schemes_never_share(door: Door) -> None:
    with Server() as server:
        pool = door.pool()
        await pool.request("GET", server.url())
        await pool.request("GET", server.url().replace("http:", "ws:"))
        check("after", server.accepted == 2, "http and ws shared a connection")
        await check_closed(door, pool, server)


async def new_connection_always_reset(door: Door) -> None:
    """A connection that fails at once is dialled once, not for ever."""
    with Server([[pause(0.01), RST]] * 20) as server:
        pool = door.pool()
        for number in range(1, 11):
            outcome = await attempt(door, pool.request("GET", server.url()))
            # A RST that arrives before the write is consumed by it; what is left to read is an end.
            wrong = fails(RE, RPE).judge(outcome)
            check("verdict", wrong is None, str(wrong))
            await door.until(lambda number=number: server.accepted >= number)
            check("wire", server.accepted == number, f"{server.accepted} dials for {number} requests")
        await check_closed(door, pool, server)


async def server_restarts(door: Door) -> None:
    """Whoever saw the FIN fails no request once the server is back."""
    with Server() as server:
        port = server.port
        pool = door.pool()
        await pool.request("GET", server.url())
    outcome = await attempt(door, pool.request("GET", server.url()))
    wrong = fails(CE).judge(outcome)
    check("verdict", wrong is None, f"while it was down: {wrong}")
    with Server(port=port) as server:
        await check_next(door, pool, server)
        await check_closed(door, pool, server)


async def stale_connections_cost_one_timeout_each(door: Door) -> None:
    dead = 3
    with Server([[RECEIVE, pause(0.05), send(OK), STALL]] * dead) as server:
        pool = door.pool()
        for task in [door.start(pool.request("GET", server.url())) for _ in range(dead)]:
            await task.outcome()
        for number in range(dead):
            outcome = await attempt(door, pool.request("GET", server.url(), timeout={"read": 0.1}))
            wrong = fails(RT).judge(outcome)
            check("verdict", wrong is None, f"request {number}: {wrong}")
        await check_after(door, pool, server, P0)


async def read_but_not_closed(door: Door) -> None:
    """The slot is held until the response is closed, also when its body was read to the end."""
    with Server() as server:
        pool = door.pool(max_connections=1)
        stream = await pool.open("GET", server.url())
        check("verdict", await stream.read() == b"ok", "wrong body")
        check("after", pool.counts == "1 active, 0 queued | 1 active, 0 idle", f"before close: {pool.counts}")
        await stream.close()
        check("after", pool.counts == "0 active, 0 queued | 0 active, 1 idle", f"after close: {pool.counts}")
        await check_closed(door, pool, server)


ROWS = [
    Row("K-01", "FIN while idle", (dies_idle("", FIN),)),
    Row("K-02", "RST while idle", (dies_idle("", RST),)),
    Row(
        "K-03",
        "bytes that nobody asked for while idle",
        (dies_idle("bytes", send(b"x")), dies_idle("answer", send(OK))),
    ),
    Row("K-04", "an expired connection is not used", scenario=expiry_passes),
    Row(
        "K-05",
        "FIN after a second request is an error, never a retry",
        scenario=ends_on_second_request(FIN, RPE),
    ),
    Row(
        "K-06",
        "RST after a second request is an error, never a retry",
        scenario=ends_on_second_request(RST, RE),
    ),
    Row("K-08", "a POST that meets a FIN is delivered at most once", scenario=post_meets_a_late_fin),
    Row("K-09", "the keep-alive limit counts idle connections", scenario=one_idle_connection_is_kept),
    Row("K-10", "two names of one address never share a connection", scenario=two_names_never_share),
    Row("K-11", "two schemes never share a connection", scenario=two_schemes_never_share),
    Row("K-12", "a new connection that is reset is dialled once", scenario=new_connection_always_reset),
    Row("K-13", "a restarted server is found again at once", scenario=server_restarts),
    Row(
        "K-14",
        "each stale connection costs one read timeout",
        scenario=stale_connections_cost_one_timeout_each,
    ),
    Row("K-15", "a response that was read holds its slot until close", scenario=read_but_not_closed),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
