"""What `bench.weight` weighs: the work of the measured processes. Starts none, judges nothing."""

from __future__ import annotations

import asyncio
import os
import statistics
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from .servers import CLIENT_CORE, pin
from .variants import BY_NAME, ROWS
from .worker import UPLOAD_CHUNK, check_length, forget_peak, peak, resident

MIB = 1024 * 1024
CONNECTING = 256  # handshakes at a time: the server's backlog has room for them
TRANSFER = 1_000_000_000  # bytes
LOTS = 10  # into which the requests of one process are divided
BUSY = 64  # requests in flight where a rate is taken
SLOW_BODY = 4 * MIB  # above all that anybody on the way may hold
SETTLED = 0.5  # seconds in which memory that still grows would show it
LATEST = 20.0  # seconds after which memory that still grows is taken as it is
SAMPLE = 0.01  # seconds between two looks at the memory of a transfer
Figures = dict[str, Any]


def new_pool(connections: int) -> Any:
    import httpcore_hyper

    return httpcore_hyper.AsyncConnectionPool(
        max_connections=connections, max_keepalive_connections=connections
    )


async def hold_open(pool: Any, url: str, count: int) -> None:
    """So many responses at once, each of which has its own connection; all idle at the end."""
    handshakes, all_there, there = asyncio.Semaphore(CONNECTING), asyncio.Event(), 0

    async def one() -> None:
        nonlocal there
        async with handshakes:
            response = await pool.handle_async_request(request(url))
        there += 1
        if there == count:
            all_there.set()
        await all_there.wait()
        await response.aread()
        await response.aclose()

    await asyncio.gather(*(one() for _ in range(count)))


def request(url: str) -> Any:
    import httpcore

    return httpcore.Request("GET", url, headers={"Host": "127.0.0.1"})


async def send_many(pool: Any, url: str, count: int) -> float:
    """CPU time per request of `count` requests, BUSY at a time."""
    left = count

    async def loop() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await pool.request("GET", url)

    began = time.process_time()
    await asyncio.gather(*(loop() for _ in range(BUSY)))
    return (time.process_time() - began) / count


async def connections(url: str, count: int) -> Figures:
    """The weight of an idle connection, and whether so many of them make a request dearer."""
    async with new_pool(count) as pool:
        await hold_open(pool, url, BUSY)
        before = [await send_many(pool, url, 5_000) for _ in range(3)]
        weight, began = resident(), time.perf_counter()
        await hold_open(pool, url, count)
        took = time.perf_counter() - began
        weight = resident() - weight
        assert len(pool.connections) == count
        after = [await send_many(pool, url, 5_000) for _ in range(3)]
    cost = min(after) / min(before)
    return {"each": weight / (count - BUSY), "seconds": took, "cost": cost, "cpu_us": min(after) * 1e6}


async def waiting(url: str, count: int) -> Figures:
    """The weight of a request that waits for a connection, and of a task that waits for nothing of ours."""
    free = asyncio.Event()
    before = resident()
    tasks = [asyncio.create_task(free.wait()) for _ in range(count)]
    await asyncio.sleep(0)
    bare = resident() - before
    async with new_pool(1) as pool:
        response = await pool.handle_async_request(request(url))
        before = resident()
        requests = [asyncio.create_task(pool.request("GET", url)) for _ in range(count)]
        while f"{count} queued" not in repr(pool):
            await asyncio.sleep(0)
        weight = resident() - before
        await response.aclose()
        await asyncio.gather(*requests)
    free.set()
    await asyncio.gather(*tasks)
    return {"each": weight / count, "bare": bare / count}


