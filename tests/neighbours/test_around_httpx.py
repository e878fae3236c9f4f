"""Libraries that stand above httpx, or beside it: traces, caches, websockets, error reports, proxies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from routes import response
from servers import RECEIVE, STALL, Server, send

import httpcore_hyper

pytestmark = pytest.mark.filterwarnings("default")  # the libraries' own warnings are their own


def test_opentelemetry(need: Callable[[str], Any], server: Server, served: list[str]) -> None:
    """A span for each request, also over our transports: they are httpx's."""
    instrumentation = need("opentelemetry.instrumentation.httpx")
    trace = need("opentelemetry.sdk.trace")
    export = need("opentelemetry.sdk.trace.export")
    memory = need("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    spans = memory.InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(spans))
    with httpx.Client(transport=httpcore_hyper.HTTPTransport()) as client:
        instrumentation.HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider)
        assert client.get(server.url()).status_code == 200
    (span,) = spans.get_finished_spans()
    assert span.name == "GET"
    assert server.requests[0].header(b"traceparent")
    assert served == ["ConnectionPool"]


def test_hishel(need: Callable[[str], Any], served: list[str]) -> None:
    """The second answer comes from the cache."""
    hishel = need("hishel.httpx")
    storage = need("hishel").SqliteStorage(database_path=":memory:")
    cacheable = response(b"kept", headers=((b"Cache-Control", b"max-age=600"), (b"Date", _now())))
    with Server([[RECEIVE, send(cacheable), STALL]]) as server:
        transport = hishel.CacheTransport(next_transport=httpcore_hyper.HTTPTransport(), storage=storage)
        with httpx.Client(transport=transport) as client:
            assert [client.get(server.url()).text for _ in range(2)] == ["kept", "kept"]
        assert len(server.requests) == 1
    assert served == ["ConnectionPool"]


def _now() -> bytes:
    from email.utils import formatdate  # noqa: PLC0415 - a word in one test

    return formatdate(usegmt=True).encode()


@contextlib.contextmanager
def echo_server(need: Callable[[str], Any]) -> Iterator[str]:
    """A websocket server that says everything twice: once as it comes, once reversed."""
    sync = need("websockets.sync.server")

    def handle(connection: Any) -> None:
        for message in connection:
            connection.send(message)
            connection.send(message[::-1])

    with sync.serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        finally:
            server.shutdown()
            thread.join()


def test_httpx_ws(need: Callable[[str], Any], served: list[str]) -> None:
    """It reads in a thread of its own while the caller's writes."""
    ws = need("httpx_ws")
    with (
        echo_server(need) as url,
        httpx.Client(transport=httpcore_hyper.HTTPTransport()) as client,
        ws.connect_ws(url, client) as session,
    ):
        for number in range(50):
            session.send_text(f"message {number}")
        got = [session.receive_text(timeout=10) for _ in range(100)]
        assert got[:2] == ["message 0", "0 egassem"]
        assert len(set(got)) == 100
    assert served == ["ConnectionPool"]


def test_httpx_ws_async(need: Callable[[str], Any], served: list[str]) -> None:
    ws = need("httpx_ws")

    async def talk(url: str) -> None:
        async with (
            httpx.AsyncClient(transport=httpcore_hyper.AsyncHTTPTransport()) as client,
            ws.aconnect_ws(url, client) as session,
        ):
            for number in range(50):
                await session.send_text(f"message {number}")
            got = [await session.receive_text(timeout=10) for _ in range(100)]
            assert len(set(got)) == 100

    with echo_server(need) as url:
        asyncio.run(talk(url))
    assert served == ["AsyncConnectionPool"]


def test_sentry(need: Callable[[str], Any], installed: None, served: list[str]) -> None:
    """Its transport makes an httpcore pool of its own, and posts compressed envelopes."""
    sentry = need("sentry_sdk")
    with Server() as server:
        options = {"dsn": f"http://key@127.0.0.1:{server.port}/1", "transport": _http2_transport(need)}
        with sentry.Client(**options) as client:
            client.capture_event({"message": "hello"})
            client.flush(timeout=10)
            pool = client.transport._pool
            assert type(pool) is httpcore_hyper.ConnectionPool
        # Its client leaves it open, and atexit holds the client.
        pool.close()
        (request,) = server.requests
        assert request.target == b"/api/1/envelope/"
    assert served == ["ConnectionPool"]


def _http2_transport(need: Callable[[str], Any]) -> Any:
    return need("sentry_sdk.transport").Http2Transport


@contextlib.contextmanager
def socks_server() -> Iterator[int]:
    """The least of SOCKS5: no authentication, one connection at a time, addresses as IPv4."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.recv(3)
                        client.sendall(b"\x05\x00")
                        asked = client.recv(10)
                        target = (socket.inet_ntoa(asked[4:8]), int.from_bytes(asked[8:10], "big"))
                        with socket.create_connection(target) as server:
                            client.sendall(b"\x05\x00\x00\x01" + asked[4:10])
                            server.sendall(client.recv(65536))
                            client.sendall(server.recv(65536))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            # Wakes the thread out of accept.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_httpx_socks(need: Callable[[str], Any], installed: None, server: Server) -> None:
    """It overrides `create_connection`: httpcore's engine runs it, under our names too."""
    socks = need("httpx_socks")
    with socks_server() as port:
        transport = socks.SyncProxyTransport.from_url(f"socks5://127.0.0.1:{port}")
        with httpx.Client(transport=transport) as client:
            assert client.get(server.url(), headers={"Connection": "close"}).text == "ok"
    assert len(server.requests) == 1


def test_elastic_apm(need: Callable[[str], Any], server: Server) -> None:
    """It wraps a method of httpcore's connections, and is on the way as long as it does."""
    need("elasticapm")
    package = need("elasticapm.instrumentation.packages.httpx.sync.httpcore")
    instrumentation = package.HTTPCoreInstrumentation()
    try:
        instrumentation.instrument()
        with httpcore_hyper.ConnectionPool() as pool:
            assert pool.request("GET", server.url()).status == 200
            assert "has been patched" in (pool.delegated or "")
    finally:
        instrumentation.uninstrument()
    with httpcore_hyper.ConnectionPool() as pool:
        assert pool.delegated is None
