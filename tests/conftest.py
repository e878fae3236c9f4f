"""What every test needs: the engine's switch, a server, the doors, and a deadline. No rule is tested here."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

# With `HTTPCORE_HYPER_FLAVOUR=httpcore2` every `import httpcore` below, ours and the package's, means the
# fork: the whole suite runs on the other flavour.
if os.environ.get("HTTPCORE_HYPER_FLAVOUR") == "httpcore2":
    import httpx2

    httpx2.alias_httpx()
from engines import HTTPCORE, HYPER
from servers import Server

# A test that has failed keeps what it had, in its traceback.
HAS_FAILED = pytest.StashKey[bool]()
# Seconds for the workers to let go of what a test has ended.
LEDGER_DEADLINE = 5.0
# Seconds until a hanging test fails with the stacks of all its threads. At full size a test may go through
# thousands of connections.
HANG_DEADLINE = 300 if os.environ.get("HTTPCORE_HYPER_TESTS") == "full" else 30


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=(HYPER, HTTPCORE),
        default=HYPER,
        help="the pools under test; httpcore's own prove the tests themselves",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line(
        "markers", "httpcore_differs(reason): our promise is stronger than what httpcore does"
    )
    if config.getoption("--engine") == HTTPCORE:
        # An abandoned response leaves httpcore's own async generators to the collector; trio says so.
        config.addinivalue_line("filterwarnings", "ignore:Async generator 'httpcore:ResourceWarning")
        # Where a connect fails late, httpcore leaves its socket to the collector as well.
        config.addinivalue_line("filterwarnings", "ignore:unclosed:ResourceWarning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        differs = item.get_closest_marker("httpcore_differs")
        if differs is not None and config.getoption("--engine") == HTTPCORE:
            item.add_marker(pytest.mark.skip(reason=f"httpcore: {differs.args[0]}"))
        if item.get_closest_marker("timeout") is None:
            # A signal could not interrupt native code, and a scenario may swallow what it raises.
            item.add_marker(pytest.mark.timeout(HANG_DEADLINE, method="thread"))


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--engine"))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """A test ends with the Python threads that it began with; its garbage is its own as well."""
    before = set(threading.enumerate())
    yield
    # A warning of a finaliser belongs to this test, not to the next.
    gc.collect()
    left = {thread for thread in set(threading.enumerate()) - before if not _is_cached(thread)}
    for thread in left:
        # It is listed before it has begun, and cannot be joined then.
        thread._started.wait(1.0)
        thread.join(1.0)
    assert not [thread for thread in left if thread.is_alive()]


@pytest.fixture(autouse=True)
def nothing_is_held(request: pytest.FixtureRequest, engine: str, no_thread_is_left: None) -> Iterator[None]:
    """A test leaves nothing with the engine: no request, slot, connection, descriptor, waiter or runtime."""
    # What the last failure's traceback keeps alive is not this test's.
    for name in ("last_exc", "last_value", "last_traceback"):
        vars(sys).pop(name, None)
    yield
    if engine == HYPER and not request.node.stash.get(HAS_FAILED, False):
        held = still_held()
        assert not held, held


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.excinfo is not None:
        item.stash[HAS_FAILED] = True


def still_held() -> dict[str, int]:
    """What the engine holds, once the workers have had time to drop what has ended."""
    from httpcore_hyper import _rust  # noqa: PLC0415 - the reference runs without it

    limit = time.monotonic() + LEDGER_DEADLINE
    while any(_rust.ledger().values()) and time.monotonic() < limit:
        # Most tests leave nothing at all; a collection takes longer than many of them.
        gc.collect()
        time.sleep(0.001)
    return {name: number for name, number in _rust.ledger().items() if number}


def _is_cached(thread: threading.Thread) -> bool:
    """trio keeps its idle worker threads (name lookups) for some seconds on purpose.

    A thread of the engine's that has logged something is a dummy to `threading`, and its runtime's to end.
    """
    if isinstance(thread, threading._DummyThread):
        return True
    return thread.name.startswith("Trio")
