"""Flavour: what the engine needs from the httpcore that a pool belongs to.

Its models and exceptions (always its own objects, never copies: httpx maps exceptions by class
identity), and the functions on its own way from a pool to a socket. Someone who patched one of those,
or put another network backend in, wants to be on that way: such a pool is served by httpcore's engine.

A flavour is built from a module: httpcore, its fork httpcore2, or a second import of either.
"""

from __future__ import annotations

import gc
import logging
import socket
from abc import ABCMeta
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from inspect import signature
from threading import RLock
from types import ModuleType
from typing import Any

import httpcore

from . import _rust
from ._native import missing
from ._response import Responses

__all__ = [
    "HTTPCORE",
    "POOLS",
    "Flavour",
    "Replacement",
    "delays",
    "namespace_of",
    "public_module",
    "whole_body",
]

# The classes that have a counterpart here, under httpcore's names.
POOLS = (
    *("ConnectionPool", "HTTPProxy", "SOCKSProxy"),
    *("AsyncConnectionPool", "AsyncHTTPProxy", "AsyncSOCKSProxy"),
)
_OPENERS = ("connect_tcp", "connect_unix_socket")


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
        self.loggers = (
            *(self.connection_logger, self.proxy_logger, self.socks_logger),
            *(self.http11_logger, self.http2_logger),
        )
        # gevent and eventlet come first: what was seen at first is theirs already.
        self._green = None if socket.socket.__module__ == "socket" else "socket.socket"
        self._seen = _Seen(_seen(module, originals))
        proxied = list(_seen_by_proxies(package))
        self._seen_by_proxies = _Seen(proxied)
        self._seen_by_callers = _Seen(_seen_by_callers(module))
        self.responses = Responses(module.Response)
        self.tells_socks_timeouts = any(
            name == "_init_socks5_connection" and "timeouts" in signature(owner.__dict__[name]).parameters
            for owner, name in proxied
        )
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

    def patched(self, *, proxied: bool) -> str | None:
        """The first of the functions on the flavour's way that is not the one seen at first.

        Never asked where the native module is missing.
        """
        patched = self._green or self._seen.first_patched()
        if patched is None and proxied:
            patched = self._seen_by_proxies.first_patched()
        return patched

    def attributes(self, *, proxied: bool) -> list[tuple[Mapping[Any, Any], Any]]:
        """All of these functions, each as its owner's dictionary and its name."""
        seen = (self._seen, self._seen_by_callers, *((self._seen_by_proxies,) if proxied else ()))
        return [attribute for places in seen for attribute in places.attributes]

    def calls_patched(self) -> str | None:
        """The same of those between a pool's `request` or `stream` and its `handle_request`."""
        return self._seen_by_callers.first_patched()


# Kept for ever: a process imports httpcore anew a few times at most, and pools of each may live on.
_FLAVOURS: dict[tuple[type, ...], Flavour] = {}
_LOCK = RLock()


def _original(found: type) -> type:
    return found._replaces if isinstance(found, Replacement) else found


class _Seen:
    """Functions of classes and modules, and what they were when they were seen first."""

    def __init__(self, places: Iterable[tuple[type | ModuleType, str]]) -> None:
        places = list(places)
        self._paths = [f"{_full_name(owner)}.{name}" for owner, name in places]
        self.attributes: list[tuple[Mapping[Any, Any], Any]] = [
            (namespace_of(owner), name) for owner, name in places
        ]
        if missing is None:
            self._watch = _rust.Watch(self.attributes)

    def first_patched(self) -> str | None:
        changed = self._watch.first_changed()
        return None if changed is None else self._paths[changed]


def namespace_of(owner: type | ModuleType) -> Mapping[str, Any]:
    """The dictionary of a class or module, to be read only; where it is well hidden, what shows it."""
    shown = owner.__dict__
    # A class shows it through a view, which refers to nothing else, and takes twice the time to look into.
    hidden = [shown] if isinstance(shown, dict) else gc.get_referents(shown)
    return hidden[0] if len(hidden) == 1 and type(hidden[0]) is dict else shown


def _full_name(owner: type | ModuleType) -> str:
    return owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"


def _seen_by_proxies(package: str) -> Iterator[tuple[type | ModuleType, str]]:
    for door, prefix, handle in (
        ("_sync", "", "handle_request"),
        ("_async", "Async", "handle_async_request"),
    ):
        http = import_module(f"{package}.{door}.http_proxy")
        yield getattr(http, f"{prefix}ForwardHTTPConnection"), handle
        yield getattr(http, f"{prefix}TunnelHTTPConnection"), handle
        try:
            socks = import_module(f"{package}.{door}.socks_proxy")
        except ImportError:
            continue  # without socksio nobody can be on that way
        yield getattr(socks, f"{prefix}Socks5Connection"), handle
        yield socks, "_init_socks5_connection"


def _seen_by_callers(module: ModuleType) -> Iterator[tuple[type | ModuleType, str]]:
    for door, interface in (("_sync", "RequestInterface"), ("_async", "AsyncRequestInterface")):
        interfaces = import_module(f"{module.__name__}.{door}.interfaces")
        yield getattr(interfaces, interface), "request"
        yield getattr(interfaces, interface), "stream"
        for name in ("Request", "enforce_bytes", "enforce_headers", "enforce_url", "include_request_headers"):
            yield interfaces, name
    yield module.Request, "__init__"
    yield module.URL, "__init__"


def _seen(module: ModuleType, originals: dict[str, type]) -> Iterator[tuple[type | ModuleType, str]]:
    sync, asynchronous = "handle_request", "handle_async_request"
    backends = {name: import_module(f"{module.__name__}._backends.{name}") for name in ("sync", "auto")}
    for owner, names in (
        (originals["ConnectionPool"], (sync, "create_connection")),
        (originals["AsyncConnectionPool"], (asynchronous, "create_connection")),
        # These inherit the first; a mock puts its own here.
        (originals["HTTPProxy"], (sync, "create_connection")),
        (originals["AsyncHTTPProxy"], (asynchronous, "create_connection")),
        (originals["SOCKSProxy"], (sync, "create_connection")),
        (originals["AsyncSOCKSProxy"], (asynchronous, "create_connection")),
        (module.HTTPConnection, (sync,)),
        (module.AsyncHTTPConnection, (asynchronous,)),
        (module.HTTP11Connection, (sync,)),
        (module.AsyncHTTP11Connection, (asynchronous,)),
        # Without `h2` these are classes that say so when they are made.
        (module.HTTP2Connection, (sync,)),
        (module.AsyncHTTP2Connection, (asynchronous,)),
        (backends["sync"].SyncBackend, _OPENERS),
        (backends["auto"].AutoBackend, _OPENERS),
        # Without anyio or trio these are classes that say so when they are made, and open nothing.
        (module.AnyIOBackend, _OPENERS),
        (module.TrioBackend, _OPENERS),
    ):
        for name in names:
            yield owner, name
    # The end of every way: whoever guards it, or sends it through a proxy, is to be asked.
    yield socket, "socket"


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
