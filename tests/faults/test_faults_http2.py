"""Chapter H2: servers that break off, reset, refuse, overflow or contradict themselves, frame by frame.

What h2spec asks of a client is in `test_http2_conformance.py`; here are the rows that go beyond one frame:
what becomes of the requests, of the connection, and of those after them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from doors import EMPTY, Door
from frames import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    REFUSED_STREAM,
    Gone,
    Peer,
    Peers,
    raw,
)
from hyperframe.frame import (
    DataFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from matrix import FULL_SIZE, ONE_IDLE, RE, RPE, RT, Row, attempt, check, fails
from servers import Server
from sockets import held_towards
from verdicts import judge, parametrize

PRIOR_KNOWLEDGE: dict[str, Any] = {"http1": False, "http2": True}
SHORT = {"read": 0.2}
Play = Callable[[Peer], object]
NEW, SAME, ANY = "on a new connection", "on the same connection", "on whichever connection"


def greeted(play: Play, settings: dict[int, int] | None = None) -> Play:
    def begin(peer: Peer) -> None:
        peer.greet(settings)
        play(peer)

    return begin


def asked(play: Callable[[Peer, int], object]) -> Play:
    """A peer that has greeted and read one whole request."""
    return greeted(lambda peer: play(peer, peer.read_whole_request()))


def broken(
    *plays: Play,
    errors: Sequence[type[BaseException]] = (RPE,),
    after: str = NEW,
    text: str = "",
    **request: Any,
) -> Callable[[Door], Any]:
    """Each peer spoils the first request; the next one fares well."""

    async def scenario(door: Door) -> None:
        for play in plays:
            peers = Peers()
            with Server([peers.plays(play), peers.serve(), peers.serve()]) as server:
                pool = door.pool(**PRIOR_KNOWLEDGE)
                outcome = await attempt(door, pool.request("GET", server.url("/first"), **request))
                check("foreign", not door.foreign, f"came out of the pool: {door.foreign!r}")
                wrong = fails(*errors, part=text).judge(outcome)
                check("verdict", wrong is None, f"{wrong}")
                check("after", pool.counts.startswith("0 active, 0 queued | 0 active"), pool.counts)
                reply = await pool.request("GET", server.url("/next"))
                check("next", (reply.status, reply.body) == (200, b"/next"), f"{reply.status} {reply.body!r}")
                if after != ANY:
                    check("next", (server.accepted == 1) == (after == SAME), f"{server.accepted} connections")
                await pool.close()
                check("closed", pool.counts == EMPTY, pool.counts)
                gone = await door.until(lambda server=server: held_towards(server.port) == 0, 1.0)
                check("closed", gone, "a socket is left")

    return scenario


def answered(
    *plays: Play,
    body: bytes = b"/first",
    after: str = ANY,
    connections: int | None = None,
    **request: Any,
) -> Callable[[Door], Any]:
    """Whatever each peer does, the request has its answer, and so has the next."""

    async def scenario(door: Door) -> None:
        for play in plays:
            peers = Peers()
            with Server([peers.plays(play), peers.serve(), peers.serve()]) as server:
                pool = door.pool(**PRIOR_KNOWLEDGE)
                reply = await pool.request(request.get("method", "GET"), server.url("/first"))
                check("verdict", (reply.status, reply.body) == (200, body), f"{reply.status} {reply.body!r}")
                if connections is not None:
                    check("verdict", server.accepted == connections, f"{server.accepted} connections")
                reply = await pool.request("GET", server.url("/next"))
                check("next", reply.body == b"/next", f"{reply.body!r}")
                if after != ANY:
                    check("next", (server.accepted == 1) == (after == SAME), f"{server.accepted} connections")
                await pool.close()
                check("closed", pool.counts == EMPTY, pool.counts)

    return scenario


def reset(code: int, *, begun: bool = False) -> Play:
    def play(peer: Peer, stream: int) -> None:
        if begun:
            peer.send(peer.head(stream), DataFrame(stream, b"part"))
        peer.send(RstStreamFrame(stream, error_code=code))
        peer.serve()

    return asked(play)


def refused_once(peer: Peer, stream: int) -> None:
    peer.send(RstStreamFrame(stream, error_code=REFUSED_STREAM))
    peer.serve()


def says_goodbye(
    last: int | None, code: int = NO_ERROR, *, answers: bool = True, first: int | None = None
) -> Play:
    """A GOAWAY while a request is open; `last` of `None` is the request's own stream."""

    def play(peer: Peer, stream: int) -> None:
        if first is not None:
            peer.say_goodbye(first)
        peer.say_goodbye(stream if last is None else last, code)
        if answers:
            peer.answer(stream, b"/first")
        peer.read_to_the_end()

    return asked(play)


