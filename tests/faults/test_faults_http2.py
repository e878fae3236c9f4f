"""Chapter H2: servers that break off, reset, refuse, overflow or contradict themselves, frame by frame.

What h2spec asks of a client is in `test_http2_conformance.py`; here are the rows that go beyond one frame:
what becomes of the requests, of the connection, and of those after them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from doors import EMPTY, Door
from engines import HTTPCORE
from frames import (
    Gone,
    Peer,
    Peers,
    raw,
)
from hyperframe.frame import (
    DataFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from matrix import FULL_SIZE, ONE_IDLE, RPE, RT, Row, attempt, check, fails
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


async def limits_that_change(door: Door) -> None:
    """From many to one with many in flight, and from one to many with many waiting: all finish."""
    if door.engine == HTTPCORE and not door.is_async:
        pytest.skip("httpcore deadlocks here, and its threads would never end")
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
            done = await door.until(lambda tasks=tasks: all(task.done for task in tasks))
            if not done:
                await pool.close()
            check("verdict", done, "some have no answer")
            for task in tasks:
                check("verdict", task.error is None and task.value.status == 200, f"{task.error!r}")
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


# Frames of each half-read body: 100 of those are 18 MB.
HALF = 12


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
                # All of them together are more than the connection's window.
                padded = DataFrame(stream, b"y" * 15_000, pad_length=200, flags=["PADDED"])
                size = HALF * padded.flow_controlled_length
                while peer.windows[0] < size:
                    peer.read()
                peer.send(*[padded] * HALF)
                peer.windows[0] -= size
        except Gone:
            pass

    with Server([peers.plays(play)]) as server:
        pool = door.pool(**PRIOR_KNOWLEDGE)

        async def all_of_them() -> int:
            for _ in range(count):
                stream = await pool.open("GET", server.url("/half"))
                await stream.close()
            return len((await pool.request("GET", server.url("/large"))).body)

        outcome = await attempt(door, all_of_them())
        check("verdict", outcome.value == 20 << 20, f"{outcome.value} bytes, {outcome.error!r}")
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
        done = await door.until(lambda: all(task.done for task in tasks))
        if not done:
            await pool.close()
        check("verdict", done, "some have no answer")
        for number, task in enumerate(tasks):
            right = task.error is None and task.value.body == f"/{number}".encode()
            check("verdict", right, f"{number}: {task.error!r}")
        await pool.close()


CONTENT = (":status", "200")
FLOOD = 5000 if FULL_SIZE else 500

ROWS = [
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
    Row("H2-55", "answers in another order", scenario=swapped_answers),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
