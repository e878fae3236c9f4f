"""What the process lab runs: each function below is the main part of one process.

    python programs.py NAME URL TLS_URL HTTP2_URL

A program says `leaving` the moment before it ends, so that the lab can tell how long the end takes. It checks
what is to be seen from inside, and fails by an exception. `lab.py` judges what is to be seen from outside.
"""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import gc
import importlib
import logging
import os
import random
import signal
import ssl
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

# Half of a short process is the import of trio, which httpcore looks for and few programs run.
if __name__ == "__main__" and not sys.argv[1].endswith(("trio", "guest")):
    sys.modules["trio"] = None  # type: ignore[assignment]

import httpcore

import httpcore_hyper
from httpcore_hyper import _rust

# Beyond it something hangs; well below the lab's own limit, so that the stacks are seen.
HANG = 10.0
TIMEOUTS = {"timeout": {"connect": HANG, "read": HANG, "write": HANG, "pool": HANG}}


class Place(NamedTuple):
    """Where the lab's servers are."""

    url: str
    tls_url: str
    http2_url: str

    def __call__(self, path: str = "/") -> str:
        return self.url + path


class Program(NamedTuple):
    main: Callable[[Place], None]
    code: int


PROGRAMS: dict[str, Program] = {}


def program(code: int = 0) -> Callable[[Callable[[Place], None]], Callable[[Place], None]]:
    """Registers a program, which must end with that exit code."""

    def register(main: Callable[[Place], None]) -> Callable[[Place], None]:
        PROGRAMS[main.__name__] = Program(main, code)
        return main

    return register


def leaving() -> None:
    """The end begins here."""
    os.write(1, f"leaving {time.monotonic()}\n".encode())


def until(predicate: Callable[[], object]) -> None:
    limit = time.monotonic() + HANG
    while not predicate():
        if time.monotonic() > limit:
            faulthandler.dump_traceback()
            raise AssertionError("waited in vain")
        time.sleep(0.001)


def get(pool: Any, url: str) -> httpcore.Response:
    response = pool.request("GET", url, extensions=TIMEOUTS)
    assert (response.status, response.content) == (200, b"ok"), response
    return response


async def aget(pool: Any, url: str) -> httpcore.Response:
    response = await pool.request("GET", url, extensions=TIMEOUTS)
    assert (response.status, response.content) == (200, b"ok"), response
    return response


def opened(pool: Any, url: str) -> httpcore.Response:
    """A response whose body has not been read."""
    response: httpcore.Response = pool.handle_request(
        httpcore.Request("GET", url, headers={"Host": "x"}, extensions=TIMEOUTS)
    )
    return response


def port(response: httpcore.Response) -> int:
    """Our port: it tells connections apart."""
    return int(response.extensions["network_stream"].get_extra_info("client_addr")[1])