def sends(*frames: Any) -> Play:
    """Frames instead of an answer; a function is given the peer and the stream."""

    def play(peer: Peer, stream: int) -> None:
        peer.send(*(frame(peer, stream) if callable(frame) else frame for frame in frames))
        # Where only the stream was spoilt.
        peer.serve()

    return asked(play)


def heads(*headers: tuple[str, str], end: bool = True) -> Callable[[Peer, int], Any]:
    flags = ("END_STREAM",) if end else ()
    return lambda peer, stream: peer.head(stream, *flags, headers=headers)


def then_serves(*frames: Any) -> Play:
    """Frames about nothing in particular, and then every answer."""

    def play(peer: Peer, stream: int) -> None:
        peer.send(*(frame(peer, stream) if callable(frame) else frame for frame in frames))
        peer.answer(stream, b"/first")
        peer.serve()

    return asked(play)


def ends(peer: Peer) -> None:
    """A FIN, with the client's own end waited for."""
    peer.connection.sock.shutdown(1)
    peer.read_to_the_end()


async def a_hundred_at_a_goodbye(door: Door) -> None:
    """Half of them are below the last stream and finish there; the others go to another connection."""
    count = 100 if FULL_SIZE else 20
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.greet()
        streams = [peer.read_whole_request() for _ in range(count)]
        last = streams[count // 2 - 1]
        peer.say_goodbye(last)
        for stream in streams[: count // 2]:
            peer.answer(stream, peer.path(stream).encode())
        peer.read_to_the_end()

    with Server([peers.plays(play), peers.serve()]) as server:
        pool = door.pool(**PRIOR_KNOWLEDGE)
        tasks = [door.start(pool.request("GET", server.url(f"/{number}"))) for number in range(count)]
        for number, task in enumerate(tasks):
            reply = await task.outcome()
            check("verdict", reply.body == f"/{number}".encode(), f"{number}: {reply.body!r}")
        check("verdict", server.accepted == 2, f"{server.accepted} connections")
        check("after", pool.counts == ONE_IDLE, pool.counts)
        await pool.close()


async def limits_that_change(door: Door) -> None:
    """From many to one with many in flight, and from one to many with many waiting: all finish."""
    for first, then in ((100, 1), (1, 100)):
        peers = Peers()

        def play(peer: Peer, first: int = first, then: int = then) -> None:
            peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: first})
            streams = [peer.read_whole_request() for _ in range(min(first, 30))]
            peer.send(SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: then}))
            for stream in streams:
                peer.answer(stream, b"ok")
            peer.serve()

        with Server([peers.plays(play)]) as server:
            pool = door.pool(max_connections=1, **PRIOR_KNOWLEDGE)
            tasks = [door.start(pool.request("GET", server.url("/ok"))) for _ in range(50)]
            for task in tasks:
                check("verdict", (await task.outcome()).status == 200, "no answer")
            check("after", pool.counts == ONE_IDLE, pool.counts)
            await pool.close()


async def no_stream_at_all(door: Door) -> None:
    """MAX_CONCURRENT_STREAMS of 0 for ever: the read timeout, and the next request is not sent there."""
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: 0})
        peer.read_to_the_end()

    with Server([peers.plays(play), peers.serve()]) as server:
        pool = door.pool(**PRIOR_KNOWLEDGE)
        outcome = await attempt(door, pool.request("GET", server.url("/first"), timeout=SHORT))
        # The first stream may be on its way before the SETTINGS come.
        wrong = fails(RT).judge(outcome)
        check("verdict", wrong is None, f"{wrong}")
        reply = await pool.request("GET", server.url("/next"))
        check("next", reply.status == 200 and server.accepted == 2, f"{reply.status}, {server.accepted}")
        await pool.close()


