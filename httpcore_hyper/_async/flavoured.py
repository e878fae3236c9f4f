"""The classes of one flavour: the engine's halves put before the flavour's own ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from .._flavour import Flavour, Replacement
from .._way import Way
from .connection import (
    AsyncForwardHTTPConnection,
    AsyncHTTPConnection,
    AsyncSocks5Connection,
    AsyncTunnelHTTPConnection,
)
from .connection_pool import AsyncEnginePool
from .network_stream import AsyncNetworkStream

__all__ = ["AsyncClasses", "build"]


@dataclass(frozen=True)
class AsyncClasses:
    """What one door has built on one flavour."""

    flavour: Flavour
    connections: dict[str, type[AsyncHTTPConnection]]
    """The views of connections, by their kind."""
    network_stream: type[AsyncNetworkStream]
    way: Way
    """From these pools to a socket by the flavour's own code."""
    create_connection: dict[type, Any]
    """The flavour's own method of each of its pools, to tell an overridden one."""
    pools: dict[str, Any]
    """Our pools, under httpcore's names."""


def build(flavour: Flavour) -> AsyncClasses:
    """The classes of a flavour; built once."""
    built = flavour.built.get("AsyncClasses")
    if built is None:
        built = flavour.built.setdefault("AsyncClasses", _build(flavour))
    return cast(AsyncClasses, built)


def _build(flavour: Flavour) -> AsyncClasses:
    module, originals = flavour.module, flavour.originals
    base = originals["AsyncConnectionPool"]
    # Without socksio the flavour has a class here that says so when it is made, and no pool.
    proxies = [name for name in ("AsyncHTTPProxy", "AsyncSOCKSProxy") if issubclass(originals[name], base)]
    classes = AsyncClasses(
        flavour=flavour,
        connections={
            "direct": _join(AsyncHTTPConnection, module.AsyncConnectionInterface),
            "forward": _join(AsyncForwardHTTPConnection, module.AsyncConnectionInterface),
            "tunnel": _join(AsyncTunnelHTTPConnection, module.AsyncConnectionInterface),
            "socks": _join(AsyncSocks5Connection, module.AsyncConnectionInterface),
        },
        network_stream=_join(AsyncNetworkStream, module.AsyncNetworkStream, _flavour=flavour),
        way=flavour.ways["AsyncConnectionPool"],
        create_connection={
            originals[name]: originals[name].__dict__["create_connection"]
            for name in ("AsyncConnectionPool", *proxies)
        },
        pools={"AsyncSOCKSProxy": originals["AsyncSOCKSProxy"]},
    )
    pool = _pool(flavour, classes, "AsyncConnectionPool", AsyncEnginePool)
    for name in proxies:
        _pool(flavour, classes, name, pool)
    return classes


def _join(ours: Any, theirs: type, **more: Any) -> Any:
    # Instances have no dictionary more than ours have, and nothing of theirs comes first.
    body = {"__module__": ours.__module__, "__doc__": ours.__doc__, **more}
    return type(ours.__name__, (ours, theirs), body)


def _pool(flavour: Flavour, classes: AsyncClasses, name: str, before: type) -> type:
    original = flavour.originals[name]
    body = {
        "__module__": flavour.public_module,
        "__qualname__": name,
        "__doc__": f"{flavour.module.__name__}'s class of the same name, served by the Rust engine.",
        "_flavour": flavour,
        "_classes": classes,
        "_replaces": original,
    }
    made = Replacement(name, (before, original), body)
    classes.pools[name] = made
    return made
