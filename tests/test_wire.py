"""What goes over the wire and what comes back: byte for byte what httpcore sends and returns, asked live."""

from __future__ import annotations

import threading
from typing import Any

import httpcore
import pytest
from doors import ALL_DOORS, DOORS, Door, run
from engines import HTTPCORE
from pools import Reply
from routes import chunk, response
from servers import FIN, RECEIVE, RECEIVE_HEAD, RST, SERVE, Server, send, wait
from test_pool_limits import through

OK = response(b"ok")
HEADERS = [(b"Host", b"example.org"), (b"x-lower", b"1"), (b"X-Upper", b"2"), (b"x-lower", b"3")]


def pieces(*chunks: bytes):
    """A body in pieces, made anew for each engine."""

    async def generate():
        for piece in chunks:
            yield piece

    return lambda door: door.body(generate())


REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "get": ("GET", {}),
    "head": ("HEAD", {}),
    "own-headers": ("GET", {"headers": HEADERS}),
    "host-last": ("GET", {"headers": [*HEADERS[1:], HEADERS[0]]}),
    "lower-host": ("GET", {"headers": [(b"A", b"1"), (b"host", b"example.org")]}),
    "str-headers": ("GET", {"headers": {"X-One": "1", "Accept": "*/*"}}),
    "bytes": ("POST", {"content": b"hello"}),
    "no-bytes": ("POST", {"content": b""}),
    "big-bytes": ("POST", {"content": b"x" * 300_000}),
    "bytes-with-length": ("PUT", {"content": b"hello", "headers": {"Content-Length": "5"}}),
    "bytes-chunked": ("POST", {"content": b"hello", "headers": {"Transfer-Encoding": "chunked"}}),
    "iterator": ("POST", {"content": pieces(b"a", b"", b"bc")}),
    "empty-iterator": ("POST", {"content": pieces()}),
    "iterator-with-length": ("POST", {"content": pieces(b"a", b"bc"), "headers": {"Content-Length": "3"}}),
    "get-with-body": ("GET", {"content": b"body"}),
    "connection-close": ("GET", {"headers": {"Connection": "close"}}),
    "target": ("GET", {"extensions": {"target": b'/raw?<>"{}|\\^`#[]'}}),
    "asterisk": ("OPTIONS", {"extensions": {"target": b"*"}}),
    "custom-method": ("BREW", {}),
}

SIZED = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:  2 \r\nContent-Length: 5\r\n\r\nhello"
RESPONSES: dict[str, tuple[str, bytes, bool]] = {
    # name: method, bytes, whether the end of the connection ends the response
    "sized": ("GET", SIZED, False),
    "empty": ("GET", response(b""), False),
    "chunked": (
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"a" * 70_000) + b"0\r\n\r\n",
        False,
    ),
    "eof": ("GET", b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nto the end", True),
    "1.0": ("GET", b"HTTP/1.0 200 Fine\r\n\r\nto the end", True),
    "head": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", False),
    "head-chunked": ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", False),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", False),
    "304": ("GET", b'HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: "z"\r\n\r\n', False),
    "404": ("GET", b"HTTP/1.1 404 Nope nope\r\nContent-Length: 0\r\n\r\n", False),
    "no-reason": ("GET", b"HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n", False),
    "close": ("GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", False),
}


async def exchange(door: Door, server: Server, method: str, options: dict[str, Any]) -> Reply:
    content = options.get("content")
    built = {**options, "content": content(door) if callable(content) else content}
    pool = door.pool()
    reply = await pool.request(method, server.url("/echo"), **built)
    await pool.close()
    return reply


