"""`python -m bench.demo`: real requests over httpx with our transport and with its own, side by side.

A show, not the benchmark: one process, one round. Every answer is checked; an error makes the exit code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

import httpcore_hyper

from .servers import CLIENT_CORE, SMALL_BODY, ServerMissing, pin
from .target import BadURL, check_url, local_server

OURS, THEIRS = "httpx + httpcore_hyper", "httpx"
CASE_SECONDS, QUICK_SECONDS = 6.5, 1.0  # eight cases: about a minute, about ten seconds
WARM_UP = 0.3  # connections and code paths; not counted
CONCURRENCY = 64  # tasks on an async door; sync code runs in one thread
FOREIGN_REQUESTS = 20  # in all, to a server that is not on this machine
TICK = 0.1  # seconds between two looks at the clock and at Ctrl-C
ERROR_LIMIT = 100  # a case with so many errors has shown what it can
BAD_USAGE = 2
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)


class Case:
    """One client on one door: what was asked of it, and what came of it."""

    def __init__(
        self, door: str, via: str, url: str, length: int | None, budget: float, most: int | None
    ) -> None:
        self.door, self.via, self.url, self.length = door, via, url, length
        self.budget, self.most = budget, most  # seconds, and requests in all if they are limited
        self.times: list[float] = []
        self.started = self.errors = 0
        self.error = self.skipped = ""
        self.wall = self.cpu = 0.0
        self.stopped = threading.Event()

    def takes(self) -> bool:
        """Whether one more request may be sent; it is counted here."""
        if self.stopped.is_set() or self.errors >= ERROR_LIMIT or self.started == self.most:
            return False
        self.started += 1
        return True

    def answered(self, response: httpx.Response, began: float) -> None:
        took = time.perf_counter() - began
        declared = response.headers.get("Content-Length")
        if self.length is None and declared and "Content-Encoding" not in response.headers:
            expected = int(declared)
        else:
            expected = len(response.content) if self.length is None else self.length
        if response.status_code >= 400 or (self.length is not None and response.status_code != 200):
            self.failed(f"status {response.status_code}")
        elif len(response.content) != expected:
            self.failed(f"body of {len(response.content)} bytes instead of {expected}")
        else:
            self.times.append(took)

    def failed(self, error: object) -> None:
        self.errors += 1
        self.error = self.error or (
            f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)
        )

    def watch(self, show: Callable[[Case, float], None]) -> Iterator[float]:
        """The case's clock: yields how long to sleep until its time is over or its requests are all sent."""
        warm_up = 0.0 if self.most else WARM_UP
        if warm_up:
            yield warm_up
            self.times.clear()
        cpu, began = time.process_time(), time.perf_counter()
        while (now := time.perf_counter() - began) < self.budget and not self.stopped.is_set():
            if self.errors >= ERROR_LIMIT or (self.most and len(self.times) + self.errors >= self.most):
                break
            show(self, now)
            yield TICK
        self.wall, self.cpu = time.perf_counter() - began, time.process_time() - cpu
        self.times = list(self.times)  # what is answered from here on is not counted
        self.stopped.set()


def run_sync(case: Case, show: Callable[[Case, float], None]) -> None:
    transport = httpcore_hyper.HTTPTransport(limits=LIMITS) if case.via == OURS else None
    with httpx.Client(transport=transport, limits=LIMITS, trust_env=False) as client:

        def loop() -> None:
            while case.takes():
                began = time.perf_counter()
                try:
                    case.answered(client.get(case.url), began)
                except Exception as error:
                    case.failed(error)

        # The clock and Ctrl-C stay in the main thread.
        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        for pause in case.watch(show):
            time.sleep(pause)
        thread.join()


async def run_async(case: Case, show: Callable[[Case, float], None]) -> None:
    transport = httpcore_hyper.AsyncHTTPTransport(limits=LIMITS) if case.via == OURS else None
    async with httpx.AsyncClient(transport=transport, limits=LIMITS, trust_env=False) as client:

        async def loop() -> None:
            while case.takes():
                began = time.perf_counter()
                try:
                    case.answered(await client.get(case.url), began)
                except Exception as error:
                    case.failed(error)
                    await anyio.sleep(0)

        async with anyio.create_task_group() as group:
            for _ in range(1 if case.most else CONCURRENCY):
                group.start_soon(loop)
            for pause in case.watch(show):
                await anyio.sleep(pause)
            group.cancel_scope.cancel()


def run_case(case: Case, show: Callable[[Case, float], None]) -> None:
    try:
        if case.door == "sync":
            run_sync(case, show)
        elif case.door == "trio":
            import trio

            trio.run(run_async, case, show)
        elif case.door == "uvloop":
            import uvloop

            uvloop.run(run_async(case, show))
        else:
            import asyncio

            asyncio.run(run_async(case, show))
    except ModuleNotFoundError as error:
        case.skipped = f"{error.name} is not installed"


