"""install(): ours in the place of httpcore's pools, for everybody in the process who asks for them by name.

Only names are rebound, in httpcore's own modules. Nothing is patched inside a class, and nothing happens
without a call.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import RLock, local
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._flavour import Flavour

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Installation", "install", "uninstall"]

_PACKAGES = ("httpcore", "httpcore2")
# Nothing is imported under it: another thread may hold an import's lock and wait for this one.
_LOCK = RLock()


class Installation:
    """What `install()` returns. As a context manager it undoes, at its end, what that call has done."""

    def __init__(self, began: bool) -> None:
        self._began = began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._began:
            self._began = False
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
    try:
        for name in _PACKAGES:
            if sys.modules.get(name) is not None:
                # Waits for a thread that is in the middle of importing it, without our finder.
                _swap(import_module(name))
    except BaseException:
        if began:
            uninstall()
        raise
    return Installation(began)


def uninstall() -> None:
    """Puts httpcore's own classes back under their names. Clients made meanwhile keep the engine."""
    with _LOCK:
        if _FINDER in sys.meta_path:
            sys.meta_path.remove(_FINDER)
        while _SWAPPED:
            flavour, modules, ours = _SWAPPED.pop()
            flavour.installed = False
            theirs = {new: old for old, new in ours.items()}
            for module in modules:
                _rebind(module, theirs)


# The flavours that ours stand in for, with the modules whose names were rebound, and to what: a module
# that has left `sys.modules` since then gets its own classes back too.
_SWAPPED: list[tuple[Flavour, list[ModuleType], dict[type, type]]] = []


def _swap(module: ModuleType) -> None:
    """Rebinds the names in the package and its loaded sub-modules, unless `uninstall()` came first."""
    flavour = Flavour.of(module)
    ours = _classes(flavour)
    inside = module.__name__ + "."
    modules = [module, *(found for name, found in list(sys.modules.items()) if name.startswith(inside))]
    with _LOCK:
        if _FINDER not in sys.meta_path:
            return
        known = next((those for one, those, _ in _SWAPPED if one is flavour), None)
        if known is None:
            _SWAPPED.append((flavour, modules, ours))
        else:
            known.extend(new for new in modules if not any(new is one for one in known))
        # First the checks accept the originals, then the names stop meaning them.
        flavour.installed = True
        for one in modules:
            _rebind(one, ours)


def _classes(flavour: Flavour) -> dict[type, type]:
    """Ours, by the classes whose places they take."""
    # Half of what there is to import here, which a program without `install()` may not need.
    from ._async.flavoured import build as build_async  # noqa: PLC0415
    from ._sync.flavoured import build as build_sync  # noqa: PLC0415

    pools = {**build_sync(flavour).pools, **build_async(flavour).pools}
    return {flavour.originals[name]: ours for name, ours in pools.items()}


def _rebind(module: ModuleType, new: dict[type, type]) -> None:
    for name, value in list(vars(module).items()):
        if isinstance(value, type) and value in new:
            setattr(module, name, new[value])


class _Finder(MetaPathFinder):
    """Sees the two packages being imported, and swaps them when they are."""

    def __init__(self) -> None:
        self._asking = local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # Other finders may ask around as we do; each of us answers once.
        if fullname not in _PACKAGES or getattr(self._asking, "now", False):
            return None
        self._asking.now = True
        try:
            for finder in list(sys.meta_path):
                find = getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = None if find is None else find(fullname, path, target)
                if spec is not None:
                    if spec.loader is not None:
                        spec.loader = _Swapping(spec.loader)
                    return spec
        finally:
            self._asking.now = False
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
        _swap(sys.modules.get(module.__name__, module))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_FINDER = _Finder()
