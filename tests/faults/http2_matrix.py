"""A case of the fault matrix over HTTP/2: what the server does with a request, frame by frame, and what must
come of it.

As in `matrix.py` each case has a fresh server and pool: first the faulty exchange, then the state it leaves,
then the next request, then `close()`. The rows themselves are in `test_faults_http2_*.py`.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from certificates import client_context, server_context
from doors import EMPTY, Door, Task
from frames import Gone, Peer, Peers
from hyperframe.frame import SettingsFrame
from matrix import ONE_IDLE, P0, PEER_DEADLINE, Answer, attempt, check, check_closed
from memory import Growth
from pools import Pool, Reply
from servers import RST, Connection, Server

PRIOR_KNOWLEDGE = {"http1": False, "http2": True}

# What is left afterwards, beside `P0`. PS: the connection, and the next request goes over it. MOVED: the same
# of a second connection; the first one has ended. GONE: a connection that the next request does not get.
PS, MOVED, GONE = "PS", "MOVED", "GONE"

# How far a client has come when it is a case's turn: its preface, a request's head, a whole request.
PREFACE, HEAD, WHOLE = "preface", "head", "whole"

# What a server does with the stream of a request.
Play = Callable[[Peer, int], object]


@dataclasses.dataclass(frozen=True)
class Fault:
    """One request, and what comes of it."""

    expect: Any  # Expect; a union of classes is no runtime type on Python 3.10's dataclasses
    play: Play
    after: str = PS
    label: str = ""
    method: str = "GET"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content: bytes | Callable[[Door], Any] | None = None
    timeout: Mapping[str, float] = dataclasses.field(default_factory=dict)
    # The server's; `None`: it sends none.
    settings: Mapping[int, int] | None = dataclasses.field(default_factory=dict)
    when: str = WHOLE
    tls: bool = False
    # What must become true on the first connection.
    wire: Callable[[Peer], object] | None = None

    def begin(self, peer: Peer) -> None:
        stream = 0
        if self.settings is None or self.when == PREFACE:
            peer.read_preface()
        else:
            peer.greet(dict(self.settings))
        if self.when != PREFACE:
            peer.gives_back = self.when == WHOLE
            stream = peer.read_request() if self.when == HEAD else peer.read_whole_request()
        self.play(peer, stream)
        peer.gives_back = True
        answer_all(peer)

    async def run(self, door: Door) -> None:
        peers = Peers()
        with serving(peers, self.begin, tls=self.tls) as server:
            pool = new_pool(door, tls=self.tls)
            content = self.content(door) if callable(self.content) else self.content
            outcome = await attempt(
                door,
                pool.request(
                    self.method,
                    server.url(host="localhost" if self.tls else None),
                    headers=[(b"Host", b"localhost"), *self.headers],
                    content=content,
                    timeout=dict(self.timeout),
                ),
            )
            wrong = self.expect.judge(outcome)
            check("foreign", not door.foreign, f"came out of the pool: {door.foreign!r}")
            check("verdict", wrong is None, str(wrong))
            await check_after(door, pool, server, peers, self.after)
            if self.wire is not None:
                wire = self.wire
                seen = await door.until(lambda: wire(peers[0]), PEER_DEADLINE)
                check("wire", seen, f"not on the wire; resets: {peers[0].resets}")
            await check_closed(door, pool, server)


# The figure for any one message is 100 ms; ten times that.
CPU_BOUND = 1.0
# Memory that is "no more than before": a connection's buffers, the allocator's, and the server's own part.
FLAT = 4 << 20


@dataclasses.dataclass(frozen=True)
class Costs:
    """A fault, and how much memory and CPU time it may take, the server's own part included."""

    fault: Fault
    memory: int
    cpu: float = CPU_BOUND

    @property
    def label(self) -> str:
        return self.fault.label

    async def run(self, door: Door) -> None:
        # For what a process needs once.
        await Fault(Answer(), answer).run(door)
        growth, began = Growth(), time.process_time()
        await self.fault.run(door)
        check("memory", growth.most() < self.memory, f"{growth.most() >> 10} KiB more than before")
        spent = time.process_time() - began
        check("cpu", spent < self.cpu, f"{spent:.1f} s of CPU time")


def faults(*cases: Fault) -> tuple[Fault, ...]:
    """All of them have to be told apart."""
    assert len({case.label for case in cases}) == len(cases), "two cases of one name"
    return cases


