"""httpx over our transports: what httpx does with its own, it does with ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpcore
import httpx
import pytest
import trio
import uvloop
from servers import Server

import httpcore_hyper

RUNNERS: dict[str, Callable[[Callable[[], Coroutine[Any, Any, None]]], None]] = {
    "asyncio": lambda main: asyncio.run(main()),
    "uvloop": lambda main: uvloop.run(main()),
    "trio": trio.run,
}


@pytest.fixture(params=RUNNERS)
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    return RUNNERS[request.param]


def test_sync_client(server: Server) -> None:
    transport = httpcore_hyper.HTTPTransport()
    with httpx.Client(transport=transport) as client:
        for _ in range(3):
            response = client.get(server.url())
            assert (response.status_code, response.http_version) == (200, "HTTP/1.1")
            assert response.reason_phrase == "OK"
        assert client.post(server.url("/echo"), content=b"hello").content == b"hello"
        assert client.post(server.url("/echo"), content=iter([b"hel", b"lo"])).content == b"hello"
        assert transport._pool.delegated is None
    assert server.accepted == 1


def test_async_client(server: Server, run: Callable[..., None]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"hel"
        yield b"lo"

    async def main() -> None:
        transport = httpcore_hyper.AsyncHTTPTransport()
        async with httpx.AsyncClient(transport=transport) as client:
            for _ in range(3):
                assert (await client.get(server.url())).status_code == 200
            assert (await client.post(server.url("/echo"), content=b"hello")).content == b"hello"
            assert (await client.post(server.url("/echo"), content=chunks())).content == b"hello"
            assert transport._pool.delegated is None

    run(main)
    assert server.accepted == 1


def test_settings_reach_the_pool() -> None:
    """httpx makes the pool from the arguments; ours has all of them."""
    limits = httpx.Limits(max_connections=7, max_keepalive_connections=3, keepalive_expiry=1.5)
    pool = httpcore_hyper.HTTPTransport(limits=limits, retries=2, uds="/nowhere")._pool
    assert type(pool) is httpcore_hyper.ConnectionPool
    assert (pool._max_connections, pool._max_keepalive_connections) == (7, 3)
    assert (pool._keepalive_expiry, pool._retries, pool._uds) == (1.5, 2, "/nowhere")


def test_proxy_settings_keep_their_class() -> None:
    """httpx and its friends look at the pool's class to see a proxy."""
    transport = httpcore_hyper.HTTPTransport(proxy="http://user:pass@127.0.0.1:1")
    assert type(transport._pool) is httpcore_hyper.HTTPProxy
    assert transport._pool._proxy_url == httpcore.URL("http://127.0.0.1:1/")
    assert isinstance(
        httpcore_hyper.AsyncHTTPTransport(proxy="socks5://127.0.0.1:1")._pool,
        httpcore.AsyncSOCKSProxy,
    )


@pytest.mark.parametrize(
    ("timeout", "path", "expected"),
    [
        (httpx.Timeout(5, read=0.05), "/wait?gap=1", httpx.ReadTimeout),
        (httpx.Timeout(5, pool=0.05), "/", httpx.PoolTimeout),
    ],
)
def test_errors_are_httpxs(
    server: Server, timeout: httpx.Timeout, path: str, expected: type[Exception]
) -> None:
    """httpx maps the exceptions by class identity, and adds the request."""
    limits = httpx.Limits(max_connections=1)
    with httpx.Client(transport=httpcore_hyper.HTTPTransport(limits=limits)) as client:
        if expected is httpx.PoolTimeout:
            with client.stream("GET", server.url()), pytest.raises(expected):
                client.get(server.url(path), timeout=timeout)
        else:
            with pytest.raises(expected) as raised:
                client.get(server.url(path), timeout=timeout)
            assert isinstance(raised.value, httpx.TimeoutException)
        assert client.get(server.url()).status_code == 200


def test_one_async_client_in_several_loops(server: Server) -> None:
    """httpcore's sockets belong to their first loop; ours to none."""
    transport = httpcore_hyper.AsyncHTTPTransport()
    client = httpx.AsyncClient(transport=transport)

    async def main() -> None:
        assert (await client.get(server.url())).status_code == 200

    for _ in range(3):
        asyncio.run(main())
    trio.run(main)
    uvloop.run(main())
    asyncio.run(client.aclose())
    assert server.accepted == 1


def test_missing_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="HTTPTransprot"):
        httpcore_hyper.HTTPTransprot  # noqa: B018  (the access is what is tested)
