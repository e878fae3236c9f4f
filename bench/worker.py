"""The measured process: one variant on one door, a round for each line on stdin. Orders are the parent's.

The process stays alive over all rounds of a row; each round opens its own client, warms it up, and measures
for a given time. A line of JSON goes out as soon as the figures are there, before the client is closed:
closing a slow pool can take long.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .servers import CLIENT_CORE, LARGE_BODY, SERVER_CORE, SMALL_BODY, pin
from .variants import BY_NAME, ROWS, Row, Variant

UPLOAD_BODY = 100 * 1000 * 1000
UPLOAD_CHUNK = 64 * 1024
MB = 1_000_000
CEILING_BREATH = (
    64  # a canned answer never suspends; so many requests later the loop gets its turn for timers
)


QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
# What the picture of the latencies is drawn from.
DISTRIBUTION = (0, *(step / 20 for step in range(1, 19)), 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1)


QUEUED_STRETCH = 4  # with so many requests at a time, one turn of the queue takes a quick round and more


@dataclass
class Order:
    """What the parent asks for: one round."""

    url: str
    tls_url: str
    http2_url: str
    own_url: str
    proxy_url: str
    sink: str
    seconds: float
    warm_up: float

    def base(self, row: Row, variant: Variant) -> str:
        if row.own_server:
            return self.own_url
        if row.http2:
            return self.http2_url
        return self.tls_url if row.tls and not variant.plain else self.url


class Meter:
    """Counts requests and their times; the figures are those between `start` and `stop`."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.errors = 0
        self.first_error = ""

    def timed(self, began: float) -> None:
        self.times.append(time.perf_counter() - began)

    def failed(self, error: BaseException) -> None:
        self.errors += 1
        self.first_error = self.first_error or f"{type(error).__name__}: {error}"[:200]

    def start(self) -> None:
        self._from = len(self.times)
        self._cpu, self._kernel = time.process_time(), kernel_seconds()
        self._wall = time.perf_counter()

    def stop(self, size: int = 0) -> dict[str, Any]:
        """With a size, the figures are per MB; otherwise per request."""
        wall = time.perf_counter() - self._wall
        cpu, kernel = time.process_time() - self._cpu, kernel_seconds() - self._kernel
        times = sorted(self.times[self._from :])
        units = len(times) * size / MB if size else len(times)
        return {
            "rate": units / wall,
            "cpu_us": cpu * 1e6 / units if units else None,
            "kernel_us": kernel * 1e6 / units if units else None,
            **{f"{name}_ms": quantile(times, share) for name, share in QUANTILES.items()},
            "distribution_ms": [quantile(times, share) for share in DISTRIBUTION] if times else [],
            "requests": len(times),
            "errors": self.errors,
            "error": self.first_error,
        }


def kernel_seconds() -> float:
    """Of this process's CPU time, what system calls have taken."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_stime


def quantile(times: list[float], share: float) -> float | None:
    """In milliseconds, of sorted seconds."""
    return times[min(len(times) - 1, int(len(times) * share))] * 1e3 if times else None


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def forget_peak() -> bool:
    """Resets the kernel's peak of resident memory; false where there is none."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def peak() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def compute(stopped: threading.Event) -> None:
    """What holds the GIL in the rows with a computing thread; only in its own process's rounds."""
    value = 0
    while not stopped.is_set():
        for number in range(1000):
            value = (value * 31 + number) % 1_000_003


