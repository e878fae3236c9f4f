"""The short way of `request` and `stream`: what httpcore's models would have sent, given back and raised.

And nobody passed over who stands on the long one.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import anyio
import httpcore
import pytest
from doors import ALL_DOORS, ASYNC_DOORS, DOORS, EMPTY, Door, run, through
from engines import HYPER
from pools import settle
from servers import CLOSE, RECEIVE, STALL, Server, send

import httpcore_hyper
from httpcore_hyper._async.calls import AsyncCalls
from httpcore_hyper._originals import package_of
from httpcore_hyper._response import Responses
from httpcore_hyper._sync.calls import Calls

DOOR = pytest.mark.parametrize("door", ALL_DOORS)
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"
# Calls that go the short way: `url` is what stands behind the host, or begins with it.
SHORT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "bytes": {"method": b"GET", "url": b"/"},
    "no path": {"url": ""},
    "query": {"url": "/a/../b//c?x=/y:z?&[]@!$'()*+,=%20"},
    "headers of a list": {"headers": [("A", "b"), (b"a", b"C"), ("A", "b")]},
    "headers of a tuple": {"headers": (("A", "b"), (b"a", b"C"))},
    "headers of a dictionary": {"headers": {"A": "b", b"c": b"d"}},
    "no headers": {"headers": {}},
    "Host of one's own": {"headers": {"X": "y", "hOST": "other"}},
    "body": {"method": "POST", "content": b"body"},
    "empty body": {"method": "POST", "content": b""},
    "length of one's own": {"method": "POST", "content": b"body", "headers": {"content-LENGTH": "4"}},
    "coding of one's own": {
        "method": "POST",
        "content": b"body",
        "headers": {"Transfer-encoding": "chunked"},
    },
    "unusual method": {"method": "PROPFIND"},
    "empty extensions": {"extensions": {}},
    "timeouts": {"extensions": {"timeout": {"read": 5.0, "connect": None}}},
    "unknown extension": {"extensions": {"own": object()}},
}


class Text(str):
    """Somebody's own text: httpcore may do with it what it likes."""

    __slots__ = ()


