"""Requests through proxies that others wrote, with and without a login. Skipped where they are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import httpcore
import httpx
import pytest
import real_proxies
from certificates import client_context, server_context
from doors import ASYNCIO, SYNC, TRIO, Door, through
from real_proxies import PASSWORD, USER
from servers import Server

import httpcore_hyper

PROXIES: dict[str, Callable[[], AbstractContextManager[int]]] = {
    "squid": partial(real_proxies.squid, login=False),
    "squid-login": partial(real_proxies.squid, login=True),
    "squid-tls": partial(real_proxies.squid, login=False, tls=True),
    "squid-tls-login": partial(real_proxies.squid, login=True, tls=True),
    "tinyproxy": partial(real_proxies.tinyproxy, login=False),
    "tinyproxy-login": partial(real_proxies.tinyproxy, login=True),
    "dante": partial(real_proxies.dante, login=False),
    "dante-login": partial(real_proxies.dante, login=True),
    "microsocks": partial(real_proxies.microsocks, login=False),
    "microsocks-login": partial(real_proxies.microsocks, login=True),
}
# dante's users are the system's: nobody can log in there.
GOOD = [name for name in PROXIES if name != "dante-login"]
LOGINS = [name for name in PROXIES if name.endswith("-login")]
DOORS = (SYNC, ASYNCIO, TRIO)
SCHEMES = ("http", "https")


class Started:
    """The proxies that the tests of this file have asked for so far."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._ports: dict[str, int] = {}

    def url(self, name: str) -> str:
        if name not in self._ports:
            self._ports[name] = self._stack.enter_context(PROXIES[name]())
        scheme = "socks5" if name.startswith(("dante", "microsocks")) else "http"
        return f"{'https' if '-tls' in name else scheme}://127.0.0.1:{self._ports[name]}"

    def proxy(self, name: str, password: str = PASSWORD) -> httpcore.Proxy:
        auth = (USER, password) if name in LOGINS else None
        context = client_context() if "-tls" in name else None
        return httpcore.Proxy(self.url(name), auth=auth, ssl_context=context)


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    with ExitStack() as stack:
        yield Started(stack)


def origin(scheme: str) -> Server:
    return Server(tls=server_context() if scheme == "https" else None)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", GOOD)
def test_requests_arrive(started: Started, name: str, scheme: str, door: str, engine: str) -> None:
    """One after the other over one connection, with bodies both ways, by address and by name."""

    async def scenario(door: Door) -> None:
        with origin(scheme) as server:
            pool = door.pool(proxy=started.proxy(name), ssl_context=client_context())
            body = b"x" * 300_000
            # Where tinyproxy forwards, it ends each connection behind the answer, and does not say so.
            kept = not name.startswith("tinyproxy") or scheme == "https"
            headers = {} if kept else {"Connection": "close"}
            for number, host in enumerate(("127.0.0.1", "localhost"), 1):
                url = server.url("/echo", host=host)
                assert (await pool.request("GET", url, headers=headers)).status == 200
                reply = await pool.request("POST", url, headers=headers, content=body)
                assert (reply.status, reply.body) == (200, body)
                assert len(pool.raw.connections) == (number if kept else 0)
            assert all(request.header(b"Proxy-Authorization") is None for request in server.requests)

    through(door, engine, scenario)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", LOGINS)
def test_a_wrong_login_is_refused(started: Started, name: str, door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        with origin("https") as server:
            proxy = started.proxy(name, "wrong")
            pool = door.pool(proxy=proxy, ssl_context=client_context())
            # tinyproxy has a status of its own for it.
            with pytest.raises(httpcore.ProxyError, match=r"407|401|Invalid username/password"):
                await pool.request("GET", server.url("/"))
            assert pool.counts == "0 active, 0 queued | 0 active, 0 idle"
            if proxy.url.scheme != b"socks5":
                reply = await pool.request("GET", "http://127.0.0.1:1/")
                assert reply.status in (401, 407)
            assert server.accepted == 0

    through(door, engine, scenario)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", GOOD)
def test_an_origin_that_is_not_there(started: Started, name: str, door: str, engine: str) -> None:
    """The proxy says so in its own words, and nothing is left in the pool."""

    async def scenario(door: Door) -> None:
        pool = door.pool(proxy=started.proxy(name), ssl_context=client_context())
        with pytest.raises(httpcore.ProxyError):
            await pool.request("GET", f"https://127.0.0.1:{real_proxies.free_port()}/")
        assert pool.counts == "0 active, 0 queued | 0 active, 0 idle"

    through(door, engine, scenario)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", GOOD)
def test_under_httpx(started: Started, name: str, scheme: str) -> None:
    """By httpx's own `proxy=`: over our transport, and where ours stand in for httpcore's pools."""
    url = started.url(name)
    settings: dict[str, Any] = {"auth": (USER, PASSWORD)} if name in LOGINS else {}
    if "-tls" in name:
        settings["ssl_context"] = client_context()
    proxy = httpx.Proxy(url, **settings)
    with origin(scheme) as server:
        transport = httpcore_hyper.HTTPTransport(proxy=proxy, verify=client_context())
        with httpx.Client(transport=transport) as client:
            assert client.get(server.url("/")).text == "ok"
            assert transport._pool.delegated is None
        with httpcore_hyper.install(), httpx.Client(proxy=proxy, verify=client_context()) as client:
            assert client.get(server.url("/")).text == "ok"
        assert len([request for request in server.requests if request.method == b"GET"]) == 2
