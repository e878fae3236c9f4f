"""Chapter P: proxies that refuse, stall and talk nonsense; tunnels whose TLS fails; SOCKS in any pieces.

The scripted server is the proxy, and the origin behind it.
"""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpcore
from certificates import careless_context, context_for, expired_context, server_context, stranger_context
from doors import ANYIO, ASYNC_DOORS, EMPTY, OWN, Door
from http2_server import Http2
from matrix import (
    CE,
    CT,
    LEFT,
    LPE,
    P0,
    P1,
    PXE,
    RE,
    RPE,
    RT,
    VAIN,
    Answer,
    Expect,
    Row,
    Scenario,
    attempt,
    check,
    check_after,
    check_closed,
    fails,
)
from proxies import ESTABLISHED, FORWARD, HTTPS, SOCKS, TUNNEL, pool_behind, recover, serve
from routes import response
from servers import (
    CLOSE,
    FIN,
    HEAR,
    RAW,
    RECEIVE,
    RST,
    SERVE,
    STALL,
    START_TLS,
    Connection,
    Script,
    Server,
    Step,
    call,
    drip,
    flood,
    pause,
    send,
)
from sockets import held_towards
from socks_server import NO_AUTH, Socks
from verdicts import judge, parametrize

SHORT = 0.3
# Far more pieces of a head than any reader takes; who has refused it ends the flood.
ENDLESS = 1 << 16
# A cancelled or closed exchange ends within 10 ms by design; a hundred times that for a loaded machine.
RETURN_DEADLINE = 1.0
OK = response(b"ok")
REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 4\r\n\r\nno!\n"
CONNECTED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


@dataclasses.dataclass(frozen=True)
class Through:
    """One request through a proxy."""

    expect: Any  # Expect; a union of classes is no runtime type on Python 3.10's dataclasses
    script: Script
    after: str = P0
    label: str = ""
    kind: str = FORWARD
    # The certificate of the origin, and of an `https` proxy.
    tls: ssl.SSLContext | None = dataclasses.field(default_factory=server_context)
    auth: tuple[str, str] | None = None
    host: bytes | None = None
    timeout: Mapping[str, float] = dataclasses.field(default_factory=dict)
    pool: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # What the client trusts an `https` proxy by; else what it trusts the origin by.
    trust: ssl.SSLContext | None = None
    wire: Callable[[Server], None] | None = None


def through(*cases: Through) -> Scenario:
    async def scenario(door: Door) -> None:
        for case in cases:
            await _run(door, case)

    return scenario


async def _run(door: Door, case: Through) -> None:
    label = f"{case.label}: "
    # A handshake that rustls cannot finish is begun again, on a second connection.
    with Server([case.script] * 8, tls=case.tls, app=serve) as server:
        pool = pool_behind(door, server, case.kind, case.auth, **case.pool)
        if case.trust is not None:
            # Before its first request a pool's settings are all there is of it.
            pool.raw._proxy.ssl_context = case.trust
        url = httpcore.URL(
            scheme="http" if case.tls is None else "https",
            host=case.host or server.host,
            port=server.port,
            target="/",
        )
        outcome = await attempt(
            door, pool.request("GET", url, headers=[(b"Host", b"origin")], timeout=dict(case.timeout))
        )
        check("foreign", not door.foreign, f"{label}came out of the pool: {door.foreign!r}")
        wrong = case.expect.judge(outcome)
        check("verdict", wrong is None, f"{label}{wrong}")
        if case.wire is not None:
            case.wire(server)
        recover(server, case.kind, case.auth)
        try:
            await check_after(door, pool, server, case.after)
        except AssertionError as difference:
            difference.args = (f"{label}{difference}",)
            raise


def tunnel(expect: Expect, *script: Step, after: str = P0, label: str = "", **more: Any) -> Through:
    """To an origin with TLS, through an HTTP proxy that has been asked for it."""
    return Through(expect, [RECEIVE, *script], after, label, **more)


