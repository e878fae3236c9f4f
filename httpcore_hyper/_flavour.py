"""Flavour: what the engine needs from the httpcore that a pool belongs to.

Its models and exceptions (always its own objects, never copies: httpx maps exceptions by class
identity), and the functions on its own way from a pool to a socket. Someone who patched one of those,
or put another network backend in, wants to be on that way: such a pool is served by httpcore's engine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import httpcore
import httpcore._backends.anyio
import httpcore._backends.auto
import httpcore._backends.sync
import httpcore._backends.trio

__all__ = ["HTTPCORE", "Flavour", "delays", "whole_body"]

_OPENERS = ("connect_tcp", "connect_unix_socket")


@dataclass(frozen=True)
class Flavour:
    """One module with httpcore's names, and what it looked like when it was imported."""

    module: ModuleType
    default_backends: tuple[type, ...]
    """The classes that a pool makes its network backend of when it is given none."""

    seen: list[tuple[type, str, Any]] = field(default_factory=list)
    """Class, name and value of each function on httpcore's own way."""

    @property
    def connection_logger(self) -> logging.Logger:
        """Tells of connecting and closing."""
        return logging.getLogger(f"{self.module.__name__}.connection")

    @property
    def http11_logger(self) -> logging.Logger:
        """Tells of requests and responses."""
        return logging.getLogger(f"{self.module.__name__}.http11")

    def patched(self) -> str | None:
        """The first of those functions that is not the one seen at import."""
        for owner, name, function in self.seen:
            if owner.__dict__.get(name) is not function:
                return f"{owner.__module__}.{owner.__qualname__}.{name}"
        return None


def delays() -> Iterator[float]:
    """The pauses before connecting again, in seconds, as httpcore has them: 0, 0.5, 1, 2, 4, ..."""
    yield 0.0
    pause = 0.5
    while True:
        yield pause
        pause *= 2


def _seen() -> Iterator[tuple[type, str, Any]]:
    sync, asynchronous = "handle_request", "handle_async_request"
    for owner, names in (
        (httpcore.ConnectionPool, (sync, "create_connection")),
        (httpcore.AsyncConnectionPool, (asynchronous, "create_connection")),
        (httpcore.HTTPConnection, (sync,)),
        (httpcore.AsyncHTTPConnection, (asynchronous,)),
        (httpcore.HTTP11Connection, (sync,)),
        (httpcore.AsyncHTTP11Connection, (asynchronous,)),
        (httpcore._backends.sync.SyncBackend, _OPENERS),
        (httpcore._backends.auto.AutoBackend, _OPENERS),
        (httpcore._backends.anyio.AnyIOBackend, _OPENERS),
        (httpcore._backends.trio.TrioBackend, _OPENERS),
    ):
        for name in names:
            yield owner, name, owner.__dict__[name]


HTTPCORE = Flavour(
    module=httpcore,
    default_backends=(
        httpcore._backends.sync.SyncBackend,
        httpcore._backends.auto.AutoBackend,
    ),
    seen=list(_seen()),
)

# The attribute that holds the bytes of a body that is no iterator, by its class. httpx's class is found
# by its name, so that httpx is not imported for it.
_WHOLE_BODIES: dict[type, str] = {httpcore._models.ByteStream: "_content"}
_HTTPX_BYTE_STREAM = ("httpx._content", "ByteStream")


def whole_body(stream: object) -> bytes | None:
    """The bytes of a request body that is all there, `None` for one that must be iterated."""
    kind = type(stream)
    attribute = _WHOLE_BODIES.get(kind)
    if attribute is None:
        if (kind.__module__, kind.__qualname__) != _HTTPX_BYTE_STREAM:
            return None
        _WHOLE_BODIES[kind] = attribute = "_stream"
    content = getattr(stream, attribute, None)
    return content if isinstance(content, bytes) else None
