"""`python -m bench.beside`: how long requests of a pool take beside other users of the interpreter.

A pool is used by one thread, one request after the other, alone, beside a thread that computes in pure
Python, beside another thread's event loop that is busy with a pool of its own, and beside both. Ours, and
httpcore's in the same places. Each runs in a process of its own, in turn; the medians of their percentiles
count. Nothing is pinned: who waits for the interpreter, and for how long, hangs on the cores that there are.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from .cancels import percentile
from .servers import Nginx

CLIENTS = ("httpcore_hyper", "httpcore")
DOORS = ("sync", "asyncio")
PLACES = {
    "alone": (),
    "beside computing": ("computing",),
    "beside a busy loop": ("loop",),
    "beside both": ("computing", "loop"),
}
REQUESTS = 300  # enough for a 99th percentile
IN_FLIGHT = 16  # on the busy loop
ROUNDS = 5
# Our 99th percentile by httpcore's, beside a thread that computes. Beside a busy loop alone none is set: one
# of httpcore's lets go of the interpreter for each of its system calls.
MOST = 3.0


def compute(over: threading.Event) -> None:
    while not over.is_set():
        sum(number * number for number in range(1000))


def be_busy(client: Any, url: str, over: threading.Event, begun: Callable[[], object]) -> None:
    async def work(pool: Any) -> None:
        while not over.is_set():
            await pool.request("GET", url)
            begun()

    async def main() -> None:
        async with client.AsyncConnectionPool(max_connections=IN_FLIGHT) as pool:
            await asyncio.gather(*(work(pool) for _ in range(IN_FLIGHT)))

    asyncio.run(main())


def one_by_one(client: Any, url: str) -> list[float]:
    times = []
    with client.ConnectionPool() as pool:
        pool.request("GET", url)
        for _ in range(REQUESTS):
            began = time.perf_counter()
            pool.request("GET", url)
            times.append(time.perf_counter() - began)
    return times


async def one_by_one_async(client: Any, url: str) -> list[float]:
    times = []
    async with client.AsyncConnectionPool() as pool:
        await pool.request("GET", url)
        for _ in range(REQUESTS):
            began = time.perf_counter()
            await pool.request("GET", url)
            times.append(time.perf_counter() - began)
    return times


def measure(name: str, door: str, place: str, url: str) -> dict[str, float]:
    client = importlib.import_module(name)
    over, answered = threading.Event(), threading.Event()
    threads = []
    if "computing" in PLACES[place]:
        threads.append(threading.Thread(target=compute, args=(over,)))
    if "loop" in PLACES[place]:
        threads.append(threading.Thread(target=be_busy, args=(client, url, over, answered.set)))
    else:
        answered.set()
    for thread in threads:
        thread.start()
    try:
        answered.wait()
        times = one_by_one(client, url) if door == "sync" else asyncio.run(one_by_one_async(client, url))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return {key: percentile(times, share) * 1e3 for key, share in (("p50", 0.5), ("p99", 0.99))}


def report(rounds: int) -> int:
    gathered: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    with Nginx() as server:
        for _ in range(rounds):
            for door in DOORS:
                for place in PLACES:
                    for client in CLIENTS:
                        worker = [sys.executable, "-m", "bench.beside", "--client", client, "--door", door]
                        output = subprocess.run(
                            [*worker, "--place", place, "--url", server.url + "/small"],
                            stdout=subprocess.PIPE,
                            text=True,
                            check=True,
                        ).stdout
                        gathered.setdefault((door, place, client), []).append(json.loads(output))
    print(f"{REQUESTS} GETs, one by one; ms, medians of {rounds} rounds")
    problems = []
    for door in DOORS:
        for place, others in PLACES.items():
            medians = {
                (client, key): statistics.median(one[key] for one in gathered[door, place, client])
                for client in CLIENTS
                for key in ("p50", "p99")
            }
            ours, theirs = CLIENTS
            ratio = medians[ours, "p99"] / medians[theirs, "p99"]
            print(
                f"{door:8} {place:20}"
                + "".join(
                    f" {client} p50 {medians[client, 'p50']:6.2f} p99 {medians[client, 'p99']:6.2f} "
                    for client in CLIENTS
                )
                + f" ours/theirs {ratio:.2f}"
            )
            if "computing" in others and ratio >= MOST:
                problems.append(f"{door}, {place}: p99 is {ratio:.1f} times httpcore's")
    print(
        "\n".join(problems) if problems else f"beside computing p99 is less than {MOST:g} times httpcore's."
    )
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.beside")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--door", choices=DOORS, help=argparse.SUPPRESS)
    parser.add_argument("--place", choices=tuple(PLACES), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.client:
        print(json.dumps(measure(chosen.client, chosen.door, chosen.place, chosen.url)))
        return 0
    return report(chosen.rounds)


if __name__ == "__main__":
    sys.exit(main())
