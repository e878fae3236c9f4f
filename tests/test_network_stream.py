"""`network_stream`: what every response tells of its socket, and the streams of upgraded connections."""

from __future__ import annotations

import socket
import threading
from typing import Any

import httpcore
import pytest
from doors import ALL_DOORS, ASYNC_DOORS, DOORS, EMPTY, SYNC, Door, through
from pools import Pool, Stream, settle
from servers import CLOSE, HALF_CLOSE, RECEIVE, RECEIVE_HEAD, STALL, Server, send, wait

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
UPGRADE = {"Connection": "upgrade", "Upgrade": "echo"}
all_doors = pytest.mark.parametrize("door", ALL_DOORS)


def closes(stream: Any) -> Any:
    return stream.aclose() if hasattr(stream, "aclose") else stream.close()


async def upgrade(pool: Pool, server: Server, **extensions: Any) -> tuple[Stream, Any]:
    opened = await pool.open("GET", server.url(), headers=UPGRADE, extensions=extensions)
    assert opened.status == 101
    return opened, opened.extensions["network_stream"]


@all_doors
@pytest.mark.httpcore_differs("its socket objects differ from door to door")
def test_every_response_tells_of_its_socket(door: str, engine: str) -> None:
    """All five keys, while the connection is open, also after the body was read."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            reply = await pool.request("GET", server.url())
            stream = reply.extensions["network_stream"]
            kind = httpcore.AsyncNetworkStream if door.is_async else httpcore.NetworkStream
            assert isinstance(stream, kind)
            assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
            assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
            assert stream.get_extra_info("ssl_object") is None
            assert stream.get_extra_info("is_readable") is False
            assert stream.get_extra_info("anything else") is None
            sock = stream.get_extra_info("socket")
            assert sock.getsockname() == stream.get_extra_info("client_addr")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await pool.close()
            with pytest.raises(OSError, match="Bad file descriptor"):
                stream.get_extra_info("server_addr")
            with pytest.raises(BrokenPipeError):
                sock.send(b"x")

    through(door, engine, scenario)


@all_doors
def test_the_socket_keeps_no_connection_open(door: str, engine: str) -> None:
    """Whoever holds the extracted socket, the pool's close reaches the server."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            reply = await pool.request("GET", server.url())
            sock = reply.extensions["network_stream"].get_extra_info("socket")
            await pool.close()
            assert await door.until(lambda: server.connections[0].ended is not None)
            del sock

    through(door, engine, scenario)


@all_doors
@pytest.mark.httpcore_differs("uvloop's socket cannot be shut down")
def test_the_chain_of_a_connection(door: str, engine: str) -> None:
    """Tools walk from `pool.connections` to the socket; shutting it down aborts a read that waits."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, STALL]]) as server:
            pool = door.pool()
            request = door.start(pool.request("GET", server.url()))
            assert await door.until(lambda: server.requests)
            (connection,) = pool.raw.connections
            stream = connection._connection._network_stream
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            with pytest.raises((httpcore.ReadError, httpcore.RemoteProtocolError)):
                await request.outcome()

    through(door, engine, scenario)


@all_doors
@pytest.mark.httpcore_differs("uvloop's socket cannot be shut down")
def test_the_private_lists(door: str, engine: str) -> None:
    """`_connections` and `_requests[i].connection` lead to the socket as well; both follow the pool."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, STALL]]) as server:
            pool = door.pool(max_connections=1)
            assert (pool.raw._connections, pool.raw._requests) == ([], [])
            tasks = [door.start(pool.request("GET", server.url())) for _ in range(2)]
            assert await door.until(lambda: server.requests and len(pool.raw._requests) == 2)
            served, queued = pool.raw._requests
            assert (served.is_queued(), queued.is_queued()) == (False, True)
            assert pool.raw._connections == [served.connection] == pool.raw.connections
            stream = served.connection._connection._network_stream
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            outcomes = [await task.settled() for task in tasks]
            # One was aborted, and the other had its turn then.
            assert sorted(task.error is None for task in outcomes) == [False, True]
            assert pool.raw._requests == []

    through(door, engine, scenario)


