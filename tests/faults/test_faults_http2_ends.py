"""Chapter H2: HTTP/2 connections and streams that end too early, and connections that are silent."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable

from doors import EMPTY, Door
from frames import CANCEL, ENHANCE_YOUR_CALM, NO_ERROR, REFUSED_STREAM, Peer, Peers, raw
from http2_matrix import (
    MOVED,
    PREFACE,
    PS,
    Fault,
    Play,
    answer,
    answer_all,
    check_next,
    end,
    faults,
    greeted,
    hold,
    new_pool,
    nonce_of,
    reply_to,
    reset,
    serving,
)
from hyperframe.frame import DataFrame, PingFrame, RstStreamFrame, SettingsFrame
from matrix import (
    FULL_SIZE,
    ONE_IDLE,
    P0,
    RE,
    RPE,
    RT,
    Answer,
    Either,
    Expect,
    Row,
    Scenario,
    attempt,
    check,
    check_closed,
    fails,
)
from verdicts import judge, parametrize

# What a request waits for, where it waits in vain.
SHORT = 0.2
OK = Answer(body=b"ok")
INTERNAL_ERROR, HTTP_1_1_REQUIRED = 0x2, 0xD
# The last stream of a server that will say later which was the last one.
LATER = 2**31 - 1
DISCONNECTED = fails(RPE, text="Server disconnected")
# So many servers may say goodbye to one request before it fails.
MOST_GOODBYES = 8


async def one_chunk() -> AsyncIterator[bytes]:
    yield b"body"


def consumed(door: Door) -> object:
    """A body that cannot be had again."""
    return door.body(one_chunk())


LENGTH = ((b"Content-Length", b"4"),)


def head_and(*more: Play) -> Play:
    """The head of a response and the beginning of its body first."""

    def play(peer: Peer, stream: int) -> None:
        peer.send(peer.head(stream), DataFrame(stream, b"o"))
        for step in more:
            step(peer, stream)

    return play


def rst(code: int) -> Play:
    return lambda peer, stream: peer.send(RstStreamFrame(stream, error_code=code))


def refuses_twice(peer: Peer, stream: int) -> None:
    peer.send(RstStreamFrame(stream, error_code=REFUSED_STREAM))
    peer.send(RstStreamFrame(peer.read_whole_request(), error_code=REFUSED_STREAM))


def goaway(last: int | None = None, code: int = NO_ERROR) -> Play:
    """`None`: the stream of the request is the last one."""
    return lambda peer, stream: peer.say_goodbye(stream if last is None else last, code)


def then(*steps: Play) -> Play:
    def play(peer: Peer, stream: int) -> None:
        for step in steps:
            step(peer, stream)

    return play


def terminated(code: int, last: int) -> Expect:
    return fails(RPE, part=f"<ConnectionTerminated error_code:{code}, last_stream_id:{last}")


def stream_reset(stream: int, code: int) -> Expect:
    return fails(RPE, text=f"<StreamReset stream_id:{stream}, error_code:{code}, remote_reset:True>")


def cancelled(peer: Peer) -> bool:
    return peer.resets == {1: CANCEL}


async def goaway_in_the_middle(door: Door) -> None:
    """Of a hundred streams the server serves the first fifty; the others have another connection, once."""
    many, last = 100, 99

    def half(peer: Peer) -> None:
        streams = [peer.read_whole_request() for _ in range(many)]
        peer.say_goodbye(last)
        for stream in streams:
            if stream <= last:
                answer(peer, stream)

    peers = Peers()
    with serving(peers, greeted(half)) as server:
        pool = new_pool(door)
        tasks = [
            door.start(pool.request("GET", server.url(), headers={"X-Nonce": f"{number}"}))
            for number in range(many)
        ]
        for number, task in enumerate(tasks):
            reply = await reply_to(door, task)
            mine = (reply.status, reply.header(b"X-Nonce"), reply.body) == (200, b"%d" % number, b"ok")
            check("verdict", mine, f"request {number}: {reply.status} {reply.headers}")
        check("wire", server.accepted == 2, f"{server.accepted} connections")
        check("wire", len(peers[1].requests) == many // 2, f"{len(peers[1].requests)} were sent again")
        again = {nonce_of(peers[1], stream) for stream in peers[1].requests}
        kept = {nonce_of(peers[0], stream) for stream in peers[0].requests if stream <= last}
        check("wire", not again & kept, f"sent again though they were served: {again & kept}")
        check("after", pool.counts == ONE_IDLE, pool.counts)
        await check_closed(door, pool, server)


def goodbyes_in_a_row(many: int) -> Scenario:
    """A server that is being replaced may still open a connection only to say goodbye on it."""

    async def scenario(door: Door) -> None:
        peers = Peers()
        with serving(peers, *[greeted(goaway_unread)] * many) as server:
            pool = new_pool(door)
            outcome = await attempt(door, pool.request("POST", server.url(), content=b"body"))
            served = many <= MOST_GOODBYES
            expect = OK if served else terminated(NO_ERROR, 0)
            wrong = expect.judge(outcome)
            check("verdict", wrong is None, str(wrong))
            sent = [list(peer.requests) for peer in peers.all]
            once_on_each = [[1]] * (many + 1 if served else MOST_GOODBYES + 1)
            check("wire", sent == once_on_each, f"the streams of each connection: {sent}")
            check("after", pool.counts == (ONE_IDLE if served else EMPTY), pool.counts)
            await check_closed(door, pool, server)

    return scenario


def goaway_unread(peer: Peer) -> None:
    peer.read_whole_request()
    peer.say_goodbye(0)


async def resets_in_a_row(door: Door) -> None:
    """Each request fails, and none of them costs the connection anything."""
    many = 10_000 if FULL_SIZE else 300

    def play(peer: Peer) -> None:
        for _ in range(many):
            peer.send(RstStreamFrame(peer.read_whole_request(), error_code=INTERNAL_ERROR))

    peers = Peers()
    with serving(peers, greeted(play)) as server:
        pool = new_pool(door)
        for number in range(many):
            outcome = await attempt(door, pool.request("GET", server.url()))
            wrong = stream_reset(2 * number + 1, INTERNAL_ERROR).judge(outcome)
            check("verdict", wrong is None, str(wrong))
            check("after", pool.counts == ONE_IDLE, pool.counts)
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        await check_closed(door, pool, server)


def frozen(at_once: int) -> Scenario:
    """The peer's host vanishes: no FIN, no answer. It costs one read timeout, whatever was in flight then."""

    async def scenario(door: Door) -> None:
        gate = threading.Event()

        def play(peer: Peer) -> None:
            answer(peer, peer.read_whole_request())
            hold(peer.connection, gate)

        peers = Peers()
        with serving(peers, greeted(play)) as server:
            pool = new_pool(door)
            check("next", await check_next(door, pool, server, peers) == 0, "no connection")
            tasks = [
                door.start(pool.request("GET", server.url(), timeout={"read": SHORT})) for _ in range(at_once)
            ]
            for task in tasks:
                await task.settled()
                wrong = fails(RT).judge(task)
                check("verdict", wrong is None, str(wrong))
            check("after", pool.counts == EMPTY, f"the pool holds {pool.counts}")
            for _ in range(20 - at_once):
                check("next", await check_next(door, pool, server, peers) == 1, "not on a new connection")
            gate.set()
            await check_closed(door, pool, server)

    return scenario


