"""HTTP/2 on the wire and in the response: what is sent, what is told, and which version is spoken.

What many requests on one connection do to each other is `test_http2_sharing.py`'s; servers that break the
rules are `test_http2_conformance.py`'s.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any

import client_hello
import httpcore
import pytest
from certificates import client_context, server_context
from doors import ASYNCIO, DOORS, SYNC, TRIO, Door, run, through
from engines import HTTPCORE
from frames import CANCEL, FIRST_WINDOW, NO_ERROR, Headers, Peer, Peers
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from servers import CLOSE, RAW, SERVE, START_TLS, Connection, Server, call
from test_trace import recorder, story

pytestmark = pytest.mark.parametrize("door", [SYNC, ASYNCIO, TRIO])

PRIOR_KNOWLEDGE = {"http1": False, "http2": True}
STREAM_WINDOW, CONNECTION_WINDOW = 2 << 20, 16 << 20


def answers(*headers: tuple[str, str], body: bytes = b"hello", trailers: Headers = ()) -> Any:
    """A peer that gives every request this response."""

    def play(peer: Peer) -> None:
        peer.greet()
        while True:
            peer.answer(peer.read_whole_request(), body, headers=headers, trailers=trailers)

    return play


async def exchange(door: Door, peers: Peers, *, method: str = "GET", **request: Any) -> Any:
    """One request with prior knowledge, answered by `hello`."""
    with Server([peers.plays(answers())]) as server:
        pool = door.pool(**PRIOR_KNOWLEDGE)
        reply = await pool.request(method, server.url("/path?query"), **request)
        assert reply.status == 200
        await pool.close()
        assert await door.until(lambda: server.connections[0].ended)
    return reply


def test_the_connection_begins_with_large_windows(door: str, engine: str) -> None:
    """Preface, SETTINGS without push, 2 MiB for each stream and 16 MiB for all of them."""
    peers = Peers()
    through(door, engine, lambda door: exchange(door, peers))
    first, second, *_ = peers[0].received
    assert isinstance(first, SettingsFrame)
    assert first.settings[SettingsFrame.ENABLE_PUSH] == 0
    assert first.settings[SettingsFrame.INITIAL_WINDOW_SIZE] == STREAM_WINDOW
    assert first.settings[SettingsFrame.MAX_HEADER_LIST_SIZE] >= 65536
    assert isinstance(second, WindowUpdateFrame)
    assert peers[0].windows[0] + len(b"hello") == CONNECTION_WINDOW
    assert [frame for frame in peers[0].received if isinstance(frame, SettingsFrame)][1].flags == {"ACK"}


# What is given, and what of it is sent. RFC 9113 section 8.2: what HTTP/1.1 says about its connection is left
# out.
HEADERS = [
    ([(b"X-Name", b"Value")], [("x-name", "Value")]),
    ([(b"Host", b"other.com:1")], []),
    ([(b"Connection", b"close")], []),
    ([(b"Keep-Alive", b"timeout=5")], []),
    ([(b"Proxy-Connection", b"keep-alive")], []),
    ([(b"Upgrade", b"websocket")], []),
    ([(b"TE", b"trailers")], [("te", "trailers")]),
    ([(b"A", b"1"), (b"a", b"2")], [("a", "1"), ("a", "2")]),
    ([(b"X", b"\xe9")], [("x", "\xe9")]),
    ([(b"X", b"")], [("x", "")]),
]


def test_headers_of_a_request(door: str, engine: str) -> None:
    """Names are lower-cased, Host is `:authority`, and four pseudo-headers come first."""
    peers = Peers()

    async def scenario(door: Door) -> None:
        with Server([peers.serve()]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            for number, (given, sent) in enumerate(HEADERS):
                hosted = any(name == b"Host" for name, _ in given)
                headers = given if hosted else [(b"Host", b"example.com"), *given]
                await pool.request("GET", server.url("/path?query"), headers=headers)
                asked = peers[0].requests[2 * number + 1]
                assert dict(asked[:4]) == {
                    ":method": "GET",
                    ":authority": "other.com:1" if hosted else "example.com",
                    ":scheme": "http",
                    ":path": "/path?query",
                }
                assert asked[4:] == sent
            assert server.accepted == 1

    through(door, engine, scenario)


def test_a_te_that_http2_cannot_carry(door: str, engine: str) -> None:
    """RFC 9113 section 8.2.2; the connection is not harmed."""
    peers = Peers()

    async def scenario(door: Door) -> None:
        with Server([peers.serve()]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            for value in (b"gzip", b"trailers, deflate"):
                with pytest.raises(httpcore.LocalProtocolError):
                    await pool.request("GET", server.url(), headers=[(b"Host", b"a"), (b"TE", value)])
                assert pool.counts.startswith("0 active, 0 queued | 0 active")
            assert (await pool.request("GET", server.url())).status == 200
            assert server.accepted == 1

    through(door, engine, scenario)


async def chunks() -> AsyncIterator[bytes]:
    for chunk in (b"one", b"", b"two"):
        yield chunk


# Headers, content, whether the head ends the request, and the body that is sent.
LENGTH, CHUNKED = [(b"Content-Length", b"6")], [(b"Transfer-Encoding", b"chunked")]
ENDS = [
    ([], None, True, b""),
    (LENGTH, b"onetwo", False, b"onetwo"),
    (LENGTH, "chunks", False, b"onetwo"),
    (CHUNKED, b"onetwo", False, b"onetwo"),
    (CHUNKED, "chunks", False, b"onetwo"),
]


def test_where_a_request_ends(door: str, engine: str) -> None:
    """END_STREAM is on the head unless a header announces a body; Transfer-Encoding itself is not sent."""
    peers = Peers()

    def keep(peer: Peer) -> None:
        peer.greet()
        while True:
            peer.answer(peer.read_whole_request())

    async def scenario(door: Door) -> None:
        with Server([peers.plays(keep)]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            for number, (more, source, ends, body) in enumerate(ENDS):
                stream = 2 * number + 1
                content = door.body(chunks()) if source == "chunks" else source
                headers = [(b"Host", b"a"), *more]
                await pool.request("POST", server.url(), headers=headers, content=content)
                (head,) = [
                    frame
                    for frame in peers[0].received
                    if isinstance(frame, HeadersFrame) and frame.stream_id == stream
                ]
                assert ("END_STREAM" in head.flags) == ends
                assert bytes(peers[0].bodies[stream]) == body
                assert "transfer-encoding" not in dict(peers[0].requests[stream])
                assert stream in peers[0].ended

    through(door, engine, scenario)


def test_what_a_response_tells(door: str, engine: str) -> None:
    """`http_version`, `stream_id`, the socket; no reason; trailers, once the body has been read."""
    peers = Peers()

    async def scenario(door: Door) -> None:
        said = [("x-first", "1"), ("set-cookie", "a"), ("set-cookie", "b")]
        script = peers.plays(answers(*said, trailers=[("x-check", "sum"), ("x-check", "two")]))
        with Server([script]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            for stream_id in (1, 3):
                async with await pool.open("GET", server.url()) as response:
                    assert response.status == 200
                    assert response.headers == [(name.encode(), value.encode()) for name, value in said]
                    extensions = response.extensions
                    assert set(extensions) == {"http_version", "network_stream", "stream_id", "trailers"}
                    assert extensions["http_version"] == b"HTTP/2"
                    assert extensions["stream_id"] == stream_id
                    address = extensions["network_stream"].get_extra_info("server_addr")
                    assert address == (server.host, server.port)
                    assert pool.infos == [f"ACTIVE, Request Count: {(stream_id + 1) // 2}"]
                    assert await response.read() == b"hello"
                    assert extensions["trailers"] == [(b"x-check", b"sum"), (b"x-check", b"two")]
                assert pool.infos == [f"IDLE, Request Count: {(stream_id + 1) // 2}"]
            (connection,) = pool.raw.connections
            origin = f"'http://{server.host}:{server.port}'"
            assert connection.info() == f"{origin}, HTTP/2, IDLE, Request Count: 2"
            kind = "HTTPConnection" if door.name == SYNC else "AsyncHTTPConnection"
            assert repr(connection) == f"<{kind} [{connection.info()}]>"
            assert connection.is_available()
            assert connection.is_idle()
            assert pool.counts == "0 active, 0 queued | 0 active, 1 idle"

    through(door, engine, scenario)


def test_a_response_knows_its_addresses(door: str, engine: str) -> None:
    """Also when its server has ended the connection; once that is closed they are gone, as over HTTP/1.1."""
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.greet()
        stream = peer.read_whole_request()
        peer.answer(stream, b"whole")
        peer.say_goodbye(stream)
        peer.connection._half_close()
        peer.read_to_the_end()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(play)]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            response = await pool.open("GET", server.url())
            assert await response.read() == b"whole"
            # Not every door looks at a connection that nobody waits for.
            await door.until(lambda: peers[0].done, 0.2)
            network = response.extensions["network_stream"]
            assert network.get_extra_info("server_addr") == (server.host, server.port)
            assert network.get_extra_info("client_addr")[0] == server.host
            await response.close()
            await pool.close()
            with pytest.raises(OSError, match="Bad file descriptor"):
                network.get_extra_info("client_addr")

    through(door, engine, scenario)


def test_informational_responses_are_skipped(door: str, engine: str) -> None:
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.greet()
        stream = peer.read_whole_request()
        for status in ("100", "102", "103", "103"):
            peer.send(peer.head(stream, headers=[(":status", status), ("link", "</a>")]))
        peer.answer(stream, b"final", headers=[("x-final", "yes")])
        peer.serve()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(play)]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            reply = await pool.request("GET", server.url())
            assert (reply.status, reply.body, reply.headers) == (200, b"final", [(b"x-final", b"yes")])
            assert (await pool.request("GET", server.url("/next"))).body == b"/next"
            assert server.accepted == 1

    through(door, engine, scenario)


def test_responses_without_a_body(door: str, engine: str) -> None:
    """A Content-Length that nothing follows, where nothing may follow."""
    peers = Peers()
    cases = [("HEAD", 200, "5"), ("HEAD", 304, "5"), ("GET", 304, "5"), ("GET", 204, None), ("GET", 200, "0")]

    def play(peer: Peer) -> None:
        peer.greet()
        for _, status, length in cases:
            headers = [] if length is None else [("content-length", length)]
            peer.answer(peer.read_whole_request(), status=status, headers=headers)
        peer.serve()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(play)]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            for method, status, _ in cases:
                reply = await pool.request(method, server.url())
                assert (reply.status, reply.body) == (status, b"")
            assert (await pool.request("GET", server.url("/next"))).body == b"/next"
            assert server.accepted == 1

    through(door, engine, scenario)


# Which version is spoken.


# `http1`, `http2`, what the server can speak, what is spoken.
VERSIONS = [
    (True, False, ("h2", "http/1.1"), b"HTTP/1.1"),
    (True, False, (), b"HTTP/1.1"),
    (True, True, ("h2", "http/1.1"), b"HTTP/2"),
    (True, True, ("http/1.1",), b"HTTP/1.1"),
    (True, True, (), b"HTTP/1.1"),
    (False, True, ("h2",), b"HTTP/2"),
    (False, True, ("http/1.1",), b"HTTP/2"),
    (False, True, (), b"HTTP/2"),
]


@pytest.mark.parametrize("tls", ["python", "rustls"])
def test_the_version_over_tls(door: str, engine: str, tls: str) -> None:
    """What the server picks, but without HTTP/1.1 always HTTP/2."""

    async def scenario(door: Door) -> None:
        for http1, http2, speaks, spoken in VERSIONS:
            script = Peers().serve() if spoken == b"HTTP/2" else [SERVE]
            with Server([script], tls=server_context(*speaks)) as server:
                pool = door.pool(http1=http1, http2=http2, ssl_context=client_context(), tls=tls)
                reply = await pool.request("GET", server.url(host="localhost"))
                assert (reply.status, reply.extensions["http_version"]) == (200, spoken)
                assert server.accepted == 1
                await pool.close()

    through(door, engine, scenario)


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_what_is_offered(door: str, engine: str, scheme: str) -> None:
    """httpcore's offer, in its order, by ALPN."""
    both = ["http/1.1", "h2"]

    async def scenario(door: Door) -> None:
        for http1, http2, offered in ((True, False, ["http/1.1"]), (True, True, both), (False, True, both)):
            found: list[str] = []

            def look(connection: Connection, found: list[str] = found) -> None:
                found.extend(client_hello.protocols(connection.sock.recv(65536)))

            with Server([[RAW, call(look), CLOSE]], tls=server_context()) as server:
                pool = door.pool(http1=http1, http2=http2, ssl_context=client_context(), tls="python")
                with pytest.raises((httpcore.ConnectError, httpcore.ReadError)):
                    await pool.request("GET", server.url(host="localhost").replace("https", scheme))
            assert found == offered

    through(door, engine, scenario)