def table(cases: list[Case], title: str) -> Table:
    made = Table(title=title, title_justify="left")
    for name in (
        "door",
        "client",
        "requests",
        "req/s",
        "p50 ms",
        "p99 ms",
        "CPU us/req",
        "ours / httpx",
        "errors",
    ):
        made.add_column(name, justify="left" if name in ("door", "client") else "right", no_wrap=True)
    rates = {(case.door, case.via): len(case.times) / case.wall if case.wall else 0.0 for case in cases}
    for case in cases:
        if case.skipped:
            made.add_row(case.door, case.via, case.skipped)
            continue
        times, count = sorted(case.times), len(case.times)
        own, other = rates[case.door, OURS], rates.get((case.door, THEIRS), 0.0)
        figures = ["-"] * 4
        if count and case.wall:
            p50, p99 = (times[min(count - 1, count * part // 100)] * 1e3 for part in (50, 99))
            figures = [
                f"{count / case.wall:,.0f}",
                f"{p50:.2f}",
                f"{p99:.2f}",
                f"{case.cpu / count * 1e6:,.0f}",
            ]
        ratio = f"{own / other:.1f}x" if case.via == OURS and own and other else ""
        style = "bold green" if case.via == OURS else None
        made.add_row(case.door, case.via, f"{count:,}", *figures, ratio, str(case.errors), style=style)
    return made


@contextlib.contextmanager
def interruptible(cases: list[Case], caught: list[int]) -> Iterator[None]:
    """Ctrl-C ends the cases in order: clients close and the server stops. A second one ends at once."""

    def stop(number: int, _: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        for case in cases:
            case.stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_all(cases: list[Case], caught: list[int], console: Console) -> None:
    words = TextColumn("{task.description:<32}"), BarColumn(), TextColumn("{task.fields[count]:>8,} requests")
    with Progress(*words, console=console, transient=True, disable=not console.is_terminal) as progress:
        for case in cases:
            if caught:
                return
            task = progress.add_task(f"{case.door}: {case.via}", total=case.most or case.budget, count=0)

            def show(case: Case, now: float, task: Any = task) -> None:
                done = len(case.times)
                progress.update(task, completed=done if case.most else now, count=done)

            run_case(case, show)
            progress.update(task, completed=case.most or case.budget, count=len(case.times))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("url", nargs="?", help="a server of your own; without it, one is started here")
    parser.add_argument("--quick", action="store_true", help="about ten seconds instead of a minute")
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    console = Console(width=None if sys.stdout.isatty() else 120)
    caught: list[int] = []
    cases: list[Case] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(interruptible(cases, caught))
        doors, length, most = ("sync", "asyncio", "uvloop", "trio"), None, None
        if chosen.url is not None:
            url = chosen.url
            if not check_url(url):
                doors = ("sync", "asyncio")
                most = FOREIGN_REQUESTS // (2 * len(doors))
                console.print(
                    f"{url} is not on this machine: only {FOREIGN_REQUESTS} requests are sent, one by one."
                )
            name = url
        else:
            name, server = local_server()
            stack.enter_context(server)
            url, length = server.url + "/small", SMALL_BODY
            name = f"a local {name}, {SMALL_BODY} bytes"
            pin(CLIENT_CORE)
        budget = QUICK_SECONDS if chosen.quick else CASE_SECONDS
        if most:
            budget = 60.0  # the number of requests ends such a case, not the clock
        cases += [Case(door, via, url, length, budget, most) for door in doors for via in (OURS, THEIRS)]
        run_all(cases, caught, console)
    if caught:
        print("interrupted; nothing is left running", file=sys.stderr)
        return 128 + caught[0]
    tasks = 1 if most else CONCURRENCY
    console.print(table(cases, f"GET {name}; sync: 1 thread, async: {tasks} tasks, max_connections=100"))
    errors = [case for case in cases if case.errors]
    for case in errors:
        console.print(f"{case.door}, {case.via}: {case.errors} errors, the first: {case.error}", markup=False)
    sent = sum(len(case.times) for case in cases)
    console.print(
        f"{sent:,} answers, each checked for status and length; {sum(c.errors for c in errors)} errors."
    )
    return 1 if errors else 0


if __name__ == "__main__":
    try:
        code = main()
    except (BadURL, ServerMissing) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        code = BAD_USAGE
    except KeyboardInterrupt:
        print("interrupted; nothing is left running", file=sys.stderr)
        code = 128 + signal.SIGINT
    sys.exit(code)
