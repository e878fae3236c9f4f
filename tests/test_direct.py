"""The transports' direct way to the engine: what httpx's own transport gives, and nothing passed over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import anyio
import httpcore
import httpx
import pytest
from certificates import client_context, server_context
from proxies import serve
from routes import response
from servers import CLOSE, RECEIVE, RST, STALL, Server, send

import httpcore_hyper

FOUND = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
URLS = ("/", "/?a=b%20c&d", "/%E2%82%AC", "/close")


def ours(**options: Any) -> httpcore_hyper.HTTPTransport:
    return httpcore_hyper.HTTPTransport(**options)


def theirs() -> httpx.HTTPTransport:
    return httpx.HTTPTransport()


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether each request went the direct way."""
    taken: list[bool] = []
    for transport in (httpcore_hyper.HTTPTransport, httpcore_hyper.AsyncHTTPTransport):
        asked = transport._direct_exchange

        def look(self: Any, request: Any, asked: Callable[..., Any] = asked) -> Any:
            taken.append(True)
            exchange = asked(self, request)
            taken[-1] = exchange is not None
            return exchange

        monkeypatch.setattr(transport, "_direct_exchange", look)
    return taken


def told(response: httpx.Response) -> dict[str, Any]:
    extensions = dict(response.extensions)
    stream = extensions.pop("network_stream")
    assert isinstance(stream, httpcore.NetworkStream)
    return {
        "status": response.status_code,
        "reason": response.reason_phrase,
        "version": response.http_version,
        "headers": [item for item in response.headers.raw if item[0].lower() != b"date"],
        "body": response.content,
        "extensions": extensions,
        "request": response.request.method,
    }


@pytest.mark.parametrize("path", URLS)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
def test_responses_are_equal(server: Server, direct: list[bool], method: str, path: str) -> None:
    """Status, reason, version, headers, body, extensions; and the server saw the same bytes."""
    content = b"body" if method == "POST" else None
    seen = []
    for transport in (ours(), theirs()):
        with httpx.Client(transport=transport) as client:
            seen.append(told(client.request(method, server.url(path), content=content)))
    assert seen[0] == seen[1]
    first, second = (connection.raw for connection in server.connections)
    assert first == second
    assert direct == [True]


