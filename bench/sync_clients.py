"""Every sync client behind one shape: `get`, `download`, `upload`; shared by threads. Measures nothing.

The async twin is `async_clients`; the rules are the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any

from . import trust
from .async_clients import CANNED, CLOSE, DOWNLOAD_CHUNK, check, limits
from .bare import RECEIVE, Line
from .servers import SMALL_HEADERS
from .variants import MAX_CONNECTIONS, TIMEOUT_SECONDS, Row, Variant


class Client:
    """`url` is fetched whole by `get`, streamed by `download`; `upload` posts bytes or an iterator."""

    def __init__(self, library: str, tls: str = "", http2: bool = False, proxy: str = "") -> None:
        self.library = import_module(library)
        self.tls = tls
        self.http2 = http2
        self.proxy = proxy or None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def get(self, url: str, close: bool = False) -> int:
        raise NotImplementedError

    def download(self, url: str) -> int:
        raise NotImplementedError

    def upload(self, url: str, body: bytes | Iterator[bytes]) -> None:
        raise NotImplementedError


class Pool(Client):
    """httpcore, httpcore2 and ours: one contract."""

    def __enter__(self) -> Client:
        self.pool = self.library.ConnectionPool(
            ssl_context=trust.context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            http2=self.http2,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.pool.close()

    def get(self, url: str, close: bool = False) -> int:
        response = self.pool.request("GET", url, headers=CLOSE if close else None)
        check(response.status)
        return len(response.content)

    def download(self, url: str) -> int:
        size = 0
        with self.pool.stream("GET", url) as response:
            check(response.status)
            for chunk in response.iter_stream():
                size += len(chunk)
        return size

    def upload(self, url: str, body: bytes | Iterator[bytes]) -> None:
        check(self.pool.request("POST", url, content=body).status)


def null_pool() -> Any:
    """A pool of httpcore's that answers at once."""
    import httpcore

    class Null(httpcore.ConnectionPool):
        def handle_request(self, request: httpcore.Request) -> httpcore.Response:
            return httpcore.Response(200, headers=SMALL_HEADERS, content=CANNED)

    return Null()


class NullPool(Pool):
    def __enter__(self) -> Client:
        self.pool = null_pool()
        return self


class BareSockets(Client):
    """The bytes of a request and of its answer, and next to nothing else. A connection for each thread."""

    def __enter__(self) -> Client:
        self.open()
        return self

    def open(self) -> None:
        self.local = threading.local()

    def is_open(self) -> bool:
        """Whether this thread has its connection."""
        return hasattr(self.local, "line")

    def get(self, url: str, close: bool = False) -> int:
        try:
            line = self.local.line
        except AttributeError:
            line = self.local.line = Line(url)
        line.sock.send(line.request)
        size = None
        while size is None:
            size = line.take(line.sock.recv(RECEIVE))
        return size  # type: ignore[no-any-return] # a thread's own attributes have no types


