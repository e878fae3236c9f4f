"""Chapter H2: servers that send much that means little, or little that means much, and what that costs."""

from __future__ import annotations

import select
import socket

from doors import EMPTY, Door
from frames import ENHANCE_YOUR_CALM, FRAME_SIZE, Peer, Peers, raw
from http2_matrix import (
    FLAT,
    PS,
    Costs,
    Fault,
    Play,
    answer,
    answer_all,
    check_next,
    greeted,
    new_pool,
    reply_to,
    serving,
)
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from matrix import FULL_SIZE, ONE_IDLE, P0, RPE, Answer, Row, Scenario, attempt, check, check_closed, fails
from memory import Growth
from verdicts import judge, parametrize

STATUS = (":status", "200")
OK = Answer(body=b"ok")
# RFC 9113 section 6.
HEADERS, END_STREAM, END_HEADERS = 0x1, 0x1, 0x4
# So that a flood does not fit into the kernel's buffers.
SMALL_BUFFER, LARGE_BUFFER = 16_384, 1 << 20
SMALL_BUFFERS = [(socket.SOL_SOCKET, option, SMALL_BUFFER) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
# Seconds in which somebody who reads would have read.
STOPPED = 0.3


def sends(*frames: Frame | bytes) -> Play:
    """The same bytes for every peer, made once: what they take is this test's."""
    data = b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames)
    return lambda peer, _stream: peer.connection.sock.sendall(data)


def empty_data(times: int) -> Play:
    """A head, so many empty DATA frames, and a body."""

    def play(peer: Peer, stream: int) -> None:
        peer.send(peer.head(stream))
        sends(*[DataFrame(stream, b"")] * times, DataFrame(stream, b"ok", flags=["END_STREAM"]))(peer, stream)

    return play


def window_updates(peer: Peer, stream: int) -> None:
    sends(*[WindowUpdateFrame(0, window_increment=1)] * 20_000)(peer, stream)
    answer(peer, stream)


def continuations(value: bytes) -> Play:
    """A header block that does not end, of fields that nobody has indexed."""
    # RFC 7541 sections 6.2.2 and 6.1: `x: value` as it is, behind the status 200 of the static table.
    field = b"\0\x01x" + bytes([len(value)]) + value if value else b""
    return sends(HeadersFrame(1, b"\x88"), *[ContinuationFrame(1, field)] * 2000)


def bomb(times: int) -> Play:
    """One entry of the compression table, of 4 kB, named so many times."""

    def play(peer: Peer, stream: int) -> None:
        once = peer.block([STATUS, ("x-bomb", "b" * 4000)])
        # The newest entry; RFC 7541 section 6.1.
        peer.send(raw(HEADERS, END_HEADERS | END_STREAM, stream, once + b"\xbe" * times))

    return play


async def reader_is_late(door: Door) -> None:
    """Thousands of single bytes wait for a reader: all have come, since the answer behind them has."""
    many = 5_000

    def play(peer: Peer) -> None:
        # Who says nothing of it has one of httpcore's streams at a time.
        peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: 100})
        first = peer.read_whole_request()
        peer.send(peer.head(first))
        second = peer.read_whole_request()
        sends(*[DataFrame(first, b"a")] * many, DataFrame(first, b"", flags=["END_STREAM"]))(peer, first)
        answer(peer, second)
        answer_all(peer)

    peers = Peers()
    with serving(peers, play) as server:
        pool = new_pool(door)
        growth = Growth()
        stream = await pool.open("GET", server.url())
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        check("memory", growth.most() < 2 * FLAT, f"{growth.most() >> 10} KiB more")
        check("verdict", await stream.read() == b"a" * many, "bytes are missing")
        await stream.close()
        check("after", pool.counts == ONE_IDLE, pool.counts)
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        await check_closed(door, pool, server)


def shrink(peer: Peer) -> None:
    peer.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)


def without_reading(peer: Peer, flood: memoryview) -> int:
    """How much of it the client took until it stopped, or all of it."""
    sock, sent = peer.connection.sock, 0
    while sent < len(flood) and select.select([], [sock], [], STOPPED)[1]:
        sent += sock.send(flood[sent : sent + SMALL_BUFFER], socket.MSG_DONTWAIT)
    return sent