@pytest.mark.parametrize(("http1", "spoken"), [(False, b"HTTP/2"), (True, b"HTTP/1.1")])
@pytest.mark.parametrize("unix", [False, True])
def test_the_version_without_tls(door: str, engine: str, http1: bool, spoken: bytes, unix: bool) -> None:
    """HTTP/2 by prior knowledge alone, over TCP and over a Unix socket."""
    peers = Peers()

    async def scenario(door: Door) -> None:
        with Server([peers.serve() if spoken == b"HTTP/2" else [SERVE]], unix=unix) as server:
            where = {"uds": server.path} if unix else {}
            pool = door.pool(http1=http1, http2=True, **where)
            reply = await pool.request("GET", "http://localhost/" if unix else server.url())
            assert (reply.status, reply.extensions["http_version"]) == (200, spoken)

    through(door, engine, scenario)


# What is told on the way.


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_events_are_httpcores(door: str, engine: str, method: str, tls: bool) -> None:
    """Event by event and payload by payload, but for the peer's SETTINGS, which nobody waits for here."""

    async def scenario(door: Door) -> Any:
        events: Any = []
        peers = Peers()
        with Server([peers.serve()], tls=server_context("h2") if tls else None) as server:
            pool = door.pool(http1=tls, http2=True, ssl_context=client_context())
            for _ in range(2):
                await pool.request(
                    method,
                    server.url(host="localhost"),
                    content=b"body" if method == "POST" else None,
                    extensions=recorder(door, events),
                )
            await pool.close()
        return events

    ours = story(through(door, engine, scenario))
    reference = story(run(DOORS[door](HTTPCORE), scenario))
    assert [event for event in ours if "receive_remote_settings" not in event[0]] == ours
    told = [event for event in reference if "receive_remote_settings" not in event[0]]
    assert without_contexts(ours) == without_contexts(told)


