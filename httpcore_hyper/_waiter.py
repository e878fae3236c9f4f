"""Waiting: the little of it that has to be written in Python.

The native half finds the running loop, makes futures and resolves them. It asks this module to watch a
port's file descriptor, and whether the caller has been cancelled before it begins. trio's part is in
`_trio`, so that trio is imported only by those who run it.
"""

from __future__ import annotations

import contextvars
import math
import sys
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Generator
from typing import Any

from ._rust import Port

__all__ = ["AfterOthers", "is_cancelled", "watch"]


def watch(loop: AbstractEventLoop, port: Port) -> None:
    """Has the loop call the port when it is readable.

    In an empty context: the loop keeps a reader's context alive as long as it lives, and the first
    caller's variables must not be kept with it. The loop drops the reader when it is closed.
    """
    contextvars.Context().run(loop.add_reader, port.fileno(), port.drain)


class AfterOthers:
    """Awaits something once the loop's other tasks have had their turn. Whoever is cancelled never does.

    No coroutine: nobody complains of one that is dropped before it is awaited.
    """

    __slots__ = ("_what",)

    def __init__(self, what: Awaitable[Any]) -> None:
        self._what = what

    def __await__(self) -> Generator[Any, Any, Any]:
        yield  # as `asyncio.sleep(0)` does
        return (yield from self._what.__await__())


def is_cancelled() -> bool:
    """Whether the caller is in a cancelled scope of anyio, on asyncio: the public, slower way to know.

    Such a caller gets its cancellation at its next await, and must not have sent anything by then.
    """
    # Without it as well while another thread is still importing anyio.
    deadline = getattr(sys.modules.get("anyio"), "current_effective_deadline", None)
    return deadline is not None and deadline() == -math.inf