def careless() -> ssl.SSLContext:
    """Who is trusted is not what is tested here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def daemon(*targets: Callable[[], object]) -> None:
    for target in targets:
        threading.Thread(target=target, daemon=True).start()


def again_and_again(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        while True:
            work()

    return run


# Exits. The pools are never closed, and globals of the module: the interpreter ends with them in it.

KEPT: list[Any] = []

# A name that the lab's resolver never answers; see `slow_libraries.c`.
SILENT = "http://silent.test/"


def kept(pool: Any) -> Any:
    KEPT.append(pool)
    return pool


@program()
def exit_idle_sync(place: Place) -> None:
    get(kept(httpcore_hyper.ConnectionPool()), place())


@program()
def exit_idle_asyncio(place: Place) -> None:
    asyncio.run(_exit_idle(place))


@program()
def exit_idle_trio(place: Place) -> None:
    import trio  # noqa: PLC0415 - only the programs that run it pay for it

    trio.run(_exit_idle, place)


async def _exit_idle(place: Place) -> None:
    await aget(kept(httpcore_hyper.AsyncConnectionPool()), place())


@program()
def exit_open_response(place: Place) -> None:
    """A response that is half read, in a global."""
    pool = kept(httpcore_hyper.ConnectionPool())
    response = opened(pool, place("/half"))
    parts = response.iter_stream()
    assert next(iter(parts)) == b"half"
    KEPT.extend([response, parts])


@program()
def exit_threads_in_flight(place: Place) -> None:
    """Daemon threads that wait: for a connection, a name, a head, a body, a slot."""
    pool = kept(httpcore_hyper.ConnectionPool(max_connections=6))
    for path in ("/stall", "/half"):
        daemon(*[lambda path=path: pool.request("GET", place(path))] * 3)
    until(lambda: "6 active, 0 queued" in repr(pool))
    daemon(*[lambda: pool.request("GET", place())] * 3)
    until(lambda: "6 active, 3 queued" in repr(pool))


@program()
def exit_threads_busy(place: Place) -> None:
    """Daemon threads that come and go between the interpreter and the engine all the time."""
    pool = kept(httpcore_hyper.ConnectionPool())
    done: list[int] = []
    daemon(*[again_and_again(lambda: done.append(get(pool, place()).status))] * 4)
    until(lambda: len(done) > 50)


@program()
def exit_tls_busy(place: Place) -> None:
    """Handshakes all the time, by each kind of session: the engine's own threads call Python for them."""
    done: list[int] = []

    def handshake(tls: Any) -> None:
        with httpcore_hyper.ConnectionPool(careless(), tls=tls) as pool:
            done.append(get(pool, place.tls_url + "/").status)

    daemon(*[again_and_again(lambda tls=tls: handshake(tls)) for tls in ("auto", "python", "python")])
    until(lambda: len(done) > 5)


@program()
def exit_tls_in_flight(place: Place) -> None:
    """Handshakes that a silent server never answers."""
    pool = kept(httpcore_hyper.ConnectionPool(careless(), tls="python"))
    url = place(f"/{random.random()}").replace("http:", "https:")
    daemon(*[lambda: pool.request("GET", url, extensions={"timeout": {"read": HANG}})] * 2)
    daemon(*[lambda: asyncio.run(httpcore_hyper.AsyncConnectionPool(careless()).request("GET", url))] * 2)
    until(lambda: _rust.ledger()["descriptors"] >= 4)


@program()
def exit_tls_slow(place: Place) -> None:
    """Handshakes whose steps in OpenSSL outlast the interpreter; see `slow_libraries.c`."""
    os.environ["SLOW_HANDSHAKES"] = "1"
    pool = kept(httpcore_hyper.ConnectionPool(careless(), tls="python"))
    daemon(*[lambda: pool.request("GET", place.tls_url + "/")] * 2)
    until(lambda: _rust.ledger()["blocking"] >= 2)


@program()
def exit_http2_in_flight(place: Place) -> None:
    """Threads and a loop that share connections, with streams in flight and others that come and go."""
    pool = kept(httpcore_hyper.ConnectionPool(http1=False, http2=True))
    asynchronous = kept(httpcore_hyper.AsyncConnectionPool(http1=False, http2=True))
    done: list[int] = []

    async def busy() -> None:
        while True:
            done.append((await aget(asynchronous, place.http2_url + "/")).status)

    async def main() -> None:
        stalled = [asynchronous.request("GET", place.http2_url + "/stall") for _ in range(5)]
        await asyncio.gather(*stalled, *[busy() for _ in range(5)])

    daemon(lambda: asyncio.run(main()))
    daemon(*[lambda: pool.request("GET", place.http2_url + "/stall")] * 3)
    daemon(*[again_and_again(lambda: done.append(get(pool, place.http2_url + "/").status))] * 3)
    until(lambda: len(done) > 100 and "0 queued" in repr(pool))