def without_contexts(events: Any) -> Any:
    """A context is made for each run."""
    return [
        (
            name,
            {key: "context" if isinstance(value, ssl.SSLContext) else value for key, value in info.items()},
        )
        for name, info in events
    ]


def test_loggers_tell_the_same(door: str, engine: str, caplog: pytest.LogCaptureFixture) -> None:
    """The DEBUG records of both engines are equal, in their order and words, but for the peer's SETTINGS."""

    async def scenario(door: Door) -> None:
        peers = Peers()
        with Server([peers.serve()]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            for _ in range(2):
                await pool.request("POST", server.url(), content=b"body")
            await pool.close()

    def records(door: Door) -> list[tuple[str, str]]:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, httpcore.__name__):
            run(door, scenario)
        return [
            (record.name, re.sub(r"port=\d+", "port", record.getMessage()).split(" return_value=")[0])
            for record in caplog.records
            if record.name.startswith(httpcore.__name__ + ".")
            and "receive_remote_settings" not in record.getMessage()
        ]

    ours = records(DOORS[door](engine))
    assert ours == records(DOORS[door](HTTPCORE))
    assert {name.rpartition(".")[2] for name, _ in ours} == {"connection", "http2"}


# How requests end early.


class Endless:
    """A body, and no generator: nobody has to finalise what is not read to its end."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return bytes(16384)


def test_an_early_response_ends_the_upload(door: str, engine: str) -> None:
    """A whole response and RST_STREAM with NO_ERROR: the response counts."""
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.gives_back = False
        peer.greet()
        stream = peer.read_request()
        peer.answer(stream, b"enough", status=413)
        peer.send(RstStreamFrame(stream, error_code=NO_ERROR))
        peer.serve()

    async def scenario(door: Door) -> None:
        for body in (bytes(1 << 20), door.body(Endless())):
            with Server([peers.plays(play)]) as server:
                pool = door.pool(**PRIOR_KNOWLEDGE)
                reply = await pool.request("POST", server.url(), content=body)
                assert (reply.status, reply.body) == (413, b"enough")
                assert (await pool.request("GET", server.url("/next"))).body == b"/next"
                assert server.accepted == 1

    through(door, engine, scenario)


def test_a_response_that_is_closed_early_is_cancelled(door: str, engine: str) -> None:
    """RST_STREAM with CANCEL, before `close()` returns; the connection goes on."""
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.greet()
        stream = peer.read_whole_request()
        peer.send(peer.head(stream), DataFrame(stream, b"first"))
        peer.read_until(lambda frame: isinstance(frame, RstStreamFrame))
        peer.serve()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(play)]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            response = await pool.open("GET", server.url())
            assert await anext(response) == b"first"
            await response.close()
            assert pool.counts == "0 active, 0 queued | 0 active, 1 idle"
            assert (await pool.request("GET", server.url("/next"))).body == b"/next"
            assert server.accepted == 1
            assert peers[0].resets == {1: CANCEL}

    through(door, engine, scenario)


@pytest.mark.parametrize("source", ["bytes", "chunks"])
def test_a_window_that_stays_closed(door: str, engine: str, source: str) -> None:
    """`write` bounds the wait for it; the stream is given up and the connection goes on."""
    peers = Peers()

    def play(peer: Peer) -> None:
        peer.gives_back = False
        peer.greet()
        peer.read_until(lambda frame: isinstance(frame, RstStreamFrame))
        peer.serve()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(play)]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            body = bytes(100_000) if source == "bytes" else door.body(Endless())
            with pytest.raises(httpcore.WriteTimeout):
                await pool.request("POST", server.url(), content=body, timeout={"write": 0.2})
            assert pool.counts == "0 active, 0 queued | 0 active, 1 idle"
            assert (await pool.request("GET", server.url("/next"))).body == b"/next"
            assert server.accepted == 1
            assert len(peers[0].bodies[1]) == FIRST_WINDOW

    through(door, engine, scenario)


def test_no_socket_no_request(door: str, engine: str) -> None:
    """`retries` is heeded, and each attempt told of, before any version is spoken."""

    async def scenario(door: Door) -> Any:
        events: Any = []
        with Server() as server:
            url = server.url()
        pool = door.pool(retries=1, **PRIOR_KNOWLEDGE)
        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", url, extensions=recorder(door, events))
        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", url)
        return [name for name, _ in events]

    names = through(door, engine, scenario)
    assert names.count("connection.connect_tcp.failed") == 2
    assert names.count("connection.retry.complete") == 1


def test_a_tls_handshake_that_fails(door: str, engine: str) -> None:
    """An untrusted certificate, over HTTP/2 as over HTTP/1.1."""

    async def scenario(door: Door) -> None:
        with Server([[START_TLS]], tls=server_context("h2")) as server:
            pool = door.pool(http2=True, ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await pool.request("GET", server.url(host="localhost"))

    through(door, engine, scenario)
