"""How a test of httpcore's own suite is replayed over real sockets, and which engine has to serve it.

`replay.toml` lists every replay with what it needs. As long as the engine lacks one of these things, the
replay must hold on httpcore's engine *and* run there, so a feature that arrives is noticed; else it must
run on ours. No rule of httpcore is tested here.
"""

from __future__ import annotations

import logging
import pathlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from certificates import client_context, server_context
from doors import ASYNCIO, DOORS, SYNC, TRIO, Door, run
from engines import HYPER
from pools import Pool
from routes import Request, response
from servers import Server

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILE = pathlib.Path(__file__).with_name("replay.toml")
_CONTENTS: dict[str, Any] = tomllib.loads(_FILE.read_text("utf-8"))
ENTRIES: list[dict[str, Any]] = _CONTENTS["test"]
WAITING: dict[str, str] = _CONTENTS["waiting"]
FEATURES = {"tls", "http2", "proxies", "trace", "logs", "upgrade"}
# httpcore's suite knows no uvloop.
REPLAY_DOORS = (SYNC, ASYNCIO, TRIO)
# The logger on which our pools say what they hand over to httpcore's engine.
HANDED_OVER = "httpcore_hyper"

HELLO = response(b"Hello, world!", headers=((b"Content-Type", b"plain/text"),))
HELLO_HEAD = HELLO.removesuffix(b"Hello, world!")
HELLO_AND_CLOSE = response(
    b"Hello, world!", headers=((b"Content-Type", b"plain/text"), (b"Connection", b"close"))
)


def hello(request: Request) -> list[tuple[str, tuple[Any, ...]]]:
    """What the scripts of httpcore's tests answer to every request."""
    return [("send", (HELLO,))]


def hello_and_close(request: Request) -> list[tuple[str, tuple[Any, ...]]]:
    return [("send", (HELLO_AND_CLOSE,)), ("fin", ())]


def entry_of(function: str) -> dict[str, Any]:
    (entry,) = [entry for entry in ENTRIES if entry["here"] == function]
    return entry


class Replay:
    """One replay on one door, with one choice of its parameters."""

    def __init__(
        self, door: str, engine: str, function: str, uses: set[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        self.engine = engine
        self.waits = uses & set(WAITING)
        # Then the rule itself has to break, and who served the request tells nothing more.
        self.fails = failures_of(function, uses)
        self._door = door
        self._caplog = caplog

    def __call__(self, scenario: Callable[[Door], Coroutine[Any, Any, Any]]) -> None:
        self._caplog.set_level(logging.DEBUG, HANDED_OVER)
        door = DOORS[self._door](self.engine)
        delegated: list[str | None] = []

        async def looked_after(door: Door) -> None:
            await scenario(door)
            # Before they are closed, which makes them forget it.
            delegated.extend(pool.delegated for pool in door.pools)

        run(door, looked_after)
        assert not door.foreign
        if self.engine != HYPER or self.fails:
            return
        handed_over = [record.getMessage() for record in self._caplog.records if record.name == HANDED_OVER]
        if self.waits:
            assert handed_over, f"our engine serves this now; take off the list what came of {self.waits}"
        else:
            assert handed_over == []
            assert delegated == [None] * len(door.pools)


def uses_of(function: str, parameters: dict[str, Any]) -> set[str]:
    """What a replay needs with these parameters."""
    uses = set(entry_of(function)["uses"])
    if parameters.get("scheme") in {"http", "ws"}:
        # Which version a connection speaks is agreed upon in the TLS handshake.
        uses -= {"tls", "http2"}
    if parameters.get("traced") is False:
        uses -= {"trace"}
    return uses


def failures_of(function: str, uses: set[str]) -> list[str]:
    """Why a replay fails with our pools as long as what it waits for is not there."""
    fails = entry_of(function).get("fails", {})
    return [reason for feature, reason in fails.items() if feature in uses & set(WAITING)]


def house(**options: Any) -> Server:
    """A server for `example.com` and every other origin: on a Unix socket, with and without TLS."""
    return Server(unix=True, **{"app": hello, "tls": server_context(), **options})


def pool_into(server: Server, door: Door, **options: Any) -> Pool:
    """A pool all of whose connections lead to the server, whatever the URL says."""
    return door.pool(uds=server.path, ssl_context=client_context(), **options)


def shown_pool(door: Door, counts: str) -> str:
    """`repr(pool)`, with the counts as `Pool.counts` abbreviates them."""
    requests, connections = counts.split(" | ")
    prefix = "Async" if door.is_async else ""
    return f"<{prefix}ConnectionPool [Requests: {requests} | Connections: {connections}]>"


def shown(door: Door, *infos: str, kind: str = "HTTPConnection") -> list[str]:
    """The `repr` of each connection with this `info()`."""
    prefix = "Async" if door.is_async else ""
    return [f"<{prefix}{kind} [{info}]>" for info in infos]


def reprs(pool: Pool) -> list[str]:
    return [repr(connection) for connection in pool.raw.connections]


def origin(scheme: str, host: str = "example.com") -> str:
    """As `info()` names it."""
    return f"'{scheme}://{host}:{443 if scheme == 'https' else 80}'"
