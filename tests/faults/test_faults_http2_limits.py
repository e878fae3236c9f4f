"""Chapter H2: frames and settings that HTTP/2 does not allow, limits of streams, and windows."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable

from doors import Door
from frames import FIRST_WINDOW, FRAME_SIZE, Gone, Peer, Peers, raw
from http2_matrix import (
    FLAT,
    HEAD,
    PS,
    Costs,
    Fault,
    Play,
    answer,
    check_next,
    faults,
    greeted,
    hold,
    new_pool,
    nonce_of,
    reply_to,
    serving,
)
from hyperframe.frame import DataFrame, Frame, PingFrame, SettingsFrame, WindowUpdateFrame
from matrix import FULL_SIZE, ONE_IDLE, P0, RPE, Answer, Row, check, check_closed, fails
from verdicts import judge, parametrize

OK = Answer(body=b"ok")
# Types and flags of frames that hyperframe would not write. RFC 9113 section 6.
DATA, SETTINGS, PING, WINDOW_UPDATE = 0x0, 0x4, 0x6, 0x8
ACK, PADDED = 0x1, 0x8
LARGEST_WINDOW = 2**31 - 1
VALUES = (0, 1, 2**14 - 1, 2**24, 2**31, 2**32 - 1)
UPLOADS, UPLOAD_SIZE = 10, 100_000
Make = Callable[[Peer, int], Iterable[Frame | bytes]]


def sends(make: Make) -> Play:
    return lambda peer, stream: peer.send(*make(peer, stream))


def violates(label: str, make: Make) -> Fault:
    """It ends the connection."""
    return Fault(fails(RPE), sends(make), P0, label)


def setting(number: int, value: int) -> Fault:
    """Kept to if it is allowed; the end of the connection if it is not. RFC 9113 section 6.5.2."""
    forbidden = {
        # h2 lets a server say 1 as well, which means nothing to a client.
        SettingsFrame.ENABLE_PUSH: value > 1,
        # RFC 8441 section 3.
        SettingsFrame.ENABLE_CONNECT_PROTOCOL: value > 1,
        SettingsFrame.INITIAL_WINDOW_SIZE: value > LARGEST_WINDOW,
        SettingsFrame.MAX_FRAME_SIZE: not FRAME_SIZE <= value < 2**24,
    }
    frame = raw(SETTINGS, 0, 0, number.to_bytes(2, "big") + value.to_bytes(4, "big"))

    def play(peer: Peer, stream: int) -> None:
        if number == SettingsFrame.HEADER_TABLE_SIZE:
            peer._decoder.max_allowed_table_size = value
        peer.send(frame)
        answer(peer, stream)

    label = f"{number}={value}"
    if forbidden.get(number):
        return violates(label, lambda _peer, _stream: [frame])
    return Fault(OK, play, PS, label)


def unknown_settings(value: int) -> Fault:
    """Every other id with this value, as many as a frame holds at a time."""
    ids = [number for number in range(0x10000) if number > 9 or number in (0, 7)]
    parts = [ids[start : start + FRAME_SIZE // 6] for start in range(0, len(ids), FRAME_SIZE // 6)]
    frames = [
        raw(SETTINGS, 0, 0, b"".join(struct.pack(">HI", number, value) for number in part))
        for part in (parts if FULL_SIZE else (parts[0], parts[-1]))
    ]

    def play(peer: Peer, stream: int) -> None:
        peer.send(*frames)
        answer(peer, stream)

    return Fault(OK, play, PS, f"others={value}")


def shrinks(peer: Peer, stream: int) -> None:
    """The window is used up, becomes negative, and then, step by step, large enough."""
    while len(peer.bodies[stream]) < FIRST_WINDOW:
        peer.read()
    peer.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1000}))
    peer.read_until(lambda frame: isinstance(frame, SettingsFrame) and "ACK" in frame.flags)
    peer.give(0, 1 << 20)
    # Up to zero: not a byte may come before the next one.
    peer.give(stream, FIRST_WINDOW - 1000)
    peer.send(PingFrame(0, opaque_data=b"anything"))
    peer.read_until(lambda frame: isinstance(frame, PingFrame))
    assert len(peer.bodies[stream]) == FIRST_WINDOW, "the client sent into a window that is not open"
    peer.give(stream, 1 << 20)
    peer.answer(peer.read_whole_request(), b"%d" % len(peer.bodies[stream]))


async def one_at_a_time(door: Door) -> None:
    """The peer allows one stream: fifty requests take turns on it, in their order."""
    together = threading.Event()

    def play(peer: Peer) -> None:
        peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: 1})
        answer(peer, peer.read_whole_request())
        hold(peer.connection, together)
        try:
            while True:
                stream = peer.read_whole_request()
                # What the client sends before it knows of the answer is here before its PING comes back.
                peer.send(PingFrame(0, opaque_data=b"together"))
                peer.read_until(lambda frame: isinstance(frame, PingFrame))
                assert max(peer.requests) == stream, "two streams at a time"
                answer(peer, stream)
        except Gone:
            pass

    peers = Peers()
    with serving(peers, play) as server:
        pool = new_pool(door, max_connections=1)
        await check_next(door, pool, server, peers)
        tasks = []
        for number in range(1, 51):
            tasks.append(door.start(pool.request("GET", server.url(), headers={"X-Nonce": f"{number}"})))
            # Threads and trio's tasks begin in any order, if there are several.
            reached = await door.until(lambda number=number: len(pool.raw._requests) == number)
            check("reached", reached, pool.counts)
        together.set()
        for number, task in enumerate(tasks, 1):
            reply = await reply_to(door, task)
            check("verdict", reply.header(b"X-Nonce") == b"%d" % number, f"{number}: {reply.headers}")
        order = [nonce_of(peers[0], stream) for stream in sorted(peers[0].requests)]
        check("wire", order[1:] == [f"{number}" for number in range(1, 51)], f"{order}")
        check("after", pool.counts == ONE_IDLE, pool.counts)
        await check_closed(door, pool, server)


async def uploads_share_a_window(door: Door) -> None:
    """The peer gives the connection's window back only when there is nothing left of it."""

    def play(peer: Peer) -> None:
        answer(peer, peer.read_whole_request())
        peer.gives_back = False
        left, whole = FIRST_WINDOW, 0
        while whole < UPLOADS:
            frame = peer.read()
            if isinstance(frame, DataFrame):
                left -= frame.flow_controlled_length
                if "END_STREAM" not in frame.flags:
                    peer.give(frame.stream_id, frame.flow_controlled_length)
                if left == 0:
                    left = FIRST_WINDOW
                    peer.give(0, left)
                if "END_STREAM" in frame.flags:
                    whole += 1
                    peer.answer(peer.read_whole_request(), b"%d" % len(peer.bodies[frame.stream_id]))

    peers = Peers()
    with serving(peers, greeted(play)) as server:
        pool = new_pool(door)
        await check_next(door, pool, server, peers)
        body = bytes(UPLOAD_SIZE)
        tasks = [door.start(pool.request("POST", server.url(), content=body)) for _ in range(UPLOADS)]
        for task in tasks:
            reply = await reply_to(door, task)
            check("verdict", reply.body == b"%d" % UPLOAD_SIZE, f"{reply.body!r} bytes came")
        check("wire", server.accepted == 1, f"{server.accepted} connections")
        await check_closed(door, pool, server)


