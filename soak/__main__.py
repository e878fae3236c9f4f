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
HTTP2 = "-http2"
DOORS = ("asyncio", "uvloop", "trio", "sync", f"asyncio{HTTP2}", f"sync{HTTP2}")
# How many requests come before the slope of memory is looked at, and behind them, without which it means
# nothing. What is in use is level at once. What is resident is not: each of malloc's arenas keeps what it
# needed at most at any one moment, which grows with the logarithm of the requests; many threads have many. An
# event loop's has its last large step, half a MB, by 250,000 requests; 8 million later it has 0.2 MB more.
WARM_UP, JUDGED = 50_000, 200_000
WARM_UP_RESIDENT, JUDGED_RESIDENT = {"sync": 1_000_000}, 500_000
WARM_UP_RESIDENT_LOOP = 250_000
MB = 1e6
# What is told of memory, its unit, and how much more of it there may be for each million requests. In use is
# what malloc has handed out, and Python's own allocator in blocks of at most 512 bytes.
MEMORY = (("resident", "MB", MB, 1.0), ("in use", "MB", MB, 1.0), ("blocks", "thousand", 1e3, 2.0))
RESTART_SECONDS = 5.0
CONCURRENCY = 32


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s soak --", description="Soaks httpcore_hyper.")
    parser.add_argument("minutes", nargs="?", type=float, default=5.0, help="in all, over the doors")
    parser.add_argument("--doors", default=",".join(DOORS), help="separated by commas")
    parser.add_argument("--requests", type=int, default=sys.maxsize, help="the most for each door")
    parser.add_argument("--cancels", type=float, default=0.05, help="the share of requests to cancel")
    parser.add_argument("--restarts", type=float, default=RESTART_SECONDS, help="seconds between two of them")
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
        with socket.socket() as one, socket.socket() as other:
            for probe in (one, other):
                probe.bind(("127.0.0.1", 0))
            self.port, self.http2_port = (int(probe.getsockname()[1]) for probe in (one, other))
        self.start()

    def start(self) -> None:
        ports = (self.port, self.http2_port)
        self.process = subprocess.Popen([self.program, *map(str, ports)], stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                for port in ports:
                    socket.create_connection(("127.0.0.1", port), 1.0).close()
                return
            except OSError:
                time.sleep(0.01)
        raise SystemExit("the server does not listen")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def soak(
    door: str, server: Server, seconds: float, most: int, cancels: float, between: float
) -> tuple[list[dict[str, Any]], int]:
    """The worker's samples, the last of which is its report, and how often the server was restarted."""
    command = [sys.executable, str(ROOT / "soak" / "worker.py")]
    port = server.http2_port if door.endswith(HTTP2) else server.port
    worker = subprocess.Popen(
        [*command, door, str(port), str(seconds), str(most), str(cancels)],
        stdout=subprocess.PIPE,
        text=True,
    )
    restarts, ended = 0, threading.Event()

    def restart() -> None:
        nonlocal restarts
        while not ended.wait(between):
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


def slope(samples: list[dict[str, Any]], what: str, warm_up: int) -> tuple[float, float]:
    """How much of it comes with each million requests behind the warm-up, by least squares; over how many."""
    points = [(s["requests"], s[what]) for s in samples if s.get(what) and s["requests"] > warm_up]
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
    descriptors = [sample["descriptors"] for sample in samples[:-1] if "descriptors" in sample]
    told = {name: counts.get(name, 0) for name in ("mismatches", "hangs", "foreign", "complete", "slots")}
    print(f"\n{door}: {end['requests']:,} requests in {end['seconds']:.0f} s, {restarts} restarts")
    print(
        "  " + ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items()) if name not in told)
    )
    print("  " + ", ".join(f"{name} {number}" for name, number in told.items()))
    grown = []
    for what, unit, scale, limit in MEMORY:
        warm_up, judged = WARM_UP, JUDGED
        if what == "resident":
            warm_up = WARM_UP_RESIDENT.get(door.removesuffix(HTTP2), WARM_UP_RESIDENT_LOOP)
            judged = JUDGED_RESIDENT
        growth, over = slope(samples[:-1], what, warm_up)
        growth /= scale
        seen = [sample[what] / scale for sample in samples[:-1] if sample.get(what)] or [math.nan]
        print(
            f"  {what}: {seen[0]:.2f} to {max(seen):.2f} {unit}, {growth:+.2f} for each million requests, "
            f"over {over:,.0f} behind the first {warm_up:,}"
        )
        if over >= judged and growth > limit:
            grown.append(f"memory, {what}: {growth:.2f} {unit} more for each million requests")
    print(f"  descriptors: {min(descriptors)} to {max(descriptors)}; before and after: {end['descriptors']}")
    print(f"  left at the end: {end['ledger'] or 'nothing'}")
    problems = [f"{name}: {number}" for name, number in told.items() if number] + end["wrong"][:5]
    if end["ledger"]:
        problems.append(f"left: {end['ledger']}")
    # Each restart may cost every request in flight, and each silent end of a connection the next on it, or
    # all of its streams.
    shares = CONCURRENCY if door.endswith(HTTP2) else 1
    most_lost = restarts * CONCURRENCY + counts.get("hang-ups", 0) * shares
    if counts.get("lost", 0) > most_lost:
        problems.append(f"{counts['lost']} requests were lost, {most_lost} are explained")
    if counts.get("answered", 0) + counts.get("cancelled", 0) < end["requests"] // 2:
        problems.append("most requests were lost: this proves nothing")
    return [f"{door}: {problem}" for problem in problems + grown]


def plot(gathered: dict[str, list[dict[str, Any]]], path: Path) -> None:
    try:
        import matplotlib  # noqa: PLC0415 - the soak itself needs none
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415 - behind the choice of what it draws with

    figure, axes = pyplot.subplots(figsize=(9, 4.5))
    for number, (door, samples) in enumerate(gathered.items()):
        for what, style, label in (("resident", "-", door), ("in use", ":", None)):
            told = [sample for sample in samples if sample.get(what)]
            axes.plot(
                [sample["requests"] / 1e6 for sample in told],
                [sample[what] / MB for sample in told],
                style,
                color=f"C{number}",
                label=label,
            )
    axes.set(xlabel="million requests", ylabel="memory, MB: resident, and (dotted) in use", ylim=(0, None))
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
            gathered[door], restarts = soak(
                door, server, share, chosen.requests, chosen.cancels, chosen.restarts
            )
            problems += judge(door, gathered[door], restarts)
    finally:
        server.stop()
    plot(gathered, chosen.plot)
    print("\n" + ("\n".join(problems) if problems else "Nothing was mixed up, lost or left."))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
