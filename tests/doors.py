"""The four ways into a pool - sync, asyncio, uvloop, trio - behind one face, so that a scenario is
written once, as a coroutine.

On the sync door a scenario is a coroutine that never suspends, and its tasks are threads. Each call
goes through `Door.watch`, which notes every exception that a pool has no right to raise.
No rule of httpcore is tested here, and no scenario chooses by door what it expects.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

import anyio
import httpcore
import trio
from engines import HYPER, pool_class
from pools import Pool

SYNC, ASYNCIO, UVLOOP, TRIO = "sync", "asyncio", "uvloop", "trio"
ALL_DOORS = (SYNC, ASYNCIO, UVLOOP, TRIO)
ASYNC_DOORS = (ASYNCIO, UVLOOP, TRIO)
# Waits of a test for something that the contract says has happened or is about to.
DEADLINE = 5.0
POLL = 0.001
# How a task is cancelled: by its own loop's means, or by an anyio scope around it.
OWN, ANYIO = "own", "anyio"
CANCELLED = (asyncio.CancelledError, trio.Cancelled)


class Own(Exception):
    """What a test raises inside a body iterator, a callback or a signal handler."""


def is_allowed(error: BaseException) -> bool:
    """Only httpcore's classes, cancellation, Ctrl-C and the caller's own exception may come out."""
    if isinstance(error, httpcore.ConnectionNotAvailable):
        return False  # httpcore's inner signal to its own pool
    families = (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    )
    return isinstance(error, (*families, *CANCELLED, KeyboardInterrupt, Own))


def run_sync(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("a scenario suspended on the sync door")


class Task:
    """A coroutine that runs beside the scenario; what came of it is kept, never raised."""

    def __init__(self, door: Door, cancel: Callable[[], object]) -> None:
        self._door = door
        self._cancel = cancel
        self.started = False
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    async def run(self, work: Awaitable[Any]) -> None:
        self.started = True
        try:
            self.value = await work
        except BaseException as error:
            self.error = error
            if isinstance(error, CANCELLED) and self._door.is_async:
                raise
        finally:
            self.done = True

    def cancel(self) -> None:
        self._cancel()

    @property
    def cancelled(self) -> bool:
        return isinstance(self.error, CANCELLED)

    async def outcome(self, deadline: float = DEADLINE) -> Any:
        """The result, once there is one; its exception is raised here."""
        assert await self._door.until(lambda: self.done, deadline), "the task is still running"
        if self.error is not None:
            raise self.error
        return self.value

    async def settled(self, deadline: float = DEADLINE) -> Task:
        assert await self._door.until(lambda: self.done, deadline), "the task is still running"
        return self


class Door:
    """One way in. Subclasses say how to sleep and how to start a task."""

    name: str
    is_async = True

    def __init__(self, engine: str) -> None:
        self.engine = engine
        # Who does the cryptography of our engine.
        self.tls = "auto"
        self.pools: list[Pool] = []
        self.foreign: list[BaseException] = []
        # Classes that a row's own misuse of the interface provokes, such as a `str` in a body.
        self.provoked: tuple[type[BaseException], ...] = ()

    def pool(self, **options: Any) -> Pool:
        if self.engine == HYPER:
            options = {"tls": self.tls, **options}
        pool = Pool(self, pool_class(self.engine, is_async=self.is_async)(**options))
        self.pools.append(pool)
        return pool

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if not is_allowed(error) and not isinstance(error, self.provoked):
                self.foreign.append(error)
            raise

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def start(self, work: Coroutine[Any, Any, Any], way: str = OWN) -> Task:
        """Run `work` beside the scenario. `way` is how `Task.cancel` will cancel it."""
        raise NotImplementedError

    async def until(self, predicate: Callable[[], Any], deadline: float = DEADLINE) -> bool:
        """Whether `predicate` becomes true in time; the loop runs meanwhile."""
        limit = time.monotonic() + deadline
        while not predicate():
            if time.monotonic() > limit:
                return False
            await self.sleep(POLL)
        return True

    def body(self, chunks: AsyncIterator[bytes]) -> Any:
        """An async generator as the kind of body that this door's pool wants."""
        return chunks

    def callback(self, function: Callable[..., None]) -> Callable[..., Any]:
        async def call(*args: Any) -> None:
            function(*args)

        return call

    def own_tasks(self) -> int:
        """Tasks that neither the test nor its runner started."""
        return 0

    async def close_pools(self) -> None:
        for pool in self.pools:
            await pool.close()


