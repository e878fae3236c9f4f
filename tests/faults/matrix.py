"""A row of the fault matrix: what the peer does, what must come of it, and how it is judged.

Each case runs on a fresh server and pool: first the faulty exchange, then the state it leaves, then the
next request, then `close()`. The first thing that is not as required is a `Difference`.
The rows themselves are in `rows_*.py`; the differences that httpcore is allowed in `verdicts.toml`.
"""

from __future__ import annotations

import dataclasses
import os
import ssl
import threading
import uuid
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import httpcore
import sockets
from doors import EMPTY, Door, Task
from engines import HYPER
from pools import Pool, Reply
from servers import Script, Server

# faults.md asks for 100 ms; ten times that, so that a loaded machine fails nothing.
PEER_DEADLINE = 1.0

RPE, LPE = httpcore.RemoteProtocolError, httpcore.LocalProtocolError
CE, CT = httpcore.ConnectError, httpcore.ConnectTimeout
RE, RT = httpcore.ReadError, httpcore.ReadTimeout
WE, WT = httpcore.WriteError, httpcore.WriteTimeout
PT, UP = httpcore.PoolTimeout, httpcore.UnsupportedProtocol
PXE = httpcore.ProxyError

# What is left in the pool afterwards. P0: nothing, the next request opens a connection. P1: one idle
# connection, the next request reuses it. PX: nothing that is used again. LEFT: not specified.
# VAIN: as P0, but the next request would fare no better.
P0, P1, PX, LEFT, VAIN = "P0", "P1", "PX", "LEFT", "VAIN"
ONE_IDLE = "0 active, 0 queued | 0 active, 1 idle"

FULL_SIZE = os.environ.get("HTTPCORE_HYPER_TESTS") == "full"


class Difference(AssertionError):
    """One thing that is not as the row requires; `part` names it for `verdicts.toml`."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(f"{part}: {message}")
        self.part = part


def check(part: str, condition: object, message: str) -> None:
    if not condition:
        raise Difference(part, message)


@dataclasses.dataclass(frozen=True)
class Answer:
    """A response must arrive, with these features of it."""

    status: int = 200
    body: bytes | None = None
    headers: list[tuple[bytes, bytes]] | None = None
    reason: bytes | None = None

    def judge(self, outcome: Task) -> str | None:
        if outcome.error is not None:
            return f"wanted {self.status}, got {outcome.error!r}"
        reply: Reply = outcome.value
        wrong = []
        if reply.status != self.status:
            wrong.append(f"status {reply.status}")
        if self.body is not None and reply.body != self.body:
            wrong.append(f"body {reply.body[:80]!r}")
        if self.headers is not None and reply.headers != self.headers:
            wrong.append(f"headers {reply.headers[:20]!r}")
        if self.reason is not None and reply.extensions["reason_phrase"] != self.reason:
            wrong.append(f"reason {reply.extensions['reason_phrase']!r}")
        return f"got {', '.join(wrong)}" if wrong else None


@dataclasses.dataclass(frozen=True)
class Failure:
    """The request must fail, with exactly one of these classes and, if given, this text."""

    classes: tuple[type[BaseException], ...]
    text: str | None = None
    part: str = ""

    def judge(self, outcome: Task) -> str | None:
        if outcome.error is None:
            return f"wanted {self.names}, got {outcome.value.status} {outcome.value.body[:80]!r}"
        if type(outcome.error) not in self.classes:
            return f"wanted {self.names}, got {outcome.error!r}"
        if self.text is not None and str(outcome.error) != self.text:
            return f"wanted the text {self.text!r}, got {outcome.error!r}"
        if self.part not in str(outcome.error):
            return f"wanted {self.part!r} in the text, got {outcome.error!r}"
        return None

    @property
    def names(self) -> str:
        return " or ".join(error.__name__ for error in self.classes)


def fails(*classes: type[BaseException], text: str | None = None, part: str = "") -> Failure:
    """`text` is all of the exception's words, `part` some of them."""
    return Failure(classes, text, part)


@dataclasses.dataclass(frozen=True)
class Either:
    """Some rows leave a choice, or depend on which of two packets wins."""

    options: tuple[Answer | Failure, ...]

    def judge(self, outcome: Task) -> str | None:
        verdicts = [option.judge(outcome) for option in self.options]
        return None if None in verdicts else " / ".join(str(verdict) for verdict in verdicts)


Expect = Answer | Failure | Either


@dataclasses.dataclass(frozen=True)
class Case:
    """One exchange with one server script."""

    expect: Any  # Expect; a union of classes is no runtime type on Python 3.10's dataclasses
    script: Script | Callable[[threading.Event], Script]
    after: str = P0
    label: str = ""
    method: bytes | str = b"GET"
    target: bytes = b"/"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content: bytes | Callable[[Door], Any] | None = None
    timeout: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pool: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # The server's context, and more of the request's extensions.
    tls: ssl.SSLContext | None = None
    twice: bool = False
    extensions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # A fault that comes after the response: wait until the script has done it.
    settle: bool = False
    # More to check on the first connection once the exchange is over.
    wire: Callable[[Server], None] | None = None

    async def run(self, door: Door) -> None:
        await run_case(door, self)


