"""The soaked process: one door, requests of every kind until it is told to stop, and what is seen meanwhile.

`python worker.py DOOR PORT SECONDS REQUESTS CANCELS`. A door is a loop or `sync`, and with `-http2` behind it
its requests are streams of shared connections. A line of JSON goes to standard output for each sample. Every
response must echo its own request's nonce, in its head and in all of its body.

Requests come in rounds. Between two of them nothing is under way, so that what is in use by then is what
requests have left behind: slots, and memory.
"""

from __future__ import annotations

import collections
import ctypes
import gc
import json
import os
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpcore

import httpcore_hyper
from httpcore_hyper import _rust

TASKS, SLOTS = 32, 16
ROUND = 50_000  # requests
SAMPLE_SECONDS = 0.5
# Beyond any wait of a working client here; one that comes to its end hangs.
TIMEOUTS = {"connect": 20.0, "read": 20.0, "write": 20.0, "pool": 20.0}
# Cancels come within about the time of a request, so that they meet all of its phases.
LATEST_CANCEL = 0.004
# While the server is down a client that asks at once would only count refusals.
REFUSED_PAUSE = 0.01
LOST = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
# What nothing is left of in the ledger when no request is under way: slots at once, the others when the loop
# and the engine have taken note of it. Idle connections stay.
SLOT_NAMES = ("queued", "leases")
UNDER_WAY = (*SLOT_NAMES, "exchanges", "waiters", "operations")
SETTLING = 1.0  # seconds
RESETS, EXTRAS, ENDINGS = 0.05, 0.02, 0.02
# An HTTP/2 connection that ends takes up to 31 others with it, and is to live for many streams.
HTTP2_ENDINGS = 0.001
HTTP2 = "-http2"