def socks(expect: Expect, *script: Step, after: str = P0, label: str = "", **more: Any) -> Through:
    """To an origin without TLS, through a SOCKS proxy."""
    return Through(expect, script, after, label, **{"kind": SOCKS, "tls": None, **more})


def take(size: int) -> Step:
    """Exactly so many bytes of the client's."""

    def play(connection: Connection) -> None:
        left = size
        while left:
            received = connection.sock.recv(left)
            if not received:
                raise ConnectionResetError("the client has gone")
            left -= len(received)

    return call(play)


GREETING, LOGIN, REQUEST = take(3), take(3 + len("user") + len("secret")), take(10)
USER = ("user", "secret")


def refused(scheme: str) -> Scenario:
    """Nobody listens where the proxy should be."""

    async def scenario(door: Door) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            proxy = f"{scheme}://127.0.0.1:{closed.getsockname()[1]}"
            pool = door.pool(proxy=httpcore.Proxy(proxy))
            for url in ("http://example.com/", "https://example.com/"):
                outcome = await attempt(door, pool.request("GET", url))
                wrong = fails(CE).judge(outcome)
                check("verdict", wrong is None, f"{url}: {wrong}")
                check("after", pool.counts == EMPTY, f"the pool holds {pool.counts}")
        check("foreign", not door.foreign, f"{door.foreign!r}")
        check("delegated", pool.delegated is None, f"served by httpcore's engine: {pool.delegated}")

    return scenario


def all_refused(*schemes: str) -> Scenario:
    async def scenario(door: Door) -> None:
        for scheme in schemes:
            await refused(scheme)(door)

    return scenario


def bytes_of_a_forward(server: Server) -> None:
    wanted = b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: origin\r\nProxy-Authorization: %s\r\n\r\n" % (
        server.port,
        b"Basic dXNlcjpzZWNyZXQ=",
    )
    check("wire", server.connections[0].raw == wanted, f"sent {server.connections[0].raw!r}")


def bytes_of_a_tunnel(server: Server) -> None:
    authority = b"127.0.0.1:%d" % server.port
    connect, request = server.requests[0].head, server.requests[1].head
    wanted = (
        b"CONNECT %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n"
        b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n" % (authority, authority)
    )
    check("wire", connect == wanted, f"sent {connect!r}")
    check("wire", request == b"GET / HTTP/1.1\r\nHost: origin\r\n\r\n", f"sent {request!r} into the tunnel")


async def proxies_apart(door: Door) -> None:
    """Two users of one proxy never share a tunnel."""
    with Server(tls=server_context(), app=serve) as server:
        pools = [pool_behind(door, server, FORWARD, (name, "secret")) for name in ("one", "two")]
        for pool in [*pools, *pools]:
            check("verdict", (await pool.request("GET", server.url())).status == 200, "refused")
        check("wire", server.accepted == 2, f"{server.accepted} connections for two users")
        asked = [request.header(b"Proxy-Authorization") for request in server.requests]
        given = [value for value in asked if value is not None]
        check("wire", len(given) == 2 and len(set(given)) == 2, f"the proxy was given {given}")
        await pools[0].close()
        await check_closed(door, pools[1], server)


async def http2_inside(door: Door) -> None:
    """It is agreed upon with the origin; both requests go over the one tunnel."""
    for kind, script in ((FORWARD, TUNNEL), (HTTPS, TUNNEL), (SOCKS, [call(Socks(NO_AUTH))])):
        context = server_context("h2", "http/1.1")
        with Server([[*script, START_TLS, call(Http2().answer)]], tls=context, app=serve) as server:
            pool = pool_behind(door, server, kind, http2=True)
            for _ in range(2):
                outcome = await attempt(door, pool.request("GET", server.url()))
                wrong = Answer(body=b"Hello, world!").judge(outcome)
                check("verdict", wrong is None, f"{kind}: {wrong}")
                check("verdict", outcome.value.extensions["http_version"] == b"HTTP/2", kind)
            check("next", server.accepted == 1, f"{kind}: {server.accepted} connections")
            await check_closed(door, pool, server)