@program()
def exit_loop_in_thread(place: Place) -> None:
    """A loop in a daemon thread, with requests in flight and others that come and go."""
    pool = kept(httpcore_hyper.AsyncConnectionPool())
    done: list[int] = []

    async def busy() -> None:
        while True:
            done.append((await aget(pool, place())).status)

    async def main() -> None:
        stalled = [pool.request("GET", place("/stall")) for _ in range(5)]
        await asyncio.gather(*stalled, *[busy() for _ in range(5)])

    daemon(lambda: asyncio.run(main()))
    until(lambda: len(done) > 50 and "0 queued" in repr(pool))


@program()
def exit_tasks_in_flight(place: Place) -> None:
    """`asyncio.run` cancels what its main coroutine leaves behind."""
    pool = kept(httpcore_hyper.AsyncConnectionPool())

    async def main() -> None:
        KEPT.extend(asyncio.create_task(pool.request("GET", place("/stall"))) for _ in range(5))
        while "5 active" not in repr(pool):
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert "0 active" in repr(pool), repr(pool)


@program()
def exit_closed_loop(place: Place) -> None:
    """A loop that is closed under requests in flight; their answers come afterwards."""
    pool = kept(httpcore_hyper.AsyncConnectionPool())
    loop = asyncio.new_event_loop()

    async def main() -> None:
        for path in ("/wait?gap=0.02", "/stall", "/half"):
            task = loop.create_task(pool.request("GET", place(path)))
            # asyncio's own complaint about a pending task is no business of ours.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            KEPT.append(task)
        while "3 active" not in repr(pool):
            await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    loop.close()
    # Long enough for the first answer to come and find nobody.
    time.sleep(0.05)
    get(kept(httpcore_hyper.ConnectionPool()), place())


@program()
def exit_abandoned_trio(place: Place) -> None:
    """A trio run in a daemon thread, with requests in flight."""
    import trio  # noqa: PLC0415 - only the programs that run it pay for it

    pool = kept(httpcore_hyper.AsyncConnectionPool())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for path in ("/stall", "/half", "/stall"):
                nursery.start_soon(pool.request, "GET", place(path))

    daemon(lambda: trio.run(main))
    until(lambda: "3 active" in repr(pool))


@program()
def exit_abandoned_guest(place: Place) -> None:
    """A trio run in guest mode whose host loop is closed under it."""
    import trio  # noqa: PLC0415 - only the programs that run it pay for it

    # trio's own complaint about hosts of this kind.
    warnings.filterwarnings("ignore", "Trio guest run got abandoned", RuntimeWarning)
    pool = kept(httpcore_hyper.AsyncConnectionPool())
    loop = asyncio.new_event_loop()

    async def host() -> None:
        trio.lowlevel.start_guest_run(
            pool.request,
            *("GET", place("/stall")),
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda outcome: None,
        )
        while "1 active" not in repr(pool):
            await asyncio.sleep(0.001)

    loop.run_until_complete(host())
    loop.close()


@program()
def exit_atexit(place: Place) -> None:
    """Handlers that make requests: on a pool that was used, on one that was not, and on a loop."""
    used, fresh = httpcore_hyper.ConnectionPool(), httpcore_hyper.ConnectionPool()
    asynchronous = httpcore_hyper.AsyncConnectionPool()
    get(used, place())

    def last() -> None:
        get(used, place())
        get(fresh, place())
        asyncio.run(aget(asynchronous, place()))
        os.write(1, b"at exit\n")

    atexit.register(last)


@program(3)
def exit_at_once(place: Place) -> None:
    """`os._exit` with requests in flight."""
    pool = kept(httpcore_hyper.ConnectionPool())
    daemon(*[lambda: pool.request("GET", place("/stall"))] * 3)
    until(lambda: "3 active" in repr(pool))
    leaving()
    os._exit(3)