# How many more connections of a server keep the rules.
SPARE = 16


def serving(peers: Peers, *first: Callable[[Peer], object], tls: bool = False) -> Server:
    """A server whose first connections are played by these, and the others answer all."""

    def well(peer: Peer) -> None:
        peer.greet()
        answer_all(peer)

    context = server_context("h2") if tls else None
    return Server([peers.plays(play) for play in [*first, *[well] * SPARE]], tls=context)


def greeted(play: Callable[[Peer], object]) -> Callable[[Peer], None]:
    """After the beginning, and before all that follows."""

    def begin(peer: Peer) -> None:
        peer.greet()
        play(peer)
        answer_all(peer)

    return begin


def new_pool(door: Door, *, tls: bool = False, **options: Any) -> Pool:
    if tls:
        return door.pool(http2=True, ssl_context=client_context(), **options)
    return door.pool(**PRIOR_KNOWLEDGE, **options)


def nonce_of(peer: Peer, stream: int) -> str:
    return dict(peer.requests[stream]).get("x-nonce", "")


def answer(peer: Peer, stream: int) -> None:
    peer.answer(stream, b"ok", headers=[("x-nonce", nonce_of(peer, stream))])


def answer_all(peer: Peer) -> None:
    """Every request that comes, until the client closes."""
    try:
        while True:
            stream = peer.read_whole_request()
            if stream not in peer.resets:
                answer(peer, stream)
    except Gone:
        pass


def generous(peer: Peer) -> None:
    """From the beginning on. Who says nothing of it has one stream at a time with httpcore."""
    peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: 100})
    answer_all(peer)


def end(peer: Peer, stream: int = 0) -> None:
    """FIN; what the client still has to say is read."""
    peer.connection._half_close()


def reset(peer: Peer, stream: int = 0) -> None:
    """RST, and the script is over."""
    getattr(peer.connection, "_" + RST.verb)()


def hold(connection: Connection, gate: Any) -> None:
    """Neither reads nor sends until the test sets the event."""
    connection._wait(gate)


async def check_after(door: Door, pool: Pool, server: Server, peers: Peers, after: str) -> None:
    """The state that the faulty exchange left, and the next request."""
    counts, known = pool.counts, list(server.connections)
    wanted = {P0: EMPTY, PS: ONE_IDLE, MOVED: ONE_IDLE}.get(after)
    if wanted is None:
        check("after", counts.startswith("0 active, 0 queued | 0 active"), f"the pool holds {counts}")
    else:
        check("after", counts == wanted, f"the pool holds {counts}")
    dead = {P0: known, PS: [], MOVED: known[:-1], GONE: []}[after]
    gone = await door.until(lambda: all(connection.ended for connection in dead), PEER_DEADLINE)
    check("peer", gone, "the peer saw no end of the connection")
    number = await check_next(door, pool, server, peers)
    used = {P0: len(known), PS: 0, MOVED: 1, GONE: len(known)}[after]
    check("next", number == used, f"the next request went over connection {number}, not {used}")


async def check_next(door: Door, pool: Pool, server: Server, peers: Peers) -> int:
    """The next request gets its own answer: 200, and its own nonce. The number of its connection."""
    nonce = uuid.uuid4().hex
    url = server.url(host=None if server.tls is None else "localhost")
    outcome = await attempt(door, pool.request("GET", url, headers={"X-Nonce": nonce}))
    check("foreign", not door.foreign, f"came out of the pool: {door.foreign!r}")
    check("next", outcome.error is None, f"the next request failed: {outcome.error!r}")
    reply = outcome.value
    mine = (reply.status, reply.header(b"X-Nonce"), reply.body) == (200, nonce.encode(), b"ok")
    check("next", mine, f"the next request got {reply.status} {reply.headers} {reply.body[:80]!r}")
    asked = [
        number
        for number, peer in enumerate(peers.all)
        if any(nonce_of(peer, stream) == nonce for stream in list(peer.requests))
    ]
    check("next", len(asked) == 1, f"the next request was sent {len(asked)} times")
    return asked[0]


async def reply_to(door: Door, task: Task) -> Reply:
    """What came of a request that must not fail."""
    check("verdict", await door.until(lambda: task.done), "a request hangs")
    check("verdict", task.error is None, f"a request failed: {task.error!r}")
    reply: Reply = task.value
    return reply