# Where an exchange can be when it is given up: its kind of proxy, what the server does, when it is there.
Phase = tuple[str, str, Script, Callable[[Server], object]]


def at(step: int) -> Callable[[Server], object]:
    """The script of the first connection has come to that step."""
    return lambda server: server.accepted and server.connections[0].stage >= step


ASKED: Phase = ("a tunnel is asked for", FORWARD, [RECEIVE, STALL], at(1))
PHASES: Sequence[Phase] = (
    ("TLS with the proxy", HTTPS, [RAW, HEAR, STALL], at(2)),
    ASKED,
    ("TLS in the tunnel", FORWARD, [RECEIVE, ESTABLISHED, HEAR, STALL], at(3)),
    ("TLS in TLS", HTTPS, [RECEIVE, ESTABLISHED, HEAR, STALL], at(3)),
    ("the request in the tunnel", FORWARD, [*TUNNEL, START_TLS, RECEIVE, STALL], at(4)),
    ("the greeting", SOCKS, [take(3), STALL], at(1)),
    ("the login", SOCKS, [take(3), send(b"\x05\x02"), LOGIN, STALL], at(3)),
    ("the request for a connection", SOCKS, [GREETING, send(b"\x05\x00"), REQUEST, STALL], at(3)),
    ("TLS behind SOCKS", SOCKS, [call(Socks(NO_AUTH)), HEAR, STALL], at(2)),
)


def _auth(phase: Phase) -> tuple[str, str] | None:
    return USER if LOGIN in phase[2] else None


def cancelled(way: str) -> Scenario:
    """Plain cancellation in every phase, and at that moment the pool holds nothing."""

    async def scenario(door: Door) -> None:
        for phase in PHASES:
            label, kind, script, reached = phase
            with Server([script], tls=server_context(), app=serve) as server:
                pool = pool_behind(door, server, kind, _auth(phase))
                states: list[str] = []

                async def observed(
                    pool: Any = pool, server: Server = server, states: list[str] = states
                ) -> None:
                    try:
                        await pool.request("GET", server.url())
                    finally:
                        states.append(pool.counts)

                task = door.start(observed(), way)
                check("reached", await door.until(lambda: reached(server)), f"{label}: was not reached")  # noqa: B023
                check("reached", not task.done, f"{label}: ended by itself: {task.error!r}")
                task.cancel()
                await task.settled(RETURN_DEADLINE)
                check("verdict", task.cancelled, f"{label}: {task.error!r}")
                check("foreign", not door.foreign, f"{label}: {door.foreign!r}")
                check("after", states == [EMPTY], f"{label}: the pool held {states}")
                recover(server, kind, _auth(phase))
                await check_after(door, pool, server, P0)

    return scenario


async def cancelled_while_connecting(door: Door) -> None:
    """To the proxy: the socket is gone with the task."""
    for kind in (FORWARD, HTTPS, SOCKS):
        with Server(accept=False) as server:
            before = held_towards(server.port)
            pool = pool_behind(door, server, kind)
            task = door.start(pool.request("GET", "https://example.com/"))
            connects = await door.until(lambda: held_towards(server.port) > before)  # noqa: B023
            check("reached", connects, "nothing connects")
            task.cancel()
            await task.settled(RETURN_DEADLINE)
            check("verdict", task.cancelled, f"{task.error!r}")
            check("after", pool.counts == EMPTY, f"the pool holds {pool.counts}")
            gone = await door.until(lambda: held_towards(server.port) == before, RETURN_DEADLINE)  # noqa: B023
            check("closed", gone, "a connecting socket is left")


async def each_cancelled(door: Door) -> None:
    await cancelled_while_connecting(door)
    for way in (OWN, ANYIO):
        await cancelled(way)(door)