class SyncDoor(Door):
    name = SYNC
    is_async = False

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def start(self, work: Coroutine[Any, Any, Any], way: str = OWN) -> Task:
        task = Task(self, cancel=lambda: None)
        threading.Thread(target=run_sync, args=(task.run(work),), name="door-task", daemon=True).start()
        return task

    def body(self, chunks: AsyncIterator[bytes]) -> Any:
        def iterate() -> Iterator[bytes]:
            while True:
                try:
                    chunk = run_sync(_next(chunks))
                except StopAsyncIteration:
                    return
                yield chunk

        return iterate()

    def callback(self, function: Callable[..., None]) -> Callable[..., Any]:
        return function


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    return await chunks.__anext__()


class AsyncioDoor(Door):
    name = ASYNCIO

    def __init__(self, engine: str) -> None:
        super().__init__(engine)
        self._tasks: set[asyncio.Task[None]] = set()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def start(self, work: Coroutine[Any, Any, Any], way: str = OWN) -> Task:
        scope = anyio.CancelScope()

        async def scoped() -> None:
            with scope:
                await task.run(work)

        if way == ANYIO:
            task = Task(self, cancel=scope.cancel)
            native = asyncio.create_task(scoped())
        else:
            task = Task(self, cancel=lambda: native.cancel())  # noqa: PLW0108 - not yet bound
            native = asyncio.create_task(task.run(work))

        def finished(native: asyncio.Task[None]) -> None:
            # Cancelled before its loop came to it, a task never starts.
            work.close()
            if not task.started:
                task.error, task.done = asyncio.CancelledError(), True

        native.add_done_callback(finished)
        self._tasks.add(native)
        return task

    def own_tasks(self) -> int:
        return len([task for task in asyncio.all_tasks() - self._tasks if task is not asyncio.current_task()])


class UvloopDoor(AsyncioDoor):
    name = UVLOOP


class TrioDoor(Door):
    name = TRIO
    nursery: trio.Nursery

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def start(self, work: Coroutine[Any, Any, Any], way: str = OWN) -> Task:
        scope = anyio.CancelScope() if way == ANYIO else trio.CancelScope()
        task = Task(self, cancel=scope.cancel)

        async def run() -> None:
            with scope:
                await task.run(work)

        self.nursery.start_soon(run)
        return task


DOORS: dict[str, type[Door]] = {door.name: door for door in (SyncDoor, AsyncioDoor, UvloopDoor, TrioDoor)}


# `Pool.counts` of a pool that holds nothing.
EMPTY = "0 active, 0 queued | 0 active, 0 idle"


def through(name: str, engine: str, scenario: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
    """Run the scenario on the door of that name; nothing foreign may have come out, no other engine have
    served, and nothing be left."""
    door = DOORS[name](engine)
    value = run(door, scenario)
    assert not door.foreign
    for pool in door.pools:
        assert pool.delegated is None
        assert pool.counts == EMPTY
    return value


def run(door: Door, scenario: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
    """Run `scenario(door, *args)` to its end on the door's own loop, and close its pools."""

    async def main() -> Any:
        try:
            return await scenario(door, *args)
        finally:
            with anyio.CancelScope(shield=True) if door.is_async else contextlib.nullcontext():
                await door.close_pools()

    if isinstance(door, TrioDoor):

        async def with_nursery() -> Task:
            # Kept and raised outside: a nursery would wrap the scenario's exception in a group.
            outcome = Task(door, cancel=lambda: None)
            async with trio.open_nursery() as door.nursery:
                await outcome.run(main())
                door.nursery.cancel_scope.cancel()
            return outcome

        outcome = trio.run(with_nursery)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value
    if isinstance(door, UvloopDoor):
        import uvloop  # noqa: PLC0415 - no other door needs it

        return uvloop.run(main())
    if isinstance(door, AsyncioDoor):
        return asyncio.run(main())
    return run_sync(main())