async def slow_for_one(door: Door) -> None:
    """A stream that times out while another one is served: the connection is alive, and stays."""
    enough = threading.Event()

    def play(peer: Peer) -> None:
        first, second = peer.read_whole_request(), peer.read_whole_request()
        lively = first if peer.path(first) == "/lively" else second
        peer.send(peer.head(lively))
        while not enough.wait(SHORT / 10):
            peer.send(DataFrame(lively, b"."))
        peer.send(DataFrame(lively, b".", flags=["END_STREAM"]))

    peers = Peers()
    with serving(peers, greeted(play)) as server:
        pool = new_pool(door)
        waits = door.start(pool.request("GET", server.url(), timeout={"read": SHORT}))
        lively = door.start(pool.request("GET", server.url("/lively")))
        check("verdict", await door.until(lambda: waits.done), "no timeout")
        wrong = fails(RT).judge(waits)
        check("verdict", wrong is None, str(wrong))
        enough.set()
        check("verdict", (await reply_to(door, lively)).status == 200, "the other stream failed")
        check("after", pool.counts == ONE_IDLE, f"the pool holds {pool.counts}")
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        await check_closed(door, pool, server)


async def no_pings(door: Door) -> None:
    """A connection is left alone while it is idle, and while its only answer is late."""
    late = threading.Event()

    def play(peer: Peer) -> None:
        answer(peer, peer.read_whole_request())
        stream = peer.read_whole_request()
        hold(peer.connection, late)
        answer(peer, stream)

    peers = Peers()
    with serving(peers, greeted(play)) as server:
        pool = new_pool(door)
        await check_next(door, pool, server, peers)
        await door.sleep(SHORT)
        waits = door.start(pool.request("GET", server.url()))
        await door.sleep(SHORT)
        late.set()
        await reply_to(door, waits)
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        pings = [frame for frame in peers[0].received if isinstance(frame, PingFrame)]
        check("wire", not pings, f"{len(pings)} PINGs")
        await check_closed(door, pool, server)


