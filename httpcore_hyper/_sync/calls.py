# Generated from _async/calls.py by scripts/sync.py. Not edited by hand.
"""Calls: `request` and `stream`, what httpcore's pools offer above `handle_request`.

httpcore checks each value of a call, splits the URL and makes a `Request`, and we would take that apart
again: a third of the time that a small request takes. Here is the short way, for plain values that nobody
looks at on their way. What only httpcore can do, and be it to raise its own error, httpcore does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import _rust
from .._flavour import Flavour

if TYPE_CHECKING:
    import httpcore

    _Pool = httpcore.ConnectionPool
else:
    _Pool = object  # the flavour's own pool comes behind the engine in each class's bases

__all__ = ["Calls"]


class Calls(_Pool):
    """The part of an engine's pool that takes calls."""

    _flavour: Flavour

    def request(
        self,
        method: bytes | str,
        url: httpcore.URL | bytes | str,
        *,
        headers: Any = None,
        content: Any = None,
        extensions: Any = None,
    ) -> httpcore.Response:
        """Sends a request and returns its response, whose body has been read and closed.

        Takes httpcore's arguments, and raises what it raises.
        """
        response = self._short_way(method, url, headers, content, extensions)
        if response is None:
            return super().request(method, url, headers=headers, content=content, extensions=extensions)
        stream: Any = response.stream  # an `ResponseStream`
        try:
            if not (stream._ended and self._flavour.responses.fill(response, stream._first or b"")):
                response.read()
        finally:
            stream._close()
        return response

    @contextmanager
    def stream(
        self,
        method: bytes | str,
        url: httpcore.URL | bytes | str,
        *,
        headers: Any = None,
        content: Any = None,
        extensions: Any = None,
    ) -> Iterator[httpcore.Response]:
        """Sends a request and gives its response, whose body has yet to be read, and closes it in the end.

        Takes httpcore's arguments, and raises what it raises.
        """
        response = self._short_way(method, url, headers, content, extensions)
        if response is None:
            with super().stream(
                method, url, headers=headers, content=content, extensions=extensions
            ) as response:
                yield response
            return
        try:
            yield response
        finally:
            response.close()

    def _short_way(
        self, method: Any, url: Any, headers: Any, content: Any, extensions: Any
    ) -> httpcore.Response | None:
        """The response to a call that needs no help of httpcore's; else `None`, and nothing has been done."""
        pool: Any = self  # an `EnginePool`
        if extensions is None:
            extensions = {}
        if (
            type(extensions) is not dict
            or "target" in extensions
            or extensions.get("trace") is not None
            or not pool._is_untouched()
        ):
            return None
        exchange = pool._engine().plain_exchange(
            method,
            url,
            headers,
            content,
            extensions.get("timeout"),
            extensions.get("sni_hostname") or None,
        )
        if exchange is None:
            return None
        try:
            head = exchange.head()
        except _rust.Moved:
            # Another request found a reason to delegate the pool while this one was in the queue.
            return None
        except BaseException:
            exchange.close()
            raise
        response: httpcore.Response = pool._response(exchange, *head)
        return response
