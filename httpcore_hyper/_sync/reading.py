# Generated from _async/reading.py by scripts/sync.py. Not edited by hand.
"""Reading: how a response of httpx's gets at a body that came with its head.

httpx puts three generators around it, one in another, which takes as long as half of the engine's work on a
small request; and its stream and its response hold each other until a garbage collection. Both are left out
where nobody can tell, which is looked at when the body is read. Whatever has to be decoded is decoded by
httpx's own decoder, and what it raises httpx's own method raises.
"""

from __future__ import annotations

from importlib import import_module
from types import MethodType, ModuleType
from typing import Any
from weakref import ref

from .. import _rust
from .._native import missing
from .._originals import are_original, package_of, watch_over

__all__ = ["Reader", "build_reader"]

_NAME = "read"
# What httpx calls of a response to read it.
_READERS = (_NAME, "iter_bytes", "iter_raw", "close", "_get_content_decoder")
# What httpx calls of its models' other names, each as an attribute of the first.
_HELPERS = {
    "IdentityDecoder": ("decode", "flush"),
    "ByteChunker": ("decode", "flush"),
    "Headers": ("get_list",),
}


class Reader:
    """How responses of one httpx with our bodies are read."""

    def __init__(self, httpx: Any, bound: type, body: type) -> None:
        """`bound` is what httpx's client puts around a `body`."""
        models = import_module(f"{httpx.__name__}._models")
        places = [(httpx.Response, name) for name in _READERS]
        places += [(bound, "__iter__"), (models, "request_context")]
        for name, methods in _HELPERS.items():
            places += [(models, name), *((getattr(models, name), method) for method in methods)]
        watch = watch_over(places)
        self.unread = _rust.Unread(httpx.Response, httpx.Headers, bound, body, list(_READERS), watch)
        self.response = httpx.Response
        self.identity = models.IdentityDecoder
        self.models = models
        # httpx2's give iterators of bytes.
        self.gives_bytes = isinstance(models.IdentityDecoder().decode(b""), bytes)
        self.theirs = vars(httpx.Response)[_NAME]
        self.is_known = are_original(places, package_of(httpx))

    def attach(self, response: Any, body: Any) -> None:
        """Has the response read a `body` that is all here past httpx's own way."""
        response.read = Reading(response, self, body).read

    def pieces(self, decoded: Any) -> list[bytes]:
        """What a decoder has given, of which httpx leaves out what is empty."""
        return [piece for piece in ((decoded,) if self.gives_bytes else decoded) if piece]


class Reading:
    """Has the method that a response has in place of its class's until that is called.

    A response owns this, and is not owned by it: whoever lets go of a response lets go of its connection.
    """

    __slots__ = ("_body", "_had_content", "_kept", "_lines", "_reader", "_response", "_theirs")

    _kept: Any
    _theirs: Any

    def __init__(self, response: Any, reader: Reader | None = None, body: Any = None) -> None:
        """Without a reader, for a copy of a response, it leads to the class's method."""
        self._reader = reader
        self._response = ref(response)
        if reader is None:
            # As a bound method does. A copy has no connection that it could hold.
            self._kept = response
            self._theirs = _of_class(response)
        else:
            self._kept = None  # until it is read
            self._body = body
            self._lines = response.headers._list
            self._had_content = body._first is not None

    def read(self) -> bytes:
        """Read and return the response content."""
        reader, response = self._reader, self._owner()
        self._kept = response
        own = vars(response)
        found = own.get(_NAME)
        if type(found) is not MethodType or found.__self__ is not self:
            # Somebody has kept this method, which would be httpx's, and may have put one around it there.
            theirs = self._theirs if reader is None else reader.theirs.__get__(response)
            return theirs()  # type: ignore[no-any-return]
        own.pop(_NAME, None)
        if reader is not None:
            body = reader.unread.body(response)
            if body is not None:
                return _read_past(reader, response, body)
        return _of_class(response)()  # type: ignore[no-any-return]

    def _owner(self) -> Any:
        response = self._response() if self._kept is None else self._kept
        if response is None and self._reader is not None:
            # Only this method was kept, as by `transport.handle_request(request).read()`.
            response = self._stand_in(self._reader)
        return response

    def _stand_in(self, reader: Reader) -> Any:
        """Of a response that nobody has kept all that its reading depends on."""
        headers = [(name, value) for name, _, value in self._lines]
        response = reader.response(200, headers=headers, stream=self._body)
        response.is_closed = self._body._closed
        response.is_stream_consumed = self._had_content and self._body._first is None
        return response

    def __reduce__(self) -> tuple[Any, ...]:
        """The copy of a response is closed: it has nothing for us to read."""
        return Reading, (self._owner(),)


