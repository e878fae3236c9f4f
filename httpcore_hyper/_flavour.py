"""Flavour: what the engine needs from the httpcore that a pool belongs to.

Its models and exceptions (always its own objects, never copies: httpx maps exceptions by class
identity), its loggers, and its own way from a pool to a socket.

A flavour is built from a module: httpcore, its fork httpcore2, or a second import of either.
"""

from __future__ import annotations

import logging
from abc import ABCMeta
from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from threading import RLock
from types import ModuleType
from typing import Any

import httpcore

from ._originals import package_of
from ._response import Responses
from ._way import Way

__all__ = ["HTTPCORE", "POOLS", "Flavour", "Replacement", "delays", "public_module", "whole_body"]

# The classes that have a counterpart here, under httpcore's names.
POOLS = (
    *("ConnectionPool", "HTTPProxy", "SOCKSProxy"),
    *("AsyncConnectionPool", "AsyncHTTPProxy", "AsyncSOCKSProxy"),
)


def public_module(package: str) -> str:
    """Where the classes over a package are imported from."""
    return "httpcore_hyper" if package in ("httpcore", "httpx") else f"httpcore_hyper.{package}"


class Replacement(ABCMeta):
    """The metaclass of pools that can stand in for a flavour's own.

    While they do (`install()`), the flavour's own objects and classes still pass for what the name says.
    It is an `ABCMeta`, so that a user's class can have a pool and an abstract class as its bases.
    """

    _flavour: Flavour
    _replaces: type

    def __instancecheck__(cls, instance: object) -> bool:
        if "_replaces" not in cls.__dict__:  # a user's subclass replaces nothing
            return super().__instancecheck__(instance)
        # `ABCMeta` would remember, after `uninstall()`, what was true before it.
        return type.__instancecheck__(cls, instance) or (
            cls._flavour.installed and isinstance(instance, cls._replaces)
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        if "_replaces" not in cls.__dict__:
            return super().__subclasscheck__(subclass)
        return type.__subclasscheck__(cls, subclass) or (
            cls._flavour.installed and issubclass(subclass, cls._replaces)
        )


class Flavour:
    """One module with httpcore's names, and what it looked like when it was first seen."""

    def __init__(self, module: ModuleType, originals: dict[str, type]) -> None:
        package = module.__name__
        self.module = module
        self.originals = originals
        """The six pool classes, by name: the module's own ones, also while ours stand in for them."""
        self.installed = False
        """Whether ours do."""
        self.public_module = public_module(package)
        """Where the classes that are built on it are imported from."""
        self.built: dict[str, Any] = {}
        """What the doors have built on this flavour."""
        backends = import_module(f"{package}._backends.sync"), import_module(f"{package}._backends.auto")
        self.default_backends = (backends[0].SyncBackend, backends[1].AutoBackend)
        """The classes that a pool makes its network backend of when it is given none."""
        synchronization = import_module(f"{package}._synchronization")
        self.ShieldCancellation = synchronization.ShieldCancellation
        self.AsyncShieldCancellation = synchronization.AsyncShieldCancellation
        self.Trace = import_module(f"{package}._trace").Trace
        self.connection_logger = logging.getLogger(f"{package}.connection")
        """Tells of connecting and closing."""
        self.proxy_logger = logging.getLogger(f"{package}.proxy")
        """Tells of TLS inside a tunnel."""
        self.socks_logger = logging.getLogger(f"{package}.socks")
        """Tells of SOCKS proxies."""
        self.http11_logger = logging.getLogger(f"{package}.http11")
        """Tells of requests and responses."""
        self.http2_logger = logging.getLogger(f"{package}.http2")
        """The same over HTTP/2."""
        self.ways = {name: Way(module, originals, name) for name in ("ConnectionPool", "AsyncConnectionPool")}
        """From a pool to a socket by the flavour's own code, by the name of the pool: one for each door."""
        self.responses = Responses(module.Response, package_of(module))
        self.tells_socks_timeouts = _tells_socks_timeouts(package)
        """Whether its listeners are told of the timeouts of a SOCKS conversation."""

    @staticmethod
    def of(module: ModuleType) -> Flavour:
        """The flavour of a module. Two modules with the same classes are one flavour."""
        originals = {name: _original(getattr(module, name)) for name in POOLS}
        with _LOCK:
            key = tuple(originals.values())
            flavour = _FLAVOURS.get(key)
            if flavour is None:
                flavour = _FLAVOURS[key] = Flavour(module, originals)
        return flavour


# Kept for ever: a process imports httpcore anew a few times at most, and pools of each may live on.
_FLAVOURS: dict[tuple[type, ...], Flavour] = {}
_LOCK = RLock()


def _tells_socks_timeouts(package: str) -> bool:
    try:
        socks = import_module(f"{package}._sync.socks_proxy")
    except ImportError:
        return False  # without socksio there is no such conversation
    return "timeouts" in signature(socks._init_socks5_connection).parameters


def _original(found: type) -> type:
    return found._replaces if isinstance(found, Replacement) else found


HTTPCORE = Flavour.of(httpcore)

# The attribute that holds the bytes of a body that is no iterator, by its class. Other classes are known
# by their names, so that their modules are not imported for it.
_WHOLE_BODIES: dict[type, str] = {}
_KNOWN_BODIES = {
    ("httpcore._models", "ByteStream"): "_content",
    ("httpcore2._models", "ByteStream"): "_content",
    ("httpx", "ByteStream"): "_stream",
    ("httpx2", "ByteStream"): "_stream",
}


def whole_body(stream: object) -> bytes | None:
    """The bytes of a request body that is all there, `None` for one that must be iterated."""
    kind = type(stream)
    attribute = _WHOLE_BODIES.get(kind)
    if attribute is None:
        attribute = _KNOWN_BODIES.get((kind.__module__, kind.__qualname__))
        if attribute is None:
            # Not remembered: user classes come and go, and one kept here would stay for ever.
            return None
        _WHOLE_BODIES[kind] = attribute
    content = getattr(stream, attribute, None)
    return content if isinstance(content, bytes) else None


def delays() -> Iterator[float]:
    """The pauses before connecting again, in seconds, as httpcore has them: 0, 0.5, 1, 2, 4, ..."""
    yield 0.0
    pause = 0.5
    while True:
        yield pause
        pause *= 2
