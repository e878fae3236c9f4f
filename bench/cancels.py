"""`python -m bench.cancels`: how long it takes from a cancel until the server sees the connection end.

Each door runs in a process of its own, beside other requests that keep its loop busy. The server is
`bench/server`; it notes when the end of a connection has reached it. Both read the system's clock.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .servers import free_port, wait_for

DOORS = ("asyncio", "uvloop", "trio")
CANCELS = 2000  # for each door: enough for a 99th percentile
BUSY = 16  # other requests in flight
LIMIT_WIRE, LIMIT_RETURN = 50.0, 10.0  # ms, of the 99th percentiles
# `--quick` is for machines that are busy with other things.
QUICK_CANCELS, LENIENCE = 200, 10
LATEST_END = 10.0  # s; an end that has not come by then never will


def percentile(values: list[float], share: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


async def cancel_all(port: int, count: int) -> dict[str, Any]:
    """Cancels requests one by one, half of them before the head and half amid the body."""
    import anyio

    import httpcore_hyper

    base = f"http://127.0.0.1:{port}"
    cancelled: dict[int, int] = {}
    returned: list[float] = []
    async with httpcore_hyper.AsyncConnectionPool(max_connections=BUSY + 8) as pool:

        async def busy() -> None:
            while True:
                await pool.request("GET", base + "/small")

        async def held(path: str, began: anyio.Event, ended: anyio.Event, scope: anyio.CancelScope) -> None:
            with scope:
                try:
                    async with pool.stream("GET", base + path) as response:
                        async for _ in response.aiter_stream():
                            began.set()
                finally:
                    ended.set()

        async with anyio.create_task_group() as load, anyio.create_task_group() as group:
            for _ in range(BUSY):
                load.start_soon(busy)
            for number in range(count):
                in_body = number % 2
                began, ended, scope = anyio.Event(), anyio.Event(), anyio.CancelScope()
                path = f"/hold-body/{number}" if in_body else f"/hold/{number}"
                group.start_soon(held, path, began, ended, scope)
                if in_body:
                    await began.wait()
                else:
                    await pool.request("GET", f"{base}/held/{number}")
                cancelled[number] = time.time_ns()
                scope.cancel()
                await ended.wait()
                returned.append((time.time_ns() - cancelled[number]) / 1e6)
            load.cancel_scope.cancel()
    return {"cancelled": cancelled, "returned": returned}


def measure(door: str, port: int, count: int) -> dict[str, Any]:
    if door == "trio":
        import trio

        return trio.run(cancel_all, port, count)
    if door == "uvloop":
        import uvloop

        return uvloop.run(cancel_all(port, count))
    import asyncio

    return asyncio.run(cancel_all(port, count))


def run(door: str, program: Path, count: int, lenience: int) -> list[str]:
    """Prints the figures of a door; returns what does not hold."""
    port = free_port()
    server = subprocess.Popen([str(program), str(port)], stdout=subprocess.PIPE, text=True)
    ended: dict[int, int] = {}

    def listen() -> None:
        assert server.stdout is not None
        for line in server.stdout:
            _, number, _, nanos = line.split()
            ended[int(number)] = int(nanos)

    listener = threading.Thread(target=listen)
    try:
        wait_for(server, port)
        listener.start()
        worker = [sys.executable, "-m", "bench.cancels", "--door", door, "--port", str(port)]
        output = subprocess.run(
            [*worker, "--count", str(count)], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        figures = json.loads(output)
        cancelled = {int(number): nanos for number, nanos in figures["cancelled"].items()}
        deadline = time.monotonic() + LATEST_END
        while len(ended) < len(cancelled) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        server.kill()
        server.wait()
        listener.join()
    missing = len(cancelled) - len(ended)
    wire = [(ended[number] - nanos) / 1e6 for number, nanos in cancelled.items() if number in ended]
    rows = (("to the wire", wire, LIMIT_WIRE), ("to return", figures["returned"], LIMIT_RETURN))
    problems = [f"{door}: {missing} ends were never seen"] if missing else []
    for name, values, limit in rows:
        p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
        spread = f"p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  max {max(values):7.2f} ms"
        print(f"{door:8} {name:12} {len(values):6,} {spread}")
        if p99 > limit * lenience:
            problems.append(f"{door}: p99 {name} is above {limit * lenience:g} ms")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cancels")
    parser.add_argument("--server", type=Path, default=os.environ.get("BENCH_SERVER"))
    parser.add_argument("--count", type=int, default=CANCELS)
    parser.add_argument("--quick", action="store_true", help="few cancels, and ten times the limits")
    parser.add_argument("--door", choices=DOORS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.door:
        print(json.dumps(measure(chosen.door, chosen.port, chosen.count)))
        return 0
    if chosen.server is None:
        parser.error("--server: the program of bench/server")
    count, lenience = (QUICK_CANCELS, LENIENCE) if chosen.quick else (chosen.count, 1)
    problems = [run(door, chosen.server, count, lenience) for door in DOORS]
    found = list(itertools.chain.from_iterable(problems))
    print("\n".join(found) if found else "Every cancel reached the wire in time.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
