"""Watches over attributes: every later change is seen, through whatever shows an owner's `__dict__`."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from httpcore_hyper import _rust
from httpcore_hyper._originals import namespace_of


def view(owner: type) -> Mapping[str, Any]:
    """What `__dict__` gives for a class, and all there is where its dictionary is well hidden."""
    return owner.__dict__


@pytest.mark.parametrize("namespace", [namespace_of, view])
def test_changes_are_seen(namespace: Callable[[type], Mapping[str, Any]]) -> None:
    class Owner:
        first = 1
        second = "2"

    watch = _rust.Watch([(namespace(Owner), name) for name in ("first", "second", "missing")])
    assert watch.first_changed() is None
    Owner.second = "other"
    assert watch.first_changed() == 1
    Owner.first = 3
    assert watch.first_changed() == 0
    Owner.first, Owner.second = 1, "2"
    assert watch.first_changed() is None
    Owner.missing = None  # type: ignore[attr-defined]
    assert watch.first_changed() == 2
    del Owner.missing  # type: ignore[attr-defined]
    assert watch.first_changed() is None
    del Owner.first
    assert watch.first_changed() == 0


@pytest.mark.parametrize("namespace", [namespace_of, view])
def test_what_is_equal_is_another_object_all_the_same(
    namespace: Callable[[type], Mapping[str, Any]],
) -> None:
    class Owner:
        value: list[int] = []  # noqa: RUF012 - replaced, never changed

    watch = _rust.Watch([(namespace(Owner), "value")])
    Owner.value = []
    assert watch.first_changed() == 0


def test_an_owner_is_watched_with_its_class() -> None:
    class Owner:
        def method(self) -> None: ...

    class Heir(Owner):
        pass

    owner = Heir()
    watch = _rust.Watch([], owner, ["own", "method"], ["method"])
    assert watch.is_unchanged(owner)
    owner.own = 1  # type: ignore[attr-defined]
    assert not watch.is_unchanged(owner)
    del owner.own  # type: ignore[attr-defined]
    assert watch.is_unchanged(owner)
    method = Owner.method
    Owner.method = lambda self: None  # type: ignore[method-assign]
    assert not watch.is_unchanged(owner)
    Owner.method = method  # type: ignore[method-assign]
    assert watch.is_unchanged(owner)
    owner.__class__ = Owner  # type: ignore[assignment]
    assert not watch.is_unchanged(owner)


@pytest.mark.parametrize("namespace", [namespace_of, view])
def test_a_watch_that_its_owner_keeps_is_collected_with_it(
    namespace: Callable[[type], Mapping[str, Any]],
) -> None:
    class Owner:
        watch: _rust.Watch | None = None

    owner = Owner()
    owner.watch = _rust.Watch([(namespace(Owner), "watch")], owner, ["watch"], [])
    gone = weakref.ref(Owner)
    del owner, Owner
    gc.collect()
    assert gone() is None