async def closed_meanwhile(door: Door) -> None:
    """A pool that is closed in the middle of it returns at once, and the request fails."""
    for phase in PHASES:
        label, kind, script, reached = phase
        with Server([script], tls=server_context(), app=serve) as server:
            pool = pool_behind(door, server, kind, _auth(phase))
            task = door.start(pool.request("GET", server.url()))
            check("reached", await door.until(lambda: reached(server)), f"{label}: was not reached")  # noqa: B023
            closer = door.start(pool.close())
            returned = await door.until(lambda: closer.done, RETURN_DEADLINE)  # noqa: B023
            check("verdict", returned and closer.error is None, f"{label}: close() raised {closer.error!r}")
            ended = await door.until(lambda: task.done, RETURN_DEADLINE)  # noqa: B023
            check("verdict", ended, f"{label}: the request goes on")
            wrong = fails(RE).judge(task)
            check("verdict", wrong is None, f"{label}: {wrong}")
            recover(server, kind, _auth(phase))
            await check_after(door, pool, server, P0)


def methods(auth: tuple[str, str] | None, *replies: bytes, text: str) -> Through:
    """A proxy whose replies end in a refusal."""
    steps: list[Step] = []
    for client, reply in zip((GREETING, LOGIN), replies, strict=False):
        steps += [client, send(reply)]
    return socks(fails(PXE, text=text), *steps, STALL, label=text, auth=auth)


OUTCOMES = (
    "General SOCKS server failure",
    "Connection not allowed by ruleset",
    "Network unreachable",
    "Host unreachable",
    "Connection refused",
    "TTL expired",
    "Command not supported",
    "Address type not supported",
)


def answers(reply: bytes, *end: Step) -> list[Step]:
    """A proxy that takes the greeting and the request, and answers the latter like this."""
    return [GREETING, send(b"\x05\x00"), REQUEST, send(reply), *(end or (STALL,))]


async def odd_hosts(door: Door) -> None:
    """Addresses go as addresses, all else as a name of at most 255 bytes; nothing is cut or reinterpreted."""
    for host, wanted in (
        (b"::1", bytes(15) + b"\x01"),
        (b"10.0.0.1", b"\x0a\x00\x00\x01"),
        (b"example.com", b"example.com"),
        (b"a" * 255, b"a" * 255),
    ):
        proxy = Socks(NO_AUTH)
        await _run(door, socks(Answer(), call(proxy), SERVE, after=LEFT, label=repr(host), host=host))
        seen = None if proxy.address is None else proxy.address[0]
        check("wire", seen == wanted, f"the proxy was asked for {seen!r}")
    for host in (b"a" * 256, b"a\x00b", b"\xff\xfe"):
        await _run(door, socks(fails(CE, LPE), HEAR, FIN, label=repr(host), host=host))


