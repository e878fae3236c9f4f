# Generated from _async/flavoured.py by scripts/sync.py. Not edited by hand.
"""The classes of one flavour: the engine's halves put before the flavour's own ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from .._flavour import Flavour, Replacement
from .._way import Way
from .connection import (
    ForwardHTTPConnection,
    HTTPConnection,
    Socks5Connection,
    TunnelHTTPConnection,
)
from .connection_pool import EnginePool
from .network_stream import NetworkStream

__all__ = ["Classes", "build"]


@dataclass(frozen=True)
class Classes:
    """What one door has built on one flavour."""

    flavour: Flavour
    connections: dict[str, type[HTTPConnection]]
    """The views of connections, by their kind."""
    network_stream: type[NetworkStream]
    way: Way
    """From these pools to a socket by the flavour's own code."""
    create_connection: dict[type, Any]
    """The flavour's own method of each of its pools, to tell an overridden one."""
    pools: dict[str, Any]
    """Our pools, under httpcore's names."""


def build(flavour: Flavour) -> Classes:
    """The classes of a flavour; built once."""
    built = flavour.built.get("Classes")
    if built is None:
        built = flavour.built.setdefault("Classes", _build(flavour))
    return cast(Classes, built)


def _build(flavour: Flavour) -> Classes:
    module, originals = flavour.module, flavour.originals
    base = originals["ConnectionPool"]
    # Without socksio the flavour has a class here that says so when it is made, and no pool.
    proxies = [name for name in ("HTTPProxy", "SOCKSProxy") if issubclass(originals[name], base)]
    classes = Classes(
        flavour=flavour,
        connections={
            "direct": _join(HTTPConnection, module.ConnectionInterface),
            "forward": _join(ForwardHTTPConnection, module.ConnectionInterface),
            "tunnel": _join(TunnelHTTPConnection, module.ConnectionInterface),
            "socks": _join(Socks5Connection, module.ConnectionInterface),
        },
        network_stream=_join(NetworkStream, module.NetworkStream, _flavour=flavour),
        way=flavour.ways["ConnectionPool"],
        create_connection={
            originals[name]: originals[name].__dict__["create_connection"]
            for name in ("ConnectionPool", *proxies)
        },
        pools={"SOCKSProxy": originals["SOCKSProxy"]},
    )
    pool = _pool(flavour, classes, "ConnectionPool", EnginePool)
    for name in proxies:
        _pool(flavour, classes, name, pool)
    return classes


def _join(ours: Any, theirs: type, **more: Any) -> Any:
    # Instances have no dictionary more than ours have, and nothing of theirs comes first.
    body = {"__module__": ours.__module__, "__doc__": ours.__doc__, **more}
    return type(ours.__name__, (ours, theirs), body)


def _pool(flavour: Flavour, classes: Classes, name: str, before: type) -> type:
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