ROWS = [
    Row(
        "H2-27",
        "SETTINGS that are none",
        faults(
            violates("ACK with payload", lambda p, s: [raw(SETTINGS, ACK, 0, bytes(6))]),
            violates("length", lambda p, s: [raw(SETTINGS, 0, 0, bytes(5))]),
            violates("window", lambda p, s: [raw(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff")]),
            violates("frame size", lambda p, s: [raw(SETTINGS, 0, 0, b"\0\5\0\0\0\0")]),
            violates("push", lambda p, s: [raw(SETTINGS, 0, 0, b"\0\2\0\0\0\2")]),
        ),
    ),
    Row(
        "H2-28",
        "frames of the wrong form",
        faults(
            violates("PING", lambda p, s: [raw(PING, 0, 0, bytes(7))]),
            violates("WINDOW_UPDATE by 0", lambda p, s: [raw(WINDOW_UPDATE, 0, 0, bytes(4))]),
            violates("window", lambda p, s: [WindowUpdateFrame(0, window_increment=LARGEST_WINDOW)] * 2),
            violates("padding", lambda p, s: [p.head(s), raw(DATA, PADDED, s, b"\x05abc")]),
        ),
    ),
    Row(
        "H2-40",
        "every setting",
        (
            *(
                Costs(setting(number, value), FLAT)
                for number in (1, 2, 3, 4, 5, 6, 8)
                for value in VALUES
                # No stream at all is a row of its own.
                if (number, value) != (3, 0) and (FULL_SIZE or value in (0, 1, 2**32 - 1))
            ),
            *(Costs(unknown_settings(value), FLAT) for value in VALUES),
        ),
    ),
    Row("H2-42", "one stream at a time", scenario=one_at_a_time),
    Row("H2-47", "uploads share a window", scenario=uploads_share_a_window),
    Row(
        "H2-48",
        "a window becomes negative",
        (
            Fault(
                Answer(body=b"200000"),
                shrinks,
                PS,
                method="POST",
                headers=((b"Content-Length", b"200000"),),
                content=bytes(200_000),
                when=HEAD,
            ),
        ),
    ),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
