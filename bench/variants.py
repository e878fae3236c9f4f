"""The list of what is compared, and on which doors each can run. No I/O, no import of any client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ASYNC_DOORS = ("asyncio", "uvloop", "trio")
ANYWHERE = (*ASYNC_DOORS, "sync")
ASYNCIO = ("asyncio", "uvloop")

QUEUED = 10_000  # requests at a time, of which all but 100 wait for a connection
MAX_CONNECTIONS = 100  # httpx's own default; given to every client, as is the same number of idle ones
OWN_SERVER = "bench/server"  # in the names of rows that do not go to nginx
TIMEOUT_SECONDS = 60.0  # every client under httpx has all four; long enough for the slowest row


@dataclass(frozen=True)
class Variant:
    """One way to send a request.

    `client` names the class in `async_clients` or `sync_clients`; `library` is what it imports and takes.
    """

    name: str
    level: str  # "pool" or "httpx"
    client: str
    library: str
    doors: tuple[str, ...]
    ceiling: bool = False  # no client: the most that anything at its place can reach
    bare: bool = False  # a ceiling that does I/O: a connection for each request, so not where more wait
    ours: bool = False
    tls: str = ""  # who does our cryptography, where it is not left to the library; in rows over TLS only
    http1: bool = False  # speaks HTTP/1.1 also in rows over HTTP/2, and runs in those only
    tcp_only: bool = False  # not in rows over TLS or through a proxy
    plain: bool = False  # speaks no TLS also in rows of small requests over TLS, and runs in those only

    @property
    def canned(self) -> bool:
        """Answers without I/O. It never waits, so more than one at a time would only take their turns."""
        return self.ceiling and not self.bare


VARIANTS = (
    Variant("httpcore_hyper", "pool", "Pool", "httpcore_hyper", ANYWHERE, ours=True),
    Variant("httpcore", "pool", "Pool", "httpcore", ANYWHERE),
    Variant("httpcore2", "pool", "Pool", "httpcore2", ANYWHERE),
    Variant("aiohttp", "pool", "Aiohttp", "aiohttp", ASYNCIO),
    Variant("pyreqwest", "pool", "Pyreqwest", "pyreqwest", (*ASYNCIO, "sync")),
    Variant("curl_cffi", "pool", "CurlCffi", "curl_cffi", (*ASYNCIO, "sync")),
    Variant("niquests", "pool", "Niquests", "niquests", (*ASYNCIO, "sync")),
    Variant("requests", "pool", "Requests", "requests", ("sync",)),
    Variant("urllib3", "pool", "Urllib3", "urllib3", ("sync",)),
    Variant("pycurl", "pool", "Pycurl", "pycurl", ("sync",)),
    Variant("null pool", "pool", "NullPool", "httpcore", ANYWHERE, ceiling=True),
    Variant(*("bare sockets", "pool", "BareSockets", "socket", (*ASYNCIO, "sync")), ceiling=True, bare=True),
    Variant("httpx + httpcore_hyper", "httpx", "HttpxOurs", "httpcore_hyper", ANYWHERE, ours=True),
    Variant(
        "httpx + httpcore_hyper, tls=python", "httpx", "HttpxOurs", "httpcore_hyper", ANYWHERE, tls="python"
    ),
    Variant(
        "httpx + httpcore_hyper, without TLS", "httpx", "HttpxOurs", "httpcore_hyper", ANYWHERE, plain=True
    ),
    Variant("httpx + httpcore_hyper, HTTP/1.1", "httpx", "HttpxOurs", "httpcore_hyper", ANYWHERE, http1=True),
    Variant("httpx + install()", "httpx", "HttpxInstalled", "httpcore_hyper", ANYWHERE, tcp_only=True),
    Variant("httpx", "httpx", "Httpx", "httpx", ANYWHERE),
    Variant("httpx2", "httpx", "Httpx", "httpx2", ANYWHERE),
    Variant("httpx-aiohttp", "httpx", "HttpxAiohttp", "httpx_aiohttp", ASYNCIO),
    Variant("httpx + pyreqwest", "httpx", "HttpxPyreqwest", "pyreqwest", (*ASYNCIO, "sync")),
    Variant("httpx + null pool", "httpx", "HttpxNullPool", "httpx", ANYWHERE, ceiling=True),
    Variant("httpx + null transport", "httpx", "HttpxNullTransport", "httpx", ANYWHERE, ceiling=True),
    Variant(
        *("httpx + bare sockets", "httpx", "HttpxBareSockets", "httpx", (*ASYNCIO, "sync")),
        ceiling=True,
        bare=True,
    ),
)

BY_NAME = {variant.name: variant for variant in VARIANTS}


# They take no `ssl.SSLContext`, so that they cannot be asked to trust what the others do.
NO_CONTEXT = ("pyreqwest", "pycurl", "curl_cffi")

# They take httpx's `proxy`.
PROXIED = ("httpcore_hyper", "httpx", "httpx2")

# They speak HTTP/2.
HTTP2 = ("httpcore_hyper", "httpcore", "httpcore2", "httpx", "httpx2")


@dataclass(frozen=True)
class Row:
    """One kind of work, measured for every variant of its level that has its door.

    `work` is one of: get, connect, download, upload-bytes, upload-iterator.
    """

    name: str
    level: str
    door: str
    work: str = "get"
    concurrency: int = 1
    computing: bool = False  # a thread computes in pure Python next to the client
    # The client shares the server's core. With one request at a time the two never run at once, and between
    # two cores most of the time is the machine's wake-ups, which are the same for every client.
    one_core: bool = False
    tls: bool = False
    http2: bool = False  # over TLS as well
    proxied: bool = False  # through a forward proxy, or with TLS through its tunnel
    # To `bench/server` in place of nginx: what nginx takes for its answer is most of a request's time where
    # there is one at a time, and that it sends the answer in two segments costs a client each time.
    own_server: bool = False

    @property
    def path(self) -> str:
        """Of the small answer, with as many headers from either server."""
        return "/like-nginx" if self.own_server else "/small"

    @property
    def bulk(self) -> bool:
        return self.work in ("download", "upload-bytes", "upload-iterator")

    @property
    def unit(self) -> str:
        return "MB/s" if self.bulk else "req/s"

    @property
    def queued(self) -> bool:
        """Nearly all requests wait for a connection; a round has to last for some turns of the queue."""
        return self.concurrency >= 100 * MAX_CONNECTIONS

    def variants(self) -> list[Variant]:
        """A canned answer says nothing about bytes and connections: no ceilings there."""
        return [
            variant
            for variant in VARIANTS
            if variant.level == self.level
            and self.door in variant.doors
            and not (variant.ceiling and (self.tls or self.proxied or self.work != "get"))
            and not (variant.bare and self.concurrency > MAX_CONNECTIONS)
            and not (variant.tls and (self.http2 or not self.tls))
            and not (variant.http1 and not self.http2)
            and not (variant.tcp_only and (self.tls or self.proxied))
            and not (variant.plain and (self.http2 or not self.tls or self.work != "get"))
            and not (self.http2 and variant.library not in HTTP2)
            and not (self.proxied and (variant.tls or variant.plain or variant.library not in PROXIED))
            and not (variant.library in NO_CONTEXT and self.tls)
        ]


def _rows() -> tuple[Row, ...]:
    rows = []
    over_http2: dict[str, Any] = {"tls": True, "http2": True}
    levels = (("pool", "pool"), ("httpx", "under httpx"))
    for level, words in levels:
        for door, sizes in (("asyncio", (1, 64, 512)), ("uvloop", (1, 64)), ("trio", (1, 64))):
            more = (QUEUED,) if (level, door) == ("pool", "asyncio") else ()
            for size in (*sizes, *more):
                rows.append(Row(f"GET, {words}, {door}, c={size}", level, door, "get", size))
    for level, words, sizes in (("pool", "pool", (1, 4, 16, 64)), ("httpx", "under httpx", (1, 16))):
        rows += [Row(f"GET, {words}, sync, {size} threads", level, "sync", "get", size) for size in sizes]
    for level, words in levels:
        for door, alone in (("asyncio", "c=1"), ("sync", "1 threads")):
            rows.append(Row(f"GET, {words}, {door}, {alone}, one core", level, door, one_core=True))
    for level, where, door, size in (
        *(("pool", "pool", "asyncio", 1), ("pool", "pool", "asyncio", 64)),
        *(("httpx", "under httpx", "asyncio", 1), ("httpx", "under httpx", "asyncio", 64)),
        *(("httpx", "under httpx", "sync", 1), ("httpx", "under httpx", "sync", 16)),
    ):
        words = f"{size} threads" if door == "sync" else f"c={size}"
        name = f"GET, {where}, {door}, {words}, {OWN_SERVER}"
        rows.append(Row(name, level, door, "get", size, own_server=True))
    for work, words in (
        ("download", "download 256 MB"),
        ("upload-bytes", "upload 100 MB bytes"),
        ("upload-iterator", "upload 100 MB iterator"),
    ):
        for level, where in levels:
            for door in ("asyncio", "sync"):
                rows.append(Row(f"{words}, {where}, {door}", level, door, work))
    for level, words in levels:
        rows.append(
            Row(f"GET beside computing, {words}, asyncio, c=64", level, "asyncio", "get", 64, computing=True)
        )
    rows.append(Row("new connections, pool, asyncio, c=16", "pool", "asyncio", "connect", 16))
    rows.append(Row("new connections, pool, sync, 1 threads", "pool", "sync", "connect", 1))
    for door, size in (("asyncio", 1), ("asyncio", 64), ("sync", 1)):
        words = f"{size} threads" if door == "sync" else f"c={size}"
        rows.append(Row(f"GET over TLS, under httpx, {door}, {words}", "httpx", door, "get", size, tls=True))
    for door in ("asyncio", "sync"):
        rows.append(
            Row(f"download 256 MB over TLS, under httpx, {door}", "httpx", door, "download", tls=True)
        )
    for door, size in (("asyncio", 16), ("sync", 1)):
        words = f"{size} threads" if door == "sync" else f"c={size}"
        name = f"new connections over TLS, under httpx, {door}, {words}"
        rows.append(Row(name, "httpx", door, "connect", size, tls=True))
    for level, where, door, size in (
        *(("pool", "pool", "asyncio", 64), ("httpx", "under httpx", "asyncio", 1)),
        *(("httpx", "under httpx", "asyncio", 64), ("httpx", "under httpx", "sync", 1)),
    ):
        words = f"{size} threads" if door == "sync" else f"c={size}"
        rows.append(Row(f"GET over HTTP/2, {where}, {door}, {words}", level, door, "get", size, **over_http2))
    for door in ("asyncio", "sync"):
        name = f"download 256 MB over HTTP/2, under httpx, {door}"
        rows.append(Row(name, "httpx", door, "download", **over_http2))
    for tls, words in ((False, "a forward proxy"), (True, "a tunnel")):
        name = f"GET through {words}, under httpx, asyncio, c=64"
        rows.append(Row(name, "httpx", "asyncio", "get", 64, tls=tls, proxied=True))
    return tuple(rows)


ROWS = _rows()
