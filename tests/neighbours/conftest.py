"""What the neighbours share: how they are found, and the proof that the engine served. No library is tested
here."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import httpcore_hyper
from httpcore_hyper._async.connection_pool import AsyncEnginePool
from httpcore_hyper._sync.connection_pool import EnginePool

# Set by `nox -s neighbours`, which installs them all: a missing one is an error there.
ALL = os.environ.get("HTTPCORE_HYPER_NEIGHBOURS") == "all"


@pytest.fixture
def need() -> Callable[[str], Any]:
    """Imports a library, or skips the test where it is not installed."""
    return importlib.import_module if ALL else pytest.importorskip


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pools that handed a request to the Rust engine, by class name, one for each request."""
    names: list[str] = []
    for pool in (EnginePool, AsyncEnginePool):
        engine = pool._engine

        def note(self: Any, engine: Callable[[Any], Any] = engine) -> Any:
            names.append(type(self).__name__)
            return engine(self)

        monkeypatch.setattr(pool, "_engine", note)
    return names


@pytest.fixture
def installed() -> Iterator[None]:
    """Ours under httpcore's names, for one test."""
    with httpcore_hyper.install():
        yield
