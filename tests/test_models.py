"""httpx's models, read and made past its own properties and constructors: nobody can tell."""

from __future__ import annotations

import pickle
import random
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from httpcore_hyper._models import Models

ROUNDS = 2000
SCHEMES = ("http", "https", "ws", "wss")
HOSTS = ("example.org", "EXAMPLE.org", "127.0.0.1", "[::1]", "m\u00fcller.de", "xn--mller-kva.de", "a_b")
PORTS = ("", ":80", ":443", ":8000", ":0", ":")
PATHS = ("", "/", "/a b", "/%41%zz", "/\u20ac", "//x", "/a/../b", "/a;b", "/a:b@c")
QUERIES = ("", "?", "?a=b", "?a=b c&d", "?\u00e9", "?a?b")
NAMES = ("X-A", "x-a", "Content-Type", "content-length", "Host", "Set-Cookie", "ACCEPT")
VALUES = (b"", b"a", b"text/plain; charset=latin-1", b"\xe9", b"\xff\xfe", b" padded ", b"a=b; Path=/")


@pytest.fixture(params=["httpx", "httpx2"])
def httpx(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = pytest.importorskip(request.param)
    return module


@pytest.fixture
def models(httpx: ModuleType) -> Models:
    return made(httpx)


def made(httpx: Any) -> Models:
    return Models(httpx, httpx.HTTPTransport, "handle_request")


def headers(numbers: random.Random) -> list[tuple[bytes, bytes]]:
    return [(numbers.choice(NAMES).encode(), numbers.choice(VALUES)) for _ in range(numbers.randrange(6))]


def test_requests_are_read_as_httpx_reads_them(httpx: Any, models: Models) -> None:
    numbers = random.Random(7)
    assert models.reader is not None
    for _ in range(ROUNDS):
        host, port, path = (numbers.choice(parts) for parts in (HOSTS, PORTS, PATHS))
        user = numbers.choice(("", "user:pass@"))
        url = httpx.URL(f"{numbers.choice(SCHEMES)}://{user}{host}{port}{path}{numbers.choice(QUERIES)}#part")
        if numbers.random() < 0.2:
            url = url.copy_with(query=b"x=%20", port=None)
        method = numbers.choice(("GET", "post", "PUT", "Query"))
        content = numbers.choice((None, b"", b"body", "text"))
        request = httpx.Request(method, url, headers=headers(numbers), content=content)
        if numbers.random() < 0.5:
            request.headers[numbers.choice(NAMES)] = "later"
        read = models.reader.read(request)
        where = (request.url.raw_scheme, request.url.raw_host, request.url.port, request.url.raw_path)
        assert read == (request.method.encode(), *where, request.headers.raw, request.read())


def test_what_httpx_has_to_look_at_is_not_read(httpx: Any, models: Models) -> None:
    class Request(httpx.Request):  # type: ignore[misc]
        pass

    class URL(httpx.URL):  # type: ignore[misc]
        pass

    class Stream(httpx.ByteStream):  # type: ignore[misc]
        pass

    def changed(name: str, value: object) -> Any:
        request = httpx.Request("GET", "http://example.org")
        setattr(request, name, value)
        return request

    def lines(kept: object) -> Any:
        """Headers that somebody has reached into."""
        headers = httpx.Headers()
        headers._list = kept
        return headers

    reader = models.reader
    assert reader is not None
    for request in (
        None,
        object(),
        Request("GET", "http://example.org"),
        changed("url", URL("http://example.org")),
        changed("url", httpx.URL("ftp://example.org")),
        changed("url", httpx.URL("/relative")),
        changed("stream", Stream(b"")),
        changed("stream", iter([b"a"])),
        changed("headers", [(b"a", b"b")]),
        changed("headers", lines([(b"a", b"a", "text")])),
        changed("headers", lines([(b"a", b"b")])),
        changed("headers", lines(())),
        changed("method", "G\u00c9T"),
        changed("extensions", {"target": b"*"}),
        changed("extensions", {"trace": print}),
        changed("extensions", mock.MagicMock()),
        httpx.Request("POST", "http://example.org", content=iter([b"a"])),
        httpx.Request("POST", "http://example.org", files={"a": b"b"}),
    ):
        assert reader.read(request) is None, request
    for extensions in ({}, {"trace": None}, {"timeout": {}, "other": 1}):
        assert reader.read(changed("extensions", extensions)) is not None


def test_responses_are_those_of_the_constructor(httpx: Any, models: Models) -> None:
    numbers = random.Random(11)
    for _ in range(ROUNDS):
        pairs = headers(numbers)
        lines = [(name, name.lower(), value) for name, value in pairs]
        extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"Fine"}
        stream = httpx.ByteStream(b"content")
        theirs = httpx.Response(204, headers=pairs, stream=stream, extensions=extensions)
        ours = models.response(204, lines, stream, dict(extensions))
        assert type(ours) is type(theirs)
        kept = [{**vars(response), "headers": vars(response.headers)} for response in (ours, theirs)]
        assert kept[0] == kept[1]
        assert ours.headers == theirs.headers
        assert ours.headers.encoding == theirs.headers.encoding
        assert (ours.read(), ours.text, ours.encoding) == (theirs.read(), theirs.text, theirs.encoding)
        assert pickle.loads(pickle.dumps(ours)).headers.raw == pairs
        assert repr(ours) == repr(theirs)
        ours.headers["X-A"] = theirs.headers["X-A"] = "mine"
        assert ours.headers.raw == theirs.headers.raw


def test_responses_share_nothing(models: Models) -> None:
    first, second = (models.response(200, [], None, {}) for _ in range(2))
    first.history.append(second)
    first.headers["a"] = "b"
    assert (second.history, second.headers.raw) == ([], [])


def test_models_that_are_not_the_known_ones_are_left_to_httpx(
    httpx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later httpx may keep its values elsewhere, or more of them."""
    assert made(httpx).reader is not None
    monkeypatch.setattr("httpcore_hyper._models.are_original", lambda *_: True)

    def response_init(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._more = 1

    init = httpx.Response.__init__
    for owner, name, value in (
        (httpx.Response, "__init__", response_init),
        (httpx.URL, "raw_path", property(lambda url: b"/told")),
        (httpx.Headers, "raw", property(lambda headers: [])),
        (httpx.URL, "_uri_reference", property(lambda url: None, lambda url, value: None)),
    ):
        with mock.patch.object(owner, name, value, create=True):
            assert made(httpx).reader is None, name
    with mock.patch.object(import_module(f"{httpx.__name__}._transports.default"), "Response"):
        assert made(httpx).reader is None


def test_a_replaced_function_is_noticed(httpx: Any, models: Models) -> None:
    for owner, name in (
        (httpx.HTTPTransport, "handle_request"),
        (httpx.URL, "raw_path"),
        (httpx.URL, "raw_host"),
        (httpx.URL, "raw_scheme"),
        (httpx.URL, "port"),
        (httpx.Headers, "raw"),
        (httpx.Headers, "__init__"),
        (httpx.Response, "__init__"),
    ):
        assert models.are_untouched()
        with mock.patch.object(owner, name, mock.Mock()):
            assert not models.are_untouched(), name
    assert models.are_untouched()
