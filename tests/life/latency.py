"""How long a signal waits for its handler while the main thread waits in a sync call, phase by phase.

    python tests/life/latency.py [TIMES]

Started by `python tests/life`, which loads the resolver that never answers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from programs import SILENT
from servers import RECEIVE, RECEIVE_HEAD, STALL, Server, wait

from httpcore_hyper import ConnectionPool, _rust

# More than all buffers on the way.
BIG = bytes(20 << 20)


class Rung(Exception):
    """Raised by the handler, with its moment."""


@contextlib.contextmanager
def connecting(pool: ConnectionPool) -> Iterator[Callable[[], object]]:
    with Server(accept=False) as server:
        yield lambda: pool.request("GET", server.url())


@contextlib.contextmanager
def writing(pool: ConnectionPool) -> Iterator[Callable[[], object]]:
    gate = threading.Event()
    with Server([[RECEIVE_HEAD, wait(gate), STALL]]) as server:
        yield lambda: pool.request("POST", server.url(), content=BIG)
        gate.set()


@contextlib.contextmanager
def reading(pool: ConnectionPool) -> Iterator[Callable[[], object]]:
    with Server([[RECEIVE, STALL]]) as server:
        yield lambda: pool.request("GET", server.url())


@contextlib.contextmanager
def queued(pool: ConnectionPool) -> Iterator[Callable[[], object]]:
    with Server() as server, pool.stream("GET", server.url()) as held:
        yield lambda: pool.request("GET", server.url())
        held.read()


@contextlib.contextmanager
def looking_up(pool: ConnectionPool) -> Iterator[Callable[[], object]]:
    yield lambda: pool.request("GET", SILENT)


PHASES = (connecting, writing, reading, queued, looking_up)


def once(phase: Callable[[ConnectionPool], contextlib.AbstractContextManager[Callable[[], object]]]) -> float:
    """Seconds from the signal until its handler ran."""
    sent: list[float] = []

    def handler(*_: object) -> None:
        raise Rung(time.monotonic())

    def send() -> None:
        # Long enough for the call to be deep in its wait.
        time.sleep(0.02)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, handler)
    with ConnectionPool(max_connections=1) as pool, phase(pool) as call:
        thread = threading.Thread(target=send)
        thread.start()
        try:
            call()
        except Rung as rung:
            thread.join()
            return float(rung.args[0]) - sent[0]
    raise AssertionError("the call came to an end of its own")


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    for phase in PHASES:
        late = sorted(1000 * once(phase) for _ in range(times))
        print(
            f"signal while {phase.__name__:12}{times:>5} times, handled after a median of "
            f"{statistics.median(late):.0f} ms, at most {late[-1]:.0f} ms"
        )
    # A look-up that was given up ends with its thread, which waits for ever here.
    assert _rust.ledger()["blocking"] == times


if __name__ == "__main__":
    main()
