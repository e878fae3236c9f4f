"""`python -m bench`: parses the arguments, runs the rows, writes the reports. Measures nothing itself."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from . import ROOT, claims, machine, plot, report, system_calls
from .rounds import Result, measure
from .servers import Nginx, OwnServer, Proxy, ServerMissing, Sink, can_pin, own_program
from .variants import ROWS, Row, Variant

# Per round: seconds measured and seconds of warm-up. On two cores a full run takes forty minutes, a quick
# one less than five.
FULL, QUICK = (0.5, 0.2), (0.3, 0.1)
FULL_ROUNDS, QUICK_ROUNDS = 5, 3
# Of a row with a claim that fewer cannot decide.
NEAR_ROUNDS = 9
INTERRUPTED = 130
CALLS = "system calls per request"
RESULTS, DOCS = ROOT / "bench" / "results", ROOT / "docs" / "performance"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="httpcore_hyper against its peers.")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="short rounds of the rows that a claim is about, with the variants that it names: less than "
        "five minutes on two cores. With --rows, short rounds of all variants of those rows",
    )
    parser.add_argument("--rows", metavar="PATTERN", default="", help="only rows whose name contains PATTERN")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds for each row")
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", default=RESULTS, help="where figures, tables and plots go"
    )
    parser.add_argument(
        "--docs", action="store_const", dest="out", const=DOCS, help="write them to docs/performance"
    )
    chosen = parser.parse_args()
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds needs a number of at least 1")
    return chosen


def setting(nginx: Nginx, rounds: int, most: int, seconds: float) -> str:
    pinned = " on core 0, the client on core 1" if can_pin() else ", not pinned"
    number = f"{rounds} rounds" if most == rounds else f"{rounds} rounds, {most} where a claim is near,"
    measured = f"{number} of {seconds:g} s, medians; {nginx.version()} with one worker{pinned}."
    return f"{machine.words('bench')} {measured}"


def chosen_rows(chosen: argparse.Namespace) -> list[tuple[Row, list[Variant]]]:
    """Each row that is asked for, with those of its variants that are run."""
    found = []
    for row in ROWS:
        if chosen.rows.lower() in row.name.lower():
            variants = claims.named(row) if chosen.quick and not chosen.rows else row.variants()
            if variants:
                found.append((row, variants))
    return found


def run(chosen: argparse.Namespace, rows: list[tuple[Row, list[Variant]]], console: Console) -> None:
    seconds, warm_up = QUICK if chosen.quick else FULL
    rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else FULL_ROUNDS)
    # What has to take less than five minutes has no time for more, and who asks for a number means it.
    most = rounds if chosen.rounds or (chosen.quick and not chosen.rows) else NEAR_ROUNDS
    gathered: list[list[Result]] = []
    program = own_program()
    if program is None and any(row.own_server for row, _ in rows):
        rows = [(row, variants) for row, variants in rows if not row.own_server]
        console.print("without the rows of bench/server, which `nox -s bench` builds")
        if not rows:
            raise ServerMissing("BENCH_SERVER names no program")
    began = time.monotonic()
    with (
        Nginx(any(row.work == "download" for row, _ in rows), tls=any(row.tls for row, _ in rows)) as nginx,
        Sink() as sink,
        Proxy() if any(row.proxied for row, _ in rows) else nullcontext() as proxy,
        OwnServer(program) if program and any(row.own_server for row, _ in rows) else nullcontext() as own,
    ):
        order: dict[str, Any] = {
            **{"url": nginx.url, "tls_url": nginx.tls_url, "http2_url": nginx.http2_url},
            "sink": sink.url + "/post",
            "proxy_url": proxy.url if proxy else "",
            "own_url": own.url if own else "",
            **{"seconds": seconds, "warm_up": warm_up},
        }
        words = setting(nginx, rounds, most, seconds)
        console.print(words, style="dim")
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        with progress:
            task = progress.add_task("", total=None)
            for row, variants in rows:

                def goes_on(done: int, results: list[Result], row: Row = row) -> bool:
                    return done < rounds or (done < most and claims.is_near(row, [*gathered, results]))

                results = measure(
                    row, variants, order, goes_on, lambda text: progress.update(task, description=text)
                )
                gathered.append(results)
                report.print_row(console, row, results)
            try:
                counted = system_calls.measure(
                    rows, nginx.url + "/small", lambda text: progress.update(task, description=text)
                )
            except ServerMissing as error:
                counted = []
                console.print(f"no system calls: {error}")
    calls = system_calls.HEADS, [result.cells() for result in counted]
    if counted:
        report.print_table(console, CALLS, *calls)
    verdicts = claims.acceptance(gathered) + system_calls.verdicts(counted)
    report.print_verdicts(console, verdicts)
    console.print(f"{time.monotonic() - began:.0f} s in all")
    figures = {
        "setting": words,
        "results": [result.as_dict() for results in gathered for result in results],
        "system_calls": [result.as_dict() for result in counted],
        "claims": [verdict.as_dict() for verdict in verdicts],
    }
    tables = report.markdown(gathered, verdicts, words, report.table_markdown(CALLS, *calls))
    write(chosen.out, gathered, figures, tables, console)


def write(
    folder: Path, gathered: list[list[Result]], figures: dict[str, Any], tables: str, console: Console
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "figures.json", folder / "figures.md"]
    written[0].write_text(json.dumps(figures, indent=1) + "\n")
    try:
        plots = plot.draw_all(gathered, folder)
        written += plots
        tables += "".join(f"\n![{path.stem}]({path.name})\n" for path in plots)
    except ImportError:
        console.print("no plots: matplotlib is not installed")
    written[1].write_text("# Figures\n\n" + tables)
    console.print("written:", *map(str, written))


def main() -> int:
    chosen = arguments()
    # A pipe has no width of its own; tables cut to 80 columns lose their last ones.
    console = Console(width=None if sys.stdout.isatty() else 130)
    rows = chosen_rows(chosen)
    if chosen.list or not rows:
        if not chosen.list:
            print(f"no row contains {chosen.rows!r}; the rows are:", file=sys.stderr)
        print(*(row.name for row in ROWS), sep="\n")
        return 0 if chosen.list else 2
    try:
        run(chosen, rows, console)
    except ServerMissing as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; servers and workers are stopped", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
