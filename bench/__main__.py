"""`python -m bench`: parses the arguments, runs the rows, writes the reports. Measures nothing itself."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from . import ROOT, plot, report
from .rounds import Result, measure
from .servers import Nginx, Proxy, ServerMissing, Sink, can_pin
from .variants import ROWS, Row

# Per round: seconds measured and seconds of warm-up. Quick takes five minutes in all on two cores.
FULL, QUICK = (2.0, 0.5), (0.3, 0.1)
FULL_ROUNDS, QUICK_ROUNDS = 5, 3
INTERRUPTED = 130
DISTRIBUTIONS = (
    *("httpcore-hyper", "httpx", "httpcore", "httpx2", "httpcore2", "httpx-aiohttp", "aiohttp", "pyreqwest"),
    *("pycurl", "urllib3", "uvloop", "trio"),
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="httpcore_hyper against its peers.")
    parser.add_argument("--quick", action="store_true", help="short rounds: about five minutes on two cores")
    parser.add_argument("--rows", metavar="PATTERN", default="", help="only rows whose name contains PATTERN")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds for each row")
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures of all rounds")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables as Markdown")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", default=ROOT / "bench" / "results" / "plot.png"
    )
    chosen = parser.parse_args()
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds needs a number of at least 1")
    return chosen


def installed(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} missing"


def setting(nginx: Nginx, rounds: int, seconds: float) -> str:
    """Without this line no figure means anything."""
    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    pinned = " on core 0, the client on core 1" if can_pin() else ", not pinned"
    libraries = ", ".join(installed(name) for name in DISTRIBUTIONS)
    return (
        f"{machine}, {python}; {rounds} rounds of {seconds:g} s, medians; "
        f"{nginx.version()} with one worker{pinned}; {libraries}."
    )


def run(chosen: argparse.Namespace, rows: list[Row], console: Console) -> None:
    seconds, warm_up = QUICK if chosen.quick else FULL
    rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else FULL_ROUNDS)
    gathered: list[list[Result]] = []
    began = time.monotonic()
    large = any(row.work == "download" for row in rows)
    words = TextColumn("{task.description}")
    proxied = any(row.proxied for row in rows)
    with (
        Nginx(large, tls=any(row.tls for row in rows)) as nginx,
        Sink() as sink,
        Proxy() if proxied else nullcontext() as proxy,
    ):
        order: dict[str, Any] = {
            **{"url": nginx.url, "tls_url": nginx.tls_url, "http2_url": nginx.http2_url},
            "sink": sink.url + "/post",
            "proxy_url": proxy.url if proxy else "",
            **{"seconds": seconds, "warm_up": warm_up},
        }
        console.print(setting(nginx, rounds, seconds), style="dim")
        progress = Progress(SpinnerColumn(), words, TimeElapsedColumn(), console=console, transient=True)
        progress.disable = not console.is_terminal
        with progress:
            task = progress.add_task("", total=None)
            for row in rows:
                results = measure(row, order, rounds, lambda text: progress.update(task, description=text))
                gathered.append(results)
                report.print_row(console, row, results)
        report.print_acceptance(console, gathered)
        words_of_setting = setting(nginx, rounds, seconds)
    console.print(f"{time.monotonic() - began:.0f} s in all")
    write(chosen, gathered, words_of_setting, console)


def write(chosen: argparse.Namespace, gathered: list[list[Result]], words: str, console: Console) -> None:
    if chosen.json:
        figures = [result.as_dict() for results in gathered for result in results]
        chosen.json.write_text(json.dumps({"setting": words, "results": figures}, indent=1) + "\n")
        console.print(f"figures: {chosen.json}")
    if chosen.markdown:
        chosen.markdown.write_text(report.markdown(gathered, words))
        console.print(f"tables: {chosen.markdown}")
    try:
        plot.draw(gathered, chosen.plot)
        console.print(f"plot: {chosen.plot}")
    except ImportError:
        console.print("no plot: matplotlib is not installed")


def main() -> int:
    chosen = arguments()
    # A pipe has no width of its own; tables cut to 80 columns lose their last ones.
    console = Console(width=None if sys.stdout.isatty() else 130)
    rows = [row for row in ROWS if chosen.rows.lower() in row.name.lower()]
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
