# Generated from _async/flavoured.py by scripts/sync.py. Not edited by hand.
"""The classes of one flavour: the engine's halves put before the flavour's own ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .._flavour import Flavour, Replacement
from .connection import HTTPConnection
from .connection_pool import EnginePool
from .network_stream import NetworkStream

if TYPE_CHECKING:
    import httpcore

__all__ = ["Classes", "build"]


@dataclass(frozen=True)
class Classes:
    """What one door has built on one flavour."""

    flavour: Flavour
    connection: type[HTTPConnection]
    network_stream: type[NetworkStream]
    response: type[httpcore.Response]
    create_connection: Any
    """The flavour's own method, to tell an overridden one."""
    proxies: tuple[type, ...]
    """The flavour's own proxy classes."""
    pools: dict[str, Any]
    """Our pools, under httpcore's names."""

    def is_proxy(self, pool: object) -> bool:
        """Whether the pool is one of the flavour's proxy classes."""
        return isinstance(pool, self.proxies)


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
        connection=_join(HTTPConnection, module.ConnectionInterface),
        network_stream=_join(NetworkStream, module.NetworkStream, _flavour=flavour),
        response=module.Response,
        create_connection=base.__dict__["create_connection"],
        proxies=tuple(originals[name] for name in proxies),
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
