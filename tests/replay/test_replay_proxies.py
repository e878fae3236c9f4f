"""httpcore's tests of its pool behind a proxy, replayed over real sockets: the proxy is the server."""

from __future__ import annotations

from typing import Any

import httpcore
import pytest
from certificates import client_context, server_context
from doors import Door
from http2_server import Http2
from pools import Pool
from replays import Replay, hello, origin, reprs, shown
from servers import RECEIVE, SERVE, START_TLS, Script, Server, call, send
from socks_server import NO_AUTH, PASSWORD, REFUSED, Socks

ESTABLISHED = send(b"HTTP/1.1 200 OK\r\n\r\n")
URL = "https://example.com/"
ORIGINS = [
    httpcore.Origin(scheme, host, port)
    for scheme, port in ((b"http", 80), (b"https", 443))
    for host in (b"example.com", b"other.com")
]


def proxy(script: Script, *protocols: str) -> Server:
    return Server([script], app=hello, tls=server_context(*protocols))


def pool_behind(server: Server, door: Door, scheme: str = "http", auth: Any = None, **options: Any) -> Pool:
    settings = httpcore.Proxy(f"{scheme}://127.0.0.1:{server.port}/", auth=auth)
    return door.pool(proxy=settings, ssl_context=client_context(), **options)


async def exchange(door: Door, pool: Pool, url: str, kind: str, info: str) -> None:
    """One request through the proxy; the connection then is idle, and only for the origin it leads to."""
    stream = await pool.open("GET", url)
    async with stream:
        assert reprs(pool) == shown(door, f"{info}, ACTIVE, Request Count: 1", kind=kind)
        assert await stream.read() == b"Hello, world!"
    assert stream.status == 200
    assert reprs(pool) == shown(door, f"{info}, IDLE, Request Count: 1", kind=kind)
    (connection,) = pool.raw.connections
    assert connection.is_idle()
    assert connection.is_available()
    assert not connection.is_closed()
    served = [one for one in ORIGINS if connection.can_handle_request(one)]
    assert served == [httpcore.URL(url).origin]


async def fails(pool: Pool, message: str) -> None:
    with pytest.raises(httpcore.ProxyError) as raised:
        await pool.request("GET", URL)
    assert str(raised.value) == message
    assert not pool.raw.connections


def test_a_proxy_forwards(replay: Replay) -> None:
    """A plain request goes to the proxy as it is, with its whole URL."""

    async def scenario(door: Door) -> None:
        with proxy([SERVE]) as server:
            pool = pool_behind(server, door, max_connections=10)
            info = f"'http://127.0.0.1:{server.port}', HTTP/1.1"
            await exchange(door, pool, "http://example.com/", "ForwardHTTPConnection", info)
            assert [request.target for request in server.requests] == [b"http://example.com/"]

    replay(scenario)


def test_a_proxy_tunnels(replay: Replay) -> None:
    async def scenario(door: Door) -> None:
        with proxy([RECEIVE, ESTABLISHED, START_TLS, SERVE]) as server:
            pool = pool_behind(server, door)
            info = f"{origin('https')}, HTTP/1.1"
            await exchange(door, pool, URL, "TunnelHTTPConnection", info)
            asked = [(request.method, request.target) for request in server.requests]
            assert asked == [(b"CONNECT", b"example.com:443"), (b"GET", b"/")]

    replay(scenario)


def test_a_proxy_tunnels_http2(replay: Replay) -> None:
    """The proxy itself is spoken to in HTTP/1.1; the version of the origin is agreed upon inside."""

    async def scenario(door: Door) -> None:
        with proxy([RECEIVE, ESTABLISHED, START_TLS, call(Http2().answer)], "h2") as server:
            pool = pool_behind(server, door, http2=True)
            info = f"{origin('https')}, HTTP/2"
            await exchange(door, pool, URL, "TunnelHTTPConnection", info)

    replay(scenario)


def test_a_proxy_refuses_to_tunnel(replay: Replay) -> None:
    async def scenario(door: Door) -> None:
        with proxy([RECEIVE, send(b"HTTP/1.1 403 Permission Denied\r\n\r\n")]) as server:
            await fails(pool_behind(server, door), "403 Permission Denied")

    replay(scenario)


def test_a_proxy_is_given_the_credentials(replay: Replay) -> None:
    """With the CONNECT, and not with the request inside."""

    async def scenario(door: Door) -> None:
        with proxy([RECEIVE, ESTABLISHED, START_TLS, SERVE]) as server:
            pool = pool_behind(server, door, auth=("username", "password"))
            reply = await pool.request("GET", URL)
            assert (reply.status, reply.body) == (200, b"Hello, world!")
            given = [request.header(b"Proxy-Authorization") for request in server.requests]
            assert given == [b"Basic dXNlcm5hbWU6cGFzc3dvcmQ=", None]

    replay(scenario)


def test_a_socks_proxy_connects(replay: Replay) -> None:
    async def scenario(door: Door) -> None:
        socks = Socks(NO_AUTH)
        with proxy([call(socks), START_TLS, SERVE]) as server:
            pool = pool_behind(server, door, "socks5")
            await exchange(door, pool, URL, "Socks5Connection", f"{origin('https')}, HTTP/1.1")
            assert socks.address == (b"example.com", 443)

    replay(scenario)


def test_a_socks_proxy_is_given_the_credentials(replay: Replay) -> None:
    async def scenario(door: Door) -> None:
        socks = Socks(PASSWORD)
        with proxy([call(socks), START_TLS, SERVE]) as server:
            pool = pool_behind(server, door, "socks5", auth=(b"username", b"password"))
            await exchange(door, pool, URL, "Socks5Connection", f"{origin('https')}, HTTP/1.1")
            assert socks.credentials == (b"username", b"password")

    replay(scenario)


def test_a_socks_proxy_cannot_connect(replay: Replay) -> None:
    async def scenario(door: Door) -> None:
        with proxy([call(Socks(NO_AUTH, outcome=REFUSED))]) as server:
            pool = pool_behind(server, door, "socks5")
            await fails(pool, "Proxy Server could not connect: Connection refused.")

    replay(scenario)


def test_a_socks_proxy_asks_for_credentials_in_vain(replay: Replay) -> None:
    async def scenario(door: Door) -> None:
        with proxy([call(Socks(PASSWORD))]) as server:
            pool = pool_behind(server, door, "socks5")
            await fails(
                pool, "Requested NO AUTHENTICATION REQUIRED from proxy server, but got USERNAME/PASSWORD."
            )

    replay(scenario)


def test_a_socks_proxy_rejects_the_credentials(replay: Replay) -> None:
    async def scenario(door: Door) -> None:
        with proxy([call(Socks(PASSWORD, accepts=False))]) as server:
            pool = pool_behind(server, door, "socks5", auth=(b"invalid", b"invalid"))
            await fails(pool, "Invalid username/password")

    replay(scenario)