def _read_past(reader: Reader, response: Any, body: Any) -> bytes:
    """Reads a response as httpx does, and leaves it as that does."""
    response.headers.encoding  # noqa: B018 - httpx asks for it here, and headers keep what they find
    is_content = reader.unread.is_content(response.headers._list)
    if is_content:
        response._decoder = reader.identity()
    else:
        response._get_content_decoder()
    if response.is_stream_consumed:  # by another thread meanwhile
        return _of_class(response)()  # type: ignore[no-any-return]
    # Before anything is taken: whoever is interrupted, and another thread, does not find an empty body.
    response.is_stream_consumed = True
    content: bytes = body.rest()
    response._num_bytes_downloaded = len(content)
    if is_content:
        _close(response)
    else:
        content = _decode(reader, response, body, content)
    response._content = content
    return content


def _decode(reader: Reader, response: Any, body: Any, content: bytes) -> bytes:
    """The decoded content of a response, which is closed between its last piece and the decoder's end."""
    decoder = response._decoder
    try:
        pieces = reader.pieces(decoder.decode(content)) if content else []
    except BaseException as error:
        # What it leaves behind then, and to whom it tells it, is for httpx's own method to say.
        response._decoder = _Failed(error)
        response.is_stream_consumed = False
        body._first = content
        try:
            return _of_class(response)()  # type: ignore[no-any-return]
        finally:
            response._decoder = decoder
    _close(response)
    with reader.models.request_context(request=response._request):
        pieces += reader.pieces(decoder.flush())
    return b"".join(pieces)


def _close(response: Any) -> None:
    response.is_closed = True
    stream = response.stream
    stream.close()
    if hasattr(stream, "_response"):
        stream._response = _Told(response)


class _Failed:
    """Stands for a decoder that has raised."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def decode(self, _: bytes) -> Any:
        raise self._error


class _Told:
    """Stands for a response that has been read with httpx's stream, which tells it how long it took.

    The two would hold each other, and all that the request leaves, until a garbage collection.
    """

    __slots__ = ("_response",)

    def __init__(self, response: Any) -> None:
        self._response = ref(response)

    def _tell(self, elapsed: Any) -> None:
        response = self._response()
        if response is not None:
            response.elapsed = elapsed

    elapsed = property(None, _tell)


def _of_class(response: Any) -> Any:
    """The method that a response has by its class, whatever there is in its own dictionary."""
    kind = type(response)
    found = next(vars(base)[_NAME] for base in kind.__mro__ if _NAME in vars(base))
    bind = getattr(type(found), "__get__", None)
    return found if bind is None else bind(found, response, kind)


def build_reader(httpx: ModuleType, body: type) -> Reader | None:
    """The reader of one httpx; `None` where it reads in a way unknown here, or somebody had replaced it."""
    if missing is not None:
        return None
    try:
        bound = import_module(f"{httpx.__name__}._client").BoundSyncStream
        reader = Reader(httpx, bound, body)
        if not reader.is_known:
            return None
        # Without a coding and with one, which is nobody's own.
        for header in ("a", "content-encoding"):
            theirs, ours = (_left_by(attach, httpx, bound, body, header) for attach in (None, reader.attach))
            if theirs != ours:
                return None
        return reader
    except Exception:  # whatever another httpx says to what it does not know
        return None


def _left_by(attach: Any, httpx: Any, bound: Any, body: Any, header: str) -> Any:
    """What a response and its stream keep once it has been read."""
    headers = {header: "identity"}
    response = httpx.Response(200, headers=headers, stream=body(_Ended(), b"content", True, {}))
    if attach is not None:
        attach(response, response.stream)
    try:
        response.stream = bound(response.stream, response=response, start=0.0)
    except TypeError:  # httpx2's does not know the response
        response.stream = bound(response.stream, start=0.0)
    content = _outcome(response.read())
    owners = (response, response.headers, response.stream, response.stream._stream)
    return content, [_kept(owner) for owner in owners]


def _kept(owner: object) -> dict[str, Any]:
    """The plain values of an object, and the classes of others."""
    plain = (int, bytes, str, list)
    kept = {name: value if isinstance(value, plain) else type(value) for name, value in vars(owner).items()}
    kept.pop("_response", None)  # `_Told`, in a stream of httpx's that has been read by us
    return kept


def _outcome(reading: Any) -> Any:
    """What a coroutine returns that never waits; of the other door's methods, what they returned."""
    if isinstance(reading, bytes):
        return reading
    try:
        reading.send(None)
    except StopIteration as stop:
        return stop.value
    reading.close()
    return None


class _Ended:
    """Stands for an exchange of which everything has come."""

    def close(self) -> None:
        """Has nothing to give back."""