# All that a server says about one request.
def exchange() -> bytes:
    peer = Peer(None)  # type: ignore[arg-type]  # it only encodes
    frames = [
        SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 100}),
        SettingsFrame(0, flags=["ACK"]),
        peer.head(1, headers=[(":status", "200"), ("content-type", "text/plain"), ("x-name", "value")]),
        DataFrame(1, b"The body of a response, in", flags=[]),
        DataFrame(1, b" two frames.", flags=["END_STREAM"]),
    ]
    return b"".join(frame.serialize() for frame in frames)


WHOLE_EXCHANGE = exchange()
WHOLE_BODY = Answer(body=b"The body of a response, in two frames.")
SIZE = len(WHOLE_EXCHANGE)


def at_every_offset(fault: Play, expect: Expect, last: Expect, step: int) -> Scenario:
    """The exchange is cut so far into it, `fault` follows. `last`: what becomes of a whole one."""

    async def scenario(door: Door) -> None:
        offsets = range(0, SIZE + 1, 1 if FULL_SIZE else step)

        def cut(offset: int) -> Callable[[Peer], None]:
            def play(peer: Peer) -> None:
                peer.read_preface()
                stream = peer.read_whole_request()
                peer.send(WHOLE_EXCHANGE[:offset])
                fault(peer, stream)
                peer.read_to_the_end()

            return play

        for offset in (*offsets, SIZE):
            with serving(Peers(), cut(offset)) as server:
                pool = new_pool(door)
                outcome = await attempt(door, pool.request("GET", server.url(), timeout={"read": SHORT}))
                check("foreign", not door.foreign, f"at {offset}: {door.foreign!r}")
                wrong = (last if offset == SIZE else expect).judge(outcome)
                check("verdict", wrong is None, f"at {offset}: {wrong}")
                if offset < SIZE:
                    check("after", pool.counts == EMPTY, f"at {offset} the pool holds {pool.counts}")
                await check_closed(door, pool, server)

    return scenario


def stays(peer: Peer, stream: int) -> None:
    """No more, and no end."""


