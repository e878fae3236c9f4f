"""Chapter C: connections that are refused, ignored, reset, or never possible in the first place."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import tempfile
import time

import httpcore
from doors import Door
from matrix import (
    CE,
    CT,
    EMPTY,
    FULL_SIZE,
    P1,
    RE,
    RPE,
    UP,
    Case,
    Row,
    attempt,
    check,
    check_after,
    check_closed,
    check_next,
    fails,
)
from servers import CLOSE, RST, Server, pause
from sockets import descriptors, held_towards
from verdicts import judge, parametrize

CONNECT_TIMEOUT = 0.2


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def must_fail(
    door: Door, url, *errors: type[BaseException], text: str | None = None, timeout=None, **options
) -> None:
    """The request fails with one of these classes, nothing is left of it, and no socket is open."""
    pool = door.pool(**options)
    outcome = await attempt(door, pool.request("GET", url, timeout=timeout or {}))
    check("foreign", not door.foreign, f"{url}: came out of the pool: {door.foreign!r}")
    wrong = fails(*errors, text=text).judge(outcome)
    check("verdict", wrong is None, f"{url}: {wrong}")
    check("after", pool.counts == EMPTY, f"{url}: the pool holds {pool.counts}")
    check("delegated", pool.delegated is None, f"{pool.delegated}")


async def refused(door: Door) -> None:
    port = free_port()
    await must_fail(door, f"http://127.0.0.1:{port}/", CE)
    check("closed", held_towards(port) == 0, "a socket is left")


async def ignored(door: Door) -> None:
    with Server(accept=False) as server:
        before = held_towards(server.port)
        started = time.monotonic()
        await must_fail(door, server.url(), CT, timeout={"connect": CONNECT_TIMEOUT})
        check("verdict", time.monotonic() - started >= CONNECT_TIMEOUT - 0.05, "gave up before its time")
        gone = await door.until(lambda: held_towards(server.port) == before, 1.0)
        check("closed", gone, "a connecting socket is left")


async def unreachable(door: Door) -> None:
    """The broadcast address: the kernel refuses it at once, and nothing leaves the machine."""
    await must_fail(door, "http://255.255.255.255:9/", CE)


async def timeout_values(door: Door) -> None:
    with Server(accept=False) as server:
        for value in (0, 0.0, 1e-9, 0.001):
            await must_fail(door, server.url(), CT, timeout={"connect": value})
    with Server() as server:
        for value in (None, float("inf"), 5):
            pool = door.pool()
            reply = await pool.request("GET", server.url(), timeout={"connect": value})
            check("verdict", reply.status == 200, f"connect timeout {value}")


async def retried_until_it_listens(door: Door) -> None:
    """Two refusals, at 0 s and at once after it; the third attempt comes 0.5 s later and succeeds."""
    port = free_port()
    pool = door.pool(retries=2)
    started = time.monotonic()
    task = door.start(pool.request("GET", f"http://127.0.0.1:{port}/"))
    await door.sleep(0.2)
    check("verdict", not task.done, f"gave up: {task.error!r}")
    with Server(port=port) as server:
        reply = await task.outcome()
        check("verdict", reply.status == 200 and time.monotonic() - started >= 0.5, "no back-off of 0.5 s")
        await check_next(door, pool, server)
        check("next", server.accepted == 1, "the connection was not reused")
        await check_closed(door, pool, server)


async def cancelled_in_back_off(door: Door) -> None:
    pool = door.pool(retries=5)
    task = door.start(pool.request("GET", f"http://127.0.0.1:{free_port()}/"))
    await door.sleep(0.1)
    task.cancel()
    await task.settled(1.0)
    check("verdict", task.cancelled, f"{task.error!r}")
    check("after", pool.counts == EMPTY, pool.counts)


async def no_such_name(door: Door) -> None:
    await must_fail(door, "http://no-such-name.invalid/", CE)


async def name_with_two_addresses(door: Door) -> None:
    """`localhost` may name an address that nobody listens on first; the live one is found."""
    with Server() as server:
        pool = door.pool()
        reply = await pool.request("GET", server.url(host="localhost"))
        check("verdict", reply.status == 200, f"{reply.status}")
        await check_closed(door, pool, server)


async def impossible_names(door: Door) -> None:
    for host in (b"a" * 64 + b".invalid", b"xn--a", b"\xff\xfe.invalid", b"a..invalid"):
        url = httpcore.URL(scheme=b"http", host=host, port=9, target=b"/")
        await must_fail(door, url, CE)


async def no_descriptors_left(door: Door) -> None:
    """A failed `socket()` is a ConnectError; once descriptors are back, so is the pool."""
    with Server() as server:
        pool = door.pool()
        # The pool has made whatever it makes on first use.
        await pool.request("GET", server.url())
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        port = free_port()
        spare: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    spare.append(os.dup(0))
            outcome = await attempt(door, pool.request("GET", f"http://127.0.0.1:{port}/"))
        finally:
            for number in spare:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        wrong = fails(CE).judge(outcome)
        check("verdict", wrong is None, str(wrong))
        await check_after(door, pool, server, P1)


async def bad_local_ends(door: Door) -> None:
    with Server() as server:
        await must_fail(door, server.url(), CE, local_address="192.0.2.1")
        await must_fail(door, server.url(), CE, socket_options=[(socket.SOL_SOCKET, 9_999, 1)])
        check("wire", await door.until(lambda: not server.open_connections(), 1.0), "a connection is left")


async def bad_unix_paths(door: Door) -> None:
    with tempfile.TemporaryDirectory() as directory:
        plain = os.path.join(directory, "file")
        with open(plain, "wb"):
            pass
        for path in (os.path.join(directory, "missing"), plain, os.path.join(directory, "x" * 200)):
            await must_fail(door, "http://localhost/", CE, uds=path)


async def unix_server_closes(door: Door) -> None:
    with Server([[CLOSE]], unix=True) as server:
        pool = door.pool(uds=server.path)
        outcome = await attempt(door, pool.request("GET", "http://localhost/"))
        wrong = fails(RPE, RE).judge(outcome)
        check("verdict", wrong is None, str(wrong))
        check("after", pool.counts == EMPTY, pool.counts)
        reply = await pool.request("GET", "http://localhost/")
        check("next", reply.status == 200, "the next request failed")


async def unsupported_schemes(door: Door) -> None:
    before = len(descriptors())
    missing = "Request URL is missing an 'http://' or 'https://' protocol."
    await must_fail(door, "/relative", UP, text=missing)
    await must_fail(door, "//host/", UP, text=missing)
    await must_fail(door, "ftp://host/", UP, text="Request URL has an unsupported protocol 'ftp://'.")
    check("wire", len(descriptors()) == before, "a socket was opened")


async def port_zero(door: Door) -> None:
    """Port 0 means the scheme's default."""
    seen: list[int] = []

    def trace(name: str, info: dict) -> None:
        if name == "connection.connect_tcp.started":
            seen.append(info["port"])

    # An address of the loopback net that nothing listens on: the attempt is refused by the kernel.
    url = httpcore.URL(scheme=b"http", host=b"127.77.77.77", port=0, target=b"/")
    outcome = await attempt(door, door.pool().request("GET", url, extensions={"trace": door.callback(trace)}))
    wrong = fails(CE).judge(outcome)
    check("verdict", wrong is None, str(wrong))
    check("wire", seen == [80], f"connected to {seen}")


