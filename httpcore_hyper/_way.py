"""Way: httpcore's own functions between a pool's callers and a socket, and what they were when seen first.

Someone who has patched one of them wants to be asked, and the engine goes past them all: it is not to serve
then. Each door of each flavour has a way of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import ModuleType

from ._native import missing
from ._originals import Attribute, Place, attributes, is_original, package_of, watch_over

__all__ = ["Way"]

_OPENERS = ("connect_tcp", "connect_unix_socket")


class Way:
    """The way of one door of a flavour. Never asked for patches where the native module is missing."""

    def __init__(self, module: ModuleType, originals: dict[str, type], pool: str) -> None:
        door = _Door(module, originals, pool.removesuffix("ConnectionPool"))
        self._seen = _Seen(module, door.to_the_socket())
        self._seen_by_proxies = _Seen(module, door.through_proxies())
        self._seen_by_callers = _Seen(module, door.from_the_caller())

    def patched(self, *, proxied: bool) -> str | None:
        """The first function from the pool to the socket that is not the one seen at first."""
        patched = self._seen.first_patched()
        if patched is None and proxied:
            patched = self._seen_by_proxies.first_patched()
        return patched

    def calls_patched(self) -> str | None:
        """The same of those between a pool's `request` or `stream` and its `handle_request`."""
        return self._seen_by_callers.first_patched()

    def attributes(self, *, proxied: bool) -> list[Attribute]:
        """All of these functions, for a watch."""
        seen = (self._seen, self._seen_by_callers, *((self._seen_by_proxies,) if proxied else ()))
        return [attribute for places in seen for attribute in places.attributes]


class _Seen:
    """Functions of classes and modules, and what they were when they were seen first."""

    def __init__(self, module: ModuleType, places: Iterable[Place]) -> None:
        self._package = package_of(module)
        places = list(places)
        self.attributes = attributes(places)
        # What had been replaced before may come back, so the two are told apart.
        self._replaced = [place for place in places if not self._is_original(place)]
        self._places = [place for place in places if place not in self._replaced]
        if missing is None:
            self._watch = watch_over(self._places)

    def first_patched(self) -> str | None:
        for place in self._replaced:
            if not self._is_original(place):
                return _path(*place)
        changed = self._watch.first_changed()
        return None if changed is None else _path(*self._places[changed])

    def _is_original(self, place: Place) -> bool:
        owner, name = place
        return is_original(owner, name, "socket" if owner is socket else self._package)


def _path(owner: type | ModuleType, name: str) -> str:
    found_in = owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
    return f"{found_in}.{name}"


class _Door:
    """Where the functions of one door are: `prefix` is what its classes' names begin with."""

    def __init__(self, module: ModuleType, originals: dict[str, type], prefix: str) -> None:
        self._module = module
        self._originals = originals
        self._prefix = prefix
        self._folder = f"{module.__name__}.{'_async' if prefix else '_sync'}"
        self._handle = "handle_async_request" if prefix else "handle_request"

    def _named(self, name: str, owner: ModuleType) -> type:
        named: type = getattr(owner, f"{self._prefix}{name}")
        return named

    def from_the_caller(self) -> Iterator[Place]:
        interfaces = import_module(f"{self._folder}.interfaces")
        for name in ("request", "stream"):
            yield self._named("RequestInterface", interfaces), name
        for name in ("Request", "enforce_bytes", "enforce_headers", "enforce_url", "include_request_headers"):
            yield interfaces, name
        yield self._module.Request, "__init__"
        yield self._module.URL, "__init__"

    def to_the_socket(self) -> Iterator[Place]:
        pool = self._originals[f"{self._prefix}ConnectionPool"]
        yield pool, self._handle
        yield pool, "create_connection"
        # Without `h2` the last is a class that says so when it is made.
        for name in ("HTTPConnection", "HTTP11Connection", "HTTP2Connection"):
            yield self._named(name, self._module), self._handle
        for backend in self._backends():
            for name in _OPENERS:
                yield backend, name
        # The end of every way: whoever guards it, or sends it through a proxy, is to be asked.
        yield socket, "socket"

    def _backends(self) -> Iterator[type]:
        package = self._module.__name__
        if not self._prefix:
            yield import_module(f"{package}._backends.sync").SyncBackend
            return
        yield import_module(f"{package}._backends.auto").AutoBackend
        # Without anyio or trio these are classes that say so when they are made, and open nothing.
        yield self._module.AnyIOBackend
        yield self._module.TrioBackend

    def through_proxies(self) -> Iterator[Place]:
        for name in ("HTTPProxy", "SOCKSProxy"):
            # These inherit both; a mock puts its own here.
            pool = self._originals[f"{self._prefix}{name}"]
            yield pool, self._handle
            yield pool, "create_connection"
        http = import_module(f"{self._folder}.http_proxy")
        for name in ("ForwardHTTPConnection", "TunnelHTTPConnection"):
            yield self._named(name, http), self._handle
        try:
            socks = import_module(f"{self._folder}.socks_proxy")
        except ImportError:
            return  # without socksio nobody can be on that way
        yield self._named("Socks5Connection", socks), self._handle
        yield socks, "_init_socks5_connection"