@all_doors
def test_upgrade(door: str, engine: str) -> None:
    """After a 101 the stream is the new protocol's, leading bytes first; the slot is held until close."""

    async def scenario(door: Door) -> None:
        script = [RECEIVE, send(SWITCH + b"leading"), wait(read := threading.Event()), send(b"later"), STALL]
        with Server([script]) as server:
            pool = door.pool(max_connections=1)
            opened, stream = await upgrade(pool, server)
            assert await settle(stream.read(4)) == b"lead"
            assert await settle(stream.read(100)) == b"ing"
            read.set()
            assert await settle(stream.read(100, 5.0)) == b"later"
            await settle(stream.write(b"from us"))
            assert await door.until(lambda: server.connections[0].raw.endswith(b"from us"))
            assert pool.infos == ["ACTIVE, Request Count: 1"]
            assert pool.counts == "1 active, 0 queued | 1 active, 0 idle"
            assert await opened.read() == b""
            assert pool.counts == "1 active, 0 queued | 1 active, 0 idle"
            await opened.close()
            assert pool.counts == EMPTY
            assert await door.until(lambda: server.connections[0].ended is not None)

    through(door, engine, scenario)


@all_doors
def test_connect(door: str, engine: str) -> None:
    """A user's own CONNECT: success makes the connection a tunnel, anything else is a response."""

    async def scenario(door: Door) -> None:
        refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
        scripts = [
            [RECEIVE_HEAD, send(TUNNEL + b"hello"), STALL],
            [RECEIVE_HEAD, send(refusal), STALL],
        ]
        with Server(scripts) as server:
            pool = door.pool()
            target = {"target": b"example.com:443"}
            opened = await pool.open("CONNECT", server.url(), extensions=target)
            assert opened.status == 200
            stream = opened.extensions["network_stream"]
            assert await settle(stream.read(100)) == b"hello"
            assert server.requests[0].target == b"example.com:443"
            await opened.close()
            refused = await pool.request("CONNECT", server.url(), extensions=target)
            assert (refused.status, refused.body) == (403, b"no")

    through(door, engine, scenario)


@all_doors
def test_an_upgrade_that_is_not_taken(door: str, engine: str) -> None:
    """The server answers in HTTP: an ordinary response, on a connection that lives on."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            for _ in range(2):
                assert (await pool.request("GET", server.url(), headers=UPGRADE)).status == 200
            assert server.accepted == 1

    through(door, engine, scenario)


@all_doors
def test_an_upgrade_that_nobody_asked_for(door: str, engine: str) -> None:
    """A 101 without an offer is a protocol error."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(SWITCH), STALL]]) as server, pytest.raises(httpcore.RemoteProtocolError):
            await door.pool().request("GET", server.url())

    through(door, engine, scenario)


@all_doors
def test_the_end_of_a_stream(door: str, engine: str) -> None:
    """The peer's FIN reads as `b""`, as often as one asks, and writing still works."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(SWITCH), HALF_CLOSE, STALL]]) as server:
            opened, stream = await upgrade(door.pool(), server)
            assert await settle(stream.read(100)) == b""
            assert await settle(stream.read(100)) == b""
            await settle(stream.write(b"still there"))
            assert await door.until(lambda: server.connections[0].raw.endswith(b"still there"))
            await opened.close()

    through(door, engine, scenario)


@all_doors
def test_timeouts_of_a_stream(door: str, engine: str) -> None:
    """A silent peer is a ReadTimeout, one that takes nothing a WriteTimeout; the stream stays usable."""

    async def scenario(door: Door) -> None:
        go = threading.Event()
        with Server([[RECEIVE, send(SWITCH), wait(go), send(b"late"), STALL]]) as server:
            opened, stream = await upgrade(door.pool(), server)
            with pytest.raises(httpcore.ReadTimeout):
                await settle(stream.read(100, 0.05))
            with pytest.raises(httpcore.WriteTimeout):
                await settle(stream.write(b"x" * (64 << 20), 0.05))
            go.set()
            assert await settle(stream.read(100, 5.0)) == b"late"
            await opened.close()

    through(door, engine, scenario)


@all_doors
@pytest.mark.httpcore_differs("a close does not wake a reader in another thread")
def test_closing_ends_a_read(door: str, engine: str) -> None:
    """`close` from another task or thread ends a read that waits, as an error of the caller's classes."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(SWITCH), STALL]]) as server:
            opened, stream = await upgrade(door.pool(), server)

            async def read() -> Any:
                with door.watch():
                    return await settle(stream.read(100))

            reading = door.start(read())
            assert await door.until(lambda: reading.started)
            await settle(closes(stream))
            await reading.settled()
            assert isinstance(reading.error, httpcore.ReadError) or reading.value == b""
            with pytest.raises(httpcore.WriteError):
                await settle(stream.write(b"x"))
            await opened.close()

    through(door, engine, scenario)