async def in_pieces(door: Door) -> None:
    """Cut in two anywhere, or byte by byte: the same response."""
    step = 1 if FULL_SIZE else 17
    splits = [[offset] for offset in range(1, SIZE, step)] + [list(range(1, SIZE))]

    def play(cuts: list[int]) -> Callable[[Peer], None]:
        def begin(peer: Peer) -> None:
            peer.read_preface()
            peer.read_whole_request()
            for start, stop in zip([0, *cuts], [*cuts, SIZE], strict=True):
                # A moment, so that the pieces are read one by one.
                peer.connection._pause(0.002 if len(cuts) == 1 else 0.0005)
                peer.send(WHOLE_EXCHANGE[start:stop])
            answer_all(peer)

        return begin

    for cuts in splits:
        peers = Peers()
        with serving(peers, play(cuts)) as server:
            pool = new_pool(door)
            outcome = await attempt(door, pool.request("GET", server.url()))
            wrong = WHOLE_BODY.judge(outcome)
            check("verdict", wrong is None, f"cut at {cuts[:1]}: {wrong}")
            check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
            await check_closed(door, pool, server)


ROWS = [
    Row(
        "H2-01",
        "FIN before the server has said anything",
        faults(
            Fault(DISCONNECTED, end, P0, "behind the preface", when=PREFACE),
            Fault(DISCONNECTED, end, P0, "behind the request", settings=None),
        ),
    ),
    Row("H2-02", "RST after the request", (Fault(fails(RE), reset, P0),)),
    Row(
        "H2-03",
        "FIN before the response has ended",
        faults(
            Fault(DISCONNECTED, end, P0, "before the head"),
            Fault(DISCONNECTED, head_and(end), P0, "amid the body"),
            Fault(DISCONNECTED, head_and(end), P0, "over TLS", tls=True),
            Fault(
                fails(RPE),
                head_and(lambda peer, stream: peer.send(raw(0, 0, stream, b"abc")[:-2]), end),
                P0,
                "amid a frame",
            ),
        ),
    ),
    Row(
        "H2-04",
        "silence retires the connection",
        faults(
            Fault(fails(RT), stays, P0, "before the head", timeout={"read": SHORT}, wire=cancelled),
            Fault(fails(RT), head_and(), P0, "amid the body", timeout={"read": SHORT}, wire=cancelled),
            Fault(fails(RT), stays, P0, "no SETTINGS either", timeout={"read": SHORT}, settings=None),
        ),
    ),
    Row("H2-04a", "a slow stream among others retires nothing", scenario=slow_for_one),
    Row(
        "H2-05",
        "REFUSED_STREAM: sent again, once, if all of it is there",
        faults(
            Fault(OK, rst(REFUSED_STREAM), PS, "a GET"),
            Fault(OK, rst(REFUSED_STREAM), PS, "bytes", method="POST", content=b"body"),
            Fault(OK, rst(REFUSED_STREAM), PS, "over TLS", tls=True),
            Fault(stream_reset(3, REFUSED_STREAM), refuses_twice, PS, "twice"),
            Fault(
                stream_reset(1, REFUSED_STREAM),
                rst(REFUSED_STREAM),
                PS,
                "an iterator",
                method="POST",
                headers=LENGTH,
                content=consumed,
            ),
            Fault(stream_reset(1, REFUSED_STREAM), head_and(rst(REFUSED_STREAM)), PS, "amid the body"),
        ),
    ),
    Row(
        "H2-06",
        "RST_STREAM",
        faults(
            Fault(stream_reset(1, CANCEL), rst(CANCEL), PS, "CANCEL"),
            Fault(stream_reset(1, HTTP_1_1_REQUIRED), rst(HTTP_1_1_REQUIRED), PS, "HTTP_1_1_REQUIRED"),
            Fault(stream_reset(1, INTERNAL_ERROR), head_and(rst(INTERNAL_ERROR)), PS, "amid the body"),
            Fault(stream_reset(1, 0xFFFF), rst(0xFFFF), PS, "an unknown code"),
            Fault(stream_reset(1, NO_ERROR), rst(NO_ERROR), PS, "NO_ERROR and no answer"),
        ),
    ),
    Row(
        "H2-07",
        "RST_STREAM with NO_ERROR behind the response",
        faults(
            Fault(OK, then(answer, rst(NO_ERROR)), PS, "a GET"),
            Fault(OK, then(answer, rst(NO_ERROR)), PS, "a POST", method="POST", content=b"body"),
        ),
    ),
    Row(
        "H2-08",
        "GOAWAY before the request: it goes to another connection",
        faults(
            Fault(OK, goaway(0), MOVED, "a GET"),
            Fault(OK, then(goaway(0), end), MOVED, "and FIN"),
            Fault(OK, goaway(0), MOVED, "bytes", method="POST", content=b"body"),
            Fault(OK, goaway(0), MOVED, "over TLS", tls=True),
            Fault(OK, goaway(0, ENHANCE_YOUR_CALM), MOVED, "an error"),
            Fault(
                terminated(NO_ERROR, 0),
                goaway(0),
                P0,
                "an iterator",
                method="POST",
                headers=LENGTH,
                content=consumed,
            ),
        ),
    ),
    Row(
        "H2-09",
        "GOAWAY, then the response",
        faults(
            Fault(OK, then(goaway(), answer), P0, "before the head"),
            Fault(
                Answer(body=b"ok"),
                head_and(goaway(), lambda peer, stream: peer.send_data(stream, b"k", end=True)),
                P0,
                "amid the body",
            ),
            Fault(OK, then(goaway(), answer, end), P0, "and FIN"),
        ),
    ),
    Row(
        "H2-10",
        "GOAWAY, then FIN",
        faults(
            Fault(terminated(NO_ERROR, 1), then(goaway(), end), P0, "before the head"),
            Fault(terminated(NO_ERROR, 1), head_and(goaway(), end), P0, "amid the body"),
        ),
    ),
    Row(
        "H2-11",
        "GOAWAY with an error",
        faults(
            Fault(
                terminated(ENHANCE_YOUR_CALM, 1), then(goaway(None, ENHANCE_YOUR_CALM), end), P0, "and FIN"
            ),
            Fault(
                terminated(ENHANCE_YOUR_CALM, 1),
                head_and(goaway(None, ENHANCE_YOUR_CALM), end),
                P0,
                "amid the body",
            ),
        ),
    ),
    Row("H2-08a", "GOAWAY on connections in a row", scenario=goodbyes_in_a_row(MOST_GOODBYES)),
    Row("H2-08b", "GOAWAY on each connection", scenario=goodbyes_in_a_row(MOST_GOODBYES + 2)),
    Row("H2-12", "GOAWAY with a hundred streams in flight", scenario=goaway_in_the_middle),
    Row(
        "H2-13",
        "GOAWAY in two phases",
        faults(
            Fault(OK, then(goaway(LATER), answer, goaway()), P0, "served"),
            Fault(OK, then(goaway(LATER), goaway(0)), MOVED, "turned away"),
            Fault(terminated(NO_ERROR, LATER), then(goaway(LATER), end), P0, "no second phase"),
        ),
    ),
    Row("H2-38", "every stream is reset", scenario=resets_in_a_row),
    Row("H2-49", "a peer that has vanished: one after the other", scenario=frozen(1)),
    Row("H2-49a", "a peer that has vanished: at once", scenario=frozen(10)),
    Row("H2-50", "no PING of our own", scenario=no_pings),
    Row(
        "H2-51",
        "HTTP/1.1 on the connection",
        faults(
            Fault(
                fails(RPE),
                lambda peer, stream: peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
                P0,
                timeout={"read": SHORT},
                settings=None,
            ),
        ),
    ),
    Row("H2-54", "FIN at each offset", scenario=at_every_offset(end, fails(RPE), WHOLE_BODY, 17)),
    Row(
        "H2-54a",
        "RST at each offset",
        scenario=at_every_offset(reset, fails(RE), Either((WHOLE_BODY, fails(RE))), 17),
    ),
    Row("H2-54b", "silence at each offset", scenario=at_every_offset(stays, fails(RT), WHOLE_BODY, 40)),
    Row("H2-54c", "in pieces", scenario=in_pieces),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