async def pools(url: str, count: int) -> Figures:
    """Many pools with a connection each: memory, threads, and what the first and the last ones cost."""
    before, threads = resident(), len(os.listdir("/proc/self/task"))
    made, times = [], []
    for _ in range(count):
        began = time.process_time()
        pool = new_pool(1)
        check_status(await pool.request("GET", url))
        times.append(time.process_time() - began)
        made.append(pool)
    figures = {
        "each": (resident() - before) / count,
        "threads": len(os.listdir("/proc/self/task")) - threads,
        # The very first one starts what all share.
        "cost": statistics.median(times[-count // 10 :]) / statistics.median(times[1 : count // 10]),
        "cpu_us": statistics.median(times) * 1e6,
    }
    for pool in made:
        await pool.aclose()
    return figures


def check_status(response: Any) -> None:
    if response.status != 200:
        raise RuntimeError(f"answered with status {response.status}")


async def requests(url: str, count: int) -> Figures:
    """Whether the last requests of a long life cost what the first ones did, and weigh nothing."""
    costs, weights = [], []
    async with new_pool(BUSY) as pool:
        await send_many(pool, url, count // LOTS)  # everything has been allocated once
        for _ in range(LOTS):
            costs.append(await send_many(pool, url, count // LOTS) * 1e6)
            weights.append(resident())
    return {"cost": costs[-1] / costs[0], "cpu_us": costs[-1], "grown": weights[-1] - weights[0]}


async def downloads(url: str, count: int) -> Figures:
    """Slow readers: each has had one piece of its body. What is held for them must have an end."""
    async with new_pool(count) as pool:
        await hold_open(pool, url + "/small", BUSY)
        before = resident()
        handshakes = asyncio.Semaphore(CONNECTING)

        async def first_piece() -> AsyncIterator[bytes]:
            async with handshakes:
                response = await pool.handle_async_request(request(f"{url}/bytes/{SLOW_BODY}"))
                pieces = response.aiter_stream()
                await anext(pieces)
                held.append(response)
            return pieces  # type: ignore[no-any-return]

        held: list[Any] = []
        pieces = await asyncio.gather(*(first_piece() for _ in range(count)))
        weight, began = resident(), time.perf_counter()
        while time.perf_counter() - began < LATEST:
            await asyncio.sleep(SETTLED)
            weight, last = resident(), weight
            if weight <= last * 1.01:
                break
        del pieces
        for response in held:
            await response.aclose()
    return {"each": (weight - before) / count, "all": weight - before, "body": SLOW_BODY}


class Watch:
    """Looks at the process's memory while a transfer runs."""

    def __enter__(self) -> Watch:
        self.samples: list[tuple[float, int]] = []
        self.peaked = forget_peak()
        self.before, self.began = resident(), time.perf_counter()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self) -> None:
        while not self.ended.wait(SAMPLE):
            self.samples.append((time.perf_counter() - self.began, resident() - self.before))

    def __exit__(self, *_: object) -> None:
        self.grown = (peak() if self.peaked else max(size for _, size in self.samples)) - self.before
        self.ended.set()
        self.thread.join()

    def figures(self) -> Figures:
        return {"grown": self.grown, "seconds": self.samples[-1][0], "samples": self.samples}


def chunks() -> Iterator[bytes]:
    chunk = b"x" * UPLOAD_CHUNK
    for _ in range(TRANSFER // UPLOAD_CHUNK):
        yield chunk


async def async_chunks() -> AsyncIterator[bytes]:
    for chunk in chunks():
        yield chunk


def transfer(url: str, sink: str, name: str, work: str, door: str) -> Figures:
    """A download or an upload of 1 GB."""
    row, variant = next(row for row in ROWS if row.level == BY_NAME[name].level), BY_NAME[name]
    if door == "sync":
        from . import sync_clients

        with sync_clients.make(row, variant, "") as client:
            client.get(url + "/small")
            client.upload(sink, b"x")
            with Watch() as watch:
                if work == "download":
                    check_length(client.download(f"{url}/bytes/{TRANSFER}"), TRANSFER)
                else:
                    client.upload(sink, chunks())
        return watch.figures()
    from . import async_clients

    async def run() -> Figures:
        async with async_clients.make(row, variant, "") as client:
            await client.get(url + "/small")
            await client.upload(sink, b"x")
            with Watch() as watch:
                if work == "download":
                    check_length(await client.download(f"{url}/bytes/{TRANSFER}"), TRANSFER)
                else:
                    await client.upload(sink, async_chunks())
        return watch.figures()

    return asyncio.run(run())


def importing(url: str, ours: bool) -> Figures:
    """From `import httpx` on: our import, a client, and its first answer; or the same without us."""
    import httpx

    began, cpu = time.perf_counter(), time.process_time()
    imported = began
    transport: Any
    if ours:
        import httpcore_hyper

        imported = time.perf_counter()
        transport = httpcore_hyper.HTTPTransport()
    else:
        transport = httpx.HTTPTransport()
    with httpx.Client(transport=transport, trust_env=False) as client:
        client.get(url)
    ended, cpu = time.perf_counter(), time.process_time() - cpu
    return {"import_ms": (imported - began) * 1e3, "all_ms": (ended - began) * 1e3, "cpu_ms": cpu * 1e3}


PARTS: dict[str, Callable[[str, int], Awaitable[Figures]]] = {
    "connections": lambda url, count: connections(url + "/small", count),
    "waiting": lambda url, count: waiting(url + "/small", count),
    "pools": lambda url, count: pools(url + "/small", count),
    "requests": lambda url, count: requests(url + "/small", count),
    "downloads": downloads,
}
TRANSFERS = [
    (name, work, door)
    for name in ("httpcore_hyper", "httpx + httpcore_hyper", "httpx")
    for work in ("download", "upload")
    for door in ("asyncio", "sync")
]


def child(arguments: list[str]) -> Figures:
    pin(CLIENT_CORE)
    part, url, *rest = arguments
    if part == "transfer":
        return transfer(url, *rest)
    if part == "importing":
        return importing(url + "/small", rest[0] == "ours")

    async def run() -> Figures:
        return await PARTS[part](url, int(rest[0]))

    return asyncio.run(run())