@program(5)
def exit_in_callback(place: Place) -> None:
    """`sys.exit` in a trace callback, deep in a request."""

    def trace(name: str, info: Any) -> None:
        if name == "http11.receive_response_headers.started":
            leaving()
            sys.exit(5)

    pool = kept(httpcore_hyper.ConnectionPool())
    pool.request("GET", place("/stall"), extensions={"trace": trace})


@program(6)
def exit_in_async_callback(place: Place) -> None:
    """The same on a loop."""

    async def trace(name: str, info: Any) -> None:
        if name == "http11.receive_response_headers.started":
            leaving()
            sys.exit(6)

    pool = kept(httpcore_hyper.AsyncConnectionPool())
    asyncio.run(pool.request("GET", place("/stall"), extensions={"trace": trace}))


@program(7)
def exit_in_signal_handler(place: Place) -> None:
    """`sys.exit` in a signal handler, while the main thread waits for an answer."""

    def handler(*_: object) -> None:
        leaving()
        sys.exit(7)

    pool = kept(httpcore_hyper.ConnectionPool())
    signal.signal(signal.SIGUSR1, handler)

    def send() -> None:
        until(lambda: "1 active" in repr(pool))
        os.kill(os.getpid(), signal.SIGUSR1)

    daemon(send)
    pool.request("GET", place("/stall"))


@program()
def exit_in_cycles(place: Place) -> None:
    """Pools, responses and loops in cycles, left to the last collection."""
    gc.disable()

    class Knot:
        def __init__(self, *held: Any) -> None:
            self.knot, self.held = self, held

    pool = httpcore_hyper.ConnectionPool()
    response = get(pool, place())
    asynchronous = httpcore_hyper.AsyncConnectionPool()
    loop = asyncio.new_event_loop()
    other = loop.run_until_complete(aget(asynchronous, place()))
    loop.close()
    KEPT.append(Knot(pool, response, asynchronous, loop, other))


# Forks.


def child(work: Callable[[], object]) -> Callable[[], None]:
    """Forks; the child does the work and leaves at once. Returns what waits for it and judges it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            held = _rust.ledger()
            assert min(held.values()) >= 0, f"the child dropped something of its parent's: {held}"
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return lambda: join(pid)


def join(pid: int) -> None:
    limit = time.monotonic() + 2 * HANG
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            assert code == 0, f"a child ended with {code}"
            return
        if time.monotonic() > limit:
            # With faulthandler on, this prints where it hangs.
            os.kill(pid, signal.SIGABRT)
            os.waitpid(pid, 0)
            raise AssertionError("a child hangs")
        time.sleep(0.001)


@program()
def fork_idle(place: Place) -> None:
    """L-01: an inherited pool works in the child, on sockets of its own; the parent keeps its connection."""
    with httpcore_hyper.ConnectionPool() as pool:
        ours = port(get(pool, place()))

        def work() -> None:
            assert "0 active, 0 idle" in repr(pool), repr(pool)
            theirs = port(get(pool, place()))
            assert theirs != ours
            assert port(get(pool, place())) == theirs
            pool.close()

        for _ in range(3):
            child(work)()
            assert port(get(pool, place())) == ours


@program()
def fork_idle_async(place: Place) -> None:
    """The same of an async pool, each on loops of its own."""
    pool = kept(httpcore_hyper.AsyncConnectionPool())
    ours = port(asyncio.run(aget(pool, place())))
    for _ in range(3):
        child(lambda: _differs(port(asyncio.run(aget(pool, place()))), ours))()
        assert port(asyncio.run(aget(pool, place()))) == ours


def _differs(one: int, other: int) -> None:
    assert one != other


@program()
def fork_new_pool(place: Place) -> None:
    """L-02: the child makes pools of its own."""
    pool = kept(httpcore_hyper.ConnectionPool())
    get(pool, place())
    asyncio.run(aget(kept(httpcore_hyper.AsyncConnectionPool()), place()))

    def work() -> None:
        get(httpcore_hyper.ConnectionPool(), place())
        asyncio.run(aget(httpcore_hyper.AsyncConnectionPool(), place()))

    child(work)()
    get(pool, place())


@program()
def fork_busy_threads(place: Place) -> None:
    """L-03: forks at any moment of other threads' requests; the inherited pool works, theirs go on."""
    pool = kept(httpcore_hyper.ConnectionPool(max_connections=4))
    enough = threading.Event()
    served: list[int] = []

    def hammer() -> None:
        while not enough.is_set():
            served.append(get(pool, place()).status)

    def work() -> None:
        for _ in range(3):
            get(pool, place())

    with ThreadPoolExecutor(8) as threads:
        hammering = [threads.submit(hammer) for _ in range(8)]
        until(lambda: len(served) > 20)
        for join_child in [child(work) for _ in range(10)]:
            join_child()
        before = len(served)
        until(lambda: len(served) > before + 20)
        enough.set()
        for one in hammering:
            one.result()