async def half_read_bodies(door: Door) -> None:
    """Responses that are dropped half-read, with padding, give their windows back."""
    count = 1000 if FULL_SIZE else 100
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.greet()
        try:
            while True:
                stream = peer.read_whole_request()
                if peer.path(stream) == "/large":
                    peer.answer(stream, b"x" * (20 << 20))
                    continue
                peer.send(peer.head(stream))
                padded = DataFrame(stream, b"y" * 1000, pad_length=200, flags=["PADDED"])
                if peer.windows[0] > 4 * padded.flow_controlled_length:
                    peer.send(*[padded] * 4)
                    peer.windows[0] -= 4 * padded.flow_controlled_length
        except Gone:
            pass

    with Server([peers.plays(play)]) as server:
        pool = door.pool(**PRIOR_KNOWLEDGE)
        for _ in range(count):
            stream = await pool.open("GET", server.url("/half"))
            await stream.close()
        reply = await pool.request("GET", server.url("/large"))
        check("verdict", len(reply.body) == 20 << 20, f"{len(reply.body)} bytes")
        check("next", server.accepted == 1, f"{server.accepted} connections")
        await pool.close()


async def frozen(door: Door) -> None:
    """A peer that falls silent under a connection: whoever is on it times out, nobody after them."""
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.greet()
        peer.answer(peer.read_whole_request(), b"/first")
        peer.read_to_the_end()

    with Server([peers.plays(play), peers.serve()]) as server:
        pool = door.pool(**PRIOR_KNOWLEDGE)
        await pool.request("GET", server.url("/first"))
        for _ in range(1):
            outcome = await attempt(door, pool.request("GET", server.url("/lost"), timeout=SHORT))
            wrong = fails(RT).judge(outcome)
            check("verdict", wrong is None, f"{wrong}")
        for number in range(20):
            reply = await pool.request("GET", server.url(f"/{number}"), timeout=SHORT)
            check("next", reply.body == f"/{number}".encode(), f"{reply.body!r}")
        check("next", server.accepted == 2, f"{server.accepted} connections")
        await pool.close()


async def every_stream_reset(door: Door) -> None:
    count = 10_000 if FULL_SIZE else 200
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.greet()
        try:
            while True:
                peer.send(RstStreamFrame(peer.read_whole_request(), error_code=CANCEL))
        except Gone:
            pass

    with Server([peers.plays(play)]) as server:
        pool = door.pool(**PRIOR_KNOWLEDGE)
        for _ in range(count):
            outcome = await attempt(door, pool.request("GET", server.url("/")))
            wrong = fails(RPE).judge(outcome)
            check("verdict", wrong is None, f"{wrong}")
        check("after", pool.counts == ONE_IDLE, pool.counts)
        check("next", server.accepted == 1, f"{server.accepted} connections")
        await pool.close()


async def swapped_answers(door: Door) -> None:
    """Answers in the other order than their requests: each goes to its own."""
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.greet()
        streams = [peer.read_whole_request() for _ in range(10)]
        for stream in reversed(streams):
            peer.answer(stream, peer.path(stream).encode())
        peer.serve()

    with Server([peers.plays(play)]) as server:
        pool = door.pool(**PRIOR_KNOWLEDGE)
        tasks = [door.start(pool.request("GET", server.url(f"/{number}"))) for number in range(10)]
        for number, task in enumerate(tasks):
            reply = await task.outcome()
            check("verdict", reply.body == f"/{number}".encode(), f"{number}: {reply.body!r}")
        await pool.close()