class Httpx(Client):
    """httpx and httpx2 over their own pools; the subclasses put another transport under httpx."""

    def transport(self) -> Any:
        return None

    def __enter__(self) -> Client:
        httpx = self.library if self.library.__name__ == "httpx2" else import_module("httpx")
        transport = self.transport()
        self.client = httpx.Client(
            transport=transport,
            verify=trust.context(),
            http2=self.http2,
            limits=limits(httpx),
            proxy=self.proxy if transport is None else None,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.close()

    def get(self, url: str, close: bool = False) -> int:
        response = self.client.get(url, headers=CLOSE if close else None)
        check(response.status_code)
        return len(response.content)

    def download(self, url: str) -> int:
        size = 0
        with self.client.stream("GET", url) as response:
            check(response.status_code)
            for chunk in response.iter_bytes():
                size += len(chunk)
        return size

    def upload(self, url: str, body: bytes | Iterator[bytes]) -> None:
        check(self.client.post(url, content=body).status_code)


class HttpxOurs(Httpx):
    def transport(self) -> Any:
        return self.library.HTTPTransport(
            verify=trust.context(),
            http2=self.http2,
            limits=limits(import_module("httpx")),
            proxy=self.proxy,
            tls=self.tls or "auto",
        )


class HttpxInstalled(Httpx):
    """httpx as it is, after `httpcore_hyper.install()`: its transport makes a pool, and gets ours."""

    def __enter__(self) -> Client:
        self.library.install()
        return super().__enter__()


class HttpxPyreqwest(Httpx):
    def transport(self) -> Any:
        from pyreqwest.compatibility.httpx import SyncHttpxTransport

        return SyncHttpxTransport(pyreqwest_client())


class HttpxNullPool(Httpx):
    """The most that a swapped pool can reach."""

    def transport(self) -> Any:
        transport = self.library.HTTPTransport()
        transport._pool = null_pool()
        return transport


class HttpxNullTransport(Httpx):
    """The most that a transport can reach."""

    def transport(self) -> Any:
        httpx = self.library

        class Null(httpx.BaseTransport):  # type: ignore[misc, name-defined]
            def handle_request(self, request: Any) -> Any:
                return httpx.Response(200, headers=SMALL_HEADERS, content=CANNED)

        return Null()


class HttpxBareSockets(Httpx):
    """The most that a transport can reach that sends a request, waits, and gives a body that is read from it.

    Every transport's body is: one that comes as `content` has been read before the caller says how.
    """

    def transport(self) -> Any:
        httpx, sockets = import_module("httpx"), BareSockets("socket")
        sockets.open()

        class Body(httpx.SyncByteStream):  # type: ignore[misc, name-defined]
            def __iter__(self) -> Iterator[bytes]:
                yield CANNED

        class Bare(httpx.BaseTransport):  # type: ignore[misc, name-defined]
            def handle_request(self, request: Any) -> Any:
                sockets.get("" if sockets.is_open() else str(request.url))
                return httpx.Response(200, headers=SMALL_HEADERS, stream=Body())

        return Bare()


def pyreqwest_client() -> Any:
    from pyreqwest.client import SyncClientBuilder

    return (
        SyncClientBuilder()
        .max_connections(MAX_CONNECTIONS)
        .pool_max_idle_per_host(MAX_CONNECTIONS)
        .timeout(timedelta(seconds=TIMEOUT_SECONDS))
        .no_proxy()
        .build()
    )


class Pyreqwest(Client):
    def __enter__(self) -> Client:
        self.client = pyreqwest_client()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.close()

    def get(self, url: str, close: bool = False) -> int:
        request = self.client.get(url)
        response = (request.headers(CLOSE) if close else request).build().send()
        check(response.status)
        return len(response.bytes())

    def download(self, url: str) -> int:
        size = 0
        with self.client.get(url).build_streamed() as response:
            check(response.status)
            while chunk := response.body_reader.read_chunk():
                size += len(chunk)
        return size

    def upload(self, url: str, body: bytes | Iterator[bytes]) -> None:
        request = self.client.post(url)
        request = request.body_bytes(body) if isinstance(body, bytes) else request.body_stream(body)
        check(request.build().send().status)


class Urllib3(Client):
    def __enter__(self) -> Client:
        self.pool = self.library.PoolManager(maxsize=MAX_CONNECTIONS, block=True)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.pool.clear()

    def get(self, url: str, close: bool = False) -> int:
        response = self.pool.request("GET", url, headers=CLOSE if close else None)
        check(response.status)
        return len(response.data)

    def download(self, url: str) -> int:
        size = 0
        response = self.pool.request("GET", url, preload_content=False)
        check(response.status)
        for chunk in response.stream():
            size += len(chunk)
        response.release_conn()
        return size

    def upload(self, url: str, body: bytes | Iterator[bytes]) -> None:
        check(self.pool.request("POST", url, body=body).status)


class Requests(Client):
    """A session that all threads share."""

    def __enter__(self) -> Client:
        self.session = self.library.Session()
        self.session.trust_env = False
        adapter = self.library.adapters.HTTPAdapter(
            pool_connections=MAX_CONNECTIONS, pool_maxsize=MAX_CONNECTIONS, pool_block=True
        )
        self.session.mount("http://", adapter)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.session.close()

    def get(self, url: str, close: bool = False) -> int:
        response = self.session.get(url, headers=CLOSE if close else None, timeout=TIMEOUT_SECONDS)
        check(response.status_code)
        return len(response.content)

    def download(self, url: str) -> int:
        size = 0
        with self.session.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response:
            check(response.status_code)
            for chunk in response.iter_content(DOWNLOAD_CHUNK):
                size += len(chunk)
        return size

    def upload(self, url: str, body: bytes | Iterator[bytes]) -> None:
        check(self.session.post(url, data=body, timeout=TIMEOUT_SECONDS).status_code)


class Niquests(Requests):
    """It keeps requests' shape in everything that is used here."""


class CurlCffi(Client):
    """Its session keeps one handle of libcurl's for each thread."""

    def __enter__(self) -> Client:
        self.session = self.library.Session(timeout=TIMEOUT_SECONDS, trust_env=False)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.session.close()

    def get(self, url: str, close: bool = False) -> int:
        response = self.session.get(url, headers=CLOSE if close else None)
        check(response.status_code)
        return len(response.content)

    def download(self, url: str) -> int:
        size = 0
        with self.session.stream("GET", url) as response:
            check(response.status_code)
            for chunk in response.iter_content():
                size += len(chunk)
        return size

    def upload(self, url: str, body: bytes | Iterator[bytes]) -> None:
        check(self.session.post(url, content=body).status_code)


class Pycurl(Client):
    """One handle for each thread: libcurl's handles are not shared, and each keeps its connection."""

    BUFFER = 256 * 1024  # libcurl's default of 16 KiB halves its rate

    def __enter__(self) -> Client:
        self.local = threading.local()
        return self

    def handle(self, url: str) -> Any:
        curl = self.library
        try:
            handle = self.local.handle
            handle.reset()
        except AttributeError:
            handle = self.local.handle = curl.Curl()
        handle.setopt(curl.URL, url)
        handle.setopt(curl.NOSIGNAL, 1)
        handle.setopt(curl.BUFFERSIZE, self.BUFFER)
        return handle

    def get(self, url: str, close: bool = False) -> int:
        chunks: list[bytes] = []
        handle = self.handle(url)
        handle.setopt(self.library.WRITEFUNCTION, chunks.append)
        if close:
            handle.setopt(self.library.HTTPHEADER, ["Connection: close"])
        handle.perform()
        check(handle.getinfo(self.library.RESPONSE_CODE))
        return len(b"".join(chunks))

    def download(self, url: str) -> int:
        size = 0

        def count(chunk: bytes) -> None:
            nonlocal size
            size += len(chunk)

        handle = self.handle(url)
        handle.setopt(self.library.WRITEFUNCTION, count)
        handle.perform()
        check(handle.getinfo(self.library.RESPONSE_CODE))
        return size

    def upload(self, url: str, body: bytes | Iterator[bytes]) -> None:
        curl = self.library
        handle = self.handle(url)
        handle.setopt(curl.POST, 1)
        if isinstance(body, bytes):
            handle.setopt(curl.POSTFIELDS, body)
        else:
            handle.setopt(curl.HTTPHEADER, ["Transfer-Encoding: chunked", "Expect:"])
            handle.setopt(curl.UPLOAD_BUFFERSIZE, self.BUFFER)
            handle.setopt(curl.READFUNCTION, Feed(body))
        handle.perform()
        check(handle.getinfo(curl.RESPONSE_CODE))


class Feed:
    """libcurl asks for at most so many bytes; an iterator gives what it likes."""

    def __init__(self, body: Iterator[bytes]) -> None:
        self.body = body
        self.rest = b""

    def __call__(self, size: int) -> bytes:
        rest = self.rest or next(self.body, b"")
        self.rest = rest[size:]
        return rest[:size]


def make(row: Row, variant: Variant, proxy_url: str) -> Client:
    http2 = row.http2 and not variant.http1
    proxy = proxy_url if row.proxied else ""
    return globals()[variant.client](variant.library, variant.tls, http2, proxy)  # type: ignore[no-any-return]