@program()
def fork_busy_loop(place: Place) -> None:
    """The same with a loop in another thread, and children that use its pool on a loop of their own."""
    pool = kept(httpcore_hyper.AsyncConnectionPool(max_connections=4))
    enough = threading.Event()
    served: list[int] = []

    async def hammer() -> None:
        while not enough.is_set():
            served.append((await aget(pool, place())).status)

    async def main() -> None:
        await asyncio.gather(*[hammer() for _ in range(20)])

    with ThreadPoolExecutor(1) as threads:
        hammering = threads.submit(asyncio.run, main())
        until(lambda: len(served) > 20)
        for join_child in [child(lambda: asyncio.run(aget(pool, place()))) for _ in range(10)]:
            join_child()
        before = len(served)
        until(lambda: len(served) > before + 20)
        enough.set()
        hammering.result()


@program()
def fork_busy_tls(place: Place) -> None:
    """Forks amid handshakes, whose turns are taken by Python on the engine's threads."""
    pools = [kept(httpcore_hyper.ConnectionPool(careless(), tls=tls)) for tls in ("auto", "python")]
    enough = threading.Event()
    served: list[int] = []

    def hammer(pool: Any) -> None:
        while not enough.is_set():
            served.append(get(pool, place.tls_url + "/").status)
            pool.close()

    def work() -> None:
        for pool in pools:
            get(pool, place.tls_url + "/")

    with ThreadPoolExecutor(2) as threads:
        hammering = [threads.submit(hammer, pool) for pool in pools]
        until(lambda: len(served) > 4)
        for join_child in [child(work) for _ in range(4)]:
            join_child()
        enough.set()
        for one in hammering:
            one.result()


@program()
def fork_busy_http2(place: Place) -> None:
    """Threads that share one connection; the children open their own, the parent keeps its."""
    pool = kept(httpcore_hyper.ConnectionPool(http1=False, http2=True))
    url = place.http2_url + "/"
    enough = threading.Event()
    ours = port(get(pool, url))

    def hammer() -> set[int]:
        ports = set()
        while not enough.is_set():
            ports.add(port(get(pool, url)))
        return ports

    with ThreadPoolExecutor(4) as threads:
        hammering = [threads.submit(hammer) for _ in range(4)]
        for join_child in [child(lambda: _differs(port(get(pool, url)), ours)) for _ in range(10)]:
            join_child()
        enough.set()
        assert {port for one in hammering for port in one.result()} == {ours}


@program()
def fork_from_thread(place: Place) -> None:
    """The forking thread is the child's main thread: signals are looked for there from then on."""
    pool = kept(httpcore_hyper.ConnectionPool())
    get(pool, place())

    def work() -> None:
        get(pool, place())
        handled: list[int] = []
        signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert pool.request("GET", place("/wait?gap=0.3"), extensions=TIMEOUTS).status == 200
        assert handled

    with ThreadPoolExecutor(1) as threads:
        # The waiting is the thread's as well: it is the child's parent.
        threads.submit(lambda: child(work)()).result()  # noqa: PLW0108 - the fork is the thread's
    get(pool, place())


