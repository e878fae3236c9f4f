"""Originals: functions of other packages that we go past, and whether they are these packages' own.

Somebody may have replaced one before it was looked at first, or does so later. Nothing here knows which
functions these are.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any, TypeAlias

from . import _rust

__all__ = [
    "Attribute",
    "Place",
    "are_original",
    "attributes",
    "is_original",
    "namespace_of",
    "package_of",
    "watch_over",
]

Attribute: TypeAlias = tuple[Mapping[Any, Any], Any]
"""The dictionary of whatever has it, and its name there."""

Place: TypeAlias = tuple[type | ModuleType, str]
"""A class or module, and the name of what it has."""


def watch_over(places: Iterable[Place]) -> _rust.Watch:
    """What tells later whether all of them are what they are now."""
    return _rust.Watch(attributes(places))


def attributes(places: Iterable[Place]) -> list[Attribute]:
    """The places as a watch takes them."""
    return [(namespace_of(owner), name) for owner, name in places]


def namespace_of(owner: type | ModuleType) -> Mapping[str, Any]:
    """The dictionary of a class or module, to be read only; where it is well hidden, what shows it."""
    shown = owner.__dict__
    # A class shows it through a view, which refers to nothing else, and takes twice the time to look into.
    hidden = [shown] if isinstance(shown, dict) else gc.get_referents(shown)
    return hidden[0] if len(hidden) == 1 and type(hidden[0]) is dict else shown


def package_of(module: ModuleType) -> str:
    """The name of the package that a module is, or is in."""
    return module.__name__.partition(".")[0]


def are_original(places: Iterable[Place], package: str) -> bool:
    """Whether each of them is; see `is_original`."""
    return all(is_original(owner, name, package) for owner, name in places)


def is_original(owner: type | ModuleType, name: str, package: str) -> bool:
    """Whether a function, property or class comes from the package, or the owner has none of this name.

    Else somebody had replaced it, or its owner, before anybody looked: a mock, a tracer that was installed
    first, gevent. What is too odd to tell was made by somebody as well.
    """
    found: Any = vars(owner).get(name)
    if type(found) is property:
        found = found.fget
    if type(found) is FunctionType and found.__code__ in _MANAGERS:
        found = found.__wrapped__  # type: ignore[attr-defined] # the generator function
    if found is None:
        return True
    try:
        if hasattr(found, "__wrapped__"):
            return False
        home = found.__globals__.get("__name__") if type(found) is FunctionType else found.__module__
    except Exception:  # whatever a stand-in says to what it was not made for
        return False
    return isinstance(home, str) and home.partition(".")[0] == package


def _some() -> Iterator[None]:
    yield


async def _some_async() -> AsyncIterator[None]:
    yield


# The code of what `contextmanager` makes of any function. Its globals are contextlib's, as are those of other
# decorators of contextlib's, with which somebody may have wrapped a function.
_MANAGERS = {
    contextlib.contextmanager(_some).__code__,
    contextlib.asynccontextmanager(_some_async).__code__,
}
