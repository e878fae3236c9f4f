# Generated from _async/reading.py by scripts/sync.py. Not edited by hand.
"""Reading: how a response of httpx's gets at a body that came with its head.

httpx puts three generators around it, one in another, and a decoder that decodes nothing, which takes as
long as half of the engine's work on a small request. They are left out where they would change nothing; that
is looked at when the body is read.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any
from weakref import ref

from .. import _rust
from .._native import missing
from .._way import namespace_of

__all__ = ["ReadMethod", "build_reading"]

ReadMethod = Callable[[Any], Any]
"""`Response.read`, not yet bound to a response."""

# What httpx would call of a response.
_READERS = ("read", "iter_bytes", "iter_raw", "close", "_get_content_decoder")


def build_reading(httpx: ModuleType, body: type) -> ReadMethod | None:
    """`Response.read` for responses with a `body`; `None` where httpx reads in a way unknown here."""
    if missing is not None:
        return None
    try:
        bound = import_module(f"{httpx.__name__}._client").BoundSyncStream
        read = _made(httpx, bound, body)
        theirs, ours = (_left_by(read, httpx, bound, body) for read in (httpx.Response.read, read))
        return read if theirs == ours else None
    except Exception:  # whatever another httpx says to what it does not know
        return None


def _made(httpx: Any, bound: type, body: type) -> ReadMethod:
    models = import_module(f"{httpx.__name__}._models")
    places = [(httpx.Response, name) for name in _READERS]
    places += [(bound, "__iter__")]
    places += [(models, name) for name in ("request_context", "ByteChunker", "IdentityDecoder")]
    watch = _rust.Watch([(namespace_of(owner), name) for owner, name in places])
    unread = _rust.Unread(httpx.Response, httpx.Headers, bound, body, watch)
    decoder = models.IdentityDecoder

    def read(self: Any) -> bytes:
        """Read and return the response content."""
        try:  # noqa: SIM105 - a context manager takes ten times as long, as often as there are requests
            del self.read
        except AttributeError:
            pass  # whoever kept this method calls it again
        stream = unread.body(self)
        if stream is None:
            return type(self).read(self)  # type: ignore[no-any-return] # httpx's own
        content: bytes = stream.rest()
        self._decoder = decoder()
        self.is_stream_consumed = True
        self._num_bytes_downloaded = len(content)
        self.is_closed = True
        stream = self.stream
        stream.close()
        if hasattr(stream, "_response"):
            stream._response = _Told(self)
        self._content = content
        return content

    return read


class _Told:
    """Stands for a response that has been read with httpx's stream, which tells it how long it took.

    The two would hold each other, and all that a request leaves, until a garbage collection.
    """

    __slots__ = ("_response",)

    def __init__(self, response: Any) -> None:
        self._response = ref(response)

    def _tell(self, elapsed: Any) -> None:
        response = self._response()
        if response is not None:
            response.elapsed = elapsed

    elapsed = property(None, _tell)


def _left_by(read: ReadMethod, httpx: Any, bound: Any, body: Any) -> Any:
    """What a response and its stream keep once it has been read."""
    response = httpx.Response(200, stream=body(_Ended(), b"content", True, {}))
    try:
        response.stream = bound(response.stream, response=response, start=0.0)
    except TypeError:  # httpx2's does not know the response
        response.stream = bound(response.stream, start=0.0)
    content = _outcome(read(response))
    return content, _kept(response), _kept(response.stream), _kept(response.stream._stream)


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