@program()
def fork_open_response(place: Place) -> None:
    """A response in flight stays the parent's: the child gets a clear error, the parent the rest."""
    pool = kept(httpcore_hyper.ConnectionPool())
    response = opened(pool, place("/slow?gap=0.3"))

    def work() -> None:
        try:
            response.read()
            raise AssertionError("the child read its parent's response")
        except httpcore.ReadError as error:
            if "forked" not in str(error):
                raise
        response.close()
        get(pool, place())

    join_child = child(work)
    assert response.read() == b"slow"
    response.close()
    join_child()
    get(pool, place())


@program()
def fork_child_ends_properly(place: Place) -> None:
    """A child that leaves by `sys.exit`, and collects everything that it inherited; its parent goes on."""
    pool = kept(httpcore_hyper.ConnectionPool())
    half = opened(pool, place("/half"))
    ours = port(get(pool, place()))
    asynchronous = kept(httpcore_hyper.AsyncConnectionPool())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(aget(asynchronous, place()))
    waiting = loop.create_task(asynchronous.request("GET", place("/wait?gap=0.1")))
    loop.run_until_complete(asyncio.sleep(0.01))
    pid = os.fork()
    if pid == 0:
        get(pool, place())
        # As above: these are asyncio's and ours about what the child cannot finish.
        warnings.simplefilter("ignore", ResourceWarning)
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]
        KEPT.clear()
        del half, pool, asynchronous, waiting, loop
        gc.collect()
        held = _rust.ledger()
        assert min(held.values()) >= 0, held
        sys.exit(0)
    join(pid)
    assert port(get(pool, place())) == ours
    assert loop.run_until_complete(waiting).status == 200
    loop.close()
    half.close()


@program()
def fork_in_coroutine(place: Place) -> None:
    """`os.fork` inside a coroutine: the child runs a loop of its own, unknown to the parent's tasks."""
    pool = kept(httpcore_hyper.AsyncConnectionPool())

    def work() -> None:
        # What another task of the parent's waits for fails here, in its future.
        assert asyncio.new_event_loop().run_until_complete(aget(pool, place())).status == 200
        get(httpcore_hyper.ConnectionPool(), place())

    async def main() -> None:
        ours = port(await aget(pool, place()))
        others = [asyncio.create_task(aget(pool, place())) for _ in range(20)]
        await asyncio.sleep(0)
        join_child = child(lambda: _outside_of_loops(work))
        assert {response.status for response in await asyncio.gather(*others)} == {200}
        await asyncio.to_thread(join_child)
        assert port(await aget(pool, place())) == ours

    asyncio.run(main())


def _outside_of_loops(work: Callable[[], object]) -> None:
    """Where a loop runs in this thread, as it seems to one in a child, none can be run beside it."""
    asyncio._set_running_loop(None)
    work()


@program()
def fork_in_flight_awaited(place: Place) -> None:
    """A child that goes on with its parent's loop: what it waits for fails, with a clear error."""
    pool = kept(httpcore_hyper.AsyncConnectionPool())
    seen: list[str] = []

    async def main() -> int:
        task = asyncio.create_task(pool.request("GET", place("/wait?gap=0.3")))
        while "1 active" not in repr(pool):
            await asyncio.sleep(0.001)
        pid = os.fork()
        try:
            await task
            seen.append("answered")
        except httpcore.ReadError as error:
            seen.append(str(error))
        return pid

    # Each of the two goes on from the fork, and ends the loop.
    pid = asyncio.new_event_loop().run_until_complete(main())
    if pid == 0:
        os._exit(0 if "forked" in seen[0] else 1)
    join(pid)
    assert seen == ["answered"], seen