async def many_origins_few_connections(door: Door) -> None:
    origins = 200 if FULL_SIZE else 40
    with Server(host="0.0.0.0") as server:
        pool = door.pool(max_connections=5)
        for number in range(origins):
            reply = await pool.request("GET", server.url(host=f"127.0.1.{number + 1}"))
            check("verdict", reply.status == 200, "a request failed")
            check("after", len(pool.raw.connections) <= 5, f"{len(pool.raw.connections)} connections")
        check("after", pool.counts == "0 active, 0 queued | 0 active, 5 idle", pool.counts)
        gone = await door.until(lambda: len(server.open_connections()) == 5, 1.0)
        check("peer", gone, f"{len(server.open_connections())} open connections")
        await check_closed(door, pool, server)


ASYNC = ("asyncio", "uvloop", "trio")

ROWS = [
    Row("C-01", "the port is closed", scenario=refused),
    Row("C-02", "the SYN is dropped", scenario=ignored),
    Row("C-03", "the address is unreachable", scenario=unreachable),
    # A RST that arrives before the write is consumed by it; what is left to read is an end.
    Row("C-04", "accepted, then reset", (Case(fails(RE, RPE), [pause(0.01), RST]),)),
    Row("C-05", "accepted, then closed unread", (Case(fails(RPE, RE), [pause(0.01), CLOSE]),)),
    Row("C-06", "connect timeouts of nothing, a little, and for ever", scenario=timeout_values),
    Row("C-07", "`retries` connects again after 0 s and 0.5 s", scenario=retried_until_it_listens),
    Row("C-08", "cancelled while backing off", scenario=cancelled_in_back_off, doors=ASYNC),
    Row("C-09", "the name does not exist", scenario=no_such_name),
    Row("C-12", "a name with a dead address", scenario=name_with_two_addresses),
    Row("C-13", "names that cannot exist", scenario=impossible_names),
    Row("C-14", "no descriptor left", scenario=no_descriptors_left),
    Row("C-16", "a local address or socket option that the kernel refuses", scenario=bad_local_ends),
    Row("C-17", "no server at the Unix path", scenario=bad_unix_paths),
    Row("C-18", "a Unix server closes after accepting", scenario=unix_server_closes),
    Row("C-19", "the scheme is missing or unknown", scenario=unsupported_schemes),
    Row("C-20", "port 0", scenario=port_zero),
    Row("C-21", "more origins than connections", scenario=many_origins_few_connections),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
