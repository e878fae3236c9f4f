"""`python soak [minutes]`: many requests of every kind against an ill-behaved server, and what they leave.

Each door has a process of its own (`worker.py`) and its share of the time. The server is `bench/server`; it
is restarted now and then. Nothing of the tree is imported: what is soaked is the installed wheel.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DOORS = ("asyncio", "uvloop", "trio", "sync")
WARM_UP = 50_000  # requests after which memory is to be level
JUDGED = 200_000  # requests behind the warm-up without which a slope means nothing
MOST_GROWTH = 1.0  # MB for each million requests
RESTART_SECONDS = 5.0
CONCURRENCY = 32
MB = 1e6


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s soak --", description="Soaks httpcore_hyper.")
    parser.add_argument("minutes", nargs="?", type=float, default=5.0, help="in all, over the doors")
    parser.add_argument("--doors", default=",".join(DOORS), help="separated by commas")
    parser.add_argument("--requests", type=int, default=sys.maxsize, help="the most for each door")
    parser.add_argument("--cancels", type=float, default=0.05, help="the share of requests to cancel")
    parser.add_argument("--server", type=Path, default=os.environ.get("BENCH_SERVER"))
    parser.add_argument("--plot", type=Path, default=ROOT / "soak" / "results" / "memory.png")
    chosen = parser.parse_args()
    if chosen.server is None:
        parser.error("--server: the program of bench/server")
    return chosen


class Server:
    """The server as a child process, which can be replaced by a new one on the same port."""

    def __init__(self, program: Path) -> None:
        self.program = program
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([str(self.program), str(self.port)], stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                time.sleep(0.01)
        raise SystemExit("the server does not listen")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def soak(
    door: str, server: Server, seconds: float, most: int, cancels: float
) -> tuple[list[dict[str, Any]], int]:
    """The worker's samples, the last of which is its report, and how often the server was restarted."""
    command = [sys.executable, str(ROOT / "soak" / "worker.py")]
    worker = subprocess.Popen(
        [*command, door, str(server.port), str(seconds), str(most), str(cancels)],
        stdout=subprocess.PIPE,
        text=True,
    )
    restarts, ended = 0, threading.Event()

    def restart() -> None:
        nonlocal restarts
        while not ended.wait(RESTART_SECONDS):
            server.stop()
            server.start()
            restarts += 1

    restarter = threading.Thread(target=restart)
    restarter.start()
    assert worker.stdout is not None
    try:
        samples = [json.loads(line) for line in worker.stdout]
    finally:
        ended.set()
        restarter.join()
    if worker.wait() != 0 or not samples or "end" not in samples[-1]:
        raise SystemExit(f"the worker of {door} ended with code {worker.returncode}")
    return samples, restarts


def slope(samples: list[dict[str, Any]]) -> tuple[float, float]:
    """MB for each million requests after the warm-up, by least squares, and over how many requests."""
    points = [(s["requests"], s["resident"] / MB) for s in samples[:-1] if s["requests"] > WARM_UP]
    if len(points) < 3:
        return math.nan, 0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    common = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return common / spread * 1e6, points[-1][0] - points[0][0]


def judge(door: str, samples: list[dict[str, Any]], restarts: int) -> list[str]:
    """Prints the figures of a door; returns what does not hold."""
    end, counts = samples[-1], samples[-1]["counts"]
    growth, over = slope(samples)
    descriptors = [sample["descriptors"] for sample in samples[:-1]]
    told = {name: counts.get(name, 0) for name in ("mismatches", "hangs", "foreign", "complete")}
    print(f"\n{door}: {end['requests']:,} requests in {end['seconds']:.0f} s, {restarts} restarts")
    print("  " + ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items()) if name != "pool"))
    print("  " + ", ".join(f"{name} {number}" for name, number in told.items()))
    print(f"  memory: {growth:+.2f} MB per million requests, over {over:,} after the first {WARM_UP:,}")
    print(f"  descriptors: {min(descriptors)} to {max(descriptors)}; before and after: {end['descriptors']}")
    print(f"  left at the end: {end['ledger'] or 'nothing'}")
    problems = [f"{name}: {number}" for name, number in told.items() if number] + end["wrong"][:5]
    if end["ledger"]:
        problems.append(f"left: {end['ledger']}")
    if counts.get("pool"):
        problems.append("slots are left in the pool")
    # Each restart may cost every request in flight, and each silent end of a connection the next on it.
    most_lost = restarts * CONCURRENCY + counts.get("hang-ups", 0)
    if counts.get("lost", 0) > most_lost:
        problems.append(f"{counts['lost']} requests were lost, {most_lost} are explained")
    if counts.get("answered", 0) + counts.get("cancelled", 0) < end["requests"] // 2:
        problems.append("most requests were lost: this proves nothing")
    if over >= JUDGED and growth > MOST_GROWTH:
        problems.append(f"memory grows by {growth:.2f} MB per million requests")
    return [f"{door}: {problem}" for problem in problems]


def plot(gathered: dict[str, list[dict[str, Any]]], path: Path) -> None:
    try:
        import matplotlib  # noqa: PLC0415 - the soak itself needs none
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415 - behind the choice of what it draws with

    figure, axes = pyplot.subplots(figsize=(9, 4.5))
    for door, samples in gathered.items():
        axes.plot(
            [sample["requests"] / 1e6 for sample in samples[:-1]],
            [sample["resident"] / MB for sample in samples[:-1]],
            label=door,
        )
    axes.set(xlabel="million requests", ylabel="resident memory, MB", ylim=(0, None))
    axes.set_title("Soak: cancels, resets, smuggled responses, restarts, partial I/O", loc="left", size=10)
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"\nplot: {path}")


def main() -> int:
    chosen = arguments()
    doors = chosen.doors.split(",")
    gathered: dict[str, list[dict[str, Any]]] = {}
    problems: list[str] = []
    server = Server(chosen.server)
    try:
        for door in doors:
            share = chosen.minutes * 60 / len(doors)
            gathered[door], restarts = soak(door, server, share, chosen.requests, chosen.cancels)
            problems += judge(door, gathered[door], restarts)
    finally:
        server.stop()
    plot(gathered, chosen.plot)
    print("\n" + ("\n".join(problems) if problems else "Nothing was mixed up, lost or left."))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
