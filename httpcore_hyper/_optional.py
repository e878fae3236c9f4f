"""Libraries that some of our names need, and that nobody has to install for the others."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ["load"]


def load(library: str, *, for_name: str, extra: str) -> ModuleType:
    """Imports a library. Where it is missing, the `ImportError` says what needs it and how to get it."""
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        # A broken installation of the library is told as it is.
        if error.name != library:
            raise
        words = f"{for_name} needs {library}: pip install 'httpcore-hyper[{extra}]'"
        raise ImportError(words, name=library) from None