ROWS = [
    Row(
        "P-01",
        "a forwarded request has the proxy's answer, whatever it is",
        scenario=through(
            Through(Answer(), [SERVE], P1, "200", tls=None),
            Through(Answer(407, b"no!\n"), [RECEIVE, send(REFUSAL), SERVE], P1, "407", tls=None),
        ),
    ),
    Row(
        "P-02",
        "the bytes of a forwarded request",
        scenario=through(
            Through(Answer(), [SERVE], P1, tls=None, auth=USER, wire=bytes_of_a_forward),
        ),
    ),
    Row("P-03", "nobody listens", scenario=all_refused(FORWARD, HTTPS, SOCKS)),
    Row(
        "P-04",
        "a tunnel is refused",
        scenario=through(
            *(
                tunnel(fails(PXE, text=text), send(answer), STALL, label=text)
                for text, answer in (
                    ("407 Proxy Authentication Required", REFUSAL),
                    ("502 Bad Gateway", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 100\r\n\r\n<html>"),
                    ("301 Moved", b"HTTP/1.1 301 Moved\r\nLocation: https://a/\r\n\r\n"),
                    ("403 Permission Denied", b"HTTP/1.0 403 Permission Denied\r\n\r\n"),
                    ("503 ", b"HTTP/1.1 503\r\n\r\n"),
                    ("500 caf", b"HTTP/1.1 500 caf\xe9\r\n\r\n"),
                )
            )
        ),
    ),
    Row(
        "P-05",
        "the proxy's credentials stay outside the tunnel",
        scenario=through(
            tunnel(Answer(), ESTABLISHED, START_TLS, SERVE, after=P1, auth=USER, wire=bytes_of_a_tunnel)
        ),
    ),
    Row("P-06", "two users of one proxy", scenario=proxies_apart),
    Row(
        "P-07",
        "a question for a tunnel that ends in nothing, or in garbage",
        scenario=through(
            tunnel(fails(RPE), FIN, label="nothing"),
            tunnel(fails(RPE), send(b"HTTP/1.1 2"), FIN, label="part of a head"),
            tunnel(fails(RPE), send(b"garbage\r\n\r\n"), STALL, label="garbage"),
            tunnel(fails(RPE), send(b"HTTP/1.1 200 OK\r\nA B: c\r\n\r\n"), STALL, label="a bad header"),
        ),
    ),
    Row(
        "P-07a",
        "an answer without an end",
        scenario=through(
            tunnel(
                fails(RPE),
                *(send(b"HTTP/1.1 200 OK\r\nX: "), flood(b"x" * 1024, ENDLESS)),
                label="one header",
            ),
            tunnel(
                fails(RPE),
                *(send(b"HTTP/1.1 200 OK\r\n"), flood(b"X: " + b"x" * 1021 + b"\r\n", ENDLESS)),
                label="many headers",
            ),
        ),
    ),
    Row("P-08", "a question for a tunnel that is reset", scenario=through(tunnel(fails(RE), RST))),
    Row(
        "P-08a",
        "an answer that is reset in the middle",
        # Taken before the reset, or discarded by it: an error of reading either way.
        scenario=through(tunnel(fails(RE), send(b"HTTP/1.1 200 O"), RST)),
    ),
    Row(
        "P-09",
        "a question for a tunnel without an answer",
        scenario=through(tunnel(fails(RT), STALL, timeout={"read": SHORT})),
    ),
    Row(
        "P-10",
        "a tunnel that ends at once",
        scenario=through(tunnel(fails(CE), ESTABLISHED, FIN)),
    ),
    Row(
        "P-10a",
        "TLS that is reset",
        scenario=through(
            Through(fails(CE), [RAW, HEAR, RST], label="with the proxy", kind=HTTPS),
            tunnel(fails(CE), ESTABLISHED, HEAR, RST, label="in the tunnel"),
            Through(fails(CE), [*TUNNEL, HEAR, RST], label="in TLS", kind=HTTPS),
        ),
    ),
    Row(
        "P-11",
        "garbage in the tunnel",
        scenario=through(tunnel(fails(CE), ESTABLISHED, HEAR, send(b"garbage" * 30), STALL)),
    ),
    Row(
        "P-12",
        "TLS that stalls in the tunnel",
        scenario=through(tunnel(fails(CT), ESTABLISHED, HEAR, STALL, timeout={"connect": SHORT})),
    ),
    Row(
        "P-13",
        "an agreement with a body",
        scenario=through(
            tunnel(
                fails(CE, CT),
                send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
                STALL,
                timeout={"connect": SHORT},
            )
        ),
    ),
    Row(
        "P-14",
        "204, and the end",
        scenario=through(tunnel(fails(CE), send(b"HTTP/1.1 204 No Content\r\n\r\n"), FIN)),
    ),
    Row(
        "P-15",
        "a bad certificate of the origin",
        scenario=through(
            tunnel(
                fails(CE, part="certificate has expired"),
                ESTABLISHED,
                START_TLS,
                SERVE,
                after=VAIN,
                tls=expired_context(),
            )
        ),
    ),
    Row(
        "P-16",
        "many times 100 before the answer",
        scenario=through(
            tunnel(
                fails(PXE, text="407 Proxy Authentication Required"),
                send(b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + REFUSAL),
                STALL,
            )
        ),
    ),
    Row("P-17", "given up in each phase", scenario=each_cancelled, doors=ASYNC_DOORS),
    Row(
        "P-18",
        "the origin ends a tunnel",
        scenario=through(
            tunnel(fails(RPE), ESTABLISHED, START_TLS, RECEIVE, FIN, label="without an answer"),
            tunnel(
                fails(RPE),
                *(ESTABLISHED, START_TLS, RECEIVE, send(OK[:-1]), FIN),
                label="in the middle of one",
            ),
        ),
    ),
    Row(
        "P-19",
        "HTTP/2 inside a tunnel",
        scenario=http2_inside,
    ),
    Row(
        "P-20",
        "an https proxy that is not to be trusted",
        scenario=through(
            *(
                Through(expect, [SERVE], VAIN, label, HTTPS, tls, trust=trust)
                for label, expect, tls, trust in (
                    ("too old", fails(CE), expired_context(), None),
                    ("of another host", fails(CE), context_for("other.com"), None),
                    ("of a stranger", fails(CE), server_context(), stranger_context()),
                )
            )
        ),
    ),
    Row(
        "P-20a",
        "an https proxy by its own context, and the origin by its own",
        scenario=through(
            Through(
                fails(CE, part="certificate has expired"),
                [*TUNNEL, START_TLS, SERVE],
                VAIN,
                "the proxy's trusts everybody, the pool's does not",
                HTTPS,
                expired_context(),
                trust=careless_context(),
            ),
            Through(
                Answer(),
                [SERVE],
                P1,
                "both trust everybody",
                HTTPS,
                expired_context(),
                pool={"ssl_context": careless_context()},
                trust=careless_context(),
            ),
        ),
    ),
    Row(
        "P-21",
        "TLS in TLS",
        scenario=through(
            Through(Answer(), [SERVE], P1, kind=HTTPS),
            Through(fails(RPE), [*TUNNEL, START_TLS, RECEIVE, send(OK[:-1]), FIN], P0, "cut", HTTPS),
            Through(fails(CE), [*TUNNEL, HEAR, send(b"garbage" * 30), STALL], P0, "garbage", HTTPS),
            Through(fails(CT), [*TUNNEL, HEAR, STALL], P0, "silence", HTTPS, timeout={"connect": SHORT}),
        ),
    ),
    Row(
        "P-22",
        "the answer in single bytes",
        scenario=through(
            tunnel(
                Answer(),
                *(drip(b"HTTP/1.1 200 OK\r\n\r\n", 0.02), START_TLS, SERVE),
                after=P1,
                timeout={"read": 0.25},
            )
        ),
    ),
    Row("P-23", "the pool is closed in each phase", scenario=closed_meanwhile),
    Row(
        "P-24",
        "SOCKS: how to log in",
        scenario=through(
            methods(
                None,
                b"\x05\xff",
                text="Requested NO AUTHENTICATION REQUIRED from proxy server, but got NO ACCEPTABLE METHODS.",
            ),
            methods(
                None,
                b"\x05\x02",
                text="Requested NO AUTHENTICATION REQUIRED from proxy server, but got USERNAME/PASSWORD.",
            ),
            methods(
                USER,
                b"\x05\x00",
                text="Requested USERNAME/PASSWORD from proxy server, but got NO AUTHENTICATION REQUIRED.",
            ),
            methods(USER, b"\x05\x02", b"\x01\x01", text="Invalid username/password"),
        ),
    ),
    Row(
        "P-25",
        "SOCKS: what a refusal says",
        scenario=through(
            *(
                socks(
                    fails(PXE, text=f"Proxy Server could not connect: {text}."),
                    *answers(b"\x05" + bytes([code]) + CONNECTED[2:]),
                    label=text,
                )
                for code, text in enumerate(OUTCOMES, 1)
            )
        ),
    ),
    Row(
        "P-26",
        "SOCKS: replies that are none",
        scenario=through(
            *(
                socks(fails(PXE), *script, label=label)
                for label, script in (
                    ("an unknown code", answers(b"\x05\x2a" + CONNECTED[2:])),
                    ("an unknown method", [GREETING, send(b"\x05\x09"), STALL]),
                    ("an unknown kind of address", answers(b"\x05\x00\x00\x09" + CONNECTED[4:])),
                    ("of another version", [GREETING, send(b"\x04\x00"), STALL]),
                    ("HTTP", [GREETING, send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), STALL]),
                    ("cut in the first", [GREETING, send(b"\x05"), FIN]),
                    ("cut in the last", answers(CONNECTED[:-1], FIN)),
                    ("nothing", [GREETING, FIN]),
                )
            )
        ),
    ),
    Row(
        "P-26a",
        "SOCKS: replies in pieces, and in one",
        scenario=through(
            *(
                socks(Answer(), *script, SERVE, after=LEFT, label=label, auth=auth)
                for label, auth, script in (
                    (
                        "byte by byte",
                        USER,
                        [
                            *(GREETING, drip(b"\x05\x02", 0.01)),
                            *(LOGIN, drip(b"\x01\x00", 0.01)),
                            *(REQUEST, drip(CONNECTED, 0.01)),
                        ],
                    ),
                    ("all in one", None, [send(b"\x05\x00" + CONNECTED), GREETING, REQUEST]),
                    (
                        "all in one, with a login",
                        USER,
                        [send(b"\x05\x02\x01\x00" + CONNECTED), GREETING, LOGIN, REQUEST],
                    ),
                    (
                        "with a name in it",
                        None,
                        [
                            GREETING,
                            send(b"\x05\x00"),
                            REQUEST,
                            send(b"\x05\x00\x00\x03\x05a.com\x00\x50"),
                        ],
                    ),
                    (
                        "with an IPv6 address in it",
                        None,
                        [GREETING, send(b"\x05\x00"), REQUEST, send(b"\x05\x00\x00\x04" + bytes(18))],
                    ),
                )
            )
        ),
    ),
    Row(
        "P-27",
        "SOCKS: silence at each step",
        scenario=through(
            *(
                socks(
                    fails(CT, RT),
                    *script,
                    # httpcore would wait for ever.
                    *(pause(3 * SHORT), CLOSE),
                    label=label,
                    auth=auth,
                    timeout={"connect": SHORT, "read": SHORT},
                )
                for label, auth, script in (
                    ("the greeting", None, [GREETING]),
                    ("the login", USER, [GREETING, send(b"\x05\x02"), LOGIN]),
                    ("the request", None, [GREETING, send(b"\x05\x00"), REQUEST]),
                    ("within a reply", None, answers(CONNECTED[:7], pause(0))),
                )
            )
        ),
    ),
    Row(
        "P-27a",
        "SOCKS: a reset at each step",
        scenario=through(
            *(
                socks(fails(RE), *script, RST, label=label, auth=auth)
                for label, auth, script in (
                    ("the greeting", None, [GREETING]),
                    ("the login", USER, [GREETING, send(b"\x05\x02"), LOGIN]),
                    ("the request", None, [GREETING, send(b"\x05\x00"), REQUEST]),
                )
            )
        ),
    ),
    Row(
        "P-27b",
        "SOCKS: TLS that fails behind it",
        scenario=through(
            *(
                socks(
                    expect, call(Socks(NO_AUTH)), *script, **{"label": label, "tls": server_context(), **more}
                )
                for label, expect, script, more in (
                    ("the end", fails(CE), [HEAR, FIN], {}),
                    ("a reset", fails(CE), [HEAR, RST], {}),
                    ("garbage", fails(CE), [HEAR, send(b"garbage" * 30), STALL], {}),
                    ("silence", fails(CT), [HEAR, STALL], {"timeout": {"connect": SHORT}}),
                    (
                        "a bad certificate",
                        fails(CE, part="certificate has expired"),
                        [START_TLS, SERVE],
                        {"tls": expired_context(), "after": VAIN},
                    ),
                )
            )
        ),
    ),
    Row("P-28", "SOCKS: odd hosts", scenario=odd_hosts),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
