"""install(): ours in the place of httpcore's pools, for everybody in the process who asks for them by name.

Only names are rebound, in httpcore's own modules. Nothing is patched inside a class, and nothing happens
without a call.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._async.flavoured import build as build_async
from ._flavour import Flavour
from ._sync.flavoured import build as build_sync

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Installation", "install", "uninstall"]

_PACKAGES = ("httpcore", "httpcore2")
_LOCK = RLock()


class Installation:
    """What `install()` returns. As a context manager it undoes, at its end, what that call has done."""

    def __init__(self, began: bool) -> None:
        self._began = began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._began:
            uninstall()


def install() -> Installation:
    """Makes httpcore's and httpcore2's names of the six pools mean ours, from now on.

    Every client that is made afterwards runs on the engine, in any library that stands on httpx, httpx2 or
    httpcore. Objects and subclasses that exist already keep their engine. A httpcore that is imported later,
    or again, is covered as well. Idempotent; `uninstall()` or the end of a `with` block undoes it.
    """
    with _LOCK:
        began = _FINDER not in sys.meta_path
        if began:
            sys.meta_path.insert(0, _FINDER)
        for name in _PACKAGES:
            module = sys.modules.get(name)
            if module is not None:
                _swap(module)
    return Installation(began)


def uninstall() -> None:
    """Puts httpcore's own classes back under their names. Clients made meanwhile keep the engine."""
    with _LOCK:
        if _FINDER in sys.meta_path:
            sys.meta_path.remove(_FINDER)
        while _SWAPPED:
            module, flavour = _SWAPPED.pop()
            flavour.installed = False
            _rebind(module, {ours: theirs for theirs, ours in _pairs(flavour)})


# The modules that have been swapped, with their flavours.
_SWAPPED: list[tuple[ModuleType, Flavour]] = []


def _swap(module: ModuleType) -> None:
    flavour = Flavour.of(module)
    _rebind(module, dict(_pairs(flavour)))
    flavour.installed = True
    if not any(known is module for known, _ in _SWAPPED):
        _SWAPPED.append((module, flavour))


def _pairs(flavour: Flavour) -> Iterator[tuple[type, type]]:
    for pools in (build_sync(flavour).pools, build_async(flavour).pools):
        for name, ours in pools.items():
            yield flavour.originals[name], ours


def _rebind(module: ModuleType, new: dict[type, type]) -> None:
    """Rebinds every name of the module and its loaded sub-modules that means one of these classes."""
    inside = module.__name__ + "."
    modules = [found for name, found in list(sys.modules.items()) if name.startswith(inside)]
    for one in (module, *modules):
        for name, value in list(vars(one).items()):
            if isinstance(value, type) and value in new:
                setattr(one, name, new[value])


class _Finder(MetaPathFinder):
    """Sees the two packages being imported, and swaps them when they are."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _PACKAGES:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if finder is self or find is None else find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Swapping(spec.loader)
                return spec
        return None


class _Swapping(Loader):
    """The package's own loader, with our step at its end."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on nobody sees us: resources and reloads go to the loader itself.
        if module.__spec__ is not None and module.__spec__.loader is self:
            module.__spec__.loader = self._loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        self._loader.exec_module(module)
        with _LOCK:
            if _FINDER in sys.meta_path:
                _swap(sys.modules.get(module.__name__, module))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_FINDER = _Finder()
