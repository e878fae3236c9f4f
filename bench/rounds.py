"""Runs the rows: starts the workers, gives them their rounds in turn, gathers the figures. Prints nothing.

All workers of a row live at once and only one of them has work at a time. The order is turned round every
second round, so that no variant always runs after the same one.
"""

from __future__ import annotations

import json
import queue
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import ROOT
from .variants import Row, Variant

START_SECONDS = 60.0  # the imports of all variants at once, on a busy machine
ROUND_SECONDS = 60.0  # beyond its own time; the slowest peer needs some 10 s to stop
FIGURES = ("rate", "cpu_us", "kernel_us", "p50_ms", "p99_ms", "p999_ms", "grown")
# Ours is run to the end: a round that the machine spoiled must not be the only one.
OURS = "httpcore_hyper"
SLOW = 100.0  # requests a second under which a peer is not run further in a row


@dataclass
class Result:
    """One variant in one row: the figures of every round, or why there are none."""

    row: Row
    variant: Variant
    rounds: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""

    def median(self, key: str) -> float | None:
        values = [figures[key] for figures in self.rounds if figures.get(key) is not None]
        return statistics.median(values) if values else None

    def spread(self) -> tuple[float, float] | None:
        rates = [figures["rate"] for figures in self.rounds]
        return (min(rates), max(rates)) if rates else None

    def as_dict(self) -> dict[str, Any]:
        return {
            "row": self.row.name,
            "unit": self.row.unit,
            "variant": self.variant.name,
            "ours": self.variant.ours,
            "ceiling": self.variant.ceiling,
            "problem": self.problem,
            **{key: self.median(key) for key in FIGURES},
            "rounds": self.rounds,
        }


class Worker:
    """The process of one variant in one row. A thread reads what it says, so that no wait is without end."""

    def __init__(self, row: Row, variant: Variant) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", variant.name, row.name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def hear(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return {"failed": f"no answer for {seconds:.0f} s"}
        if not line:
            return {"failed": f"the worker ended with code {self.process.wait()}"}
        return json.loads(line)  # type: ignore[no-any-return]

    def tell(self, order: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `hear` says what became of it

    def stop(self) -> None:
        # It holds nothing that needs an orderly end, and a slow pool would take long over one.
        self.process.kill()
        self.process.wait()


def measure(
    row: Row,
    variants: list[Variant],
    order: dict[str, Any],
    goes_on: Callable[[int, list[Result]], bool],
    progress: Callable[[str], None],
) -> list[Result]:
    """One row, of some of its variants, until `goes_on`, asked with the rounds so far, denies it."""
    results = [Result(row, variant) for variant in variants]
    workers: dict[str, Worker] = {}
    try:
        for result in results:
            workers[result.variant.name] = Worker(row, result.variant)
        for result in results:
            first = workers[result.variant.name].hear(START_SECONDS)
            if "ready" not in first:
                result.problem = (
                    "not installed" if "missing" in first else first.get("failed", "did not start")
                )
        number = 0
        while goes_on(number, results):
            for result in results if number % 2 == 0 else reversed(results):
                if result.problem:
                    continue
                progress(f"{row.name}: round {number + 1}, {result.variant.name}")
                one_round(result, workers[result.variant.name], order)
                if result.problem:
                    workers[result.variant.name].stop()
            number += 1
    finally:
        for worker in workers.values():
            worker.stop()
    return results


def one_round(result: Result, worker: Worker, order: dict[str, Any]) -> None:
    """Adds the round's figures, or says what went wrong."""
    worker.tell(order)
    limit = order["seconds"] + order["warm_up"] + ROUND_SECONDS
    figures = worker.hear(limit)
    if "rate" not in figures:
        result.problem = "failed: " + figures.get("failed", "said nothing")
        return
    result.rounds.append(figures)
    if figures["errors"]:
        result.problem = f"{figures['errors']} errors: {figures['error']}"
    elif not result.row.bulk and figures["rate"] < SLOW and result.variant.library != OURS:
        result.problem = f"under {SLOW:.0f} req/s, not run further"
    else:
        ended = worker.hear(limit)
        if "idle" not in ended:
            result.problem = "failed after the round: " + ended.get("failed", "said nothing")
