"""The server's side of HTTP/2, frame by frame, for a scripted connection: it can break every rule.

`Peer` reads the client's frames one by one and sends what it is told to. It keeps books of windows,
requests and bodies, so that a peer that keeps the rules is a few lines as well (`serve`). No rule of httpcore
is tested here.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

import hpack
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
from servers import RECEIVE_SIZE, Connection, Step, call

# RFC 9113 section 3.4.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# RFC 9113 section 4.1, and what a peer may send as long as nobody says more (sections 4.2 and 6.9.2).
HEADER_SIZE = 9
FRAME_SIZE = 16384
FIRST_WINDOW = 65535
# Error codes of RFC 9113 section 7.
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0x0, 0x1, 0x3, 0x5, 0x6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0x7, 0x8, 0x9, 0xB

Headers = Sequence[tuple[str, str]]


class Gone(ConnectionError):
    """The client has ended the connection."""


def raw(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Any frame at all."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


class Peer:
    """One accepted connection. Everything is read and sent by the thread of its script."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # All frames of the client's so far, header blocks put together.
        self.received: list[Frame] = []
        # By stream: what was asked, what has come of the body, whether that has ended or was reset.
        self.requests: dict[int, list[tuple[str, str]]] = {}
        self.bodies: dict[int, bytearray] = collections.defaultdict(bytearray)
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        # The client's answers to PINGs.
        self.pongs: list[bytes] = []
        # What the client said in its SETTINGS, and how much may still be sent: stream 0 is the connection.
        self.settings: dict[int, int] = {}
        self.windows: dict[int, int] = {0: FIRST_WINDOW}
        # Whether what was received is given back to the client's windows at once.
        self.gives_back = True
        # What this side does of its own accord is over.
        self.done = False
        # Streams of requests that nobody has asked for yet.
        self._heads: collections.deque[int] = collections.deque()
        self._whole: collections.deque[int] = collections.deque()
        self._buffer = b""
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()

    # Reading.

    def read_preface(self) -> None:
        self._fill(len(PREFACE))
        start, self._buffer = self._buffer[: len(PREFACE)], self._buffer[len(PREFACE) :]
        assert start == PREFACE, f"a client begins with the preface, not with {start!r}"

    def greet(self, settings: dict[int, int] | None = None) -> None:
        """Both sides' beginning: the preface, SETTINGS, and their acknowledgement by this side."""
        self.read_preface()
        first = self.read()
        assert isinstance(first, SettingsFrame), f"a client begins with SETTINGS, not with {first}"
        self.send(SettingsFrame(0, settings=settings or {}), SettingsFrame(0, flags=["ACK"]))

    def read(self) -> Frame:
        """The client's next frame; CONTINUATION frames are read with their HEADERS."""
        frame = self._read_one()
        if isinstance(frame, HeadersFrame):
            while "END_HEADERS" not in frame.flags:
                more = self._read_one()
                assert isinstance(more, ContinuationFrame), more
                assert more.stream_id == frame.stream_id
                frame.data += more.data
                frame.flags |= more.flags
        self._book(frame)
        self.received.append(frame)
        return frame

    def read_until(self, wanted: Callable[[Frame], Any]) -> Frame:
        while not wanted(frame := self.read()):
            pass
        return frame

    def read_request(self) -> int:
        """The stream of the next request's head."""
        while not self._heads:
            self.read()
        return self._heads.popleft()

    def read_whole_request(self) -> int:
        """The stream of the next request that is complete."""
        while not self._whole:
            self.read()
        return self._whole.popleft()

    def read_to_the_end(self) -> None:
        """Everything, until the client closes the connection."""
        try:
            while True:
                self.read()
        except Gone:
            pass

    def _book(self, frame: Frame) -> None:
        stream = frame.stream_id
        if isinstance(frame, HeadersFrame):
            self.requests[stream] = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in self._decoder.decode(frame.data, raw=True)
            ]
            self.windows[stream] = self.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, FIRST_WINDOW)
        elif isinstance(frame, DataFrame):
            self.bodies[stream] += frame.data
            if self.gives_back and frame.flow_controlled_length:
                self.give(0, frame.flow_controlled_length)
                if "END_STREAM" not in frame.flags:
                    self.give(stream, frame.flow_controlled_length)
        elif isinstance(frame, WindowUpdateFrame):
            self.windows[stream] = self.windows.get(stream, 0) + frame.window_increment
        elif isinstance(frame, PingFrame) and "ACK" in frame.flags:
            self.pongs.append(frame.opaque_data)
        elif isinstance(frame, RstStreamFrame):
            self.resets[stream] = frame.error_code
        elif isinstance(frame, SettingsFrame):
            self.settings.update(frame.settings)
        if isinstance(frame, HeadersFrame):
            self._heads.append(stream)
        if isinstance(frame, (HeadersFrame, DataFrame)) and "END_STREAM" in frame.flags:
            self.ended.add(stream)
            self._whole.append(stream)

    def _read_one(self) -> Frame:
        self._fill(HEADER_SIZE)
        frame, length = Frame.parse_frame_header(memoryview(self._buffer[:HEADER_SIZE]))
        self._fill(HEADER_SIZE + length)
        frame.parse_body(memoryview(self._buffer[HEADER_SIZE : HEADER_SIZE + length]))
        self._buffer = self._buffer[HEADER_SIZE + length :]
        return frame

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            try:
                data = self.connection.sock.recv(RECEIVE_SIZE)
            except OSError as error:
                raise Gone from error
            if not data:
                raise Gone
            self._buffer += data

    # Sending.

    def send(self, *frames: Frame | bytes) -> None:
        """All in one piece."""
        data = b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames)
        self.connection.sock.sendall(data)

    def give(self, stream: int, size: int) -> None:
        self.send(WindowUpdateFrame(stream, window_increment=size))

    def block(self, headers: Headers = ((":status", "200"),)) -> bytes:
        """A header block in this connection's compression."""
        return bytes(self._encoder.encode(headers))

    def head(self, stream: int, *flags: str, headers: Headers = ((":status", "200"),)) -> HeadersFrame:
        return HeadersFrame(stream, self.block(headers), flags=["END_HEADERS", *flags])

    def answer(
        self,
        stream: int,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: Headers = (),
        trailers: Headers = (),
    ) -> None:
        """A response that keeps to the client's windows; it reads on while those are closed."""
        whole = [(":status", str(status)), *headers]
        if not body and not trailers:
            self.send(self.head(stream, "END_STREAM", headers=whole))
            return
        self.send(self.head(stream, headers=whole))
        self.send_data(stream, body, end=not trailers)
        if trailers and stream not in self.resets:
            self.send(self.head(stream, "END_STREAM", headers=trailers))

    def send_data(self, stream: int, body: bytes, *, end: bool) -> None:
        start = 0
        while start < len(body) and stream not in self.resets:
            room = min(self.windows[0], self.windows[stream], FRAME_SIZE, len(body) - start)
            if room <= 0:
                self.read()
                continue
            last = end and start + room == len(body)
            self.send(DataFrame(stream, body[start : start + room], flags=["END_STREAM"] if last else []))
            self.windows[0] -= room
            self.windows[stream] -= room
            start += room
        if end and not body:
            self.send(DataFrame(stream, b"", flags=["END_STREAM"]))

    def say_goodbye(self, last_stream: int, code: int = NO_ERROR) -> None:
        self.send(GoAwayFrame(0, last_stream_id=last_stream, error_code=code))

    # Both.

    def ping(self, payload: bytes) -> None:
        """Returns when the client has answered, which it does after all that was sent before."""
        self.send(PingFrame(0, opaque_data=payload))
        while payload not in self.pongs:
            self.read()

    def path(self, stream: int) -> str:
        return dict(self.requests[stream])[":path"]

    def serve(self) -> None:
        """Answers each request that is complete with its own path and body, until the client closes."""
        try:
            while True:
                stream = self.read_whole_request()
                if stream not in self.resets:
                    self.answer(stream, self.path(stream).encode() + bytes(self.bodies.pop(stream, b"")))
        except Gone:
            pass


class Peers:
    """The peers of a server's connections, one for each, in their order."""

    def __init__(self) -> None:
        self.all: list[Peer] = []

    def plays(self, play: Callable[[Peer], object]) -> list[Step]:
        """A script whose connection is played by `play`, from the preface on."""

        def begin(connection: Connection) -> None:
            peer = Peer(connection)
            self.all.append(peer)
            play(peer)
            peer.done = True

        return [call(begin)]

    def serve(self) -> list[Step]:
        """A script that keeps all rules."""

        def play(peer: Peer) -> None:
            peer.greet()
            peer.serve()

        return self.plays(play)

    def __getitem__(self, number: int) -> Peer:
        return self.all[number]
