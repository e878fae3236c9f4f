"""Every async client behind one shape: `get`, `download`, `upload`. Measures nothing.

Each checks the status and gives the length of the body, so that no client is fast by failing. A library is
imported when its client is made: the process that measures one has no other loaded beyond httpx and httpcore.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib import import_module
from typing import Any

from . import trust
from .bare import RECEIVE, Line
from .servers import SMALL_BODY, SMALL_HEADERS
from .variants import MAX_CONNECTIONS, TIMEOUT_SECONDS, Row, Variant

CLOSE = {"Connection": "close"}
CANNED = b"x" * SMALL_BODY
DOWNLOAD_CHUNK = 64 * 1024  # for those that have to be told; their own defaults are lines of text or less


def check(status: int) -> None:
    if status != 200:
        raise RuntimeError(f"answered with status {status}")


class Client:
    """`url` is fetched whole by `get`, streamed by `download`; `upload` posts bytes or an async iterator."""

    def __init__(self, library: str, tls: str = "", http2: bool = False, proxy: str = "") -> None:
        self.library = import_module(library)
        self.tls = tls
        self.http2 = http2
        self.proxy = proxy or None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    async def get(self, url: str, close: bool = False) -> int:
        raise NotImplementedError

    async def download(self, url: str) -> int:
        raise NotImplementedError

    async def upload(self, url: str, body: bytes | AsyncIterator[bytes]) -> None:
        raise NotImplementedError


class Pool(Client):
    """httpcore, httpcore2 and ours: one contract."""

    async def __aenter__(self) -> Client:
        self.pool = self.library.AsyncConnectionPool(
            ssl_context=trust.context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            http2=self.http2,
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.pool.aclose()

    async def get(self, url: str, close: bool = False) -> int:
        response = await self.pool.request("GET", url, headers=CLOSE if close else None)
        check(response.status)
        return len(response.content)

    async def download(self, url: str) -> int:
        size = 0
        async with self.pool.stream("GET", url) as response:
            check(response.status)
            async for chunk in response.aiter_stream():
                size += len(chunk)
        return size

    async def upload(self, url: str, body: bytes | AsyncIterator[bytes]) -> None:
        check((await self.pool.request("POST", url, content=body)).status)


def null_pool() -> Any:
    """A pool of httpcore's that answers at once."""
    import httpcore

    class Null(httpcore.AsyncConnectionPool):
        async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
            return httpcore.Response(200, headers=SMALL_HEADERS, content=CANNED)

    return Null()


class NullPool(Pool):
    async def __aenter__(self) -> Client:
        self.pool = null_pool()
        return self


class BareSockets(Client):
    """The bytes of a request and of its answer, and next to nothing else. A connection for each in flight."""

    async def __aenter__(self) -> Client:
        self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.idle: list[BareSocket] = []

    def close(self) -> None:
        for one in self.idle:
            one.close()

    async def get(self, url: str, close: bool = False) -> int:
        one = self.idle.pop() if self.idle else BareSocket(self.loop, url)
        size = await one.exchange()
        self.idle.append(one)
        return size


