"""How a connection is made: local address, socket options, Unix sockets."""

from __future__ import annotations

import socket

import pytest
from doors import ALL_DOORS, Door
from servers import Server
from sockets import connected_to
from test_pool_limits import through

pytestmark = pytest.mark.parametrize("door", ALL_DOORS)


def test_local_address(door: str, engine: str) -> None:
    """The connection comes from the address that was asked for."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool(local_address="127.0.0.9")
            stream = await pool.open("GET", server.url())
            assert server.connections[0].sock.getpeername()[0] == "127.0.0.9"
            await stream.close()

    through(door, engine, scenario)


def test_socket_options(door: str, engine: str) -> None:
    """Each option is set on the socket, as an int or as bytes; TCP_NODELAY is set in any case."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            options = [
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, (77).to_bytes(4, "little")),
            ]
            pool = door.pool(socket_options=options)
            stream = await pool.open("GET", server.url())
            with connected_to(server.port) as sock:
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            await stream.close()

    through(door, engine, scenario)


def test_unix_socket(door: str, engine: str) -> None:
    """The path replaces TCP for every origin, and the Host header still comes from the URL."""

    async def scenario(door: Door) -> None:
        with Server(unix=True) as server:
            pool = door.pool(uds=server.path)
            for number, host in enumerate((b"one.example", b"two.example:81", b"one.example"), 1):
                reply = await pool.request("GET", "http://" + host.decode() + "/")
                assert reply.body == b"ok"
                assert server.requests[-1].header(b"Host") == host
                assert len(server.requests) == number
            assert server.accepted == 2
            assert pool.counts == "0 active, 0 queued | 0 active, 2 idle"
            await pool.close()
            assert await door.until(lambda: not server.open_connections())

    through(door, engine, scenario)