@all_doors
@pytest.mark.httpcore_differs("uvloop's socket cannot be shut down")
def test_a_read_delays_nothing(door: str, engine: str) -> None:
    """While one reads, another writes and asks."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(SWITCH), STALL]]) as server:
            opened, stream = await upgrade(door.pool(), server)

            async def read() -> Any:
                return await settle(stream.read(100))

            reading = door.start(read())
            assert await door.until(lambda: reading.started)
            await settle(stream.write(b"written"))
            assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
            assert await door.until(lambda: server.connections[0].raw.endswith(b"written"))
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            await reading.settled()
            assert isinstance(reading.error, httpcore.ReadError) or reading.value == b""
            await opened.close()

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_a_cancelled_read_loses_nothing(door: str, engine: str) -> None:
    """What arrives while a read is being cancelled is read by the next one."""

    async def scenario(door: Door) -> None:
        go = [threading.Event() for _ in range(20)]
        steps = [step for number, event in enumerate(go) for step in (wait(event), send(b"%02d" % number))]
        with Server([[RECEIVE, send(SWITCH), *steps, STALL]]) as server:
            opened, stream = await upgrade(door.pool(), server)
            got = b""
            for event in go:
                reading = door.start(stream.read(100))
                await door.sleep(0)
                event.set()
                reading.cancel()
                await reading.settled()
                got += reading.value or b""
            while len(got) < 2 * len(go):
                got += await stream.read(100, 5.0)
            assert got == b"".join(b"%02d" % number for number in range(len(go)))
            await opened.close()

    through(door, engine, scenario)


@all_doors
def test_wrong_values(door: str, engine: str) -> None:
    """Bad arguments are refused before anything is read or written."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(SWITCH), STALL]]) as server:
            opened, stream = await upgrade(door.pool(), server)
            with pytest.raises(TypeError):
                await settle(stream.write("text"))
            await opened.close()

    if engine == "hyper":
        through(door, engine, scenario)


@all_doors
@pytest.mark.httpcore_differs("it lets anybody read and write under its own parser")
def test_a_connection_that_speaks_http_is_the_engines(door: str, engine: str) -> None:
    """Reading or writing it beside the response is refused; closing it ends the response."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12"), STALL]]) as server:
            opened = await door.pool().open("GET", server.url())
            stream = opened.extensions["network_stream"]
            with pytest.raises(httpcore.ReadError, match="speaks HTTP"):
                await settle(stream.read(1))
            with pytest.raises(httpcore.WriteError, match="speaks HTTP"):
                await settle(stream.write(b"x"))
            await settle(closes(stream))
            with pytest.raises((httpcore.ReadError, httpcore.RemoteProtocolError)):
                await opened.read()
            await opened.close()

    through(door, engine, scenario)


def test_ctrl_c_in_a_read(engine: str) -> None:
    """A signal handler that raises ends a read of the sync door."""
    import signal  # noqa: PLC0415 - used here alone

    class Stop(Exception):
        pass

    def stop(number: int, frame: object) -> None:
        raise Stop

    with Server([[RECEIVE, send(SWITCH), STALL]]) as server:
        door = DOORS[SYNC](engine)
        pool = door.pool()
        with pool.raw.stream("GET", server.url(), headers=UPGRADE) as response:
            before = signal.signal(signal.SIGALRM, stop)
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with pytest.raises(Stop):
                    response.extensions["network_stream"].read(100)
            finally:
                signal.signal(signal.SIGALRM, before)
        pool.raw.close()


@all_doors
def test_the_last_byte_of_the_server(door: str, engine: str) -> None:
    """A server that says everything and closes at once loses nothing."""

    async def scenario(door: Door) -> None:
        payload = b"y" * 300_000
        with Server([[RECEIVE, send(SWITCH + payload), CLOSE]]) as server:
            opened, stream = await upgrade(door.pool(), server)
            got = b""
            while part := await settle(stream.read(65536, 5.0)):
                got += part
            assert got == payload
            await opened.close()

    through(door, engine, scenario)


@all_doors
def test_addresses_are_known_while_the_response_is_open(door: str, engine: str) -> None:
    """Also of a connection that is not used again, when its response has been read ahead."""

    async def scenario(door: Door) -> None:
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
        with Server([[RECEIVE, send(answer), CLOSE]]) as server:
            pool = door.pool()
            async with await pool.open("GET", server.url()) as response:
                await door.until(lambda: server.connections[0].ended)
                stream = response.extensions["network_stream"]
                assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
                assert stream.get_extra_info("socket").getpeername() == ("127.0.0.1", server.port)
                assert await response.read() == b"ok"
            await pool.close()

    through(door, engine, scenario)
