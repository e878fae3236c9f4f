"""Chapter O: the four timeouts, and readers and writers slower than their peers."""

from __future__ import annotations

import socket
import threading
import time

import httpcore
from doors import Door
from matrix import (
    LEFT,
    P0,
    P1,
    PT,
    RT,
    WT,
    Answer,
    Case,
    Either,
    Row,
    attempt,
    check,
    check_after,
    check_closed,
    fails,
)
from pools import Pool
from routes import response
from servers import RECEIVE, RECEIVE_HEAD, SERVE, STALL, Server, drip, flood, pause, send, sip, wait
from verdicts import judge, parametrize

OK = response(b"ok")
MEGABYTE = 1 << 20
# Small buffers in both kernels, so that what we hold ourselves shows.
SMALL_BUFFER = 64 << 10


async def slot_is_held(door: Door) -> None:
    """A request that waits too long for a slot leaves the queue, and takes no slot with it."""
    with Server() as server:
        pool = door.pool(max_connections=1)
        held = await pool.open("GET", server.url())
        outcome = await attempt(door, pool.request("GET", server.url(), timeout={"pool": 0.05}))
        wrong = fails(PT, text="").judge(outcome)
        check("verdict", wrong is None, str(wrong))
        check("after", pool.counts == "1 active, 0 queued | 1 active, 0 idle", pool.counts)
        await held.read()
        await held.close()
        await check_after(door, pool, server, P1)


async def no_time_to_wait(door: Door) -> None:
    """`pool: 0` fails at once if it would have to wait, leaves nothing behind, and else is no obstacle."""
    with Server() as server:
        pool = door.pool(max_connections=1)
        reply = await pool.request("GET", server.url(), timeout={"pool": 0})
        check("verdict", reply.status == 200, "a free slot was not taken")
        held = await pool.open("GET", server.url())
        for _ in range(3):
            outcome = await attempt(door, pool.request("GET", server.url(), timeout={"pool": 0}))
            wrong = fails(PT).judge(outcome)
            check("verdict", wrong is None, str(wrong))
        await held.read()
        await held.close()
        await check_after(door, pool, server, P1)


async def peer_never_reads(door: Door) -> None:
    gate = threading.Event()
    for content in (b"x" * (20 * MEGABYTE), door.body(_pieces(b"x" * MEGABYTE, 20))):
        with Server([[RECEIVE_HEAD, wait(gate), STALL]]) as server:
            gate.clear()
            pool = door.pool()
            outcome = await attempt(
                door, pool.request("POST", server.url(), content=content, timeout={"write": 0.2})
            )
            gate.set()
            wrong = fails(WT).judge(outcome)
            check("verdict", wrong is None, str(wrong))
            await check_after(door, pool, server, P0)


async def _pieces(piece: bytes, count: int):
    for _ in range(count):
        yield piece


async def peer_reads_slowly(door: Door) -> None:
    """The write timeout bounds each write; a long upload of many may take longer in total."""
    size = 8 * MEGABYTE
    timeout = 0.3
    slowly = [RECEIVE_HEAD, sip(512 << 10, 0.05, size), send(OK), STALL]
    with Server([slowly]) as server:
        pool = door.pool()
        started = time.monotonic()
        content = door.body(_pieces(b"x" * SMALL_BUFFER, size // SMALL_BUFFER))
        outcome = await attempt(
            door, pool.request("POST", server.url(), content=content, timeout={"write": timeout})
        )
        check("verdict", outcome.error is None, f"{outcome.error!r}")
        check("verdict", time.monotonic() - started > timeout, "the server was not slow; this proves nothing")
        await check_closed(door, pool, server)


async def odd_timeouts(door: Door) -> None:
    """None, infinity, a missing key and whole numbers are all legal."""
    whole = [dict.fromkeys(("connect", "read", "write", "pool"), value) for value in (None, float("inf"), 3)]
    with Server() as server:
        pool = door.pool()
        for timeout in (*whole, {}, {"read": 1.0}, {"pool": None, "unknown": 7}):
            request = httpcore.Request(
                "POST",
                server.url("/echo"),
                headers=[("Host", "x"), ("Content-Length", "1"), ("Connection", "close")],
                content=b"x",
                extensions={"timeout": timeout},
            )
            outcome = await attempt(door, _exchange(pool, request))
            check("foreign", not door.foreign, f"{timeout}: {door.foreign!r}")
            check("verdict", outcome.value == b"x", f"{timeout}: {outcome.error!r}")
        outcome = await attempt(
            door, _exchange(pool, httpcore.Request("GET", server.url(), headers={"Host": "x"}))
        )
        check("verdict", outcome.value == b"ok", f"no timeouts at all: {outcome.error!r}")
        await check_after(door, pool, server, P1)


async def _exchange(pool: Pool, request: httpcore.Request) -> bytes:
    async with await pool.send(request) as stream:
        return await stream.read()


async def slow_reader(door: Door) -> None:
    """Of a body that nobody reads, at most 1 MiB is kept beside the kernel's buffers."""
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)]
    total = 64 * MEGABYTE
    script = [
        RECEIVE,
        send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total),
        flood(b"x" * 4096, total // 4096),
    ]
    with Server([script]) as server:
        pool = door.pool(socket_options=options)
        server.send_buffer = SMALL_BUFFER
        stream = await pool.open("GET", server.url())
        await anext(aiter(stream))
        peer = server.connections[0]
        seen = -1
        # Full when nothing was accepted for a while.
        while seen != peer.sent:
            seen = peer.sent
            await door.sleep(0.1)
        # The kernel doubles what it was asked for, on both sides, and rounds up.
        kernel = 4 * 2 * SMALL_BUFFER
        check("verdict", peer.sent <= MEGABYTE + kernel, f"{peer.sent} bytes were taken from the peer")
        await stream.close()
        await check_after(door, pool, server, P0)


