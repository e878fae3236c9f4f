"""A body that came with its head is read past httpx's generators, and nobody can tell."""

from __future__ import annotations

import copy
import functools
import gc
import gzip
import inspect
import pickle
import threading
import weakref
import zlib
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest import mock

import anyio
import pytest
from doors import ASYNCIO, SYNC, TRIO, run_sync
from servers import CLOSE, RECEIVE, Server, send

import httpcore_hyper

BODY = b"a small body"


def head(length: int, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (length, headers)


def whole(body: bytes = BODY, headers: bytes = b"") -> list[Any]:
    """Head and body in one piece."""
    return [RECEIVE, send(head(len(body), headers) + body)]


def zipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


# A body in each coding, by their names in Content-Encoding.
CODINGS = [
    (b"gzip", zipped(BODY)),
    (b"GZip", zipped(BODY * 2**18)),
    (b"deflate", zlib.compress(BODY)),
    (b"deflate", zlib.compress(BODY)[2:-4]),  # without zlib's own frame, as some servers send it
    (b"deflate, gzip", zipped(zlib.compress(BODY))),
    (b"gzip, identity", zipped(BODY)),
    (b"gzip\r\nContent-Encoding: gzip", zipped(zipped(BODY))),
]


class Side:
    """One httpx at one door; a response's methods are named as the sync door has them."""

    def __init__(self, httpx: Any, door: str) -> None:
        self.httpx = httpx
        self.door = door
        self.is_async = door != SYNC
        ours = import_module("httpcore_hyper.httpx2") if httpx.__name__ == "httpx2" else httpcore_hyper
        prefix = "Async" if self.is_async else ""
        self.ours = getattr(ours, f"{prefix}HTTPTransport")
        self.theirs = getattr(httpx, f"{prefix}HTTPTransport")
        self.base = getattr(httpx, "AsyncBaseTransport" if self.is_async else "BaseTransport")
        self.bound = getattr(httpx._client, "BoundAsyncStream" if self.is_async else "BoundSyncStream")
        self.body = getattr(httpx, "AsyncByteStream" if self.is_async else "SyncByteStream")
        self.handle = "handle_async_request" if self.is_async else "handle_request"
        self.iterate = "__aiter__" if self.is_async else "__iter__"
        self._client = getattr(httpx, f"{prefix}Client")

    def name(self, method: str) -> str:
        return f"a{method}" if self.is_async else method

    async def call(self, owner: Any, method: str) -> Any:
        return await told(getattr(owner, self.name(method))())

    async def all_of(self, iterator: Any) -> list[Any]:
        return [part async for part in iterator] if self.is_async else list(iterator)

    async def unread(self, client: Any, url: str) -> Any:
        """A response that is going to be read past httpx, if nobody minds."""
        response = await told(client.send(client.build_request("GET", url), stream=True))
        assert (self.name("read") in vars(response)) is isinstance(client._transport, self.ours)
        return response

    def run(self, scenario: Callable[[Any], Awaitable[None]], transport: Any = None, **options: Any) -> None:
        async def main() -> None:
            client = self._client(transport=transport or self.ours(), **options)
            try:
                await scenario(client)
            finally:
                await self.call(client, "close")

        if self.is_async:
            anyio.run(main, backend=self.door)
        else:
            run_sync(main())


async def told(outcome: Any) -> Any:
    return await outcome if inspect.isawaitable(outcome) else outcome


@pytest.fixture(params=["httpx", "httpx2"])
def httpx(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = pytest.importorskip(request.param)
    return module


@pytest.fixture(params=[SYNC, ASYNCIO, TRIO])
def side(httpx: ModuleType, request: pytest.FixtureRequest) -> Side:
    return Side(httpx, request.param)


@pytest.fixture
def past(side: Side) -> Iterator[list[bytes]]:
    """The bodies that were read past httpx."""
    seen: list[bytes] = []
    stream = side.ours._parts.stream
    rest = stream.rest

    def look(self: Any) -> Any:
        seen.append(rest(self))
        return seen[-1]

    with mock.patch.object(stream, "rest", look):
        yield seen


def kept_by(owner: object) -> dict[str, Any]:
    """All that an object keeps: plain values, and the classes of others."""
    plain = (int, bytes, str, type(None))
    return {name: value if isinstance(value, plain) else type(value) for name, value in vars(owner).items()}


@pytest.mark.parametrize(
    ("script", "is_past"),
    [
        (whole(), True),
        (whole(b""), True),
        (whole(b"x" * 5000), True),
        ([RECEIVE, send(b"HTTP/1.1 204 No Content\r\n\r\n")], True),
        ([RECEIVE, send(b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")], True),
        ([RECEIVE, send(b"HTTP/1.1 302 No\r\nLocation: /next\r\nContent-Length: 1\r\n\r\na")], True),
        *((whole(body, b"Content-Encoding: %b\r\n" % name), True) for name, body in CODINGS),
        (whole(BODY, b"content-encoding: identity\r\n"), True),
        (whole(BODY, b"Content-Encoding: not-known\r\n"), True),
        (whole(b"", b"Content-Encoding: gzip\r\n"), True),
        (whole(zipped(BODY)[:-5], b"Content-Encoding: gzip\r\n"), True),
    ],
)
def test_a_response_keeps_what_httpx_leaves_in_it(
    side: Side, past: list[bytes], script: list[Any], is_past: bool
) -> None:
    kept: list[Any] = []

    async def scenario(client: Any) -> None:
        response = await told(client.get(server.url()))
        assert response.elapsed.total_seconds() > 0
        again = await side.all_of(getattr(response, side.name("iter_bytes"))())
        with pytest.raises(side.httpx.StreamConsumed):
            await side.all_of(getattr(response, side.name("iter_raw"))())
        await side.call(response, "close")
        assert await side.call(response, "read") is response.content
        assert b"".join(again) == response.content
        kept.append((kept_by(response), response.content, type(response.stream)))
        assert pickle.loads(pickle.dumps(response)).content == response.content

    for transport in (side.ours(), side.theirs()):
        with Server([script]) as server:
            side.run(scenario, transport)
    ours, theirs = kept
    assert ours == theirs
    assert bool(past) is is_past


def test_an_unread_response_is_httpxs(side: Side, past: list[bytes]) -> None:
    """It can be asked, copied and pickled; the copies are closed, as httpx makes them."""

    async def scenario(client: Any) -> None:
        response = await side.unread(client, server.url())
        method = getattr(response, side.name("read"))
        assert inspect.iscoroutinefunction(method) is side.is_async
        assert method.__name__ == side.name("read")
        assert method.__doc__.strip() == getattr(side.httpx.Response, side.name("read")).__doc__.strip()
        # What pickles functions by value otherwise finds it by its name.
        assert pickle.loads(pickle.dumps(method.__func__)) is method.__func__
        for copied in (copy.deepcopy, lambda response: pickle.loads(pickle.dumps(response))):
            other = copied(response)
            for _ in range(2):
                with pytest.raises(side.httpx.StreamClosed):
                    await side.call(other, "read")
                assert side.name("read") not in vars(other)
            with pytest.raises(side.httpx.StreamClosed):
                await side.call(copied(response), "read")
        with pytest.raises(side.httpx.ResponseNotRead):
            response.content  # noqa: B018 - what it raises is the point
        assert await told(method()) == BODY
        assert side.name("read") not in vars(response)
        assert await told(method()) is response.content
        gone = weakref.ref(response)
        del response
        assert await told(method()) == BODY, "a bound method keeps its owner"
        del method
        assert gone() is None

    with Server([whole()]) as server:
        side.run(scenario)
    assert past == [BODY]


def test_a_shallow_copy_reads_the_original(side: Side) -> None:
    async def scenario(client: Any) -> None:
        response = await side.unread(client, server.url())
        other = copy.copy(response)
        assert await side.call(other, "read") == BODY
        assert response.content == BODY
        assert await side.call(other, "read") == BODY

    with Server([whole()]) as server:
        side.run(scenario)


def test_a_response_that_nobody_keeps(side: Side) -> None:
    """Only its method, as by `transport.handle_request(request).read()`: with what was done to it before."""

    async def scenario(client: Any, url: str, change: Callable[[Any], Any], expected: Any) -> None:
        transport = client._transport
        for method in (getattr(transport, side.handle), partial(client.send, stream=True)):
            response = await told(method(client.build_request("GET", url)))
            await told(change(response))
            read = getattr(response, side.name("read"))
            del response
            if isinstance(expected, bytes):
                assert await told(read()) == expected
                assert await told(read()) == expected
                assert await told(copy.copy(read)()) == expected
            else:
                with pytest.raises(expected):
                    await told(read())
            assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(transport._pool)

    async def iterate(response: Any) -> None:
        await side.all_of(getattr(response, side.name("iter_raw"))())

    async def close(response: Any) -> None:
        await side.call(response, "close")

    def unzip(response: Any) -> None:
        response.headers["Content-Encoding"] = "gzip"

    packed = zipped(BODY)
    for change, body, expected in (
        (lambda response: None, BODY, BODY),
        (unzip, packed, BODY),
        (iterate, BODY, side.httpx.StreamConsumed),
        (close, BODY, side.httpx.StreamClosed),
    ):
        with Server([[*whole(body), *whole(body)]]) as server:
            side.run(partial(scenario, url=server.url(), change=change, expected=expected))


def test_a_streamed_one_is_told_what_httpx_tells(side: Side, past: list[bytes]) -> None:
    """Of a body that somebody has iterated, also where the response came out of a pickle."""

    async def scenario(client: Any) -> None:
        response = await side.unread(client, server.url())
        assert b"".join(await side.all_of(getattr(response, side.name("iter_bytes"))())) == BODY
        for other in (pickle.loads(pickle.dumps(response)), response):
            with pytest.raises(side.httpx.StreamConsumed):
                await side.call(other, "read")

    with Server([whole()]) as server:
        side.run(scenario)
    assert past == []


@pytest.fixture
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collections")
def test_all_that_a_request_leaves_goes_with_its_response(side: Side, past: list[bytes]) -> None:
    """httpx's own stream and its response hold each other until a garbage collection."""

    async def scenario(client: Any) -> None:
        response = await told(client.get(server.url()))
        stream, gone = response.stream, weakref.ref(response)
        vars(response).pop("_elapsed", None)
        stream.elapsed = None
        await side.call(stream, "close")
        assert response.elapsed.total_seconds() > 0, "the stream still tells its response"
        del response
        assert gone() is None
        await side.call(stream, "close")

    with Server([whole()]) as server:
        side.run(scenario)
    assert past == [BODY]


@pytest.mark.usefixtures("no_collections")
def test_whoever_drops_a_response_gives_its_connection_back(side: Side) -> None:
    """Of a transport, or of a client whose stream does not hold the response, at once."""

    async def scenario(client: Any) -> None:
        transport = client._transport
        request = client.build_request("GET", server.url())
        for method in (getattr(transport, side.handle), partial(client.send, stream=True)):
            response = await told(method(request))
            assert side.name("read") in vars(response)
            if hasattr(response.stream, "_response"):
                await side.call(response, "close")  # httpx's own circle
                continue
            with pytest.warns(ResourceWarning, match="unclosed response"):
                del response
            assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(transport._pool)

    with Server([[*whole(), *whole()]]) as server:
        side.run(scenario)


def test_what_somebody_did_to_a_response_counts(side: Side, past: list[bytes]) -> None:
    """Between the transport and the reading of its body, as event hooks and other transports do."""
    packed = zipped(BODY)

    class Louder(side.body):  # type: ignore[misc, name-defined]
        """Somebody's stream around ours."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            return (part.upper() for part in self._stream)

        async def __aiter__(self) -> Any:
            async for part in self._stream:
                yield part.upper()

        def close(self) -> None:
            self._stream.close()

        async def aclose(self) -> None:
            await self._stream.aclose()

    def wrap(response: Any) -> None:
        response.stream = Louder(response.stream)

    def unzip(response: Any) -> None:
        response.headers["Content-Encoding"] = "gzip"

    def replace(response: Any) -> None:
        response.headers = side.httpx.Headers({"content-encoding": "gzip"})

    class Mine(side.httpx.Response):  # type: ignore[misc, name-defined]
        pass

    def classify(response: Any) -> None:
        response.__class__ = Mine

    async def read_raw(response: Any) -> None:
        await side.all_of(getattr(response, side.name("iter_raw"))())

    async def close(response: Any) -> None:
        await side.call(response, "close")

    def tee(response: Any) -> None:
        """What debug hooks do: the response's own dictionary comes before its class."""
        name = side.name("iter_raw")
        inner = getattr(response, name)

        async def louder() -> Any:
            async for part in inner():
                yield part.upper()

        setattr(response, name, louder if side.is_async else lambda: (part.upper() for part in inner()))

    async def scenario(client: Any, url: str, change: Callable[[Any], Any], expected: Any) -> None:
        response = await side.unread(client, url)
        await told(change(response))
        if isinstance(expected, bytes):
            assert await side.call(response, "read") == expected
        else:
            with pytest.raises(expected):
                await side.call(response, "read")
            await side.call(response, "close")

    for change, body, expected in (
        (wrap, BODY, BODY.upper()),
        (unzip, packed, BODY),
        (replace, packed, BODY),
        (classify, BODY, BODY),
        (tee, BODY, BODY.upper()),
        (read_raw, BODY, side.httpx.StreamConsumed),
        (close, BODY, side.httpx.StreamClosed),
    ):
        for transport in (side.ours(), side.theirs()):
            with Server([whole(body)]) as server:
                side.run(partial(scenario, url=server.url(), change=change, expected=expected), transport)
    assert past == [packed, packed], "ours alone knows what is to be decoded"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", BODY),
        (b"gzip", zipped(BODY)[:-9] + b"\0" * 9),
        (b"deflate", BODY),
        (b"deflate, gzip", zipped(BODY)),
    ],
    ids=["no gzip", "a wrong checksum", "no deflate", "no deflate in gzip"],
)
# httpx leaves its generators where they are, of which trio tells.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_wrong_with_a_body_httpx_says(
    side: Side, past: list[bytes], coding: bytes, body: bytes
) -> None:
    told_by: list[Any] = []

    async def scenario(client: Any) -> None:
        response = await side.unread(client, server.url())
        with pytest.raises(side.httpx.DecodingError) as first:
            await side.call(response, "read")
        with pytest.raises(Exception) as second:  # noqa: PT011 - compared below
            await side.call(response, "read")
        assert first.value.request is response.request
        told_by.append(
            (str(first.value), kept_by(response), type(second.value), str(second.value), str(response))
        )
        await side.call(response, "close")
        with pytest.raises(side.httpx.DecodingError):
            await told(client.get(server.url()))

    play = whole(body, b"Content-Encoding: %b\r\n" % coding)
    for transport in (side.ours(), side.theirs()):
        with Server([[*play, *play], play]) as server:
            side.run(scenario, transport)
    ours, theirs = told_by
    assert ours == theirs
    assert past == [body, body]


def raising(error: type[BaseException]) -> Callable[[Any], Any]:
    def step(_: Any) -> Any:
        raise error("of a decoder")

    return step


@pytest.mark.parametrize("step", ["decode", "flush"])
@pytest.mark.parametrize(
    "does",
    [
        raising(KeyboardInterrupt),
        raising(ValueError),
        bytearray,
        lambda data: None,
        lambda data: [data, b"", data],
        lambda data: iter((data, b"")),
        str,
    ],
    ids=["interrupted", "fails", "bytearray", "nothing", "list", "iterator", "no bytes"],
)
# As above.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_decoder_of_somebody_elses_does_what_it_does_for_httpx(
    side: Side, past: list[bytes], does: Callable[[Any], Any], step: str
) -> None:
    decoders = import_module(f"{side.httpx.__name__}._decoders")
    told_by: list[Any] = []
    steps: list[str] = []

    class Odd(decoders.IdentityDecoder):  # type: ignore[misc, name-defined]
        """Does something odd, once for each response."""

        def __init__(self) -> None:
            self.was_odd = False

        def decode(self, data: bytes) -> Any:
            return self.take("decode", data)

        def flush(self) -> Any:
            return self.take("flush")

        def take(self, name: str, *data: bytes) -> Any:
            steps.append(name)
            if name == step and not self.was_odd:
                self.was_odd = True
                return does(data[0] if data else b"the end")
            return getattr(super(), name)(*data)

    async def outcome(response: Any) -> Any:
        try:
            return await side.call(response, "read")
        except BaseException as error:
            return type(error), str(error), getattr(error, "request", None) is not None

    async def scenario(client: Any) -> None:
        response = await side.unread(client, server.url())
        outcomes = [await outcome(response) for _ in range(2)]
        told_by.append((outcomes, kept_by(response), steps.copy()))
        steps.clear()
        await side.call(response, "close")

    with mock.patch.dict(decoders.SUPPORTED_DECODERS, {"odd": Odd}):
        for transport in (side.ours(), side.theirs()):
            with Server([whole(BODY, b"Content-Encoding: odd\r\n")]) as server:
                side.run(scenario, transport)
    ours, theirs = told_by
    assert ours == theirs
    assert past == [BODY]


def test_another_thread_finds_a_body_that_is_being_decoded_consumed(httpx: Any) -> None:
    side = Side(httpx, SYNC)
    decoders = import_module(f"{httpx.__name__}._decoders")
    found: list[Any] = []

    class Meanwhile(decoders.IdentityDecoder):  # type: ignore[misc, name-defined]
        def decode(self, data: bytes) -> Any:
            thread = threading.Thread(target=read_meanwhile)
            thread.start()
            thread.join()
            return super().decode(data)

    def read_meanwhile() -> None:
        with pytest.raises(httpx.StreamConsumed):
            response.read()
        found.append("consumed")

    with (
        mock.patch.dict(decoders.SUPPORTED_DECODERS, {"meanwhile": Meanwhile}),
        Server([whole(BODY, b"Content-Encoding: meanwhile\r\n")]) as server,
        httpx.Client(transport=side.ours()) as client,
        client.stream("GET", server.url()) as response,
    ):
        assert response.read() == BODY
    assert found == ["consumed"]


def test_a_patched_reader_is_asked(side: Side, past: list[bytes]) -> None:
    models = import_module(f"{side.httpx.__name__}._models")

    async def scenario(client: Any, url: str, owner: Any, name: str) -> None:
        response = await side.unread(client, url)
        method, asked = getattr(owner, name), []

        def patched(*args: Any, **options: Any) -> Any:
            asked.append(name)
            return method(*args, **options)

        with mock.patch.object(owner, name, patched):
            assert await side.call(response, "read") == BODY
        assert set(asked) == {name}

    readers = [side.name(name) for name in ("read", "iter_bytes", "iter_raw", "close")]
    for owner, name in (
        *((side.httpx.Response, name) for name in (*readers, "_get_content_decoder")),
        (side.bound, side.iterate),
        (models, "IdentityDecoder"),
        (models, "ByteChunker"),
        (models, "request_context"),
    ):
        with Server([whole()]) as server:
            side.run(partial(scenario, url=server.url(), owner=owner, name=name))
    assert past == []


def test_a_reader_of_ones_own_stays(side: Side, past: list[bytes]) -> None:
    """Tracers put their own around a response's method, and call that."""

    async def scenario(client: Any) -> None:
        response = await side.unread(client, server.url())
        name = side.name("read")
        inner, calls = getattr(response, name), []

        def mine() -> Any:
            calls.append(name)
            return inner()

        setattr(response, name, mine)
        for _ in range(2):
            assert await side.call(response, "read") == BODY
        assert len(calls) == 2
        with mock.patch.object(response, name, wraps=inner) as patched:
            assert await side.call(response, "read") == BODY
        patched.assert_called_once_with()

        response = await side.unread(client, server.url())
        setattr(response, name, Proxy(getattr(response, name)))
        assert await side.call(response, "read") == BODY
        assert type(vars(response)[name]) is Proxy

    class Proxy:
        """Shows what is under it as its own, as wrapt's do."""

        def __init__(self, wrapped: Any) -> None:
            self.__wrapped__ = wrapped

        def __getattr__(self, name: str) -> Any:
            return getattr(self.__wrapped__, name)

        def __call__(self) -> Any:
            return self.__wrapped__()

    with Server([[*whole(), *whole()]]) as server:
        side.run(scenario)
    assert past == []


def test_a_class_is_patched_with_whatever(side: Side) -> None:
    """With what does not bind, and with what calls the method that was there."""

    async def scenario(client: Any) -> None:
        name = side.name("read")
        response = await side.unread(client, server.url())
        double = mock.AsyncMock if side.is_async else mock.Mock
        with mock.patch.object(side.httpx.Response, name, double(return_value=b"mocked")) as patched:
            assert await side.call(response, "read") == b"mocked"
        patched.assert_called_once_with()
        assert await side.call(response, "read") == BODY

        response = await side.unread(client, server.url())
        kept = getattr(response, name)

        def through_it(self: Any) -> Any:
            return kept()

        with mock.patch.object(side.httpx.Response, name, through_it):
            assert await side.call(response, "read") == BODY

    with Server([[*whole(), *whole()]]) as server:
        side.run(scenario)


def test_an_interrupted_reading_does_not_become_an_empty_body(side: Side) -> None:
    async def scenario(client: Any) -> None:
        response = await side.unread(client, server.url())
        with (
            mock.patch.object(side.ours._parts.stream, "rest", side_effect=KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            await side.call(response, "read")
        with pytest.raises(side.httpx.StreamConsumed):
            await side.call(response, "read")
        await side.call(response, "close")

    with Server([whole()]) as server:
        side.run(scenario)


def test_another_transport_around_ours_sees_a_response_as_ever(side: Side, past: list[bytes]) -> None:
    """It may pass it on, read it first, or make a response of its own of its stream."""

    class Outer(side.base):  # type: ignore[misc, name-defined]
        def __init__(self, inner: Any, change: Callable[[Any], Any]) -> None:
            self._inner = inner
            self._change = change

        async def handle_async_request(self, request: Any) -> Any:
            return await told(self._change(await self._inner.handle_async_request(request)))

        def handle_request(self, request: Any) -> Any:
            return run_sync(told(self._change(self._inner.handle_request(request))))

        async def aclose(self) -> None:
            await self._inner.aclose()

        def close(self) -> None:
            self._inner.close()

    async def read(response: Any) -> Any:
        assert await side.call(response, "read") == BODY
        return response

    def remake(response: Any) -> Any:
        return side.httpx.Response(200, headers=response.headers, stream=response.stream)

    async def scenario(client: Any) -> None:
        response = await told(client.get(server.url()))
        assert (response.status_code, response.content) == (200, BODY)
        assert response.num_bytes_downloaded == len(BODY)

    for change, read_past in ((lambda response: response, True), (read, True), (remake, False)):
        past.clear()
        with Server([whole()]) as server:
            side.run(scenario, Outer(side.ours(), change))
        assert bool(past) is read_past


def test_it_is_read_by_who_comes_first(side: Side, past: list[bytes]) -> None:
    """Event hooks, and flows of authentication that look at a response's body."""

    async def hook(response: Any) -> None:
        bodies.append(await side.call(response, "read"))

    def sync_hook(response: Any) -> None:
        bodies.append(response.read())

    class Auth(side.httpx.Auth):  # type: ignore[misc, name-defined]
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            response = yield request
            bodies.append(response.content)

    async def scenario(client: Any) -> None:
        response = await told(client.get(server.url(), auth=Auth()))
        assert response.content == BODY

    bodies: list[bytes] = []
    hooks = {"response": [hook if side.is_async else sync_hook]}
    with Server([whole()]) as server:
        side.run(scenario, event_hooks=hooks)
    assert (bodies, past) == ([BODY, BODY], [BODY])


def test_a_body_in_parts_is_httpxs_to_read(side: Side, past: list[bytes]) -> None:
    """Its errors come where they did."""
    outcomes: list[Any] = []

    async def scenario(client: Any) -> None:
        response = await told(client.send(client.build_request("GET", server.url()), stream=True))
        assert side.name("read") not in vars(response)
        with pytest.raises(side.httpx.RemoteProtocolError) as error:
            await side.call(response, "read")
        outcomes.append(
            (str(error.value.request.url.path), response.num_bytes_downloaded, response.is_closed)
        )
        await side.call(response, "close")

    for transport in (side.ours(), side.theirs()):
        with Server([[RECEIVE, send(head(9) + b"1"), CLOSE]]) as server:
            side.run(scenario, transport)
    assert outcomes[0] == outcomes[1]
    assert past == []


def test_a_sync_response_is_no_async_one(httpx: Any) -> None:
    """httpx tells them apart by the class of the stream."""
    side = Side(httpx, SYNC)
    for transport in (side.ours(), side.theirs()):
        with Server([whole()]) as server, transport:
            response = transport.handle_request(httpx.Request("GET", server.url()))
            with pytest.raises(RuntimeError, match="async iterator"):
                run_sync(response.aread())
            response.close()


def test_an_httpx_that_reads_otherwise_is_left_to_it(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later one may have more to do when a body is read, or keep more of it."""
    module = import_module(f"httpcore_hyper.{'_async' if side.is_async else '_sync'}.reading")
    stream = side.ours._parts.stream
    monkeypatch.setattr(module, "are_original", lambda *_: True)
    name = side.name("read")
    reader = getattr(side.httpx.Response, name)

    async def aread(self: Any) -> bytes:
        self._more = 1
        content: bytes = await reader(self)
        return content

    def read(self: Any) -> bytes:
        self._more = 1
        content: bytes = reader(self)
        return content

    assert module.build_reader(side.httpx, stream) is not None
    with mock.patch.object(side.httpx.Response, name, aread if side.is_async else read):
        assert module.build_reader(side.httpx, stream) is None
    with mock.patch.object(side.httpx._client, side.bound.__name__, None):
        assert module.build_reader(side.httpx, stream) is None


def test_what_was_replaced_before_is_not_taken_for_httpxs(side: Side) -> None:
    """A tracer may be installed before the first of our transports is asked for."""
    module = import_module(f"httpcore_hyper.{'_async' if side.is_async else '_sync'}.reading")
    stream = side.ours._parts.stream
    models = side.httpx._models
    for owner, name in (
        *((side.httpx.Response, side.name(method)) for method in ("read", "iter_bytes", "iter_raw", "close")),
        (side.bound, side.iterate),
        (models.ByteChunker, "decode"),
        (models, "IdentityDecoder"),
        (models, "request_context"),
    ):
        method = vars(owner)[name]

        def mine(*args: Any, method: Any = method, **options: Any) -> Any:
            return method(*args, **options)

        for replaced in (mine, functools.wraps(method)(mine)):
            with mock.patch.object(owner, name, replaced):
                assert module.build_reader(side.httpx, stream) is None, (name, replaced)
    assert module.build_reader(side.httpx, stream) is not None
