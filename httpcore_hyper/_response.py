"""Responses of httpcore's class, made without the checks of its constructor.

The engine gives what those checks would let pass, and they take longer than the engine has to do with a small
response. Where the class is not the one known here, its own methods do the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._originals import are_original

if TYPE_CHECKING:
    import httpcore

__all__ = ["Responses"]


class _Probe:
    def __iter__(self) -> Iterator[bytes]:
        yield b"content"


class Responses:
    """Makes the responses of one flavour."""

    def __init__(self, kind: type[httpcore.Response], package: str) -> None:
        """`package` is the one that the class is said to be of."""
        self._kind = kind
        self._init = kind.__init__
        self._read, self._aread = kind.read, kind.aread
        given: dict[str, Any] = {"status": 200, "headers": [], "stream": _Probe(), "extensions": {}}
        probe = kind(200, headers=[], content=given["stream"], extensions=given["extensions"])
        made = vars(probe) == {**given, "_stream_consumed": False}
        probe.read()
        read = vars(probe) == {**given, "_stream_consumed": True, "_content": b"content"}
        own = are_original([(kind, name) for name in ("__init__", "read", "aread")], package)
        self._is_known = made and read and own

    def make(
        self, status: int, headers: list[tuple[bytes, bytes]], stream: Any, extensions: dict[str, Any]
    ) -> httpcore.Response:
        """A response whose body has yet to be read."""
        kind = self._kind
        if not self._is_known or kind.__init__ is not self._init:
            return kind(status, headers=headers, content=stream, extensions=extensions)
        response = kind.__new__(kind)
        response.status = status
        response.headers = headers
        response.stream = stream
        response.extensions = extensions
        response._stream_consumed = False
        return response

    def fill(self, response: Any) -> bool:
        """Reads the body of a response, all of which its stream has; tells whether it is known how."""
        kind = self._kind
        if not self._is_known or kind.read is not self._read or kind.aread is not self._aread:
            return False
        response._content = response.stream._first or b""
        response._stream_consumed = True
        return True