def nobody_takes_the_replies(frame: Frame, times: int) -> Scenario:
    """A peer that reads none of the answers to its flood: the client stops reading as well, until it does."""
    one = frame.serialize()
    flood = memoryview(one * times)

    async def scenario(door: Door) -> None:
        taken: list[int] = []

        def play(peer: Peer) -> None:
            sock = peer.connection.sock
            shrink(peer)
            stream = peer.read_whole_request()
            # Whatever the client has to say to the beginning has come then.
            peer.ping(b"together")
            sent = without_reading(peer, flood)
            taken.append(sent)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LARGE_BUFFER)
            # The rest of the last frame, once there is room for it.
            frames = -(-sent // len(one))
            already = len(peer.received)
            rest = flood[sent : frames * len(one)]
            for _ in range(frames - 1):
                peer.read()
            sock.sendall(rest)
            peer.read()
            replies = peer.received[already:]
            assert all("ACK" in reply.flags and type(reply) is type(frame) for reply in replies), replies[0]
            answer(peer, stream)

        peers = Peers()
        with serving(peers, greeted(play)) as server:
            server.send_buffer = SMALL_BUFFER
            pool = new_pool(door, socket_options=SMALL_BUFFERS)
            growth = Growth()
            task = door.start(pool.request("GET", server.url()))
            check("wire", await door.until(lambda: taken), "the flood never ends")
            check("wire", taken[0] < len(flood), f"all {len(flood)} bytes were read, and the replies kept")
            check("memory", growth.most() < FLAT, f"{growth.most() >> 10} KiB more")
            await reply_to(door, task)
            check("after", pool.counts == ONE_IDLE, pool.counts)
            check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
            await check_closed(door, pool, server)

    return scenario


async def data_on_a_stream_that_has_ended(door: Door) -> None:
    """Over and over, from a peer that reads nothing of what it is answered: the client gives it up."""
    flood = memoryview(DataFrame(1, b"x").serialize() * 100_000)

    def play(peer: Peer) -> None:
        # The client's windows are closed as well.
        peer.greet({SettingsFrame.INITIAL_WINDOW_SIZE: 0})
        shrink(peer)
        answer(peer, peer.read_whole_request())
        peer.read_whole_request()
        without_reading(peer, flood)
        peer.read_to_the_end()

    peers = Peers()
    with serving(peers, play) as server:
        server.send_buffer = SMALL_BUFFER
        pool = new_pool(door, socket_options=SMALL_BUFFERS)
        await check_next(door, pool, server, peers)
        growth = Growth()
        outcome = await attempt(door, pool.request("GET", server.url()))
        wrong = fails(RPE).judge(outcome)
        check("verdict", wrong is None, str(wrong))
        check("memory", growth.most() < FLAT, f"{growth.most() >> 10} KiB more")
        check("after", pool.counts == EMPTY, f"the pool holds {pool.counts}")
        check("next", await check_next(door, pool, server, peers) == 1, "not on a new connection")
        await check_closed(door, pool, server)


async def headers_on_streams_that_have_ended(door: Door) -> None:
    """A reset for each, and no more, however often, from a client whose peer reads none of them."""
    many = 2_000 if FULL_SIZE else 300

    def play(peer: Peer) -> None:
        for _ in range(many):
            answer(peer, peer.read_whole_request())
        shrink(peer)
        last = peer.read_whole_request()
        # The status 200 of the static table.
        late = [raw(HEADERS, END_HEADERS, stream, b"\x88") for stream in range(1, last, 2)]
        sends(*late * 3)(peer, last)
        answer(peer, last)
        peer.read_until(lambda _: len(peer.resets) == many)
        answer(peer, peer.read_whole_request())
        resets = sum(isinstance(frame, RstStreamFrame) for frame in peer.received)
        assert resets == many, f"{resets} resets"

    peers = Peers()
    with serving(peers, greeted(play)) as server:
        pool = new_pool(door)
        for _ in range(many):
            await pool.request("GET", server.url())
        growth = Growth()
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        # This server's own frames are most of it.
        check("memory", growth.most() < 2 * FLAT, f"{growth.most() >> 10} KiB more")
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        await check_closed(door, pool, server)


def gave_up(peer: Peer) -> bool:
    return any(isinstance(f, GoAwayFrame) and f.error_code == ENHANCE_YOUR_CALM for f in peer.received)


ROWS = [
    Row(
        "H2-26",
        "frames that are too large",
        (
            Costs(Fault(fails(RPE), sends(raw(0x0, 0x0, 1, bytes(FRAME_SIZE + 1))), P0, "whole"), FLAT),
            Costs(Fault(fails(RPE), sends(raw(0x0, 0x0, 1, bytes(2**24 - 1))[:9]), P0, "its header"), FLAT),
        ),
    ),
    Row(
        "H2-29",
        "CONTINUATION without end",
        (
            Costs(Fault(fails(RPE), continuations(b"v" * 100), P0, "fields"), FLAT),
            Costs(Fault(fails(RPE), continuations(b""), P0, "empty", wire=gave_up), FLAT),
        ),
    ),
    Row(
        "H2-31",
        "compression bombs",
        (
            Costs(Fault(fails(RPE), bomb(40), PS, "160 kB cost the stream"), FLAT),
            # Above four times the limit h2 takes it for an attack.
            Costs(Fault(fails(RPE), bomb(FRAME_SIZE - 4000), P0, "50 MB cost the connection"), FLAT),
        ),
    ),
    Row("H2-33", "empty DATA frames by the thousand", (Costs(Fault(OK, empty_data(5_000)), FLAT),)),
    Row("H2-35", "thousands of single bytes, and a reader who is late", scenario=reader_is_late),
    Row(
        "H2-36",
        "PINGs by the thousand, from a peer that reads nothing",
        scenario=nobody_takes_the_replies(PingFrame(0, opaque_data=b"12345678"), 20_000),
    ),
    Row(
        "H2-36a",
        "SETTINGS by the thousand, from a peer that reads nothing",
        scenario=nobody_takes_the_replies(SettingsFrame(0, settings={}), 40_000),
    ),
    Row(
        "H2-36b",
        "window updates by the thousand",
        (Costs(Fault(OK, window_updates), FLAT),),
    ),
    Row("H2-37", "provoked resets: DATA", scenario=data_on_a_stream_that_has_ended),
    Row("H2-37a", "provoked resets: HEADERS", scenario=headers_on_streams_that_have_ended),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
