"""The ledger: what the engine holds is counted while it is held, and no longer. The fixture of every test
asserts the end of it."""

from __future__ import annotations

import os
import socket
import threading
import warnings

import httpcore
import pytest
from doors import ALL_DOORS, SYNC, Door, through
from engines import HYPER
from routes import response
from servers import RECEIVE, STALL, Server, send

from httpcore_hyper import ConnectionPool, _rust

OK = response(b"ok")
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
NOTHING = {
    *("blocking", "connections", "descriptors", "exchanges", "leases", "operations", "queued", "runtimes"),
    *("tasks", "waiters"),
}


@pytest.fixture(autouse=True)
def only_ours(engine: str) -> None:
    if engine != HYPER:
        pytest.skip("httpcore keeps no ledger")
    return


def held() -> dict[str, int]:
    return {name: number for name, number in _rust.ledger().items() if number}


def test_nothing_is_held_at_first() -> None:
    assert _rust.ledger() == dict.fromkeys(sorted(NOTHING), 0)


@pytest.mark.parametrize("door", ALL_DOORS)
def test_an_exchange_is_entered_and_struck_out(door: str, engine: str) -> None:
    """In flight, then queued behind it, then idle, then closed."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(OK[:-1]), STALL]]) as server:
            pool = door.pool(max_connections=1)
            stream = await pool.open("GET", server.url())
            now = held()
            assert (now["exchanges"], now["leases"], now["connections"]) == (1, 1, 1), now
            task = door.start(pool.request("GET", server.url()))
            assert await door.until(lambda: held().get("queued") == 1)
            assert held()["exchanges"] == 2
            await stream.close()
            # Closed as it is, it is counted as long as somebody has it.
            del stream
            assert (await task.outcome()).status == 200
            task.value = None
            assert await door.until(lambda: "exchanges" not in held() and "tasks" not in held()), held()
            now = held()
            assert now["connections"] == 1, now
            assert "leases" not in now, now
            assert "queued" not in now, now
            # The connection's own, and the three of what the loop watches.
            assert now["descriptors"] == (1 if door.name == SYNC else 4)
            assert ("runtimes" in now) == (door.name == SYNC)
            await pool.close()
            assert "connections" not in held()

    through(door, engine, scenario)


@pytest.mark.parametrize("door", ALL_DOORS)
def test_an_operation_is_entered_and_struck_out(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(UPGRADED), STALL]]) as server:
            pool = door.pool()
            stream = await pool.open("GET", server.url(), headers={"Host": "x", "Upgrade": "x"})
            network = stream.extensions["network_stream"]
            failed: list[str] = []

            async def read() -> None:
                try:
                    await network.read(1, 0.2) if door.is_async else network.read(1, 0.2)
                except httpcore.ReadTimeout as error:
                    failed.append(str(error))

            task = door.start(read())
            assert await door.until(lambda: held().get("operations") == 1)
            await task.settled()
            assert failed == ["timed out"]
            del task
            await stream.close()
            assert await door.until(lambda: "operations" not in held()), held()

    through(door, engine, scenario)


def test_waiters_are_callers_that_a_loop_wakes(engine: str) -> None:
    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, STALL]] * 3) as server:
            pool = door.pool()
            tasks = [door.start(pool.request("GET", server.url())) for _ in range(3)]
            assert await door.until(lambda: held().get("waiters") == 3)
            for task in tasks:
                task.cancel()
                await task.settled()
            # A cancelled caller's place goes with its loop's next turn.
            assert await door.until(lambda: "waiters" not in held())

    through("asyncio", engine, scenario)


def test_a_forgotten_pool_is_seen() -> None:
    """The proof of the fixture: a pool that is kept is something that is held."""
    with Server() as server:
        pool = ConnectionPool()
        pool.request("GET", server.url())
        assert held() == {"connections": 1, "descriptors": 1, "runtimes": 1}
        pool.close()
        # Its runtime goes with the engine.
        assert held() == {}


def test_descriptors_are_those_of_the_kernel() -> None:
    """Each descriptor that an open connection costs is in the ledger."""
    with Server() as server, ConnectionPool() as pool:
        gate = threading.Barrier(6)

        def request() -> None:
            with pool.stream("GET", server.url()) as opened:
                gate.wait(5.0)
                opened.read()
                gate.wait(5.0)

        threads = [threading.Thread(target=request) for _ in range(5)]
        for thread in threads:
            thread.start()
        gate.wait(5.0)
        ours = [name for name in os.listdir("/proc/self/fd") if _leads_to(name, server.port)]
        assert held()["descriptors"] == len(ours) == 5, held()
        gate.wait(5.0)
        for thread in threads:
            thread.join()


def _leads_to(descriptor: str, port: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(int(descriptor))) as sock:
            return bool(sock.getpeername()[1] == port)
    except (OSError, IndexError):
        return False


def test_a_child_begins_with_nothing() -> None:
    """What a child inherits is its parent's, in the ledger as well."""
    with Server() as server, ConnectionPool() as pool, pool.stream("GET", server.url()) as response:
        assert held()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the server's, who stay behind
            child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if held() == {} else 2
                response.close()
                pool.close()
                code = code or (0 if held() == {} else 3)
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        response.read()
