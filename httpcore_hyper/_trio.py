"""Waiting under trio: a system task that watches a port, and a waiter for each part.

Imported by the native half, on the first request in a trio run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Generator
from typing import Any

import outcome
import trio
from trio.lowlevel import Abort, Task, spawn_system_task, wait_readable, wait_task_rescheduled

from ._rust import Place, Port

__all__ = ["AfterOthers", "Waiter", "is_cancelled", "reschedule", "watch"]

logger = logging.getLogger("httpcore_hyper")


def watch(port: Port) -> None:
    """Has a system task call the port when it is readable, until the run ends."""
    spawn_system_task(_serve, port)


async def _serve(port: Port) -> None:
    try:
        while True:
            await wait_readable(port.fileno())
            try:
                port.drain()
            except Exception:
                # One that leaves a system task takes the whole run down.
                logger.exception("Resolving the finished parts failed")
    finally:
        port.close()


def is_cancelled() -> bool:
    """Whether the caller's next checkpoint raises `Cancelled`; it must not have sent anything by then."""
    return trio.current_effective_deadline() == -math.inf


def reschedule(task: Task, value: Any, error: BaseException | None) -> None:
    """Resumes a task that waits, with the value or the error."""
    trio.lowlevel.reschedule(task, outcome.Value(value) if error is None else outcome.Error(error))


class AfterOthers:
    """Awaits something once the run's other tasks have had their turn. Whoever is cancelled never does."""

    __slots__ = ("_what",)

    def __init__(self, what: Awaitable[Any]) -> None:
        self._what = what

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from trio.lowlevel.checkpoint().__await__()
        return (yield from self._what.__await__())


class Waiter:
    """Awaits a part. The task has its place at the port already."""

    __slots__ = ("_place",)

    def __init__(self, place: Place) -> None:
        self._place = place

    def __await__(self) -> Generator[Any, None, Any]:
        return wait_task_rescheduled(self._abort).__await__()

    def _abort(self, _raise_cancel: object) -> Abort:
        # Port and abort run on trio's own thread: after this the port does not know the task any more,
        # so that it is resumed exactly once.
        self._place.leave()
        return Abort.SUCCEEDED