async def slowloris(door: Door) -> None:
    """A body that comes byte by byte runs on, and counts as one slot."""
    body = b"0123456789"
    with Server([[RECEIVE, drip(response(body), 0.02, 4), SERVE]]) as server:
        pool = door.pool()
        async with await pool.open("GET", server.url(), timeout={"read": 0.5}) as stream:
            check("after", pool.counts == "1 active, 0 queued | 1 active, 0 idle", pool.counts)
            check("verdict", await stream.read() == body, "a wrong body")
        await check_after(door, pool, server, P1)


async def blocked_loop(door: Door) -> None:
    """Data that arrived in time is returned, however late the blocked loop looks."""
    timeout = 0.2
    script = [RECEIVE, send(OK[:-2]), pause(0.05), send(b"ok"), SERVE]
    with Server([script]) as server:
        pool = door.pool()
        stream = await pool.open("GET", server.url(), timeout={"read": timeout})

        async def block() -> None:
            time.sleep(2 * timeout)

        blocker = door.start(block())
        outcome = await attempt(door, stream.read())
        await blocker.outcome()
        check("verdict", outcome.value == b"ok", f"{outcome.error!r}")
        await stream.close()
        await check_after(door, pool, server, P1)


async def timeout_meets_last_byte(door: Door) -> None:
    """Whichever wins, nothing is left and the next request is right."""
    timeout = 0.02
    rounds = 20
    scripts = [
        [RECEIVE, send(OK[:-1]), pause(timeout + 0.0005 * (number - rounds // 2)), send(b"k"), SERVE]
        for number in range(rounds)
    ]
    for script in scripts:
        with Server([script]) as server:
            pool = door.pool()
            outcome = await attempt(door, pool.request("GET", server.url(), timeout={"read": timeout}))
            wrong = Either((Answer(body=b"ok"), fails(RT))).judge(outcome)
            check("verdict", wrong is None, str(wrong))
            await check_after(door, pool, server, LEFT)


ROWS = [
    Row("O-01", "the pool timeout", scenario=slot_is_held),
    Row("O-02", "a pool timeout of 0", scenario=no_time_to_wait),
    Row(
        "O-04",
        "the read timeout counts each gap",
        (Case(Answer(body=b"ok"), [RECEIVE, drip(OK, 0.05, 4), SERVE], P1, timeout={"read": 0.3}),),
    ),
    Row("O-05", "the write timeout", scenario=peer_never_reads),
    Row("O-06", "the write timeout counts each write", scenario=peer_reads_slowly),
    Row("O-07", "None, infinity, whole numbers, missing keys", scenario=odd_timeouts),
    Row("O-09", "a slow reader holds back its peer", scenario=slow_reader),
    Row("O-13", "a slow response is one slot", scenario=slowloris),
    Row("O-15", "a blocked loop loses no data", scenario=blocked_loop, doors=("asyncio", "uvloop", "trio")),
    Row("O-16", "the timeout meets the last byte", scenario=timeout_meets_last_byte),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