@pytest.mark.parametrize(
    ("script", "timeout"),
    [
        ([RECEIVE, CLOSE], 5),
        ([RECEIVE, RST], 5),
        ([RECEIVE, send(b"nonsense\r\n\r\n"), CLOSE], 5),
        ([RECEIVE, send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"), CLOSE], 5),
        ([RECEIVE, send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"), RST], 5),
        ([RECEIVE, STALL], httpx.Timeout(5, read=0.1)),
        (
            [RECEIVE, send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"), STALL],
            httpx.Timeout(5, read=0.1),
        ),
    ],
)
def test_errors_are_equal(direct: list[bool], script: list[Any], timeout: Any) -> None:
    """Class, request and cause, in the head and in the middle of a body."""
    raised = []
    for transport in (ours(), theirs()):
        with Server([script]) as server, httpx.Client(transport=transport) as client:
            with pytest.raises(httpx.TransportError) as error:
                client.get(server.url("/path"), timeout=timeout)
            cause = type(error.value.__cause__)
            raised.append((type(error.value), str(error.value.request.url.path), cause))
    assert raised[0] == raised[1]
    assert direct == [True]


def test_errors_of_the_request_are_httpxs(server: Server, direct: list[bool]) -> None:
    """What the engine refuses before it sends anything."""
    for transport in (ours(), theirs()):
        with httpx.Client(transport=transport) as client:
            with pytest.raises(httpx.LocalProtocolError):
                client.get(server.url(), headers={"X": "a\nb"})
            with pytest.raises(httpx.ConnectError):
                client.get("http://127.0.0.1:1/")
    assert direct == [True, True]


def test_what_httpx_does_above_is_untouched(server: Server, direct: list[bool]) -> None:
    """Event hooks, redirects, cookies and auth are httpx's, above every transport."""
    hooks: list[str] = []
    with (
        Server(
            [
                [
                    RECEIVE,
                    send(FOUND),
                    RECEIVE,
                    send(response(b"there")),
                    STALL,
                ]
            ]
        ) as server,
        httpx.Client(
            transport=ours(),
            follow_redirects=True,
            auth=("user", "pass"),
            event_hooks={
                "request": [lambda request: hooks.append(request.method)],
                "response": [lambda response: hooks.append(str(response.status_code))],
            },
        ) as client,
    ):
        assert client.get(server.url()).text == "there"
        assert client.cookies["a"] == "b"
        assert hooks == ["GET", "302", "GET", "200"]
        assert server.requests[1].header(b"Cookie") == b"a=b"
        assert server.requests[1].header(b"Authorization")
    assert direct == [True, True]


def test_a_streamed_body_is_not_direct(server: Server, direct: list[bool]) -> None:
    """It is iterated by httpcore's rules."""
    with httpx.Client(transport=ours()) as client:
        answer = client.post(server.url(), content=(part for part in (b"one", b"two")))
        assert answer.status_code == 200
    assert direct == [False]
    assert server.requests[0].body == b"onetwo"


def test_whoever_stands_between_is_asked(server: Server, direct: list[bool]) -> None:
    """A patched transport, pool or httpcore, a listener, a `target`: httpx's own way is taken."""
    canned = httpcore.Response(299)
    with httpx.Client(transport=ours()) as client:
        with mock.patch.object(httpx.HTTPTransport, "handle_request", return_value=httpx.Response(298)):
            assert client.get(server.url()).status_code == 298
        with mock.patch.object(httpcore_hyper.ConnectionPool, "handle_request", return_value=canned):
            assert client.get(server.url()).status_code == 299
        with mock.patch.object(client._transport._pool, "handle_request", return_value=canned):
            assert client.get(server.url()).status_code == 299
        events: list[str] = []
        trace = {"trace": lambda name, info: events.append(name)}
        assert client.get(server.url(), extensions=trace).status_code == 200
        assert "http11.response_closed.complete" in events
        assert client.get(server.url(), extensions={"target": b"/elsewhere"}).status_code == 200
        assert server.requests[-1].target == b"/elsewhere"
        logger = logging.getLogger(f"{httpcore.__name__}.http11")
        level = logger.level
        logger.setLevel(logging.DEBUG)
        try:
            assert client.get(server.url()).status_code == 200
        finally:
            logger.setLevel(level)
        assert direct == [False] * 6
        assert client.get(server.url()).status_code == 200
        assert direct[-1] is True
        with mock.patch.object(httpcore.ConnectionPool, "handle_request", return_value=canned):
            assert client.get(server.url()).status_code == 299
        assert direct[-1] is False


class Loud(httpx.Headers):
    """Says something else than it keeps."""

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        return [(name, value.upper()) for name, value in super().raw]


def test_models_that_say_otherwise_are_asked(server: Server, direct: list[bool]) -> None:
    """A subclass of httpx's, or a property or constructor of httpx's that has been replaced."""
    request = httpx.Request("GET", server.url("/a"), headers={"X-A": "b"})
    with ours() as transport:
        for model, name, value in (
            (httpx.URL, "raw_path", property(lambda url: b"/elsewhere")),
            (httpx.Headers, "raw", property(lambda headers: [(b"Host", b"h"), (b"X-B", b"c")])),
        ):
            with mock.patch.object(model, name, value):
                transport.handle_request(request).read()
        assert [(seen.target, seen.header(b"X-B")) for seen in server.requests] == [
            (b"/elsewhere", None),
            (b"/a", b"c"),
        ]
        for model in (httpx.Response, httpx.Headers):
            init: Any = model.__init__
            with mock.patch.object(model, "__init__", autospec=True, side_effect=init) as asked:
                transport.handle_request(request).read()
            assert asked.called
        assert direct == [False] * 4
        request.headers = Loud(request.headers)
        transport.handle_request(request).read()
        assert server.requests[-1].header(b"X-A") == b"B"
        assert direct[-1] is False
        request.headers = httpx.Headers(request.headers)
        transport.handle_request(request).read()
        assert direct[-1] is True


def test_a_replaced_pool_is_asked(direct: list[bool]) -> None:
    """Tests put a pool of their own there."""
    transport = ours()
    transport._pool = httpcore.ConnectionPool(
        network_backend=httpcore.MockBackend([b"HTTP/1.1 299 OK\r\n", b"Content-Length: 0\r\n\r\n"])
    )
    with httpx.Client(transport=transport) as client:
        assert client.get("http://example.com/").status_code == 299
    assert direct == [False]


def test_a_subclass_is_asked(server: Server, direct: list[bool]) -> None:
    """Its own method comes first, and `super()` leads on."""

    class Header(httpcore_hyper.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.headers["X-Added"] = "yes"
            return super().handle_request(request)

    with httpx.Client(transport=Header()) as client:
        assert client.get(server.url()).status_code == 200
    assert server.requests[0].header(b"X-Added") == b"yes"
    assert direct == [True]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async(server: Server, direct: list[bool], backend: str) -> None:
    """The other door: responses, streams, errors, and a cancelled request that leaves nothing."""

    async def main() -> None:
        transport = httpcore_hyper.AsyncHTTPTransport()
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.post(server.url(), content=b"body")
            assert answer.status_code == 200
            async with client.stream("GET", server.url("/stream")) as streamed:
                assert streamed.status_code == 200
                assert await streamed.aread() is not None
            with pytest.raises(httpx.ConnectError):
                await client.get("http://127.0.0.1:1/")
            with anyio.move_on_after(0.05) as scope:
                await client.get(server.url("/hang"))
            assert scope.cancelled_caught or server.requests
            assert "0 active, 0 queued" in repr(transport._pool)

    anyio.run(main, backend=backend)
    assert set(direct) == {True}


def test_a_request_that_is_not_direct_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transport asks who serves it, and the pool decides: one record for one request."""

    def refuse(*_: Any, **__: Any) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("refused here")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", refuse)
    with (
        caplog.at_level(logging.DEBUG, "httpcore_hyper"),
        httpx.Client(transport=ours()) as client,
        pytest.raises(httpx.ConnectError, match="refused here"),
    ):
        client.get("http://127.0.0.1:1/")
    assert len([record for record in caplog.records if "runs on httpcore's engine" in record.message]) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_sees_the_same(direct: list[bool], scheme: str) -> None:
    """Through a proxy as well: the same bytes, to it and to the origin behind it."""
    with Server(tls=server_context() if scheme == "https" else None, app=serve) as server:
        proxy = httpx.Proxy(
            f"http://127.0.0.1:{server.port}", auth=("user", "secret"), headers={"X-Proxy": "1"}
        )
        context = client_context()
        for transport in (
            ours(proxy=proxy, verify=context),
            httpx.HTTPTransport(proxy=proxy, verify=context),
        ):
            with httpx.Client(transport=transport) as client:
                assert client.get(f"{scheme}://example.com/a?b=c").status_code == 200
        first, second = ([request.head for request in one.requests] for one in server.connections)
    assert first == second
    assert direct == [True]
