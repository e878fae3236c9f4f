"""Models: one httpx's requests and responses, without its properties and constructors.

Both take longer than the engine has to do with a small request. They are left out where the classes keep
their values as the ones known here do, which is looked at once, and nobody has replaced what would else be
called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import _rust
from ._native import missing
from ._originals import are_original, package_of, watch_over

if TYPE_CHECKING:
    import httpx

__all__ = ["Models"]

Lines = list[tuple[bytes, bytes, bytes]]
"""Headers as httpx keeps them: the name of the wire, the name in lower case, the value."""

# What an httpx's own transport asks of these classes, and what it makes of the answer.
_ASKED = {
    "URL": ("raw_scheme", "raw_host", "port", "raw_path"),
    "Headers": ("__init__", "raw"),
    "Response": ("__init__",),
}


class Models:
    """The models of one httpx, for one door's transport."""

    def __init__(self, httpx: ModuleType, transport: type, handle: str) -> None:
        """`handle` is the method of httpx's own `transport` that is left out with the models."""
        self._response: Any = httpx.Response
        self._headers: Any = httpx.Headers
        self.reader: _rust.Models | None = None
        """Reads requests; `None` where the classes are not the ones known here."""
        if missing is not None:
            return
        default = import_module(f"{httpx.__name__}._transports.default")
        asked = [(getattr(httpx, owner), name) for owner, names in _ASKED.items() for name in names]
        places = [(transport, handle), (default, "Response"), *asked]
        self._watch = watch_over(places)
        reader = _rust.Models(httpx.Request, httpx.URL, httpx.Headers, httpx.ByteStream)
        try:
            are_known = (
                default.Response is httpx.Response
                and are_original(places, package_of(httpx))
                and _reads(httpx, reader)
                and self._makes()
            )
        except Exception:  # whatever another httpx says to what it does not know
            are_known = False
        if are_known:
            self.reader = reader

    def are_untouched(self) -> bool:
        """Whether nobody has replaced any of what is left out."""
        return self._watch.first_changed() is None

    def response(self, status: int, lines: Lines, stream: Any, extensions: dict[str, Any]) -> httpx.Response:
        """What the constructor would make. `lines` and `extensions` are the response's from then on."""
        headers = self._headers.__new__(self._headers)
        headers._list = lines
        headers._encoding = None
        response = self._response.__new__(self._response)
        response.status_code = status
        response.headers = headers
        response._request = None
        response.next_request = None
        response.extensions = extensions
        response.history = []
        response.is_closed = False
        response.is_stream_consumed = False
        response.default_encoding = "utf-8"
        response.stream = stream
        response._num_bytes_downloaded = 0
        return response  # type: ignore[no-any-return] # made past httpx's types

    def _makes(self) -> bool:
        """Whether `response` makes what the constructor makes."""
        pairs = [(b"Content-Type", b"text/plain"), (b"x-a", b"1"), (b"X-A", b"\xff")]
        lines = [(name, name.lower(), value) for name, value in pairs]
        extensions = {"http_version": b"HTTP/1.1"}
        stream: Any = object()
        theirs = self._response(200, headers=pairs, stream=stream, extensions=extensions)
        ours = self.response(200, lines, stream, extensions)
        (their_headers, their_values), (our_headers, our_values) = _apart(theirs), _apart(ours)
        return their_values == our_values and their_headers == our_headers


def _apart(response: httpx.Response) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """All that a response's headers keep, and all that it keeps beside them."""
    values = dict(vars(response))
    return vars(values.pop("headers")), values


def _reads(httpx: Any, reader: _rust.Models) -> bool:
    """Whether the reader finds in requests what httpx's own properties give."""
    return all(reader.read(request) == _told(request) for request in _samples(httpx))


def _told(request: httpx.Request) -> tuple[Any, ...]:
    url = request.url
    where = (url.raw_scheme, url.raw_host, url.port, url.raw_path)
    return request.method.encode("ascii"), *where, request.headers.raw, request.read()


def _samples(httpx: Any) -> Iterator[Any]:
    # Nothing here makes httpx load or compile what a program may never need: an import waits for it.
    yield httpx.Request("GET", "http://example.org")
    headers = [("X-A", "1"), ("x-a", "2")]
    yield httpx.Request(
        "post", "https://user:word@Example.org:8443/a b/?q=c#d", headers=headers, content=b"e"
    )
