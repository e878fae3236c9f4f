"""`python -m bench.scale`: 10,000 requests at once over 100 connections, ours and aiohttp's.

The ideal is what a queue could reach at best: 10,000 requests divided by the client's own rate with 100 at a
time. Each client runs in a process of its own, in turn, several times; the medians count. The server is
`bench/server`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cancels import LENIENCE, percentile
from .servers import CLIENT_CORE, OwnServer, own_program, pin

AT_ONCE, CONNECTIONS = 10_000, 100
RATE_REQUESTS = 20_000  # what the client's own rate is taken from
CLIENTS = ("httpcore_hyper", "aiohttp")
LOOPS = ("asyncio", "uvloop")
ROUNDS = 5
MOST = 1.5  # p99 by the ideal


async def measure(name: str, url: str) -> dict[str, float]:
    from . import async_clients
    from .variants import BY_NAME, Row

    row = Row("scale", "pool", "asyncio")
    async with async_clients.make(row, BY_NAME[name], "") as client:

        async def some(count: int) -> None:
            for _ in range(count):
                await client.get(url)

        async def at_once(times: list[float]) -> None:
            began = time.perf_counter()
            await client.get(url)
            times.append(time.perf_counter() - began)

        await asyncio.gather(*(some(20) for _ in range(CONNECTIONS)))
        began = time.perf_counter()
        await asyncio.gather(*(some(RATE_REQUESTS // CONNECTIONS) for _ in range(CONNECTIONS)))
        rate = RATE_REQUESTS / (time.perf_counter() - began)
        times: list[float] = []
        await asyncio.gather(*(at_once(times) for _ in range(AT_ONCE)))
        with open("/proc/self/status") as file:
            peak = next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    return {
        "rate": rate,
        "p50": percentile(times, 0.5) * 1e3,
        "p99": percentile(times, 0.99) * 1e3,
        "ideal": AT_ONCE / rate * 1e3,
        "peak": peak,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale")
    parser.add_argument("--server", type=Path, default=own_program())
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="ours alone, once, and ten times the limit")
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--loop", choices=LOOPS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.client:
        pin(CLIENT_CORE)
        if chosen.loop == "uvloop":
            import uvloop

            print(json.dumps(uvloop.run(measure(chosen.client, chosen.url))))
        else:
            print(json.dumps(asyncio.run(measure(chosen.client, chosen.url))))
        return 0
    if chosen.server is None:
        parser.error("--server: the program of bench/server")
    if chosen.quick:
        return report(chosen.server, 1, CLIENTS[:1], MOST * LENIENCE)
    return report(chosen.server, chosen.rounds, CLIENTS, MOST)


def report(program: Path, rounds: int, clients: Sequence[str], most: float) -> int:
    gathered: dict[tuple[str, str], list[dict[str, float]]] = {}
    with OwnServer(program) as server:
        for _ in range(rounds):
            for loop in LOOPS:
                for client in clients:
                    worker = [sys.executable, "-m", "bench.scale", "--client", client, "--loop", loop]
                    output = subprocess.run(
                        [*worker, "--url", server.url + "/small"],
                        stdout=subprocess.PIPE,
                        text=True,
                        check=True,
                    ).stdout
                    gathered.setdefault((loop, client), []).append(json.loads(output))
    print(f"{AT_ONCE:,} GETs at once over {CONNECTIONS} connections; medians of {rounds} rounds")
    medians: dict[tuple[str, str], dict[str, Any]] = {}
    for (loop, client), figures in gathered.items():
        row = {key: statistics.median(one[key] for one in figures) for key in figures[0]}
        row["ratio"] = statistics.median(one["p99"] / one["ideal"] for one in figures)
        medians[loop, client] = row
        print(
            f"{loop:8} {client:15} {row['rate']:7,.0f}/s at {CONNECTIONS}  ideal {row['ideal']:6.0f} ms  "
            f"p50 {row['p50']:6.0f} ms  p99 {row['p99']:6.0f} ms  p99/ideal {row['ratio']:.2f}  "
            f"peak {row['peak']:.0f} MiB"
        )
    problems = []
    for loop in LOOPS:
        ours, *others = (medians[loop, client] for client in clients)
        if ours["ratio"] > most:
            problems.append(f"{loop}: p99 is {ours['ratio']:.2f} times the ideal")
        if any(ours["p99"] > theirs["p99"] for theirs in others):
            problems.append(f"{loop}: p99 is above aiohttp's")
    print(
        "\n".join(problems)
        if problems
        else f"p99 is at most {most:g} times the ideal, and not above others'."
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
