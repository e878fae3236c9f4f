"""A caller who is alone on its loop, again and again, looks for a near answer before the loop sleeps.

The loop's other tasks have their turn with every request all the same, and a cancellation finds it there.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest
import trio
from doors import ASYNC_DOORS, CANCELLED, Door, through
from engines import HTTPCORE
from pools import Pool

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
# Seconds in which one answer has to come soon enough; a busy machine may take some thousand requests for it.
DEADLINE = 20.0
# A caller is alone from its seventeenth request on.
ENOUGH = 40


@contextlib.contextmanager
def near_server(is_end: Callable[[bytes], bool] = bool) -> Iterator[str]:
    """A server of few instructions, which answers each request as soon as it can; gives its URL.

    `is_end` tells a piece of a request with which it ends.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = []
        clients = []

        def serve(client: socket.socket) -> None:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client, contextlib.suppress(ConnectionError):
                while data := client.recv(65_536):
                    if is_end(data):
                        client.sendall(ANSWER)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    clients.append(client)
                    threads.append(threading.Thread(target=serve, args=(client,)))
                    threads[-1].start()

        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            for one in (listener, *clients):
                with contextlib.suppress(OSError):  # already closed
                    one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


class Steps(Awaitable[Any]):
    """Awaits something, and keeps what it yields to the loop: one thing for each time that it suspends."""

    def __init__(
        self,
        awaitable: Awaitable[Any],
        at_turn: Callable[[], object] = lambda: None,
        at_first: Callable[[], object] = lambda: None,
    ) -> None:
        """Calls `at_turn` whenever it is about to let others pass, `at_first` when it suspends first."""
        self._awaitable = awaitable
        self._at_turn = at_turn
        self._at_first = at_first
        self.yielded: list[Any] = []

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._awaitable.__await__()
        step = steps.__next__
        while True:
            try:
                asked = step()
            except StopIteration as end:
                return end.value
            if not self.yielded:
                self._at_first()
            self.yielded.append(asked)
            if _is_a_turn(asked):
                self._at_turn()
            try:
                sent = yield asked
                step = partial(steps.send, sent)
            except BaseException as error:
                step = partial(steps.throw, error)

    @property
    def only_let_others_pass(self) -> bool:
        """It has waited for nothing, and let the loop's other tasks have one turn."""
        return [_is_a_turn(asked) for asked in self.yielded] == [True]


def _is_a_turn(asked: Any) -> bool:
    # What `asyncio.sleep(0)` yields, and what a checkpoint of trio's does.
    return asked is None or getattr(asked, "__name__", "") == "CancelShieldedCheckpoint"


async def near_answer(pool: Pool, url: str) -> None:
    """Asks until an answer has been near."""
    limit = time.monotonic() + DEADLINE
    while time.monotonic() < limit:
        steps = Steps(pool.request("GET", url))
        assert (await steps).body == b"hi"
        if steps.only_let_others_pass:
            return
    raise AssertionError("no answer was found without the loop's going to sleep")


@pytest.fixture(autouse=True)
def ours_alone(engine: str) -> None:
    if engine == HTTPCORE:
        pytest.skip("httpcore always has its loop wait")


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_others_have_their_turn_with_every_request(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await door.sleep(0)
                turns += 1

        with near_server() as url:
            pool = door.pool()
            beside = door.start(other())
            await near_answer(pool, url)
            before = turns
            for _ in range(ENOUGH):
                await near_answer(pool, url)
            # trio takes the tasks of one round in any order, so that the last turn may have yet to come.
            assert turns - before >= ENOUGH - 1
            beside.cancel()
            await beside.settled()
            await pool.close()

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_others_have_their_turn_before_the_answer_is_looked_for(door: str, engine: str) -> None:
    """The server answers when others have had it, and no sooner."""

    async def scenario(door: Door) -> None:
        turned = threading.Semaphore(0)

        def is_end(_: bytes) -> bool:
            return turned.acquire(timeout=DEADLINE)

        with near_server(is_end) as url:
            pool = door.pool()
            limit = time.monotonic() + DEADLINE
            while time.monotonic() < limit:
                # Once for each request: as long as none is near it suspends to wait for the answer.
                steps = Steps(pool.request("GET", url), at_first=turned.release)
                assert (await steps).body == b"hi"
                if steps.only_let_others_pass:
                    break
            else:
                raise AssertionError("no answer was found without the loop's going to sleep")
            await pool.close()

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_two_callers_are_not_alone(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        with near_server() as url:
            pool = door.pool()
            await near_answer(pool, url)
            turns: list[int] = []

            async def every_other(mine: int) -> None:
                for number in range(ENOUGH):
                    assert await door.until(lambda: len(turns) % 2 == mine)
                    steps = Steps(pool.request("GET", url))
                    assert (await steps).body == b"hi"
                    # The first one comes behind one who has been alone.
                    assert not steps.only_let_others_pass or number == 0
                    turns.append(mine)

            one, two = door.start(every_other(0)), door.start(every_other(1))
            await one.outcome()
            await two.outcome()
            await pool.close()

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_a_cancellation_beside_a_near_answer_leaves_nothing(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        with near_server() as url:
            pool = door.pool()

            async def until_cancelled() -> None:
                limit = time.monotonic() + DEADLINE
                while time.monotonic() < limit:
                    await Steps(pool.request("GET", url), at_turn=task.cancel)

            task = door.start(until_cancelled())
            await task.settled(DEADLINE)
            assert isinstance(task.error, CANCELLED)
            assert pool.counts.startswith("0 active, 0 queued | 0 active"), pool.counts
            assert (await pool.request("GET", url)).body == b"hi"
            await pool.close()

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_an_upload_is_not_held_up(door: str, engine: str) -> None:
    """What is sent is with the kernel at once: no turn of the loop's for each chunk."""

    async def scenario(door: Door) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(ENOUGH):
                yield b"chunk"

        with near_server(is_end=lambda data: data.endswith(b"0\r\n\r\n")) as url:
            pool = door.pool()
            for _ in range(ENOUGH):
                steps = Steps(pool.request("POST", url, content=door.body(chunks())))
                assert (await steps).body == b"hi"
            assert len(steps.yielded) < ENOUGH // 4
            await pool.close()

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ASYNC_DOORS)
def test_a_caller_who_was_cancelled_before_sends_nothing(door: str, engine: str) -> None:
    """Also where it has been alone so far."""

    async def scenario(door: Door) -> None:
        with near_server() as url:
            pool = door.pool()
            reached = False

            async def cancelled() -> None:
                nonlocal reached
                await near_answer(pool, url)
                task.cancel()
                if door.name == "trio":
                    await trio.lowlevel.cancel_shielded_checkpoint()
                await pool.request("GET", url)
                reached = True

            task = door.start(cancelled())
            await task.settled(DEADLINE)
            assert isinstance(task.error, CANCELLED)
            assert not reached
            assert pool.counts.startswith("0 active, 0 queued | 0 active"), pool.counts
            assert (await pool.request("GET", url)).body == b"hi"
            await pool.close()

    through(door, engine, scenario)
