"""`python -m bench.weight`: memory and cost where there is much of something, and what an import costs.

Idle connections, waiting requests, pools, requests in one process, bytes in one transfer, slow readers. Each
part runs in a process of its own (`weighed`) against `bench/server`, on asyncio unless it says so. Judged are
limits that do not depend on the machine.
"""

from __future__ import annotations

import argparse
import compileall
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from . import ROOT, claims, machine, plot, report
from .servers import OwnServer, ServerMissing, Sink, own_program
from .variants import BY_NAME
from .weighed import MIB, PARTS, SLOW_BODY, TRANSFERS, Figures, child

KIB = 1024
DESCRIPTORS = 65536  # both ends of 10,000 connections, and what else there is
IMPORTS = 7  # processes, of which the median counts
# Small enough for a minute in all on two cores, and the full size.
SIZES = {"connections": 2_000, "waiting": 10_000, "pools": 200, "requests": 200_000, "downloads": 200}
FULL = {"connections": 10_000, "waiting": 10_000, "pools": 1_000, "requests": 1_000_000, "downloads": 10_000}
LIMIT_SECONDS = 300.0  # for one process; the slowest takes a minute on a slow machine


def raise_descriptors() -> None:
    """As many as are allowed; servers and processes inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((DESCRIPTORS, max(DESCRIPTORS, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (ValueError, OSError):
            continue  # only root may raise the hard one
        return


def ask(*arguments: str) -> Figures:
    """The figures of a process of its own, or what it said last."""
    command = [sys.executable, "-m", "bench.weight", "--child", *arguments]
    try:
        ran = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {LIMIT_SECONDS:.0f} s"}
    if ran.returncode != 0:
        return {"failed": ran.stderr.strip().rpartition("\n")[2][:150] or f"ended with {ran.returncode}"}
    return json.loads(ran.stdout)  # type: ignore[no-any-return]


class Measured:
    """The lines of the table and the verdicts, in the order in which they were taken."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.lines: list[list[str]] = []
        self.verdicts: list[claims.Verdict] = []
        self.figures: Figures = {}

    def add(self, what: str, figures: Figures, words: Callable[[Figures], str]) -> bool:
        """Whether there are figures."""
        self.figures[what] = figures
        failed = figures.get("failed")
        line = [what, f"failed: {failed}" if failed else words(figures)]
        self.console.print(f"{line[0]}: {line[1]}", soft_wrap=True, highlight=False)
        self.lines.append(line)
        return not failed

    def judge(self, claim: str, value: float | None, must: float, moonshot: float, unit: str) -> None:
        self.verdicts.append(claims.at_most(claim, value, must, moonshot, unit))


def available() -> int:
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) * KIB for line in file if line.startswith("MemAvailable"))


def many_of(measured: Measured, url: str, sizes: dict[str, int], parts: list[str]) -> None:
    def each(part: str) -> Figures:
        return ask(part, url, str(sizes[part]))

    if "connections" in parts:
        count, figures = sizes["connections"], each("connections")
        measured.add(
            f"{count:,} open connections",
            figures,
            lambda f: (
                f"{f['each'] / KIB:.1f} KiB each, opened in {f['seconds']:.1f} s; "
                f"a request beside them costs {f['cpu_us']:.0f} us, {f['cost']:.2f}x of one without"
            ),
        )
        memory = figures.get("each")
        measured.judge("memory per idle connection", memory and memory / KIB, 32, 16, " KiB")
        measured.judge(
            f"CPU per request beside {count:,} open connections", figures.get("cost"), 1.3, 1.1, "x"
        )
    if "waiting" in parts:
        figures = each("waiting")
        measured.add(
            f"{sizes['waiting']:,} waiting requests",
            figures,
            lambda f: f"{f['each'] / KIB:.2f} KiB each; a task that waits for an event {f['bare'] / KIB:.2f}",
        )
        beyond = figures["each"] - figures["bare"] if "each" in figures else None
        measured.judge("memory per waiting request, beyond its task", beyond and beyond / KIB, 4, 1, " KiB")
    if "pools" in parts:
        figures = each("pools")
        measured.add(
            f"{sizes['pools']:,} pools with a connection each",
            figures,
            lambda f: (
                f"{f['each'] / KIB:.1f} KiB and {f['cpu_us']:.0f} us each, {f['threads']} threads in all; "
                f"the last tenth {f['cost']:.2f}x of the first"
            ),
        )
        measured.judge(f"{sizes['pools']:,} pools: the last by the first", figures.get("cost"), 1.3, 1.1, "x")
    if "requests" in parts:
        count, figures = sizes["requests"], each("requests")
        measured.add(
            f"{count:,} requests in one process",
            figures,
            lambda f: (
                f"the last tenth costs {f['cpu_us']:.1f} us each, {f['cost']:.2f}x of the first; "
                f"memory grows by {f['grown'] / MIB:.1f} MiB between them"
            ),
        )
        grown = figures.get("grown")
        measured.judge(f"{count:,} requests: the last by the first", figures.get("cost"), 1.3, 1.1, "x")
        measured.judge(f"{count:,} requests: memory", None if grown is None else grown / MIB, 8, 1, " MiB")
    if "downloads" in parts:
        count = sizes["downloads"]
        enough = available() // 2 // MIB
        if enough < count:
            measured.console.print(f"not enough memory for {count:,} slow downloads: {enough:,} instead")
            count = enough
        figures = ask("downloads", url, str(count))
        measured.add(
            f"{count:,} slow downloads of {SLOW_BODY // MIB} MiB",
            figures,
            lambda f: f"{f['each'] / KIB:.0f} KiB held for each, {f['all'] / MIB:,.0f} MiB in all",
        )
        memory = figures.get("each")
        measured.judge("memory per slow download", memory and memory / KIB, 1024, 0, " KiB")