def say(figures: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def check_length(size: int, expected: int) -> None:
    if size != expected:
        raise RuntimeError(f"body of {size} bytes instead of {expected}")


async def async_round(row: Row, variant: Variant, order: Order) -> None:
    import anyio  # httpx brings it; its task group is the same on every door

    from . import async_clients

    meter = Meter()
    async with async_clients.make(row, variant, order.proxy_url) as client:
        if row.bulk:

            async def chunks() -> Any:
                for start in range(0, UPLOAD_BODY, UPLOAD_CHUNK):
                    yield PAYLOAD[start : start + UPLOAD_CHUNK]

            await client.get(order.base(row, variant) + "/small")
            with Bulk(row, meter):
                began = time.perf_counter()
                if row.work == "download":
                    check_length(await client.download(order.base(row, variant) + "/large"), LARGE_BODY)
                else:
                    await client.upload(order.sink, PAYLOAD if row.work == "upload-bytes" else chunks())
                meter.timed(began)
            return

        url, close = order.base(row, variant) + row.path, row.work == "connect"

        async def loop() -> None:
            while True:
                if variant.canned and not len(meter.times) % CEILING_BREATH:
                    await anyio.sleep(0)
                began = time.perf_counter()
                try:
                    check_length(await client.get(url, close), SMALL_BODY)
                except Exception as error:
                    meter.failed(error)
                    await anyio.sleep(0)
                else:
                    meter.timed(began)

        async with anyio.create_task_group() as group:
            for _ in range(1 if variant.canned else row.concurrency):
                group.start_soon(loop)
            stretch = QUEUED_STRETCH if row.queued else 1
            await anyio.sleep(order.warm_up * stretch)
            meter.start()
            await anyio.sleep(order.seconds * stretch)
            say(meter.stop())
            group.cancel_scope.cancel()


def sync_round(row: Row, variant: Variant, order: Order) -> None:
    from . import sync_clients

    meter = Meter()
    stopped = threading.Event()
    with sync_clients.make(row, variant, order.proxy_url) as client:
        if row.bulk:
            client.get(order.base(row, variant) + "/small")
            chunks = (PAYLOAD[at : at + UPLOAD_CHUNK] for at in range(0, UPLOAD_BODY, UPLOAD_CHUNK))
            with Bulk(row, meter):
                began = time.perf_counter()
                if row.work == "download":
                    check_length(client.download(order.base(row, variant) + "/large"), LARGE_BODY)
                else:
                    client.upload(order.sink, PAYLOAD if row.work == "upload-bytes" else chunks)
                meter.timed(began)
            return

        url, close = order.base(row, variant) + row.path, row.work == "connect"

        def loop() -> None:
            while not stopped.is_set():
                began = time.perf_counter()
                try:
                    check_length(client.get(url, close), SMALL_BODY)
                except Exception as error:
                    meter.failed(error)
                else:
                    meter.timed(began)

        threads = [threading.Thread(target=loop, daemon=True) for _ in range(row.concurrency)]
        for thread in threads:
            thread.start()
        time.sleep(order.warm_up)
        meter.start()
        time.sleep(order.seconds)
        say(meter.stop())
        stopped.set()
        for thread in threads:
            thread.join()


class Bulk:
    """Measures one large transfer, with the growth of resident memory during it."""

    def __init__(self, row: Row, meter: Meter) -> None:
        self.size = LARGE_BODY if row.work == "download" else UPLOAD_BODY
        self.meter = meter

    def __enter__(self) -> None:
        self.has_peak = forget_peak()
        self.before = resident()
        self.meter.start()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            grown = {"grown": peak() - self.before} if self.has_peak else {}
            say(self.meter.stop(self.size) | grown)


PAYLOAD = b""


def runner(row: Row, variant: Variant) -> Callable[[Order], None]:
    """What runs a round on the row's door. An import that fails does so here, before the first round."""
    if row.door == "sync":
        return lambda order: sync_round(row, variant, order)
    if row.door == "trio":
        import trio

        return lambda order: trio.run(async_round, row, variant, order)
    if row.door == "uvloop":
        import uvloop

        return lambda order: uvloop.run(async_round(row, variant, order))
    import asyncio

    return lambda order: asyncio.run(async_round(row, variant, order))


def check_genuine(variant: Variant) -> None:
    """niquests can put its fork in urllib3's place, see requirements.txt: figures would be the fork's."""
    if variant.library in ("urllib3", "requests"):
        import urllib3

        if hasattr(urllib3, "AsyncPoolManager"):
            raise ImportError("urllib3-future stands in urllib3's place")


def main() -> None:
    global PAYLOAD  # noqa: PLW0603 - made once, and only where it is needed: it is 100 MB
    variant = BY_NAME[sys.argv[1]]
    row = next(row for row in ROWS if row.name == sys.argv[2])
    pin(SERVER_CORE if row.one_core else CLIENT_CORE)
    try:
        __import__(variant.library)
        check_genuine(variant)
        run = runner(row, variant)
    except ModuleNotFoundError as error:
        say({"missing": str(error)})
        return
    except ImportError as error:
        say({"failed": f"not imported: {error}"[:200]})
        return
    if row.work.startswith("upload"):
        PAYLOAD = b"x" * UPLOAD_BODY
    say({"ready": True})
    for line in sys.stdin:
        stopped = threading.Event()
        if row.computing:
            threading.Thread(target=compute, args=(stopped,), daemon=True).start()
        try:
            run(Order(**json.loads(line)))
        except Exception as error:
            say({"failed": f"{type(error).__name__}: {error}"[:200]})
        stopped.set()
        say({"idle": True})


if __name__ == "__main__":
    main()