@program()
def fork_in_trio(place: Place) -> None:
    """`os.fork` inside a trio task, with others in flight."""
    import trio  # noqa: PLC0415 - only the programs that run it pay for it

    pool = kept(httpcore_hyper.AsyncConnectionPool())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(aget, pool, place())
            await trio.lowlevel.checkpoint()
            join_child = child(lambda: get(httpcore_hyper.ConnectionPool(), place()))
        await trio.to_thread.run_sync(join_child)
        await aget(pool, place())

    trio.run(main)


@program()
def fork_grandchild(place: Place) -> None:
    """A child's child, whose inherited pool has been two others' before."""
    pool = kept(httpcore_hyper.ConnectionPool())
    ports = [port(get(pool, place()))]

    def grandchild() -> None:
        ports.append(port(get(pool, place())))
        assert len(set(ports)) == 3, ports

    def work() -> None:
        ports.append(port(get(pool, place())))
        child(grandchild)()
        assert port(get(pool, place())) == ports[1]

    child(work)()
    assert port(get(pool, place())) == ports[0]


@program()
def fork_amid_look_ups(place: Place) -> None:
    """As many name look-ups as a pool has at a time are under way at the fork; the child has its own."""
    pool = kept(httpcore_hyper.ConnectionPool(max_connections=50))
    url = place().replace("127.0.0.1", "localhost")
    enough = threading.Event()

    def hammer() -> None:
        while not enough.is_set():
            get(pool, url)
            pool.close()
            # The server has a thread for each connection, and keeps them.
            time.sleep(0.01)

    with ThreadPoolExecutor(1) as threads:
        hammering = threads.submit(hammer)
        until(lambda: _rust.ledger()["blocking"])
        for join_child in [child(lambda: get(pool, url)) for _ in range(5)]:
            join_child()
        enough.set()
        hammering.result()


@program()
def fork_amid_import(place: Place) -> None:
    """L-28: the module is imported in a thread while others fork; imported again it is the same."""
    for name in [name for name in sys.modules if name.startswith("httpcore_hyper.")]:
        del sys.modules[name]
    del sys.modules["httpcore_hyper"]
    with ThreadPoolExecutor(1) as threads:
        importing = threads.submit(__import__, "httpcore_hyper")
        joins = [child(lambda: None) for _ in range(5)]
        again = importing.result()
    for join_child in joins:
        join_child()
    get(again.ConnectionPool(), place())


def _multiprocessing(method: str, place: Place) -> None:
    import multiprocessing  # noqa: PLC0415 - only the programs that run it pay for it

    context = multiprocessing.get_context(method)
    pool = httpcore_hyper.ConnectionPool()
    ours = port(get(pool, place()))
    KEPT.append(pool)
    # forkserver and spawn begin from nothing; a fork has the pool.
    with context.Pool(2) as workers:
        statuses = workers.map(_in_worker, [place()] * 6)
    assert statuses == [200] * 6
    assert port(get(pool, place())) == ours


def _in_worker(url: str) -> int:
    pool = KEPT[0] if KEPT else kept(httpcore_hyper.ConnectionPool())
    asyncio.run(aget(httpcore_hyper.AsyncConnectionPool(), url))
    return get(pool, url).status


@program()
def multiprocessing_fork(place: Place) -> None:
    _multiprocessing("fork", place)


@program()
def multiprocessing_forkserver(place: Place) -> None:
    _multiprocessing("forkserver", place)


@program()
def multiprocessing_spawn(place: Place) -> None:
    _multiprocessing("spawn", place)


# Unusual interpreters.