class Plan:
    """What one request is to be: drawn by dice, so that a seed tells it."""

    def __init__(self, dice: random.Random, nonce: str, cancels: float, http2: bool) -> None:
        self.nonce = nonce.encode()
        self.headers = [(b"X-Nonce", self.nonce)]
        self.method, self.content, self.size = "GET", None, dice.choice((0, 1, 242, 242, 242, 3000))
        self.cancel_after: float | None = None
        self.leaves_early = self.is_lost = self.may_hurt_next = False
        extras, endings = (0.0, HTTP2_ENDINGS) if http2 else (EXTRAS, ENDINGS)
        roll = dice.random()
        if roll < cancels:
            self.kind = dice.choice(("bytes", "late", "drip", "chunked", "echo"))
            self.size = {"late": 2, "drip": 4}.get(self.kind) or dice.choice((242, 100_000))
            self.cancel_after = dice.uniform(0, LATEST_CANCEL)
        elif (roll := roll - cancels) < RESETS:
            self.kind = dice.choice(("reset", "reset-head", "short"))
            self.size, self.is_lost = dice.choice((0, 1, 10, 20, 5000)), True
        elif (roll := roll - RESETS) < extras:
            self.kind = "extra"
        elif (roll := roll - extras) < endings:
            self.kind = dice.choice(("close", "hang-up") if http2 else ("close", "eof", "hang-up"))
            # It closes without a word: the next request may be on its way by then.
            self.may_hurt_next = self.kind == "hang-up"
        else:
            self.kind = dice.choice(("bytes",) * 12 + ("chunked", "interim", "echo", "echo-parts"))
            self.leaves_early = dice.random() < 0.01
            if self.kind != "bytes" and dice.random() < 0.05:
                self.size = 100_000
        self.url = f"/{self.kind}/{self.size}"
        if self.kind.startswith("echo"):
            self.method, self.content, self.url = "POST", self.body(), "/echo"

    def body(self) -> bytes:
        if self.kind in ("late",):
            return self.filling(242)
        return self.filling(self.size)

    def filling(self, size: int) -> bytes:
        return (self.nonce * (size // len(self.nonce) + 1))[:size]

    def parts(self) -> Iterator[bytes]:
        data = self.body()
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    async def async_parts(self) -> AsyncIterator[bytes]:
        for part in self.parts():
            yield part

    def is_echo(self, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        nonces = [value for name, value in headers if name.lower() == b"x-nonce"]
        return nonces == [self.nonce] and body == self.body()


class Malloc(ctypes.Structure):
    """What glibc tells of its allocator, over all arenas: `struct mallinfo2`."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "free_blocks", "fast_blocks", "mapped_blocks", "mapped"),
            *("always_zero", "fast_free", "handed_out", "free", "trimmable"),
        )
    )


def in_use() -> int | None:
    """Bytes that malloc has handed out and not got back. No other C library than glibc tells.

    Resident memory has the holes as well, and those grow for a long time: each of malloc's arenas keeps what
    it needed at most at any one moment.
    """
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    mallinfo.restype = Malloc
    told = mallinfo()
    return int(told.handed_out + told.mapped)


class Tally:
    """What happened, over all tasks or threads."""

    def __init__(self, deadline: float, most: int, cancels: float, http2: bool) -> None:
        self.deadline, self.most, self.cancels, self.http2 = deadline, most, cancels, http2
        self.begun = self.round_end = 0
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        return self.begun >= self.most or time.monotonic() > self.deadline or len(self.wrong) > 20

    def next_round(self) -> bool:
        self.round_end += ROUND
        return not self.is_over

    def next(self) -> int | None:
        with self.lock:
            if self.begun >= self.round_end or self.is_over:
                return None
            self.begun += 1
            return self.begun

    def plan(self, dice: random.Random, nonce: str) -> Plan:
        return Plan(dice, nonce, self.cancels, self.http2)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def is_wrong(self, what: str, text: str) -> None:
        with self.lock:
            self.counts[what] += 1
            self.wrong.append(f"{what}: {text}"[:300])

    def settle(self, plan: Plan, error: BaseException | None) -> None:
        """Names what came of a request that raised, or was answered as it should be."""
        if plan.may_hurt_next:
            self.count("hang-ups")
        if plan.kind == "extra":
            self.count("extras")
        if error is None:
            if plan.is_lost:
                self.is_wrong("complete", f"{plan.url} cannot have been complete")
            else:
                self.count("answered")
        elif isinstance(error, httpcore.ConnectError):
            self.count("refused")
        elif isinstance(error, LOST):
            self.count("resets" if plan.is_lost else "lost")
        elif isinstance(error, httpcore.TimeoutException):
            self.is_wrong("hangs", f"{plan.url}: {error!r}")
        else:
            self.is_wrong("foreign", f"{plan.url}: {error!r}")

    def compare(self, plan: Plan, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if not plan.is_echo(headers, body):
            text = f"{plan.nonce!r} asked {plan.url}, got {headers} {len(body)} {body[:40]!r}"
            self.is_wrong("mismatches", text)

    def sample(self) -> None:
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        sample = {
            "requests": self.begun,
            "resident": resident,
            "descriptors": len(os.listdir("/proc/self/fd")),
        }
        print(json.dumps(sample), flush=True)

    def check_slots(self, pool: Any) -> None:
        """Nobody holds anything: every slot has come back by now, and not a moment later."""
        state = repr(pool)
        if "Requests: 0 active, 0 queued | Connections: 0 active" not in state:
            self.is_wrong("slots", state)
        if held := held_of(SLOT_NAMES):
            self.is_wrong("slots", repr(held))
        # What cycles hold is neither under way nor left behind.
        gc.collect()

    def rest(self) -> None:
        """What is there between two rounds."""
        if held := held_of(UNDER_WAY):
            self.is_wrong("slots", repr(held))
        sample = {"requests": self.begun, "in use": in_use(), "blocks": sys.getallocatedblocks()}
        print(json.dumps(sample), flush=True)


def held_of(names: tuple[str, ...]) -> dict[str, int]:
    """What the ledger tells of these, less what is zero."""
    told = _rust.ledger()
    return {name: told[name] for name in names if told[name]}


async def one(pool: Any, base: str, plan: Plan, tally: Tally) -> None:
    content: Any = plan.async_parts() if plan.kind == "echo-parts" else plan.content
    with anyio.move_on_after(float("inf") if plan.cancel_after is None else plan.cancel_after) as scope:
        try:
            async with pool.stream(
                plan.method,
                base + plan.url,
                headers=plan.headers,
                content=content,
                extensions={"timeout": TIMEOUTS},
            ) as response:
                if plan.leaves_early:
                    tally.count("left early")
                    return
                parts = [part async for part in response.aiter_stream()]
            tally.compare(plan, response.headers, b"".join(parts))
        except Exception as error:
            tally.settle(plan, error)
            if isinstance(error, httpcore.ConnectError):
                await anyio.sleep(REFUSED_PAUSE)
        else:
            tally.settle(plan, None)
    if scope.cancelled_caught:
        tally.count("cancelled")


async def soak_async(door: str, base: str, tally: Tally) -> None:
    pool = httpcore_hyper.AsyncConnectionPool(max_connections=SLOTS, http1=not tally.http2, http2=tally.http2)

    async def work(number: int) -> None:
        dice = random.Random(number)
        while (count := tally.next()) is not None:
            await one(pool, base, tally.plan(dice, f"{door}-{count}-"), tally)

    async def watch() -> None:
        while True:
            tally.sample()
            await anyio.sleep(SAMPLE_SECONDS)

    async with anyio.create_task_group() as outer:
        outer.start_soon(watch)
        while tally.next_round():
            async with anyio.create_task_group() as group:
                for number in range(TASKS):
                    group.start_soon(work, tally.begun + number)
            tally.check_slots(pool)
            limit = time.monotonic() + SETTLING
            while held_of(UNDER_WAY) and time.monotonic() < limit:
                await anyio.sleep(0.001)
            tally.rest()
        outer.cancel_scope.cancel()
    await pool.aclose()


def one_sync(pool: Any, base: str, plan: Plan, tally: Tally) -> None:
    content: Any = plan.parts() if plan.kind == "echo-parts" else plan.content
    # A thread cannot be cancelled; it leaves the response instead.
    leaves = plan.leaves_early or plan.cancel_after is not None
    try:
        with pool.stream(
            plan.method,
            base + plan.url,
            headers=plan.headers,
            content=content,
            extensions={"timeout": TIMEOUTS},
        ) as response:
            if leaves:
                tally.count("left early")
                return
            parts = list(response.iter_stream())
        tally.compare(plan, response.headers, b"".join(parts))
    except Exception as error:
        tally.settle(plan, error)
        if isinstance(error, httpcore.ConnectError):
            time.sleep(REFUSED_PAUSE)
    else:
        tally.settle(plan, None)


def soak_sync(base: str, tally: Tally) -> None:
    pool = httpcore_hyper.ConnectionPool(max_connections=SLOTS, http1=not tally.http2, http2=tally.http2)

    def work(number: int) -> None:
        dice = random.Random(number)
        while (count := tally.next()) is not None:
            one_sync(pool, base, tally.plan(dice, f"sync-{count}-"), tally)

    while tally.next_round():
        seeds = [tally.begun + number for number in range(TASKS)]
        threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in seeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                tally.sample()
                thread.join(SAMPLE_SECONDS)
        del threads, thread
        tally.check_slots(pool)
        tally.rest()
    pool.close()


def main() -> None:
    door, port, seconds, most = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    before = len(os.listdir("/proc/self/fd"))
    tally = Tally(time.monotonic() + seconds, most, float(sys.argv[5]), door.endswith(HTTP2))
    door = door.removesuffix(HTTP2)
    began = time.monotonic()
    base = f"http://127.0.0.1:{port}"
    if door == "sync":
        soak_sync(base, tally)
    elif door == "trio":
        import trio  # noqa: PLC0415 - no other door needs it

        trio.run(soak_async, door, base, tally)
    elif door == "uvloop":
        import uvloop  # noqa: PLC0415 - no other door needs it

        uvloop.run(soak_async(door, base, tally))
    else:
        anyio.run(soak_async, door, base, tally)
    elapsed = time.monotonic() - began
    gc.collect()
    limit = time.monotonic() + 5.0
    while any(_rust.ledger().values()) and time.monotonic() < limit:
        time.sleep(0.01)
        gc.collect()
    end = {
        "end": True,
        "requests": tally.begun,
        "seconds": elapsed,
        "counts": dict(tally.counts),
        "wrong": tally.wrong,
        "ledger": {name: held for name, held in _rust.ledger().items() if held},
        # The shared runtime stays with the process; its descriptors are those of its poll set.
        "descriptors": [before, len(os.listdir("/proc/self/fd"))],
    }
    print(json.dumps(end), flush=True)


if __name__ == "__main__":
    main()