async def cut_anywhere(door: Door) -> None:
    """The peer's bytes end at any offset: an error of httpcore's, or the whole answer."""
    for at in range(0, 80) if FULL_SIZE else (0, 1, 8, 9, 10, 20, 40):
        peers = Peers()

        def play(peer: Peer, at: int = at) -> None:
            peer.read_preface()
            stream = peer.read_whole_request()
            frames = (
                SettingsFrame(0, settings={}),
                SettingsFrame(0, flags=["ACK"]),
                peer.head(stream),
                DataFrame(stream, b"/first", flags=["END_STREAM"]),
            )
            peer.send(b"".join(frame.serialize() for frame in frames)[:at])
            ends(peer)

        with Server([peers.plays(play), peers.serve()]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            outcome = await attempt(door, pool.request("GET", server.url("/first")))
            check("foreign", not door.foreign, f"{at}: came out of the pool: {door.foreign!r}")
            if outcome.error is None:
                check("verdict", outcome.value.body == b"/first", f"{at}: {outcome.value.body!r}")
            else:
                wrong = fails(RPE, RE).judge(outcome)
                check("verdict", wrong is None, f"{at}: {wrong}")
            await pool.close()
            check("closed", pool.counts == EMPTY, pool.counts)


CONTENT = (":status", "200")
FLOOD = 5000 if FULL_SIZE else 500

ROWS = [
    Row("H2-01", "an end after the preface", scenario=broken(greeted(ends))),
    Row(
        "H2-03",
        "an end after the head, and within the body",
        scenario=broken(
            asked(lambda peer, stream: (peer.send(peer.head(stream)), ends(peer))),
            asked(
                lambda peer, stream: (peer.send(peer.head(stream), DataFrame(stream, b"part")), ends(peer))
            ),
        ),
    ),
    Row(
        "H2-04",
        "silence before and after the head",
        scenario=broken(
            asked(lambda peer, stream: peer.read_to_the_end()),
            asked(lambda peer, stream: (peer.send(peer.head(stream)), peer.read_to_the_end())),
            errors=(RT,),
            timeout=SHORT,
        ),
    ),
    Row("H2-05", "refused, and sent again once", scenario=answered(asked(refused_once), after=SAME)),
    Row(
        "H2-06",
        "reset",
        scenario=broken(
            reset(CANCEL),
            reset(2, begun=True),
            reset(13),
            after=SAME,
            text="remote_reset:True",
        ),
    ),
    Row(
        "H2-07",
        "reset without an error behind a complete answer",
        scenario=answered(
            asked(
                lambda peer, stream: (
                    peer.answer(stream, b"/first"),
                    peer.send(RstStreamFrame(stream, error_code=NO_ERROR)),
                    peer.serve(),
                )
            ),
            after=SAME,
        ),
    ),
    Row("H2-08", "GOAWAY of everything", scenario=answered(says_goodbye(0, answers=False), connections=2)),
    Row(
        "H2-09",
        "GOAWAY after the request's stream, then its answer",
        scenario=answered(
            says_goodbye(None),
            connections=1,
            after=NEW,
        ),
    ),
    Row(
        "H2-10",
        "GOAWAY after the request's stream, then an end",
        scenario=broken(
            asked(lambda peer, stream: (peer.say_goodbye(stream), ends(peer))),
        ),
    ),
    Row(
        "H2-11",
        "GOAWAY that asks for calm",
        scenario=broken(
            asked(lambda peer, stream: (peer.say_goodbye(stream, ENHANCE_YOUR_CALM), ends(peer))),
            text=f"error_code:{ENHANCE_YOUR_CALM}",
        ),
    ),
    Row("H2-12", "GOAWAY in the middle of many requests", scenario=a_hundred_at_a_goodbye),
    Row(
        "H2-13",
        "GOAWAY in two steps",
        scenario=answered(
            says_goodbye(None, first=2**31 - 1),
            connections=1,
            after=NEW,
        ),
    ),
    Row(
        "H2-14",
        "a body of another length than was said",
        scenario=broken(
            sends(
                heads(CONTENT, ("content-length", "9"), end=False),
                lambda _, s: DataFrame(s, b"ab", flags=["END_STREAM"]),
            ),
            sends(
                heads(CONTENT, ("content-length", "1"), end=False),
                lambda _, s: DataFrame(s, b"ab", flags=["END_STREAM"]),
            ),
            sends(heads(CONTENT, ("content-length", "1"), ("content-length", "2"), end=False)),
            after=ANY,
        ),
    ),
    Row(
        "H2-17",
        "a status that is none",
        scenario=broken(
            sends(heads(("x", "y"))),
            sends(heads((":status", "abc"))),
            sends(heads(CONTENT, (":status", "404"))),
            after=ANY,
        ),
    ),
    Row(
        "H2-18",
        "header names and values that are none",
        scenario=broken(
            sends(heads(CONTENT, ("Upper", "x"))),
            sends(heads(CONTENT, ("na me", "x"))),
            sends(heads(CONTENT, ("x", "a\r\nevil: 1"))),
            sends(heads(CONTENT, ("x", "a\0b"))),
            after=ANY,
        ),
    ),
    Row(
        "H2-22",
        "informational answers first",
        scenario=answered(
            then_serves(*[lambda peer, stream: peer.head(stream, headers=((":status", "103"),))] * 100),
            after=SAME,
        ),
    ),
    Row(
        "H2-23",
        "an informational answer that ends the stream",
        scenario=broken(
            sends(heads((":status", "103"))),
            after=ANY,
        ),
    ),
    Row(
        "H2-25",
        "frames where none may be",
        scenario=broken(
            sends(lambda _, stream: DataFrame(stream, b"early")),
            sends(lambda peer, _: peer.head(2)),
            sends(raw(0x9, 0x4, 1, b"")),
            after=ANY,
        ),
    ),
    Row(
        "H2-26",
        "frames that are too large",
        scenario=broken(
            sends(raw(0x0, 0x0, 1, b"x" * 16385)),
            sends(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"),
        ),
    ),
    Row(
        "H2-33",
        "empty DATA frames by the hundred, and a body behind them",
        scenario=answered(
            asked(
                lambda peer, stream: (
                    peer.send(peer.head(stream)),
                    [peer.send(DataFrame(stream, b"")) for _ in range(FLOOD)],
                    peer.send(DataFrame(stream, b"/first", flags=["END_STREAM"])),
                    peer.serve(),
                )
            ),
            after=SAME,
        ),
    ),
    Row(
        "H2-34",
        "a chatty stream lives",
        scenario=answered(
            asked(
                lambda peer, stream: (
                    peer.send(peer.head(stream)),
                    [peer.send(DataFrame(stream, b""), DataFrame(stream, b"x")) for _ in range(300)],
                    peer.send(DataFrame(stream, b"", flags=["END_STREAM"])),
                    peer.serve(),
                )
            ),
            body=b"x" * 300,
            after=SAME,
        ),
    ),
    Row(
        "H2-36",
        "PINGs, window updates and SETTINGS by the hundred",
        scenario=answered(
            then_serves(*[PingFrame(0, opaque_data=b"12345678")] * FLOOD),
            then_serves(*[WindowUpdateFrame(0, window_increment=1)] * FLOOD),
            then_serves(*[SettingsFrame(0, settings={})] * FLOOD),
            after=SAME,
        ),
    ),
    Row("H2-38", "every stream is reset", scenario=every_stream_reset),
    Row(
        "H2-39",
        "frames of unknown kinds and flags",
        scenario=answered(
            then_serves(*(raw(kind, 0xFF, 0, b"what") for kind in range(0x10, 0x100))),
            after=SAME,
        ),
    ),
    Row("H2-41", "no stream at all is allowed", scenario=no_stream_at_all),
    Row("H2-44", "the limit of streams changes", scenario=limits_that_change),
    Row("H2-46", "bodies that are dropped half-read", scenario=half_read_bodies),
    Row("H2-49", "a peer that falls silent", scenario=frozen),
    Row(
        "H2-51",
        "HTTP/1.1 where HTTP/2 was expected",
        scenario=broken(
            lambda peer: (
                peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
                peer.read_to_the_end(),
            ),
        ),
    ),
    Row(
        "H2-52",
        "no SETTINGS before the answer",
        scenario=answered(
            lambda peer: (
                peer.read_preface(),
                peer.answer(peer.read_whole_request(), b"/first"),
                peer.serve(),
            ),
        ),
    ),
    Row("H2-54", "cut at any offset", scenario=cut_anywhere),
    Row("H2-55", "answers in another order", scenario=swapped_answers),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