def import_time(measured: Measured, url: str) -> None:
    """Ours and httpx alone take turns."""
    # As pip leaves every library. Where Python may not write bytecode, each import would compile ours anew.
    compileall.compile_dir(ROOT / "httpcore_hyper", quiet=1)
    taken: dict[str, list[Figures]] = {"ours": [], "httpx": []}
    for _ in range(IMPORTS):
        for whose, figures in taken.items():
            figures.append(ask("importing", url, whose))
    failed = next((one for figures in taken.values() for one in figures if "failed" in one), None)
    if failed:
        measured.add("import and first request", failed, lambda f: "")
        measured.judge("import and first request, beyond httpx's own", None, 25, 10, " ms")
        return
    imported = statistics.median(one["import_ms"] for one in taken["ours"])
    mine, alone = (statistics.median(one["all_ms"] for one in taken[whose]) for whose in taken)
    cpu = {whose: statistics.median(one["cpu_ms"] for one in taken[whose]) for whose in taken}
    measured.add(
        "import and first request, after `import httpx`",
        {"import_ms": imported, "ours_ms": mine, "httpx_ms": alone, "cpu_ms": cpu["ours"] - cpu["httpx"]},
        lambda f: (
            f"import {f['import_ms']:.1f} ms; with a client and its first answer {f['ours_ms']:.1f} ms, "
            f"httpx alone {f['httpx_ms']:.1f} ms; {f['cpu_ms']:.1f} ms of CPU time more"
        ),
    )
    measured.judge("import and first request, beyond httpx's own", mine - alone, 25, 10, " ms")


def transfers(measured: Measured, url: str, sink: str) -> dict[str, list[tuple[str, list[Any]]]]:
    """For the picture: of each kind of transfer the memory of each client over time."""
    curves: dict[str, list[tuple[str, list[Any]]]] = {}
    for name, work, door in TRANSFERS:
        figures = ask("transfer", url, sink, name, work, door)
        curves.setdefault(f"{work} of 1 GB, {door}", []).append((name, figures.pop("samples", [])))
        measured.add(
            f"{work} of 1 GB, {name}, {door}",
            figures,
            lambda f: f"memory grows by {f['grown'] / MIB:.1f} MiB in {f['seconds']:.2f} s",
        )
        if BY_NAME[name].ours:
            grown = figures.get("grown")
            mib = None if grown is None else grown / MIB
            measured.judge(f"{work} of 1 GB, {name}, {door}: memory", mib, 8, 1, " MiB")
    return curves


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.weight")
    parser.add_argument("--server", type=Path, default=own_program())
    parser.add_argument(
        "--full", action="store_true", help="10,000 connections, 1,000,000 requests and so on"
    )
    parser.add_argument(
        "--parts", default=",".join([*PARTS, "importing", "transfers"]), help="some of: %(default)s"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", metavar="FOLDER")
    parser.add_argument(
        "--docs", action="store_const", dest="out", const=ROOT / "docs" / "performance", help="write there"
    )
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)  # a measured process
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(child(chosen.child)))
        return 0
    parts = chosen.parts.split(",")
    if unknown := set(parts) - {*PARTS, "importing", "transfers"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if chosen.server is None:
        parser.error("--server: the program of bench/server")
    raise_descriptors()
    console = Console(width=None if sys.stdout.isatty() else 160)
    measured = Measured(console)
    began = time.monotonic()
    curves: dict[str, list[tuple[str, list[Any]]]] = {}
    try:
        with OwnServer(chosen.server) as server, Sink() as sink:
            many_of(measured, server.url, FULL if chosen.full else SIZES, parts)
            if "importing" in parts:
                import_time(measured, server.url)
            if "transfers" in parts:
                curves = transfers(measured, server.url, sink.url + "/post")
    except ServerMissing as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 2
    report.print_verdicts(console, measured.verdicts)
    console.print(f"{time.monotonic() - began:.0f} s in all")
    chosen.out.mkdir(parents=True, exist_ok=True)
    written = [chosen.out / "weight.json", chosen.out / "weight.md"]
    verdicts = [verdict.as_dict() for verdict in measured.verdicts]
    words = machine.words("weight")
    all_of_it = {"setting": words, "figures": measured.figures, "claims": verdicts}
    written[0].write_text(json.dumps(all_of_it, indent=1) + "\n")
    table = report.table_markdown("What it weighs", ("what", "figure"), measured.lines)
    lines = ["# Weight", "", words, "", *table, *report.verdicts_markdown(measured.verdicts)]
    if curves:
        try:
            written.append(plot.draw_memory(curves, chosen.out / "memory.png"))
            lines += ["", "![memory over the time of a transfer](memory.png)"]
        except ImportError:
            console.print("no plot: matplotlib is not installed")
    written[1].write_text("\n".join(lines) + "\n")
    console.print("written:", *map(str, written))
    return 1 if any(verdict.word == claims.FAILS for verdict in measured.verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