# Calls that httpcore has to look at.
LONG: dict[str, dict[str, Any]] = {
    "URL of httpcore's": {"url": httpcore.URL(scheme=b"http", host=b"{host}", port=0, target=b"/x")},
    "capitals": {"url": "HTTP://{host}:{port}/"},
    "user": {"url": "http://user:password@{host}:{port}/"},
    "fragment": {"url": "/path#fragment"},
    "parameters": {"url": "/path;parameters?query"},
    "empty query": {"url": "/path?"},
    "tab": {"url": "/a\tb"},
    "space in front": {"url": " http://{host}:{port}/"},
    "text of one's own": {"method": Text("GET")},
    "headers of a mapping": {"headers": collections.ChainMap({"A": "b"}, {"C": "d"})},
    "headers of lists": {"headers": [["A", "b"]]},
    "chunks": {"method": "POST", "content": [b"a", b"b"]},
    "target": {"extensions": {"target": b"/other"}},
    "trace": {"extensions": {"trace": None}},
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call was answered on the short way."""
    taken: list[bool] = []

    for calls in (Calls, AsyncCalls):

        def look(self: Any, *values: Any, own: Any = calls._short_way) -> Any:
            exchange = own(self, *values)
            taken.append(exchange is not None)
            return exchange

        monkeypatch.setattr(calls, "_short_way", look)
    return taken


def filled(call: dict[str, Any], server: Server, door: Door) -> dict[str, Any]:
    """The call with the server's address in it, and a body that the door can iterate."""
    call = {"method": "GET", "url": "/", **call}
    url, content = call["url"], call.get("content")
    if isinstance(url, httpcore.URL):
        call["url"] = httpcore.URL(scheme="http", host=server.host, port=server.port, target=url.target)
    elif isinstance(url, bytes):
        call["url"] = server.url("").encode() + url
    elif "{host}" in url:
        call["url"] = url.format(host=server.host, port=server.port)
    else:
        call["url"] = server.url("") + url
    if isinstance(content, list) and door.is_async:
        call["content"] = chunks(content)
    if "trace" in call.get("extensions", {}):
        call["extensions"] = {"trace": ignore_async if door.is_async else ignore}
    return call


def ignore(event: str, info: dict[str, Any]) -> None:
    """Listens to events."""


async def ignore_async(event: str, info: dict[str, Any]) -> None:
    """Listens to events."""


async def chunks(content: list[bytes]) -> Any:
    for chunk in content:
        yield chunk


def shown(response: httpcore.Response) -> dict[str, Any]:
    """All that a response has; the stream and what is under it by their kind."""
    attributes = dict(vars(response))
    stream, extensions = attributes.pop("stream"), dict(attributes.pop("extensions"))
    network_stream = extensions.pop("network_stream")
    headers = [item for item in attributes.pop("headers") if item[0].lower() != b"date"]
    assert type(response) is httpcore.Response
    return {
        **attributes,
        "headers": headers,
        "extensions": extensions,
        "iterable": (hasattr(stream, "__iter__"), hasattr(stream, "__aiter__")),
        "network_stream": isinstance(network_stream, (httpcore.NetworkStream, httpcore.AsyncNetworkStream)),
    }


async def call_both(door: Door, server: Server, call: dict[str, Any]) -> list[dict[str, Any]]:
    """What `request` gives, and `stream`."""
    pool = door.pool()
    whole = await settle(pool.raw.request(**filled(call, server, door)))
    context = pool.raw.stream(**filled(call, server, door))
    if door.is_async:
        async with context as streamed:
            before = shown(streamed)
            await streamed.aread()
    else:
        with context as streamed:
            before = shown(streamed)
            streamed.read()
    return [shown(whole), before, shown(streamed)]


@DOOR
@pytest.mark.parametrize("name", [*SHORT, *LONG])
def test_what_is_sent_and_given_back_is_httpcores(door: str, name: str, short: list[bool]) -> None:
    """The bytes on the wire, and every attribute of the response."""
    seen = []
    for engine in (HYPER, "httpcore"):
        with Server() as server:

            async def scenario(door: Door, server: Server = server) -> Any:
                return await call_both(door, server, {**SHORT, **LONG}[name])

            # Where the door is uvloop's httpcore is its own judge on asyncio.
            given = through(door, engine, scenario)
            host = f"{server.host}:{server.port}".encode()
            wire = [request.head.replace(host, b"host") for request in server.requests]
            seen.append((given, wire, [request.body for request in server.requests]))
    assert seen[0] == seen[1]
    assert short == [name in SHORT] * 2


@DOOR
def test_a_response_is_read_once(door: str, server: Server, short: list[bool]) -> None:
    """Its content stays; its stream is used up, as httpcore's is."""

    async def scenario(door: Door) -> None:
        pool = door.pool()
        response = await settle(pool.raw.request("GET", server.url()))
        again = response.aread if door.is_async else response.read
        assert await settle(again()) == response.content
        with pytest.raises(RuntimeError, match="more than once"):
            await settle(anext(response.aiter_stream()) if door.is_async else next(response.iter_stream()))
        await settle(response.aclose() if door.is_async else response.close())
        assert pool.infos == ["IDLE, Request Count: 1"]

    through(door, HYPER, scenario)
    assert short == [True]


@DOOR
@pytest.mark.parametrize("end", [CLOSE, STALL])
def test_a_body_that_fails_leaves_nothing(door: str, end: Any, short: list[bool]) -> None:
    """The error is raised from `request`, and the connection is closed with it."""
    with Server([[RECEIVE, send(HALF), end]]) as server:

        async def scenario(door: Door) -> None:
            pool = door.pool()
            timeout = {"timeout": {"read": 0.05}}
            expected = httpcore.RemoteProtocolError if end is CLOSE else httpcore.ReadTimeout
            with pytest.raises(expected):
                await settle(pool.raw.request("GET", server.url(), extensions=timeout))
            assert pool.counts == EMPTY

        through(door, HYPER, scenario)
    assert short == [True]


@pytest.mark.parametrize("door", ASYNC_DOORS)
@pytest.mark.parametrize("sent", [b"", HALF])
def test_a_cancelled_request_leaves_nothing(door: str, sent: bytes) -> None:
    """Cancelled in the head, and in the body."""
    with Server([[RECEIVE, *([send(sent)] if sent else []), STALL]]) as server:

        async def scenario(door: Door) -> None:
            pool = door.pool()
            task = door.start(pool.raw.request("GET", server.url()))
            assert await door.until(lambda: server.requests)
            task.cancel()
            assert (await task.settled()).cancelled
            assert pool.counts == EMPTY

        through(door, HYPER, scenario)


def places() -> Iterator[tuple[Any, str]]:
    """What stands between a call and `handle_request`."""
    for module, name in (("_sync", "RequestInterface"), ("_async", "AsyncRequestInterface")):
        interfaces = import_module(f"httpcore.{module}.interfaces")
        yield getattr(interfaces, name), "request"
        yield interfaces, "Request"
        yield interfaces, "enforce_bytes"
        yield interfaces, "enforce_headers"
        yield interfaces, "enforce_url"
        yield interfaces, "include_request_headers"
    yield httpcore.Request, "__init__"
    yield httpcore.URL, "__init__"


@pytest.mark.parametrize("door", ["sync", "asyncio"])
@pytest.mark.parametrize(("owner", "name"), list(places()))
def test_a_patch_is_not_passed_over(
    door: str, owner: Any, name: str, server: Server, short: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever put something of their own on the door's way is asked; once it is gone nobody is."""
    own = getattr(owner, name)
    asked: list[str] = []

    def patch(*args: Any, **options: Any) -> Any:
        asked.append(name)
        return own(*args, **options)

    async def scenario(door: Door) -> None:
        pool = door.pool()
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, patch)
            await settle(pool.raw.request("GET", server.url()))
        await settle(pool.raw.request("GET", server.url()))

    through(door, HYPER, scenario)
    other_door = "sync" if door == "asyncio" else "async"
    concerned = f"_{other_door}" not in getattr(owner, "__module__", owner.__name__)
    assert bool(asked) is concerned
    assert short == [not concerned, True]


@pytest.mark.parametrize("door", ["sync", "asyncio"])
@pytest.mark.parametrize("where", ["class", "instance"])
def test_an_own_handler_gets_the_request(door: str, where: str, server: Server, short: list[bool]) -> None:
    """A subclass's `handle_request`, or one that was put on the pool, sees every request."""
    handler = "handle_async_request" if door == "asyncio" else "handle_request"
    kind: Any = httpcore_hyper.AsyncConnectionPool if door == "asyncio" else httpcore_hyper.ConnectionPool
    asked: list[bytes] = []

    def handle(self: Any, request: httpcore.Request) -> Any:
        asked.append(request.method)
        return getattr(kind, handler)(self, request)

    async def scenario(door: Door) -> None:
        own: Callable[[], Any] = type("Own", (kind,), {handler: handle} if where == "class" else {})
        pool = own()
        if where == "instance":
            vars(pool)[handler] = lambda request: handle(pool, request)
        await settle(pool.request("GET", server.url()))
        context = pool.stream("HEAD", server.url())
        await settle(context.__aenter__() if door.is_async else context.__enter__())
        await settle(
            context.__aexit__(None, None, None) if door.is_async else context.__exit__(None, None, None)
        )
        await settle(pool.aclose() if door.is_async else pool.close())

    run(DOORS[door](HYPER), scenario)
    assert asked == [b"GET", b"HEAD"]
    assert short == [False, False]


def test_a_logger_is_told(server: Server, short: list[bool], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "httpcore.http11"), httpcore_hyper.ConnectionPool() as pool:
        pool.request("GET", server.url())
    assert short == [False]
    assert any("send_request_headers" in record.message for record in caplog.records)


def test_a_delegated_pool_sends_by_httpcore(server: Server, short: list[bool]) -> None:
    class Backend(httpcore.SyncBackend):
        pass

    with httpcore_hyper.ConnectionPool(network_backend=Backend()) as pool:
        assert pool.request("GET", server.url()).status == 200
        assert pool.delegated is not None
    assert short == [False]


@pytest.mark.parametrize("flavour", ["httpcore", "httpcore2"])
def test_responses_of_both_flavours_are_known(flavour: str) -> None:
    """Of an unknown one they would be right as well, and slow."""
    module = pytest.importorskip(flavour)
    assert Responses(module.Response, package_of(module))._is_known


def test_responses_of_an_unknown_class_are_made_by_it() -> None:
    """A later httpcore may give its responses more than is known here."""

    class Later(httpcore.Response):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.more = True

    # Of this package, so that nobody takes it for a patch.
    responses = Responses(Later, Later.__module__)
    response: Any = responses.make(200, [], [b"content"], {})
    assert response.more
    assert not responses.fill(response)
    assert response.read() == b"content"


def test_a_patched_constructor_of_responses_is_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    own = httpcore.Response.__init__
    made: list[Any] = []

    def patch(self: Any, *args: Any, **options: Any) -> None:
        made.append(self)
        own(self, *args, **options)

    monkeypatch.setattr(httpcore.Response, "__init__", patch)
    with httpcore_hyper.ConnectionPool() as pool:
        assert pool.request("GET", server.url()) is made[0]


@pytest.mark.parametrize("door", ["asyncio", "uvloop"])
@pytest.mark.parametrize("inside", ["known", "changed"])
def test_a_scope_of_anyios_that_is_cancelled_before_the_request(
    door: str, inside: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent. Also by a later anyio that is another inside, which is asked the public way."""

    async def scenario(door: Door) -> None:
        pool = door.pool()
        with anyio.CancelScope() as scope:
            if inside == "changed":
                monkeypatch.delattr("anyio._backends._asyncio.backend_class")
            scope.cancel()
            await pool.raw.request("GET", server.url())
        assert scope.cancelled_caught

    through(door, HYPER, scenario)
    assert not server.requests
