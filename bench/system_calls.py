"""`python -m bench.system_calls`: system calls per request, counted by perf or strace. No clock is read here.

A call costs what a switch to the kernel costs, and more where the kernel has to wake somebody. `write` stands
by itself: clients write to sockets by other calls, so that it stands for eventfds, by which one thread
wakes another.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from . import ROOT, claims, report
from .instructions import FEW
from .servers import CLIENT_CORE, Nginx, ServerMissing, can_pin
from .variants import ROWS, Row, Variant

WOKEN = "GET, pool, asyncio, c=64"  # the row whose eventfd writes are limited
ROW_NAMES = (
    *("GET, pool, asyncio, c=1", WOKEN, "GET, pool, sync, 1 threads"),
    *("GET, under httpx, asyncio, c=64", "GET, under httpx, sync, 1 threads"),
)
# The difference of two runs is what these many requests cost, without the start and the end of the process.
MANY = FEW + 3200
LEAST = 0.005  # calls per request below which a name is not shown
# What perf counts by name. All that there are would make each switch of threads a hundred times as slow.
NAMES = (
    *(
        "epoll_wait",
        "epoll_pwait",
        "epoll_ctl",
        "poll",
        "ppoll",
        "futex",
        "read",
        "readv",
        "recvfrom",
        "recvmsg",
    ),
    *("write", "writev", "sendto", "sendmsg", "socket", "connect", "close", "madvise", "mmap", "munmap"),
)
MUST, MOONSHOT = 0.1, 0.02  # eventfd writes per request

Calls = dict[str, float]


class NotCounted(Exception):
    """The process did not run to its end. The message is its last line."""


def perf() -> list[str] | None:
    """perf's command, where it may read the kernel's trace points: root's right, as a rule."""
    if shutil.which("perf") is None:
        return None
    events = ["raw_syscalls:sys_enter", *(f"syscalls:sys_enter_{name}" for name in NAMES)]
    command = ["perf", "stat", "-x,", "-e", ",".join(events)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    return command if tried.returncode == 0 and parse_perf(tried.stderr) else None


def strace() -> list[str] | None:
    if shutil.which("strace") is None:
        return None
    command = ["strace", "-f", "-c", "-U", "calls,name"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    return command if tried.returncode == 0 and parse_strace(tried.stderr) else None


def parse_perf(text: str) -> Calls:
    calls = {
        name: float(count)
        for count, name in re.findall(r"^(\d+),[^,]*,syscalls:sys_enter_(\w+),", text, re.MULTILINE)
    }
    if every := re.search(r"^(\d+),[^,]*,raw_syscalls:sys_enter,", text, re.MULTILINE):
        calls["others"] = float(every[1]) - sum(calls.values())
    return calls


def parse_strace(text: str) -> Calls:
    found = re.findall(r"^ *(\d+) (\w+)$", text, re.MULTILINE)
    return {name: float(count) for count, name in found if name != "total"}


def counter() -> tuple[list[str], Callable[[str], Calls]] | None:
    """What counts here: a command, and how its words are read."""
    if command := perf():
        return command, parse_perf
    if command := strace():
        return command, parse_strace
    return None


class Counter:
    """Counts the calls of a process that sends requests; takes the first tool that works here."""

    def __init__(self) -> None:
        found = counter()
        if found is None:
            raise ServerMissing("neither perf nor strace works here; on Debian: apt-get install strace")
        self.command, self.parse = found

    def counted(self, row: Row, variant: Variant, url: str, count: int) -> Calls:
        with tempfile.TemporaryDirectory() as folder:
            counts = Path(folder) / "counts"
            command = [*self.command, "-o", str(counts)]
            if can_pin() and shutil.which("taskset"):
                command += ["taskset", "-c", str(CLIENT_CORE)]
            command += [sys.executable, "-m", "bench.instructions"]
            command += ["--send", variant.name, row.name, url, str(count)]
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if ran.returncode != 0:
                raise NotCounted(ran.stderr.strip().rpartition("\n")[2][:100])
            return self.parse(counts.read_text())

    def per_request(self, row: Row, variant: Variant, url: str) -> Calls:
        few = self.counted(row, variant, url, FEW)
        many = self.counted(row, variant, url, MANY)
        each = {name: (many[name] - few.get(name, 0)) / (MANY - FEW) for name in many}
        return {name: calls for name, calls in each.items() if calls >= LEAST}


@dataclass(frozen=True)
class Counted:
    """The calls per request of one variant in one row, or why there are none."""

    row: Row
    variant: Variant
    calls: Calls
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        calls = {name: round(each, 4) for name, each in self.calls.items()}
        return {"row": self.row.name, "variant": self.variant.name, "calls": calls, "problem": self.problem}

    def cells(self) -> list[str]:
        """One line of a table, in the order of HEADS."""
        name = self.variant.name + (" (ceiling)" if self.variant.ceiling else "")
        if self.problem:
            return [self.row.name, name, "-", "-", self.problem]
        most = sorted(self.calls.items(), key=lambda item: -item[1])
        others = ", ".join(f"{call} {each:.2f}" for call, each in most if call != "write")
        total = sum(self.calls.values())
        return [self.row.name, name, f"{total:.2f}", f"{self.calls.get('write', 0.0):.3f}", others]


HEADS = ("row", "variant", "calls/req", "write/req", "the others")


def measure(
    rows: list[tuple[Row, list[Variant]]], url: str, progress: Callable[[str], None] = lambda text: None
) -> list[Counted]:
    """Of each row that is one of ROW_NAMES, its variants. Raises ServerMissing where no tool counts here."""
    rows = [(row, variants) for row, variants in rows if row.name in ROW_NAMES]
    if not rows:
        return []
    tool, results = Counter(), []
    for row, variants in rows:
        for variant in variants:
            progress(f"{row.name}: system calls, {variant.name}")
            try:
                results.append(Counted(row, variant, tool.per_request(row, variant, url)))
            except NotCounted as error:
                results.append(Counted(row, variant, {}, f"not counted: {error}"))
    return results


def verdicts(results: list[Counted]) -> list[claims.Verdict]:
    """What must hold of the row that it is said of, if that was counted."""
    return [
        claims.at_most(
            f"{WOKEN}: eventfd writes per request",
            None if result.problem else result.calls.get("write", 0.0),
            MUST,
            MOONSHOT,
            "",
            result.problem,
        )
        for result in results
        if result.row.name == WOKEN and result.variant.ours
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.system_calls")
    parser.add_argument("--rows", metavar="PATTERN", default="", help="only rows whose name contains PATTERN")
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="only variants with PATTERN in the name"
    )
    chosen = parser.parse_args()
    rows = []
    for row in ROWS:
        if row.name in ROW_NAMES and chosen.rows.lower() in row.name.lower():
            variants = [each for each in row.variants() if chosen.only.lower() in each.name.lower()]
            rows.append((row, variants))
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        print(f"counted by {Counter().command[0]}")
        with Nginx() as nginx:
            results = measure(rows, nginx.url + "/small")
    except ServerMissing as error:
        print(f"cannot count: {error}", file=sys.stderr)
        return 2
    report.print_table(console, "system calls per request", HEADS, [result.cells() for result in results])
    report.print_verdicts(console, verdicts(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
