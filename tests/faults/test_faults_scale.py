"""Chapter D, and of chapter S what takes no hours: bombs, many failures, an interpreter that is kept busy."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
import zlib

import httpcore
import httpx
import pytest
from doors import ASYNC_DOORS, Door
from engines import HYPER
from matrix import (
    EMPTY,
    FULL_SIZE,
    P0,
    Answer,
    Case,
    Row,
    attempt,
    check,
    check_after,
    check_closed,
    check_next,
)
from memory import resident
from routes import response
from servers import RECEIVE, SERVE, Server, flood, send
from sockets import descriptors
from test_faults_connect import free_port
from verdicts import judge, parametrize

import httpcore_hyper

# What a hostile response may cost beside itself (the dashboard's figure for a bomb).
BOMB_COST = 8 << 20
FAILURES = 100_000 if FULL_SIZE else 1_000
AT_ONCE, CONNECTIONS = (10_000, 100) if FULL_SIZE else (1_000, 50)
# httpcore looks through all that wait for each that is served.
AT_ONCE_IN_HTTPCORE = 300
# The last of them waits for all the others.
PATIENCE = dict.fromkeys(("connect", "read", "write", "pool"), 300.0 if FULL_SIZE else 30.0)
ONE_MIB = 1 << 20
# What httpx is to inflate: a thousand times what is sent, and no burden to the machine.
INFLATED = 32 * ONE_MIB


def gzip_bomb(inflated: int) -> bytes:
    """So many zeros, a thousandth as long."""
    packer = zlib.compressobj(1, wbits=31)
    zeros = bytes(ONE_MIB)
    parts = [packer.compress(zeros) for _ in range(inflated // ONE_MIB)]
    return b"".join([*parts, packer.flush()])


GZIPPED = ((b"Content-Encoding", b"gzip"),)


async def bomb(door: Door) -> None:
    """The bytes of the wire are passed on as they are, part by part, and nothing is inflated."""
    packed = gzip_bomb(256 * ONE_MIB)
    with Server([[RECEIVE, send(response(packed, headers=GZIPPED)), SERVE]]) as server:
        pool = door.pool()
        before = resident()
        async with await pool.open("GET", server.url()) as stream:
            checksum = 0
            async for part in stream:
                checksum = zlib.crc32(part, checksum)
                cost = resident() - before
                check("wire", cost < BOMB_COST, f"{cost >> 20} MiB more than before")
        check("wire", checksum == zlib.crc32(packed), "not the bytes that were sent")
        check("next", await check_next(door, pool, server), "the connection was not reused")
        await check_closed(door, pool, server)


async def closed_bomb(door: Door) -> None:
    """Closing a response that never ends reads no more of it."""
    endless = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    with Server([[RECEIVE, send(endless), flood(gzip_bomb(64 * ONE_MIB), 1_000_000)]]) as server:
        pool = door.pool()
        stream = await pool.open("GET", server.url())
        await stream.__anext__()
        began = time.monotonic()
        await stream.close()
        check("verdict", time.monotonic() - began < 1.0, "the close took its time")
        await check_after(door, pool, server, P0)


NESTED = b", ".join([b"gzip"] * 1000)


async def many_failures(door: Door) -> None:
    """Connects that are refused, over and over, cost nothing that stays."""
    url = f"http://127.0.0.1:{free_port()}/"
    pool = door.pool()

    async def fail(times: int) -> None:
        for _ in range(times):
            outcome = await attempt(door, pool.request("GET", url))
            check("verdict", isinstance(outcome.error, httpcore.ConnectError), f"{outcome.error!r}")

    await fail(FAILURES // 10)
    before = len(descriptors()), threading.active_count(), resident()
    await fail(FAILURES)
    after = len(descriptors()), threading.active_count()
    check("after", after == before[:2], f"{before[:2]} descriptors and threads became {after}")
    # A MiB for a million of them is the soak's figure; the allocator's own noise is larger than these few.
    check("after", resident() - before[2] < 4 * ONE_MIB, "memory grew")
    check("after", pool.counts == EMPTY, f"the pool holds {pool.counts}")


async def busy_interpreter(door: Door) -> None:
    """A thread that holds the GIL in C most of the time slows the others down, and no more."""
    hold = ctypes.PyDLL(None).usleep
    enough = threading.Event()

    def hog() -> None:
        while not enough.is_set():
            hold(5_000)

    thread = threading.Thread(target=hog)
    with Server() as server:
        pool = door.pool()
        thread.start()
        try:
            for number in range(20):
                reply = await pool.request("GET", server.url(), headers={"X-Nonce": str(number)})
                check("next", reply.header(b"X-Nonce") == b"%d" % number, "another's answer")
        finally:
            enough.set()
            thread.join()
        await check_closed(door, pool, server)


async def many_at_once(door: Door) -> None:
    """All that wait are served, each with its own answer, over as many connections as the pool may have."""
    with Server() as server:
        pool = door.pool(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)

        async def request(number: int) -> None:
            nonce = b"%d" % number
            reply = await pool.request("POST", server.url("/echo"), content=nonce, timeout=PATIENCE)
            check("next", reply.body == nonce, "another's answer")

        number_of_them = AT_ONCE if door.engine == HYPER else AT_ONCE_IN_HTTPCORE
        tasks = [door.start(request(number)) for number in range(number_of_them)]
        for task in tasks:
            await task.outcome(PATIENCE["pool"])
        check("after", server.accepted <= CONNECTIONS, f"{server.accepted} connections")
        await check_closed(door, pool, server)


ROWS = [
    Row("D-01", "a bomb is passed on as it is", scenario=bomb),
    Row("D-03", "a bomb that is closed is not drained", scenario=closed_bomb),
    Row(
        "D-04",
        "a thousand nested encodings are one header",
        (
            Case(
                Answer(body=b"ok", headers=[(b"Content-Encoding", NESTED), (b"Content-Length", b"2")]),
                [RECEIVE, send(response(b"ok", headers=((b"Content-Encoding", NESTED),))), SERVE],
                "P1",
            ),
        ),
    ),
    Row("S-06", "a busy interpreter", scenario=busy_interpreter),
    Row("S-07", "many at once", scenario=many_at_once, doors=ASYNC_DOORS),
    Row("S-09", "many failing connects", scenario=many_failures),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_bomb_that_httpx_inflates(is_async: bool, engine: str) -> None:
    """D-02: `get()` inflates it, whatever the transport; what we hand over is what was sent."""
    packed = gzip_bomb(INFLATED)
    with Server([[RECEIVE, send(response(packed, headers=GZIPPED)), SERVE]]) as server:
        transports = (httpx.HTTPTransport, httpx.AsyncHTTPTransport)
        if engine == HYPER:
            transports = (httpcore_hyper.HTTPTransport, httpcore_hyper.AsyncHTTPTransport)

        async def get() -> httpx.Response:
            async with httpx.AsyncClient(transport=transports[1]()) as client:
                return await client.get(server.url())

        if is_async:
            answer = asyncio.run(get())
        else:
            with httpx.Client(transport=transports[0]()) as client:
                answer = client.get(server.url())
        assert answer.num_bytes_downloaded == len(packed) < INFLATED // 100
        assert len(answer.content) == INFLATED
