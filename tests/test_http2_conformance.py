"""Servers that break HTTP/2: the client cases of h2spec 2.6, in their sections and order.

Each case says what the server does and what comes of it: on the wire, for the caller, and for the connection.
h2spec takes a connection that is closed for an answer to any violation; here the code is asked for as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import httpcore
import pytest
from doors import ASYNCIO, SYNC, TRIO, Door, through
from frames import (
    CANCEL,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Peer,
    Peers,
    raw,
)
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from servers import Server

Frames = list[Frame | bytes]
EIGHT = bytes(8)
# Of frames whose fields hyperframe would not write. RFC 9113 section 6.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 2, 3, 4, 6, 7, 8
END_STREAM, ACK, PADDED = 0x1, 0x1, 0x8
UNKNOWN_TYPE, UNDEFINED_FLAGS, RESERVED_BIT = 0x16, 0x16, 0x80000000
LARGEST_WINDOW = 2**31 - 1
# A stream that a client never opens, and one that this client has not opened yet.
SERVERS_STREAM, IDLE_STREAM = 2, 101
OK = "200"
LARGER_THAN_THE_WINDOW = 100_000


@dataclasses.dataclass(frozen=True)
class Reaction:
    """What the client must do: frames of this type, with one of these codes."""

    kind: type[Frame]
    codes: tuple[int, ...] = ()


def goaway(*codes: int) -> Reaction:
    """A connection error: GOAWAY with one of these codes, then the connection is closed."""
    return Reaction(GoAwayFrame, codes)


def reset(*codes: int) -> Reaction:
    """A stream error: RST_STREAM with one of these codes, and the connection serves on."""
    return Reaction(RstStreamFrame, codes)


# A frame that `h2` cannot decode: whatever is wrong with it, the code is this one. RFC 9113 has others for
# some (FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, COMPRESSION_ERROR); the connection ends all the same.
UNDECODABLE = goaway(PROTOCOL_ERROR)
# On a stream that has ended: RFC 9113 section 5.1 lets the client choose, RFC 7540 and h2spec want a
# connection error. The other streams of the connection have done nothing wrong.
CLOSED = reset(STREAM_CLOSED)
# No error: the client answers the PING that follows.
PONG = Reaction(PingFrame)
# No error either: it acknowledges the SETTINGS.
ACKNOWLEDGES = Reaction(SettingsFrame)


@dataclasses.dataclass(frozen=True)
class Case:
    """`frames` is what the server sends, given itself and the stream of the request."""

    section: str
    what: str
    frames: Callable[[Peer, int], Frames]
    reaction: Reaction
    # What the caller gets: the status, or `RemoteProtocolError`.
    outcome: str | None = None
    # When: after the request, amid its body, or in the place of the server's first SETTINGS.
    when: str = "request"


def large(peer: Peer, stream: int) -> Frames:
    # Literals that no table has, so that nothing is compressed away.
    more = [(f"x-dummy{number}", "~" * FRAME_SIZE) for number in range(5)]
    return [peer.head(stream, "END_STREAM", headers=[(":status", "200"), *more])]


def more(peer: Peer, stream: int, *flags: str) -> ContinuationFrame:
    """A piece of a header block that is whole by itself."""
    return ContinuationFrame(stream, peer.block([("x-dummy", "value")]), flags=list(flags))


def opened(peer: Peer, stream: int, *flags: str) -> HeadersFrame:
    """HEADERS without END_HEADERS."""
    return HeadersFrame(stream, peer.block(), flags=list(flags))


def data(stream: int) -> DataFrame:
    return DataFrame(stream, b"test", flags=["END_STREAM"])


CASES = [
    Case("1", "a server's preface", lambda p, s: [p.head(s, "END_STREAM")], ACKNOWLEDGES, OK),
    Case("4.1", "a frame of an unknown type", lambda p, s: [raw(UNKNOWN_TYPE, 0, 0, EIGHT)], PONG, OK),
    Case("4.1", "undefined flags", lambda p, s: [raw(PING, UNDEFINED_FLAGS, 0, EIGHT)], PONG, OK),
    Case("4.1", "the reserved bit", lambda p, s: [raw(PING, UNDEFINED_FLAGS, RESERVED_BIT, EIGHT)], PONG, OK),
    Case(
        "4.2",
        "DATA as large as it may be",
        lambda p, s: [p.head(s), raw(DATA, END_STREAM, s, bytes(FRAME_SIZE))],
        PONG,
        OK,
    ),
    Case(
        "4.2",
        "DATA that is too large",
        lambda p, s: [p.head(s), raw(DATA, END_STREAM, s, bytes(FRAME_SIZE + 1))],
        goaway(FRAME_SIZE_ERROR),
    ),
    Case("4.2", "HEADERS that are too large", large, goaway(FRAME_SIZE_ERROR)),
    Case(
        "4.3",
        "a header block that is cut short",
        lambda p, s: [raw(HEADERS, 0x5, s, b"\x40")],
        UNDECODABLE,
    ),
    Case(
        "5.1",
        "idle: DATA",
        lambda p, s: [data(SERVERS_STREAM)],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "5.1",
        "idle: RST_STREAM",
        lambda p, s: [RstStreamFrame(SERVERS_STREAM, error_code=CANCEL)],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "5.1",
        "idle: WINDOW_UPDATE",
        lambda p, s: [WindowUpdateFrame(SERVERS_STREAM, window_increment=100)],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "5.1",
        "idle: CONTINUATION",
        lambda p, s: [ContinuationFrame(SERVERS_STREAM, p.block(), flags=["END_HEADERS"])],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "5.1",
        "closed: DATA after RST_STREAM",
        lambda p, s: [p.head(s), RstStreamFrame(s, error_code=CANCEL), data(s)],
        reset(STREAM_CLOSED),
    ),
    Case(
        "5.1",
        "closed: HEADERS after RST_STREAM",
        lambda p, s: [p.head(s), RstStreamFrame(s, error_code=CANCEL), p.head(s, "END_STREAM")],
        reset(STREAM_CLOSED),
    ),
    Case(
        "5.1",
        "closed: CONTINUATION after RST_STREAM",
        lambda p, s: [p.head(s), RstStreamFrame(s, error_code=CANCEL), more(p, s, "END_HEADERS")],
        goaway(STREAM_CLOSED, PROTOCOL_ERROR),
    ),
    Case(
        "5.1",
        "closed: DATA after END_STREAM",
        lambda p, s: [p.head(s, "END_STREAM"), data(s)],
        CLOSED,
        OK,
    ),
    Case(
        "5.1",
        "closed: HEADERS after END_STREAM",
        lambda p, s: [p.head(s, "END_STREAM"), p.head(s, "END_STREAM")],
        CLOSED,
        OK,
    ),
    Case(
        "5.1",
        "closed: CONTINUATION after END_STREAM",
        lambda p, s: [p.head(s, "END_STREAM"), more(p, s, "END_HEADERS")],
        goaway(STREAM_CLOSED, PROTOCOL_ERROR),
        OK,
    ),
    Case(
        "5.1.1",
        "a response to no request",
        lambda p, s: [p.head(IDLE_STREAM, "END_STREAM")],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "5.4.1",
        "an invalid PING: the connection is closed",
        lambda p, s: [raw(PING, 0, 3, EIGHT)],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "5.4.1",
        "an invalid PING: GOAWAY comes first",
        lambda p, s: [raw(PING, 0, 3, EIGHT)],
        goaway(PROTOCOL_ERROR),
    ),
    Case("5.5", "an unknown extension frame", lambda p, s: [raw(UNKNOWN_TYPE, 0, 0, EIGHT)], PONG, OK),
    Case(
        "6.1",
        "DATA on stream 0",
        lambda p, s: [raw(DATA, END_STREAM, 0, b"test")],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.1",
        "DATA on a stream that is not open",
        lambda p, s: [p.head(s, "END_STREAM"), data(s)],
        CLOSED,
        OK,
    ),
    Case(
        "6.1",
        "DATA with more padding than there is room",
        lambda p, s: [
            p.head(s, headers=[(":status", "200"), ("content-length", "4")]),
            raw(DATA, END_STREAM | PADDED, s, b"\x06test"),
        ],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.2",
        "HEADERS without END_HEADERS, then PRIORITY",
        lambda p, s: [opened(p, s), PriorityFrame(s, stream_weight=255), more(p, s, "END_HEADERS")],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.2",
        "HEADERS on stream 0",
        lambda p, s: [raw(HEADERS, 0x5, 0, p.block())],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.2",
        "HEADERS with more padding than there is room",
        lambda p, s: [raw(HEADERS, PADDED | 0x4, s, b"\x11" + p.block())],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.3",
        "PRIORITY on stream 0",
        lambda p, s: [raw(PRIORITY, 0, 0, b"\0\0\0\0\xff")],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.3",
        "PRIORITY of another length than 5",
        lambda p, s: [p.head(s, "END_STREAM"), raw(PRIORITY, 0, s, b"\x80\0\0\x01")],
        UNDECODABLE,
        OK,
    ),
    Case(
        "6.4",
        "RST_STREAM on stream 0",
        lambda p, s: [raw(RST_STREAM, 0, 0, b"\0\0\0\x08")],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.4",
        "RST_STREAM on an idle stream",
        lambda p, s: [RstStreamFrame(SERVERS_STREAM, error_code=CANCEL)],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.4",
        "RST_STREAM of another length than 4",
        lambda p, s: [p.head(s, "END_STREAM"), raw(RST_STREAM, 0, s, bytes(3))],
        UNDECODABLE,
        OK,
    ),
    Case(
        "6.5",
        "SETTINGS with ACK and a payload",
        lambda p, s: [raw(SETTINGS, ACK, 0, b"\0")],
        UNDECODABLE,
        when="preface",
    ),
    Case(
        "6.5",
        "SETTINGS on a stream",
        lambda p, s: [raw(SETTINGS, 0, 1, b"\0\x03\0\0\0\x64")],
        goaway(PROTOCOL_ERROR),
        when="preface",
    ),
    Case(
        "6.5",
        "SETTINGS of a length that is no multiple of 6",
        lambda p, s: [raw(SETTINGS, 0, 0, b"\0\x03\0")],
        goaway(FRAME_SIZE_ERROR, PROTOCOL_ERROR),
        when="preface",
    ),
    Case(
        "6.5.2",
        "a window that is too large",
        lambda p, s: [SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: LARGEST_WINDOW + 1})],
        UNDECODABLE,
        when="preface",
    ),
    Case(
        "6.5.2",
        "a frame size that is too small",
        lambda p, s: [SettingsFrame(0, settings={SettingsFrame.MAX_FRAME_SIZE: FRAME_SIZE - 1})],
        goaway(PROTOCOL_ERROR),
        when="preface",
    ),
    Case(
        "6.5.2",
        "a frame size that is too large",
        lambda p, s: [SettingsFrame(0, settings={SettingsFrame.MAX_FRAME_SIZE: 2**24})],
        goaway(PROTOCOL_ERROR),
        when="preface",
    ),
    Case(
        "6.5.2",
        "an unknown setting",
        lambda p, s: [SettingsFrame(0, settings={0xFF: 1})],
        PONG,
        OK,
        when="preface",
    ),
    Case(
        "6.5.3",
        "SETTINGS without ACK",
        lambda p, s: [SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 100})],
        ACKNOWLEDGES,
        OK,
        when="preface",
    ),
    Case("6.7", "PING", lambda p, s: [], PONG, OK),
    Case("6.7", "PING with ACK", lambda p, s: [raw(PING, ACK, 0, b"invalid\0")], PONG, OK),
    Case("6.7", "PING on a stream", lambda p, s: [raw(PING, 0, 1, EIGHT)], goaway(PROTOCOL_ERROR)),
    Case(
        "6.7",
        "PING of another length than 8",
        lambda p, s: [raw(PING, 0, 0, bytes(6))],
        UNDECODABLE,
    ),
    Case("6.8", "GOAWAY on a stream", lambda p, s: [raw(GOAWAY, 0, 1, EIGHT)], goaway(PROTOCOL_ERROR)),
    Case(
        "6.9",
        "WINDOW_UPDATE by 0",
        lambda p, s: [raw(WINDOW_UPDATE, 0, 0, bytes(4))],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.9",
        "WINDOW_UPDATE by 0 on a stream",
        lambda p, s: [p.head(s), raw(WINDOW_UPDATE, 0, s, bytes(4))],
        UNDECODABLE,
    ),
    Case(
        "6.9",
        "WINDOW_UPDATE of another length than 4",
        lambda p, s: [raw(WINDOW_UPDATE, 0, 0, b"\0\0\x01")],
        UNDECODABLE,
    ),
    Case(
        "6.9.1",
        "a connection window beyond its bounds",
        lambda p, s: [WindowUpdateFrame(0, window_increment=LARGEST_WINDOW)] * 2,
        goaway(FLOW_CONTROL_ERROR),
    ),
    Case(
        "6.9.1",
        "a stream window beyond its bounds",
        lambda p, s: [p.head(s), *[WindowUpdateFrame(s, window_increment=LARGEST_WINDOW)] * 2],
        reset(FLOW_CONTROL_ERROR),
        # Of a request that has ended nobody needs the window any more, and it is not looked at.
        when="upload",
    ),
    Case(
        "6.10",
        "several CONTINUATION frames",
        lambda p, s: [opened(p, s, "END_STREAM"), more(p, s), more(p, s, "END_HEADERS")],
        PONG,
        OK,
    ),
    Case(
        "6.10",
        "CONTINUATION, then DATA",
        lambda p, s: [opened(p, s), more(p, s), data(s)],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.10",
        "CONTINUATION on stream 0",
        lambda p, s: [opened(p, s, "END_STREAM"), raw(0x9, 0x4, 0, p.block())],
        goaway(PROTOCOL_ERROR),
    ),
    Case(
        "6.10",
        "CONTINUATION after END_HEADERS",
        lambda p, s: [p.head(s, "END_STREAM"), more(p, s, "END_HEADERS")],
        goaway(PROTOCOL_ERROR),
        OK,
    ),
    Case(
        "6.10",
        "CONTINUATION after CONTINUATION with END_HEADERS",
        lambda p, s: [opened(p, s, "END_STREAM"), more(p, s, "END_HEADERS"), more(p, s, "END_HEADERS")],
        goaway(PROTOCOL_ERROR),
        OK,
    ),
    Case(
        "6.10",
        "CONTINUATION after DATA",
        lambda p, s: [opened(p, s), data(s), more(p, s), raw(0x9, 0x4, 0, p.block())],
        goaway(PROTOCOL_ERROR),
    ),
]
IDS = [f"{case.section} {case.what}" for case in CASES]
assert len(CASES) == 57


def misbehave(peer: Peer, case: Case) -> None:
    """Plays the case, then reads until the client has reacted; what it asks for next here is answered."""
    stream = 1
    if case.when == "preface":
        peer.read_preface()
        assert isinstance(peer.read(), SettingsFrame)
    else:
        peer.gives_back = case.when == "request"
        peer.greet()
        stream = peer.read_whole_request() if case.when == "request" else peer.read_request()
    peer.send(*case.frames(peer, stream))
    if case.reaction is PONG:
        peer.ping(b"pingpong")
    elif case.reaction is ACKNOWLEDGES:
        if "ACK" not in peer.read_until(lambda frame: isinstance(frame, SettingsFrame)).flags:
            raise AssertionError("the client sends its SETTINGS once")
    elif case.reaction.kind is RstStreamFrame:
        peer.read_until(lambda frame: isinstance(frame, RstStreamFrame))
    else:
        peer.read_to_the_end()
        return
    if case.when == "preface":
        stream = peer.read_whole_request()
    if case.outcome is OK and not has_answered(case, peer):
        peer.answer(stream)
    peer.serve()


def has_answered(case: Case, peer: Peer) -> bool:
    """Whether the frames of a case are a response already."""
    return any(isinstance(frame, HeadersFrame) for frame in case.frames(peer, 1))


@pytest.mark.parametrize("door", [SYNC, ASYNCIO, TRIO])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_server_that_breaks_http2(case: Case, door: str, engine: str) -> None:
    """The violation is answered as RFC 9113 demands, the caller knows, and the next request is served."""
    peers = Peers()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(lambda peer: misbehave(peer, case)), peers.serve()]) as server:
            pool = door.pool(http1=False, http2=True)
            if case.outcome is None:
                body = bytes(LARGER_THAN_THE_WINDOW) if case.when == "upload" else None
                with pytest.raises(httpcore.RemoteProtocolError):
                    await pool.request("POST", server.url("/first"), content=body)
            else:
                assert (await pool.request("GET", server.url("/first"))).status == int(case.outcome)
            assert pool.counts.startswith("0 active, 0 queued | 0 active")
            if case.reaction.kind is GoAwayFrame:
                # A complete response may be here before the client has looked at what follows it.
                assert await door.until(lambda: peers[0].done)
            reply = await pool.request("GET", server.url("/next"))
            assert (reply.status, reply.body) == (200, b"/next")
            is_over = case.reaction.kind is GoAwayFrame
            assert server.accepted == (2 if is_over else 1)
            codes = [
                frame.error_code
                for frame in peers[0].received
                if isinstance(frame, (GoAwayFrame, RstStreamFrame))
            ]
            if case.reaction.codes:
                assert codes, "the client said nothing"
                assert codes[0] in case.reaction.codes
                assert [f for f in peers[0].received if isinstance(f, case.reaction.kind)]
            else:
                assert not codes

    through(door, engine, scenario)
