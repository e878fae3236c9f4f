"""When httpcore's own engine serves, that it does, and that the pool says so."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

import httpcore
import pytest
from servers import Server

import httpcore_hyper


class Recording(httpcore.NetworkBackend):
    """Opens connections as httpcore's own backend does, and remembers them."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int]] = []
        self._backend = httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, **options: Any) -> httpcore.NetworkStream:
        self.opened.append((host, port))
        return self._backend.connect_tcp(host, port, **options)


def test_default_pool_is_served_by_the_engine(server: Server) -> None:
    with httpcore_hyper.ConnectionPool() as pool:
        assert pool.request("GET", server.url()).status == 200
        assert pool.delegated is None
        assert pool.__dict__["_connections"] == []


def test_network_backend_is_obeyed(server: Server) -> None:
    """A pool with a backend of its own opens no connection but through it: people pin IPs that way."""
    backend = Recording()
    with httpcore_hyper.ConnectionPool(network_backend=backend) as pool:
        assert pool.request("GET", server.url()).status == 200
        assert "network_backend" in str(pool.delegated)
    assert len(backend.opened) == 1


def test_network_backend_assigned_later_is_obeyed(server: Server) -> None:
    """From the next request on; idle connections of the engine are closed."""
    backend = Recording()
    with httpcore_hyper.ConnectionPool() as pool:
        assert pool.request("GET", server.url()).status == 200
        pool._network_backend = backend
        assert pool.request("GET", server.url()).status == 200
        assert len(backend.opened) == 1
        assert len(pool.connections) == 1
        assert repr(pool) == (
            "<ConnectionPool [Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]>"
        )


def test_switch_to_delegation_lets_requests_in_flight_finish(server: Server) -> None:
    with httpcore_hyper.ConnectionPool() as pool:
        with pool.stream("GET", server.url("/stream?n=3")) as response:
            pool._network_backend = Recording()
            assert pool.request("GET", server.url()).status == 200
            assert b"".join(response.iter_stream())
        assert repr(pool) == (
            "<ConnectionPool [Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]>"
        )


def test_delegation_holds_until_close(server: Server) -> None:
    with httpcore_hyper.ConnectionPool() as pool:
        default, pool._network_backend = pool._network_backend, Recording()
        assert pool.request("GET", server.url()).status == 200
        pool._network_backend = default
        assert "network_backend" in str(pool.delegated)
        pool.close()
        assert pool.delegated is None
        assert pool.request("GET", server.url()).status == 200
        assert pool._connections == []


def test_overridden_create_connection_is_obeyed(server: Server) -> None:
    """httpx-socks and others make their own connections."""
    made: list[httpcore.Origin] = []

    class Pool(httpcore_hyper.ConnectionPool):
        def create_connection(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface:
            made.append(origin)
            return super().create_connection(origin)

    with Pool() as pool:
        assert pool.request("GET", server.url()).status == 200
        assert pool.delegated == "create_connection is overridden"
    assert len(made) == 1


def test_a_patch_delegates_whoever_goes_that_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the pools of the other door, and those without a proxy not for a proxy's sake."""

    def delegated() -> list[bool]:
        pools = (
            httpcore_hyper.ConnectionPool(),
            httpcore_hyper.AsyncConnectionPool(),
            httpcore_hyper.HTTPProxy("http://127.0.0.1:1"),
            httpcore_hyper.AsyncHTTPProxy("http://127.0.0.1:1"),
        )
        return [pool.delegated is not None for pool in pools]

    for owner, name, expected in (
        (httpcore.SyncBackend, "connect_tcp", [True, False, True, False]),
        (httpcore.AsyncHTTP11Connection, "handle_async_request", [False, True, False, True]),
        (httpcore.HTTPProxy, "handle_request", [False, False, True, False]),
        (httpcore.AsyncHTTPProxy, "create_connection", [False, False, False, True]),
        (socket, "socket", [True, True, True, True]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, type("Patch", (), {}))
            assert delegated() == expected, name


def test_patched_function_on_httpcores_way_is_obeyed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mocks, tracers and guards against request forgery patch these."""
    called: list[str] = []
    original = httpcore.SyncBackend.connect_tcp

    def connect_tcp(self: httpcore.SyncBackend, host: str, *args: Any, **options: Any) -> Any:
        called.append(host)
        return original(self, host, *args, **options)

    with httpcore_hyper.ConnectionPool() as pool:
        monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)
        assert pool.request("GET", server.url()).status == 200
        assert "SyncBackend.connect_tcp has been patched" in str(pool.delegated)
    assert called == ["127.0.0.1"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_socket_class_of_others_is_obeyed(
    server: Server, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    """Guards of test suites, SOCKS by patching and green threads put their own in the place of the standard
    library's."""
    made: list[socket.socket] = []

    class Theirs(socket.socket):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    async def request() -> str | None:
        async with httpcore_hyper.AsyncConnectionPool() as pool:
            assert (await pool.request("GET", server.url())).status == 200
            return pool.delegated

    if is_async:
        # Before the patch: a loop has sockets of its own.
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            monkeypatch.setattr(socket, "socket", Theirs)
            delegated = loop.run_until_complete(request())
    else:
        monkeypatch.setattr(socket, "socket", Theirs)
        with httpcore_hyper.ConnectionPool() as pool:
            assert pool.request("GET", server.url()).status == 200
            delegated = pool.delegated
    assert made
    assert delegated == "socket.socket has been patched"


def test_http2_pool_serves_plain_http(server: Server) -> None:
    with httpcore_hyper.ConnectionPool(http2=True) as pool:
        assert pool.request("GET", server.url()).status == 200
        assert pool.delegated is None


def test_proxy_classes_are_both(server: Server) -> None:
    """A proxy of ours is our pool and httpcore's proxy."""
    proxy = httpcore_hyper.HTTPProxy(proxy_url=server.url())
    assert isinstance(proxy, httpcore_hyper.ConnectionPool)
    assert isinstance(proxy, httpcore.HTTPProxy)
    with proxy:
        # The server answers absolute-form targets as a forward proxy would.
        assert proxy.request("GET", server.url("/")).status == 200
        assert proxy.delegated is None
    socks = httpcore_hyper.SOCKSProxy(proxy_url="socks5://127.0.0.1:1")
    assert isinstance(socks, httpcore_hyper.ConnectionPool)
    assert isinstance(socks, httpcore.SOCKSProxy)
    assert socks.delegated is None


def test_schemes_that_nobody_serves(server: Server) -> None:
    """httpcore itself says so; the pool stays with the engine."""
    with httpcore_hyper.ConnectionPool() as pool:
        with pytest.raises(httpcore.UnsupportedProtocol, match="ftp"):
            pool.request("GET", "ftp://127.0.0.1/")
        with pytest.raises(httpcore.UnsupportedProtocol, match="missing"):
            pool.request("GET", "//127.0.0.1/")
        assert pool.delegated is None


def test_constructor_is_httpcores() -> None:
    """Arguments, positions and attributes are httpcore's own."""
    context = ssl.create_default_context()
    pool = httpcore_hyper.ConnectionPool(context, None, 7, 3, 2.5)
    assert pool._ssl_context is context
    assert pool._max_connections == 7
    assert pool._max_keepalive_connections == 3
    assert pool._keepalive_expiry == 2.5
    assert isinstance(pool, httpcore.ConnectionPool)
    assert isinstance(httpcore_hyper.AsyncConnectionPool(), httpcore.AsyncConnectionPool)