class BareSocket:
    """One connection. The loop watches it all the time, so that nothing is asked of the kernel for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self._loop = loop
        self._line = Line(url)
        self._line.sock.setblocking(False)
        loop.add_reader(self._line.sock, self._read)

    def exchange(self) -> asyncio.Future[int]:
        self._answer: asyncio.Future[int] = self._loop.create_future()
        self._line.sock.send(self._line.request)
        return self._answer

    def _read(self) -> None:
        size = self._line.take(self._line.sock.recv(RECEIVE))
        if size is not None:
            self._answer.set_result(size)

    def close(self) -> None:
        self._loop.remove_reader(self._line.sock)
        self._line.sock.close()


def limits(httpx: Any) -> Any:
    return httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)


class Httpx(Client):
    """httpx and httpx2 over their own pools; the subclasses put another transport under httpx."""

    def transport(self) -> Any:
        return None

    async def __aenter__(self) -> Client:
        httpx = self.library if self.library.__name__ == "httpx2" else import_module("httpx")
        transport = self.transport()
        self.client = httpx.AsyncClient(
            transport=transport,
            verify=trust.context(),
            http2=self.http2,
            limits=limits(httpx),
            proxy=self.proxy if transport is None else None,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.client.aclose()

    async def get(self, url: str, close: bool = False) -> int:
        response = await self.client.get(url, headers=CLOSE if close else None)
        check(response.status_code)
        return len(response.content)

    async def download(self, url: str) -> int:
        size = 0
        async with self.client.stream("GET", url) as response:
            check(response.status_code)
            async for chunk in response.aiter_bytes():
                size += len(chunk)
        return size

    async def upload(self, url: str, body: bytes | AsyncIterator[bytes]) -> None:
        check((await self.client.post(url, content=body)).status_code)


class HttpxOurs(Httpx):
    def transport(self) -> Any:
        return self.library.AsyncHTTPTransport(
            verify=trust.context(),
            http2=self.http2,
            limits=limits(import_module("httpx")),
            proxy=self.proxy,
            tls=self.tls or "auto",
        )


class HttpxInstalled(Httpx):
    """httpx as it is, after `httpcore_hyper.install()`: its transport makes a pool, and gets ours."""

    async def __aenter__(self) -> Client:
        self.library.install()
        return await super().__aenter__()


class HttpxAiohttp(Httpx):
    def transport(self) -> Any:
        return self.library.AiohttpTransport(verify=trust.context(), limits=limits(import_module("httpx")))


class HttpxPyreqwest(Httpx):
    def transport(self) -> Any:
        from pyreqwest.compatibility.httpx import HttpxTransport

        return HttpxTransport(pyreqwest_client())


class HttpxNullPool(Httpx):
    """The most that a swapped pool can reach."""

    def transport(self) -> Any:
        transport = self.library.AsyncHTTPTransport()
        transport._pool = null_pool()
        return transport


class HttpxNullTransport(Httpx):
    """The most that a transport can reach."""

    def transport(self) -> Any:
        httpx = self.library

        class Null(httpx.AsyncBaseTransport):  # type: ignore[misc, name-defined]
            async def handle_async_request(self, request: Any) -> Any:
                return httpx.Response(200, headers=SMALL_HEADERS, content=CANNED)

        return Null()


class HttpxBareSockets(Httpx):
    """The most that a transport can reach that sends a request, waits, and gives a body that is read from it.

    Every transport's body is: one that comes as `content` has been read before the caller says how.
    """

    def transport(self) -> Any:
        httpx, sockets = import_module("httpx"), BareSockets("socket")
        sockets.open()

        class Body(httpx.AsyncByteStream):  # type: ignore[misc, name-defined]
            async def __aiter__(self) -> AsyncIterator[bytes]:
                yield CANNED

        class Bare(httpx.AsyncBaseTransport):  # type: ignore[misc, name-defined]
            async def handle_async_request(self, request: Any) -> Any:
                await sockets.get("" if sockets.idle else str(request.url))
                return httpx.Response(200, headers=SMALL_HEADERS, stream=Body())

            async def aclose(self) -> None:
                sockets.close()

        return Bare()


def pyreqwest_client() -> Any:
    from pyreqwest.client import ClientBuilder

    return (
        ClientBuilder()
        .max_connections(MAX_CONNECTIONS)
        .pool_max_idle_per_host(MAX_CONNECTIONS)
        .timeout(timedelta(seconds=TIMEOUT_SECONDS))
        .no_proxy()
        .build()
    )


class Pyreqwest(Client):
    async def __aenter__(self) -> Client:
        self.client = pyreqwest_client()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.client.close()

    async def get(self, url: str, close: bool = False) -> int:
        request = self.client.get(url)
        response = await (request.headers(CLOSE) if close else request).build().send()
        check(response.status)
        return len(await response.bytes())

    async def download(self, url: str) -> int:
        size = 0
        async with self.client.get(url).build_streamed() as response:
            check(response.status)
            while chunk := await response.body_reader.read_chunk():
                size += len(chunk)
        return size

    async def upload(self, url: str, body: bytes | AsyncIterator[bytes]) -> None:
        request = self.client.post(url)
        request = request.body_bytes(body) if isinstance(body, bytes) else request.body_stream(body)
        check((await request.build().send()).status)


class Aiohttp(Client):
    async def __aenter__(self) -> Client:
        aiohttp = self.library
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=trust.context()),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.session.close()

    async def get(self, url: str, close: bool = False) -> int:
        async with self.session.get(url, headers=CLOSE if close else None) as response:
            check(response.status)
            return len(await response.read())

    async def download(self, url: str) -> int:
        size = 0
        async with self.session.get(url) as response:
            check(response.status)
            async for chunk in response.content.iter_any():
                size += len(chunk)
        return size

    async def upload(self, url: str, body: bytes | AsyncIterator[bytes]) -> None:
        async with self.session.post(url, data=body) as response:
            check(response.status)
            await response.read()


class CurlCffi(Client):
    """libcurl's multi handle behind requests' shape. It can pass for a browser; it does not here."""

    async def __aenter__(self) -> Client:
        self.session = self.library.AsyncSession(
            max_clients=MAX_CONNECTIONS, timeout=TIMEOUT_SECONDS, trust_env=False
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.session.close()

    async def get(self, url: str, close: bool = False) -> int:
        response = await self.session.get(url, headers=CLOSE if close else None)
        check(response.status_code)
        return len(response.content)

    async def download(self, url: str) -> int:
        size = 0
        async with self.session.stream("GET", url) as response:
            check(response.status_code)
            async for chunk in response.aiter_content():
                size += len(chunk)
        return size

    async def upload(self, url: str, body: bytes | AsyncIterator[bytes]) -> None:
        check((await self.session.post(url, content=body)).status_code)


class Niquests(Client):
    """One connection for each request in flight, as the others; it could do several on one."""

    async def __aenter__(self) -> Client:
        self.session = self.library.AsyncSession(
            pool_connections=MAX_CONNECTIONS, pool_maxsize=MAX_CONNECTIONS, timeout=TIMEOUT_SECONDS
        )
        self.session.trust_env = False
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.session.close()

    async def get(self, url: str, close: bool = False) -> int:
        response = await self.session.get(url, headers=CLOSE if close else None)
        check(response.status_code)
        return len(response.content)

    async def download(self, url: str) -> int:
        size = 0
        response = await self.session.get(url, stream=True)
        check(response.status_code)
        async for chunk in await response.iter_content(DOWNLOAD_CHUNK):
            size += len(chunk)
        await response.close()
        return size

    async def upload(self, url: str, body: bytes | AsyncIterator[bytes]) -> None:
        check((await self.session.post(url, data=body)).status_code)


def make(row: Row, variant: Variant, proxy_url: str) -> Client:
    http2 = row.http2 and not variant.http1
    proxy = proxy_url if row.proxied else ""
    return globals()[variant.client](variant.library, variant.tls, http2, proxy)  # type: ignore[no-any-return]