@program()
def subinterpreter(place: Place) -> None:
    """L-26: a second interpreter in the process is served by httpcore's own engine, and is told so."""
    try:
        import _interpreters as interpreters  # noqa: PLC0415 - there are two names for it
    except ImportError:
        import _xxsubinterpreters as interpreters  # noqa: PLC0415
    code = f"""if True:
        import sys, warnings
        sys.path[:] = {sys.path!r}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import httpcore_hyper
        assert any("httpcore's own engine" in str(one.message) for one in caught), caught
        pool = httpcore_hyper.ConnectionPool()
        assert "native module" in pool.delegated, pool.delegated
        assert pool.request("GET", {place()!r}).status == 200
        pool.close()
    """
    if sys.version_info >= (3, 13):
        failed = interpreters.exec(interpreters.create("legacy"), code)
        assert failed is None, failed.errdisplay
    else:
        interpreters.run_string(interpreters.create(isolated=False), code)
    get(httpcore_hyper.ConnectionPool(), place())


@program()
def imported_again(place: Place) -> None:
    """L-28: `importlib.reload`, and a second import after the first was forgotten."""
    before = httpcore_hyper.ConnectionPool()
    get(before, place())
    importlib.reload(httpcore_hyper)
    get(before, place())
    get(httpcore_hyper.ConnectionPool(), place())
    for name in [name for name in sys.modules if name.partition(".")[0] == "httpcore_hyper"]:
        del sys.modules[name]
    again = importlib.import_module("httpcore_hyper")
    assert again is not httpcore_hyper
    get(again.ConnectionPool(), place())
    get(before, place())


@program()
def signal_amid_look_up(place: Place) -> None:
    """L-24: a handler runs while the main thread waits for a name that nobody knows yet."""

    def handler(*_: object) -> None:
        raise TimeoutError("from the handler")

    signal.signal(signal.SIGALRM, handler)
    pool = kept(httpcore_hyper.ConnectionPool())
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    began = time.monotonic()
    try:
        pool.request("GET", SILENT)
    except TimeoutError:
        # The promise is 100 ms; ten times that.
        assert time.monotonic() - began < 0.1 + 1.0
    assert "0 active, 0 queued" in repr(pool), repr(pool)
    get(pool, place())


@program()
def exit_look_ups_in_flight(place: Place) -> None:
    """Names that are never found, for daemon threads of both doors."""
    pool = kept(httpcore_hyper.ConnectionPool())
    daemon(*[lambda: pool.request("GET", SILENT)] * 2)
    daemon(lambda: asyncio.run(httpcore_hyper.AsyncConnectionPool().request("GET", SILENT)))
    until(lambda: _rust.ledger()["blocking"] == 3)


@program()
def close_amid_look_ups(place: Place) -> None:
    """L-13: closing a pool, or dropping it, waits for nobody, and the requests end at once."""
    ended: list[str] = []

    def request(pool: Any) -> None:
        try:
            pool.request("GET", SILENT)
        except httpcore.ReadError as error:
            ended.append(str(error))

    for _ in range(3):
        pool = httpcore_hyper.ConnectionPool()
        ended.clear()
        daemon(*[lambda pool=pool: request(pool)] * 8)
        until(lambda pool=pool: "8 active" in repr(pool))
        began = time.monotonic()
        pool.close()
        until(lambda: len(ended) == 8)
        # The promise for what is closed is 100 ms; ten times that.
        assert time.monotonic() - began < 1.0
        get(pool, place())


@program()
def fork_all_look_ups_taken(place: Place) -> None:
    """The parent's look-ups never end, as many as one pool has; the child has its own."""
    pool = kept(httpcore_hyper.ConnectionPool())
    daemon(*[lambda: pool.request("GET", SILENT)] * 8)
    until(lambda: _rust.ledger()["blocking"] == 8)
    child(lambda: get(pool, place().replace("127.0.0.1", "localhost")))()


def main() -> None:
    _, name, *urls = sys.argv
    faulthandler.enable()
    # CPython's advice about forks beside threads; it is what is tested.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    # In debug mode asyncio complains about steps that take long, as each does on a loaded machine.
    logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Executing "))
    PROGRAMS[name].main(Place(*urls))
    leaving()


if __name__ == "__main__":
    main()