class Judged(Protocol):
    """What a row consists of."""

    @property
    def label(self) -> str: ...

    async def run(self, door: Door) -> None:
        """Raises `Difference`."""


Scenario = Callable[[Door], Coroutine[Any, Any, None]]


@dataclasses.dataclass(frozen=True)
class Row:
    id: str
    rule: str
    cases: tuple[Judged, ...] = ()
    scenario: Scenario | None = None
    doors: tuple[str, ...] = ("sync", "asyncio", "trio")


async def attempt(door: Door, work: Coroutine[Any, Any, Any]) -> Task:
    """Run the exchange in the scenario's own task; what comes out is judged, not raised."""
    task = Task(door, cancel=lambda: None)
    try:
        task.value = await work
    except Exception as error:
        task.error = error
    task.done = True
    return task


async def run_case(door: Door, case: Case) -> None:
    gate = threading.Event()
    script = case.script(gate) if callable(case.script) else case.script
    # rustls offers no more than TLS 1.3: where that may be why a handshake failed, there is a second one.
    twice = case.twice and door.engine == HYPER and door.tls == "auto"
    with Server([script, script] if twice else [script], tls=case.tls) as server:
        pool = door.pool(**case.pool)
        content = case.content(door) if callable(case.content) else case.content
        outcome = await attempt(
            door,
            pool.request(
                case.method,
                server.url(),
                headers=[(b"Host", b"%s:%d" % (server.host.encode(), server.port)), *case.headers],
                content=content,
                timeout=dict(case.timeout),
                extensions={"target": case.target, **case.extensions},
            ),
        )
        wrong = case.expect.judge(outcome)
        gate.set()
        check("foreign", not door.foreign, f"came out of the pool: {door.foreign!r}")
        check("verdict", wrong is None, str(wrong))
        if case.settle:
            check(
                "peer", await door.until(lambda: server.connections[0].finished), "the script did not finish"
            )
        if case.wire is not None:
            case.wire(server)
        await check_after(door, pool, server, case.after)


async def check_after(door: Door, pool: Pool, server: Server, after: str) -> None:
    """The state that the faulty exchange left, the next request, and `close()`."""
    counts, known = pool.counts, list(server.connections)
    if after in (P0, VAIN):
        check("after", counts == EMPTY, f"the pool holds {counts}")
        gone = await door.until(lambda: all(connection.ended for connection in known), PEER_DEADLINE)
        check("peer", gone, "the peer saw no end of the connection")
    elif after == P1:
        check("after", counts == ONE_IDLE, f"the pool holds {counts}")
    else:
        check("after", counts.startswith("0 active, 0 queued | 0 active"), f"the pool holds {counts}")
    is_reused = after != VAIN and await check_next(door, pool, server)
    if after == P1:
        check("next", is_reused, "the idle connection was not reused")
    elif after in (P0, PX):
        check("next", not is_reused, "the next request went over an old connection")
    await check_closed(door, pool, server)


async def check_next(door: Door, pool: Pool, server: Server) -> bool:
    """The next request gets its own answer: 200, and its own nonce. Whether its connection was reused."""
    nonce = uuid.uuid4().hex.encode()
    outcome = await attempt(door, pool.request("GET", server.url("/"), headers={"X-Nonce": nonce}))
    check("foreign", not door.foreign, f"came out of the pool: {door.foreign!r}")
    check("next", outcome.error is None, f"the next request failed: {outcome.error!r}")
    reply = outcome.value
    mine = (reply.status, reply.header(b"X-Nonce"), reply.body) == (200, nonce, b"ok")
    check("next", mine, f"the next request got {reply.status} {reply.headers} {reply.body[:80]!r}")
    # A connection is fresh if nothing but this request ever came over it; a CONNECT does not count.
    firsts = [next((r for r in c.requests if r.method != b"CONNECT"), None) for c in server.connections]
    return not any(first is not None and first.header(b"X-Nonce") == nonce for first in firsts)


async def check_closed(door: Door, pool: Pool, server: Server) -> None:
    """A closed pool holds nothing: no socket, no slot, and it never left the Rust engine."""
    check("delegated", pool.delegated is None, f"served by httpcore's engine: {pool.delegated}")
    await pool.close()
    check("closed", pool.counts == EMPTY, f"a closed pool holds {pool.counts}")
    released = await door.until(lambda: sockets.held_towards(server.port) == 0, PEER_DEADLINE)
    check("closed", released, "sockets stayed open after close()")
    check("closed", door.own_tasks() == 0, f"{door.own_tasks()} tasks are left")