def with_engine(
    door: str, engine: str, method: str, script, options: dict[str, Any]
) -> tuple[Reply, bytes, str]:
    """One exchange: what came back, the bytes the server got, and its address."""

    async def scenario(door: Door) -> tuple[Reply, bytes, str]:
        with Server([script]) as server:
            reply = await exchange(door, server, method, options)
            assert not door.foreign
            request = server.requests[0]
            raw = (request.head + request.raw_body).replace(b"127.0.0.1:%d" % server.port, b"ADDRESS")
            return reply, raw, server.url()

    way = DOORS[door](engine)
    result = run(way, scenario)
    assert all(pool.delegated is None for pool in way.pools)
    return result


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("door", ALL_DOORS)
def test_request_bytes_are_those_of_httpcore(door: str, engine: str, name: str) -> None:
    """The server receives the same bytes from both engines: order, case, framing."""
    method, options = REQUESTS[name]
    script = [RECEIVE, send(OK if method != "HEAD" else OK[:-2]), SERVE]
    _, raw, _ = with_engine(door, engine, method, script, options)
    _, expected, _ = with_engine(door, HTTPCORE, method, script, options)
    assert raw == expected


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("door", ALL_DOORS)
def test_responses_are_those_of_httpcore(door: str, engine: str, name: str) -> None:
    """The same status, headers, body and extensions come back from both engines."""
    method, data, ends = RESPONSES[name]
    script = [RECEIVE, send(data), FIN if ends else SERVE]
    reply, _, _ = with_engine(door, engine, method, script, {})
    expected, _, _ = with_engine(door, HTTPCORE, method, script, {})
    assert (reply.status, reply.headers, reply.body) == (expected.status, expected.headers, expected.body)
    for key in ("http_version", "reason_phrase"):
        assert reply.extensions[key] == expected.extensions[key]
    # docs/differences: the engine's responses have no network stream yet.
    assert {*reply.extensions, "network_stream"} == set(expected.extensions)


@pytest.mark.parametrize("door", ALL_DOORS)
def test_a_body_is_echoed_whole(door: str, engine: str) -> None:
    """Every byte goes out and comes back once, in order, over one connection."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            for size in (0, 1, 16_383, 16_384, 65_536, 65_537, 1_000_000):
                content = bytes(index * 7 % 251 for index in range(size))
                assert (await pool.request("POST", server.url("/echo"), content=content)).body == content
                halves = pieces(content[: size // 3], content[size // 3 :])(door)
                assert (await pool.request("POST", server.url("/echo"), content=halves)).body == content
            assert server.accepted == 1

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ALL_DOORS)
def test_chunks_arrive_as_they_come(door: str, engine: str) -> None:
    """What is here is delivered; no chunk waits for the next one."""

    async def scenario(door: Door) -> None:
        gate = threading.Event()
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        script = [
            RECEIVE,
            send(head + chunk(b"first")),
            wait(gate),
            send(chunk(b"second") + b"0\r\n\r\n"),
            SERVE,
        ]
        with Server([script]) as server:
            pool = door.pool()
            async with await pool.open("GET", server.url()) as stream:
                parts = aiter(stream)
                assert await anext(parts) == b"first"
                gate.set()
                assert await anext(parts) == b"second"
                with pytest.raises(StopAsyncIteration):
                    await anext(parts)

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ALL_DOORS)
def test_a_response_is_read_once(door: str, engine: str) -> None:
    """A second iteration is a RuntimeError, as httpcore's model says."""

    async def scenario(door: Door) -> None:
        door.provoked = (RuntimeError,)
        with Server() as server:
            pool = door.pool()
            stream = await pool.open("GET", server.url())
            await stream.read()
            with pytest.raises(RuntimeError):
                await type(stream)(door, stream.raw).read()
            await stream.close()

    through(door, engine, scenario)


def test_models_are_httpcores_own(engine: str) -> None:
    with Server() as server:
        way = DOORS["sync"](engine)

        async def scenario(door: Door) -> None:
            stream = await door.pool().open("GET", server.url())
            assert type(stream.raw) is httpcore.Response
            await stream.close()

        run(way, scenario)


class Endless:
    """A body, and no generator: nobody has to finalise what is not read to its end."""

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> bytes:
        return bytes(65536)


@pytest.mark.parametrize("door", ALL_DOORS)
def test_a_body_without_end_ends_with_its_connection(door: str, engine: str) -> None:
    """Once the server takes no more, no more is asked for: its answer is looked for, and there is none."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE_HEAD, RST]]) as server:
            pool = door.pool()
            headers = [(b"Host", b"a"), (b"Transfer-Encoding", b"chunked")]
            with pytest.raises((httpcore.ReadError, httpcore.RemoteProtocolError)):
                await pool.request("POST", server.url(), headers=headers, content=door.body(Endless()))

    through(door, engine, scenario)
