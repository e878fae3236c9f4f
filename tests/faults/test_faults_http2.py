"""Chapter H2: frames that are out of place, unknown or empty, limits that change, bodies that are dropped.

What h2spec asks of a client is in `test_http2_conformance.py`; here are the rows that go beyond one frame:
what becomes of the requests, of the connection, and of those after them. What ends too early is in
`test_faults_http2_ends.py`, what breaks the rules of messages in `_responses`, of frames and settings in
`_limits`; floods and bombs are in `_floods`, chapters K and X in `_reuse` and `_cancel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from doors import Door
from engines import HTTPCORE
from frames import Gone, Peer, Peers, raw
from http2_matrix import GONE, PRIOR_KNOWLEDGE, Fault, Play, answer, faults
from hyperframe.frame import DataFrame, SettingsFrame
from matrix import FULL_SIZE, ONE_IDLE, RPE, RT, Answer, Row, Scenario, attempt, check, fails
from servers import Server
from verdicts import judge, parametrize

SHORT = {"read": 0.2}


def sends(*frames: Any) -> Play:
    """Frames in the place of an answer; a function is given the peer and the stream."""

    def play(peer: Peer, stream: int) -> None:
        peer.send(*(frame(peer, stream) if callable(frame) else frame for frame in frames))

    return play


def then_answers(*frames: Any) -> Play:
    """Frames, and then the answer."""

    def play(peer: Peer, stream: int) -> None:
        sends(*frames)(peer, stream)
        answer(peer, stream)

    return play


def heads(*headers: tuple[str, str], end: bool = True) -> Callable[[Peer, int], Any]:
    flags = ("END_STREAM",) if end else ()
    return lambda peer, stream: peer.head(stream, *flags, headers=headers)


def data(body: bytes, *flags: str) -> Callable[[Peer, int], Any]:
    return lambda _, stream: DataFrame(stream, body, flags=flags)


def limit_changes(first: int, then: int) -> Scenario:
    """While as many as it allows are in flight, and others wait: all finish."""

    async def scenario(door: Door) -> None:
        if then < first and door.engine == HTTPCORE and not door.is_async:
            pytest.skip("httpcore deadlocks here, and its threads would never end")
        peers = Peers()

        def play(peer: Peer) -> None:
            peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: first})
            streams = [peer.read_whole_request() for _ in range(min(first, 50))]
            peer.send(SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: then}))
            for stream in streams:
                peer.answer(stream, b"ok")
            peer.serve()

        with Server([peers.plays(play)]) as server:
            pool = door.pool(max_connections=1, **PRIOR_KNOWLEDGE)
            tasks = [door.start(pool.request("GET", server.url("/ok"))) for _ in range(50)]
            done = await door.until(lambda: all(task.done for task in tasks))
            if not done:
                await pool.close()
            check("verdict", done, "some have no answer")
            for task in tasks:
                check("verdict", task.error is None and task.value.status == 200, f"{task.error!r}")
            check("after", pool.counts == ONE_IDLE, pool.counts)
            await pool.close()

    return scenario


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
# What must come on the same connection afterwards.
LARGE = (100 if FULL_SIZE else 20) << 20


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
                    peer.answer(stream, b"x" * (LARGE))
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
        check("verdict", outcome.value == LARGE, f"{outcome.value} bytes, {outcome.error!r}")
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


STATUS = (":status", "200")
# Types of frames that nobody has defined, with flags that mean nothing then. RFC 9113 section 6.
PING, WINDOW_UPDATE, ACK = 0x6, 0x8, 0x1
UNKNOWN = range(0x11, 0x100)
FLAGS = range(0x100) if FULL_SIZE else (0x0, 0x1, 0x4, 0x8, 0x20, 0xFF)
OK = Answer(body=b"ok")

ROWS = [
    Row(
        "H2-25",
        "frames where none may be",
        faults(
            Fault(fails(RPE), sends(data(b"early")), after=GONE, label="DATA before HEADERS"),
            Fault(fails(RPE), sends(lambda peer, _: peer.head(2)), after=GONE, label="a stream of its own"),
            Fault(
                fails(RPE), sends(lambda peer, _: peer.head(101)), after=GONE, label="a stream of nobody's"
            ),
            Fault(fails(RPE), sends(raw(0x9, 0x4, 1, b"")), after=GONE, label="CONTINUATION"),
            # A promise of stream 2, with the request's fields of the static table. RFC 9113 section 6.6.
            Fault(
                fails(RPE),
                sends(raw(0x5, 0x4, 1, b"\0\0\0\x02\x82\x86\x84")),
                after=GONE,
                label="PUSH_PROMISE",
            ),
        ),
    ),
    Row(
        "H2-34",
        "a chatty stream lives",
        faults(
            Fault(
                Answer(body=b"x" * 300),
                sends(heads(STATUS, end=False), *[data(b""), data(b"x")] * 300, data(b"", "END_STREAM")),
            )
        ),
    ),
    Row(
        "H2-39",
        "frames of unknown kinds and flags",
        faults(
            Fault(
                OK,
                then_answers(
                    *(
                        raw(kind, flags, stream, b"what")
                        for kind in UNKNOWN
                        for flags in FLAGS
                        for stream in (0, 1)
                    )
                ),
                label="kinds",
            ),
            # All but the acknowledgement's, which the client must not answer.
            Fault(
                OK,
                then_answers(*(raw(PING, flags, 0, bytes(8)) for flags in range(0x100) if not flags & ACK)),
                label="flags of a PING",
                wire=lambda peer: len(peer.pongs) == 128,
            ),
            Fault(
                OK,
                then_answers(*(raw(WINDOW_UPDATE, flags, 0, b"\0\0\0\x01") for flags in range(0x100))),
                label="flags of a window update",
            ),
        ),
    ),
    Row("H2-41", "no stream at all is allowed", scenario=no_stream_at_all),
    Row("H2-43", "the limit of streams is raised", scenario=limit_changes(1, 100)),
    Row("H2-44", "the limit of streams is lowered", scenario=limit_changes(100, 1)),
    Row("H2-46", "bodies that are dropped half-read", scenario=half_read_bodies),
    Row("H2-52", "no SETTINGS before the answer", faults(Fault(OK, answer, settings=None))),
    Row("H2-55", "answers in another order", scenario=swapped_answers),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
