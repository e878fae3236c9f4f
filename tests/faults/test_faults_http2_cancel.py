"""Chapter X over HTTP/2: a request that is cancelled resets its stream, and nothing else."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import httpcore
from certificates import client_context, server_context
from doors import ANYIO, ASYNC_DOORS, EMPTY, OWN, Door
from frames import CANCEL, FIRST_WINDOW, Peer, Peers
from http2_matrix import (
    answer,
    answer_all,
    check_next,
    generous,
    greeted,
    hold,
    new_pool,
    reply_to,
    serving,
)
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame
from matrix import FULL_SIZE, ONE_IDLE, Row, Scenario, attempt, check, check_closed
from pools import Pool
from servers import CLOSE, RAW, START_TLS, Server, wait
from sockets import held_towards
from test_faults_cancel import RETURN_DEADLINE, by_each_way, within
from verdicts import judge, parametrize

UPLOAD = 1 << 20
# More than the kernel's buffers on both sides hold.
STUFFING = 24 << 20
LARGEST_WINDOW = 2**31 - 1
# While a write is blocked the server cannot tell; a moment is enough for the buffers to fill.
BLOCKED = 0.1

# Makes the request, and says when it has come as far as the phase.
Work = Callable[[Pool, str, threading.Event], Coroutine[Any, Any, None]]


async def get(pool: Pool, url: str, reached: threading.Event) -> None:
    """The server knows when it has the request."""
    await pool.request("GET", url)


async def post(pool: Pool, url: str, reached: threading.Event) -> None:
    await pool.request("POST", url, content=bytes(UPLOAD))


async def read(pool: Pool, url: str, reached: threading.Event, parts: int = 0) -> None:
    """The caller knows when the head has come, and so much of the body."""
    stream = await pool.open("GET", url)
    try:
        for _ in range(parts):
            await stream.__anext__()
        reached.set()
        await stream.read()
    finally:
        await stream.close()


async def read_on(pool: Pool, url: str, reached: threading.Event) -> None:
    await read(pool, url, reached, parts=1)


def phase(work: Work, play: Callable[[Peer, int, threading.Event], None], *, whole: bool = True) -> Scenario:
    """Cancel `work` once the phase is reached. `play` is given the stream of a request, whole or its head."""

    async def once(door: Door, way: str) -> None:
        reached = threading.Event()

        def begin(peer: Peer) -> None:
            peer.gives_back = whole
            stream = peer.read_whole_request() if whole else peer.read_request()
            play(peer, stream, reached)
            peer.read_until(lambda _: stream in peer.resets)
            sent = len(peer.bodies[stream])
            peer.give(0, UPLOAD)
            # Nothing more of the body comes, whatever room there is.
            peer.ping(b"any more")
            assert len(peer.bodies[stream]) == sent, "the body goes on"
            peer.gives_back = True

        peers = Peers()
        with serving(peers, greeted(begin)) as server:
            pool = new_pool(door)
            states: list[str] = []

            async def observed() -> None:
                try:
                    await work(pool, server.url(), reached)
                finally:
                    # At the very moment that the exception reaches the caller.
                    states.append(pool.counts)

            task = door.start(observed(), way)
            check("reached", await door.until(reached.is_set), f"{way}: the phase was not reached")
            check("reached", not task.done, f"{way}: ended by itself: {task.error!r}")
            task.cancel()
            await task.settled(RETURN_DEADLINE)
            check("verdict", task.cancelled, f"{way}: {task.error!r}")
            check("foreign", not door.foreign, f"{way}: {door.foreign!r}")
            check("after", states == [ONE_IDLE], f"{way}: the pool held {states} when it came out")
            seen = await door.until(lambda: peers[0].resets == {1: CANCEL}, RETURN_DEADLINE)
            check("wire", seen, f"{way}: {peers[0].resets}")
            check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
            await check_closed(door, pool, server)

    return by_each_way(once)


def silent(peer: Peer, stream: int, reached: threading.Event) -> None:
    reached.set()


def head_only(peer: Peer, stream: int, reached: threading.Event) -> None:
    peer.send(peer.head(stream))


def part_of_body(peer: Peer, stream: int, reached: threading.Event) -> None:
    peer.send(peer.head(stream), DataFrame(stream, b"o"))


def full_window(peer: Peer, stream: int, reached: threading.Event) -> None:
    while len(peer.bodies[stream]) < FIRST_WINDOW:
        peer.read()
    reached.set()


async def connecting(door: Door, way: str) -> None:
    """While TCP connects: whoever connects gives up, then one who waits, then the last: no socket is left."""
    with Server(accept=False) as server:
        before = held_towards(server.port)
        pool = new_pool(door)
        tasks = []
        for number in range(1, 4):
            tasks.append(door.start(pool.request("GET", server.url()), way))
            reached = await door.until(lambda number=number: len(pool.raw._requests) == number)
            check("reached", reached, pool.counts)
        check("reached", await door.until(lambda: held_towards(server.port) > before), "nothing connects")
        for left, task in enumerate(tasks):
            task.cancel()
            await task.settled(RETURN_DEADLINE)
            check("verdict", task.cancelled, f"{way}: {task.error!r}")
            check("after", pool.counts.startswith(f"{2 - left} active, 0 queued"), f"{way}: {pool.counts}")
        check("after", pool.counts == EMPTY, f"{way}: the pool holds {pool.counts}")
        gone = await door.until(lambda: held_towards(server.port) == before, RETURN_DEADLINE)
        check("closed", gone, f"{way}: a connecting socket is left")


async def handshake(door: Door, way: str) -> None:
    """Whoever opens a connection gives up; those who wait for it have another one."""
    shaken = threading.Event()
    peers = Peers()
    held = [RAW, wait(shaken), CLOSE]
    with Server([held, *[peers.serve()] * 5], tls=server_context("h2")) as server:
        pool = door.pool(http2=True, ssl_context=client_context())
        url = server.url("", host="localhost")
        tasks = [door.start(pool.request("GET", f"{url}/0"), way)]
        check("reached", await door.until(lambda: server.accepted == 1), "nothing connects")
        tasks += [door.start(pool.request("GET", f"{url}/{number}"), way) for number in range(1, 5)]
        check("reached", await door.until(lambda: pool.counts.startswith("5 active, 0 queued")), pool.counts)
        tasks[0].cancel()
        await tasks[0].settled(RETURN_DEADLINE)
        check("verdict", tasks[0].cancelled, f"{way}: {tasks[0].error!r}")
        for number, task in enumerate(tasks[1:], 1):
            reply = await reply_to(door, task)
            check("verdict", reply.body == b"/%d" % number, f"{way}: {reply.body!r}")
        shaken.set()
        check("after", pool.counts == ONE_IDLE, f"{way}: {pool.counts}")
        await check_closed(door, pool, server)


async def joining(door: Door, way: str) -> None:
    """One of those who wait for a connection gives up: the connection is the others'."""
    shaken = threading.Event()
    peers = Peers()
    held = [RAW, wait(shaken), START_TLS, *peers.serve()]
    with Server([held], tls=server_context("h2")) as server:
        pool = door.pool(http2=True, ssl_context=client_context())
        url = server.url("", host="localhost")
        tasks = [door.start(pool.request("GET", f"{url}/0"), way)]
        check("reached", await door.until(lambda: server.accepted == 1), "nothing connects")
        tasks.append(door.start(pool.request("GET", f"{url}/1"), way))
        check("reached", await door.until(lambda: pool.counts.startswith("2 active, 0 queued")), pool.counts)
        tasks[1].cancel()
        await tasks[1].settled(RETURN_DEADLINE)
        check("verdict", tasks[1].cancelled, f"{way}: {tasks[1].error!r}")
        check("after", pool.counts == "1 active, 0 queued | 1 active, 0 idle", pool.counts)
        shaken.set()
        reply = await reply_to(door, tasks[0])
        check("verdict", reply.body == b"/0" and server.accepted == 1, f"{reply.body!r}, {server.accepted}")
        await check_closed(door, pool, server)


def stuffed(gate: threading.Event) -> Callable[[Peer], None]:
    """Opens all windows, answers GETs by the beginning of a body, and reads no more once an upload begins."""

    def play(peer: Peer) -> None:
        settings = {
            SettingsFrame.INITIAL_WINDOW_SIZE: LARGEST_WINDOW,
            SettingsFrame.MAX_CONCURRENT_STREAMS: 100,
        }
        peer.greet(settings)
        peer.give(0, LARGEST_WINDOW - FIRST_WINDOW)
        peer.gives_back = False
        stream = peer.read_request()
        while stream in peer.ended:
            peer.send(peer.head(stream), DataFrame(stream, b"o"))
            stream = peer.read_request()
        hold(peer.connection, gate)
        while stream not in peer.ended and stream not in peer.resets:
            peer.read()
        answer(peer, stream)
        forget(peer)
        answer_all(peer)

    return play


async def head_is_written(door: Door, way: str) -> None:
    """Behind somebody's upload that the peer does not read: the caller does not wait for that."""
    gate = threading.Event()
    peers = Peers()
    with serving(peers, stuffed(gate)) as server:
        pool = new_pool(door)
        upload = door.start(pool.request("POST", server.url(), content=bytes(STUFFING)))
        check("reached", await door.until(lambda: peers.all and peers[0].requests), "nothing was sent")
        await door.sleep(BLOCKED)
        task = door.start(pool.request("GET", server.url()), way)
        await door.sleep(BLOCKED)
        check("reached", not task.done and not upload.done, f"{task.error!r}, {upload.error!r}")
        task.cancel()
        await task.settled(RETURN_DEADLINE)
        check("verdict", task.cancelled, f"{way}: {task.error!r}")
        check("after", pool.counts == "1 active, 0 queued | 1 active, 0 idle", pool.counts)
        gate.set()
        reply = await reply_to(door, upload)
        check("verdict", reply.status == 200, f"{way}: {reply.status}")
        check("wire", len(peers[0].bodies[1]) == STUFFING, f"{len(peers[0].bodies[1])} bytes came")
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        await check_closed(door, pool, server)


async def peer_is_dead(door: Door) -> None:
    """Over TLS, and it reads nothing: no response's close, no cancel and no pool's close waits for it."""
    gate = threading.Event()
    peers = Peers()
    with serving(peers, stuffed(gate), tls=True) as server:
        pool = new_pool(door, tls=True)
        url = server.url(host="localhost")
        stream = await pool.open("GET", url)
        upload = door.start(pool.request("POST", url, content=bytes(STUFFING)))
        check("reached", await door.until(lambda: len(peers[0].requests) == 2), "nothing was sent")
        await door.sleep(BLOCKED)
        check("reached", not upload.done, f"{upload.error!r}")
        began = time.monotonic()
        await stream.close()
        upload.cancel()
        await upload.settled(RETURN_DEADLINE)
        check("verdict", upload.cancelled, f"{upload.error!r}")
        await pool.close()
        check("verdict", time.monotonic() - began < RETURN_DEADLINE, "it took its time")
        check("closed", pool.counts == EMPTY, pool.counts)
        gate.set()
        ended = await door.until(lambda: server.connections[0].ended, RETURN_DEADLINE)
        check("peer", ended, "the connection stayed open")


async def closing(door: Door) -> None:
    """A cancelled `aclose()` with streams in flight can be called again, and the pool is empty then."""
    for way in (OWN, ANYIO):
        peers = Peers()

        def play(peer: Peer) -> None:
            peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: 100})
            peer.read_to_the_end()

        with serving(peers, play) as server:
            pool = new_pool(door)
            tasks = [door.start(pool.request("GET", server.url())) for _ in range(5)]
            reached = await door.until(lambda peers=peers: peers.all and len(peers[0].requests) == 5)
            check("reached", reached, "they were not sent")
            closer = door.start(pool.close(), way)
            closer.cancel()
            await closer.settled(RETURN_DEADLINE)
            await pool.close()
            check("after", pool.counts == EMPTY, pool.counts)
            for task in tasks:
                await task.settled(RETURN_DEADLINE)
                check("verdict", isinstance(task.error, httpcore.ReadError), f"{task.error!r}")
            check("peer", await door.until(lambda peers=peers: peers[0].done, RETURN_DEADLINE), "stayed open")
            check("next", await check_next(door, pool, server, peers) == 1, "not on a new connection")
            await check_closed(door, pool, server)


def one_stream(peer: Peer) -> None:
    peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: 1})
    answer_all(peer)


async def queued(door: Door, way: str) -> None:
    """A cancelled waiter for a stream leaves the queue; whoever has the stream keeps it."""
    peers = Peers()
    with serving(peers, one_stream) as server:
        pool = new_pool(door, max_connections=1)
        await check_next(door, pool, server, peers)
        held = await pool.open("GET", server.url())
        task = door.start(pool.request("GET", server.url()), way)
        check("reached", await door.until(lambda: len(pool.raw._requests) == 2), pool.counts)
        check("reached", pool.counts == "1 active, 1 queued | 1 active, 0 idle", pool.counts)
        task.cancel()
        await task.settled(RETURN_DEADLINE)
        check("verdict", task.cancelled, f"{task.error!r}")
        check("after", pool.counts == "1 active, 0 queued | 1 active, 0 idle", pool.counts)
        check("verdict", await held.read() == b"ok", "the other request suffered")
        await held.close()
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        check("wire", not peers[0].resets, f"{peers[0].resets}")
        await check_closed(door, pool, server)


async def handed_over(door: Door) -> None:
    """A waiter that is cancelled in the step that gave it the stream passes it on."""
    for number in range(12):
        peers = Peers()
        with serving(peers, one_stream) as server:
            pool = new_pool(door, max_connections=1)
            await check_next(door, pool, server, peers)
            held = await pool.open("GET", server.url())
            await held.read()
            tasks = [
                door.start(pool.request("GET", server.url()), (OWN, ANYIO)[number % 2]) for _ in range(3)
            ]
            check("reached", await door.until(lambda pool=pool: len(pool.raw._requests) == 4), pool.counts)
            cancel_first = number % 4 < 2
            if cancel_first:
                tasks[0].cancel()
            await held.close()
            if not cancel_first:
                tasks[0].cancel()
            for task in tasks[1:]:
                await task.settled()
                check("verdict", task.error is None, f"a waiter behind it failed: {task.error!r}")
            await tasks[0].settled()
            check("after", pool.counts == ONE_IDLE, pool.counts)
            check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
            await check_closed(door, pool, server)


async def cancelled_before_it_starts(door: Door) -> None:
    """No connection, and no stream on the one that there is."""
    peers = Peers()
    with serving(peers, generous) as server:
        pool = new_pool(door)
        for streams in (0, 1):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await pool.request("GET", server.url())
            check("verdict", scope.cancelled_caught, "the request was made")
            check("after", pool.counts == (ONE_IDLE if streams else EMPTY), pool.counts)
            gone = await door.until(lambda n=streams: held_towards(server.port) == n, RETURN_DEADLINE)
            check("closed", gone, "a socket is left")
            check("wire", sum(len(peer.requests) for peer in peers.all) == streams, "the request was sent")
            await check_next(door, pool, server, peers)
        await check_closed(door, pool, server)


async def cancelled_twice_and_late(door: Door) -> None:
    def play(peer: Peer) -> None:
        peer.read_until(lambda _: peer.resets)

    peers = Peers()
    with serving(peers, greeted(play)) as server:
        pool = new_pool(door)
        task = door.start(pool.request("GET", server.url()))
        check("reached", await door.until(lambda: peers.all and peers[0].requests), "it was not sent")
        task.cancel()
        task.cancel()
        await task.settled(RETURN_DEADLINE)
        check("verdict", task.cancelled, f"{task.error!r}")
        finished = door.start(pool.request("GET", server.url()))
        await reply_to(door, finished)
        finished.cancel()
        check("wire", peers[0].resets == {1: CANCEL}, f"{peers[0].resets}")
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        await check_closed(door, pool, server)


def many_cancels(head: bool) -> Scenario:
    """More than all streams that the connection has at a time, before the head or amid the body."""
    many = 120

    async def scenario(door: Door) -> None:
        heads = threading.Semaphore(0)

        def play(peer: Peer) -> None:
            while len(peer.resets) < many:
                frame = peer.read()
                if head and isinstance(frame, HeadersFrame):
                    peer.send(peer.head(frame.stream_id), DataFrame(frame.stream_id, b"o"))

        async def work() -> None:
            if not head:
                await pool.request("GET", server.url())
            stream = await pool.open("GET", server.url())
            try:
                await stream.__anext__()
                heads.release()
                await stream.read()
            finally:
                await stream.close()

        peers = Peers()
        with serving(peers, greeted(lambda peer: (play(peer), forget(peer)))) as server:
            pool = new_pool(door)
            for number in range(1, many + 1):
                task = door.start(work(), (OWN, ANYIO)[number % 2])
                if head:
                    reached = await door.until(lambda: heads.acquire(blocking=False))
                else:
                    reached = await door.until(
                        lambda number=number: peers.all and len(peers[0].requests) == number
                    )
                check("reached", reached, f"request {number}: {task.error!r}")
                task.cancel()
                await task.settled(RETURN_DEADLINE)
                check("verdict", task.cancelled, f"{task.error!r}")
            wanted = dict.fromkeys(range(1, 2 * many, 2), CANCEL)
            seen = await door.until(lambda: peers[0].resets == wanted, RETURN_DEADLINE)
            check("wire", seen, f"{len(peers[0].resets)} resets")
            check("after", pool.counts == ONE_IDLE, pool.counts)
            check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
            await check_closed(door, pool, server)

    return scenario


def forget(peer: Peer) -> None:
    """Requests that were reset want no answer any more."""
    peer._whole.clear()


async def deadline_around_a_stream(door: Door) -> None:
    """`wait_for`, `timeout`, `move_on_after` end a read; the connection is left to the others."""
    rounds = 2_000 if FULL_SIZE else 50

    def play(peer: Peer) -> None:
        for _ in range(rounds):
            stream = peer.read_whole_request()
            peer.send(peer.head(stream), DataFrame(stream, b"o"))
            while stream not in peer.resets:
                peer.read()

    peers = Peers()
    with serving(peers, greeted(play)) as server:
        pool = new_pool(door)
        for number in range(rounds):
            opened = await attempt(door, pool.open("GET", server.url()))
            check("verdict", opened.error is None, f"request {number}: {opened.error!r}")
            await within(door, number, opened.value.read())
            await opened.value.close()
            check("after", pool.counts == ONE_IDLE, pool.counts)
        check("foreign", not door.foreign, f"{door.foreign!r}")
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        check("wire", list(peers[0].resets.values()) == [CANCEL] * rounds, f"{len(peers[0].resets)} resets")
        await check_closed(door, pool, server)


async def first_one_wins(door: Door) -> None:
    many = 100

    def play(peer: Peer) -> None:
        peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: many})
        streams = [peer.read_whole_request() for _ in range(many)]
        answer(peer, streams[many // 2])
        while len(peer.resets) < many - 1:
            peer.read()
        answer_all(peer)

    peers = Peers()
    with serving(peers, play) as server:
        pool = new_pool(door, max_connections=1)
        tasks = [door.start(pool.request("GET", server.url()), (OWN, ANYIO)[n % 2]) for n in range(many)]
        check("reached", await door.until(lambda: any(task.done for task in tasks)), "none was answered")
        for task in tasks:
            task.cancel()
        for task in tasks:
            await task.settled(RETURN_DEADLINE)
        check(
            "verdict", sum(task.cancelled for task in tasks) == many - 1, f"{[task.error for task in tasks]}"
        )
        check("after", pool.counts == ONE_IDLE, pool.counts)
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        check("wire", len(peers[0].resets) == many - 1, f"{len(peers[0].resets)} resets")
        await check_closed(door, pool, server)


async def abandoned_iteration(door: Door) -> None:
    """A response that nobody refers to any more resets its stream."""

    def play(peer: Peer) -> None:
        part_of_body(peer, peer.read_whole_request(), threading.Event())
        peer.read_until(lambda _: peer.resets)

    peers = Peers()
    with serving(peers, greeted(play)) as server:
        pool = new_pool(door)
        with warnings.catch_warnings():
            # That it was not closed is worth a warning, which is not the point here.
            warnings.simplefilter("ignore", ResourceWarning)
            await _read_one_part(pool, server)
            gc.collect()
            freed = await door.until(lambda: pool.counts == ONE_IDLE, RETURN_DEADLINE)
        check("after", freed, f"the pool holds {pool.counts}")
        check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
        check("wire", peers[0].resets == {1: CANCEL}, f"{peers[0].resets}")
        await check_closed(door, pool, server)


async def _read_one_part(pool: Pool, server: Server) -> None:
    request = httpcore.Request("GET", server.url(), headers={"Host": "x"})
    response = await pool.raw.handle_async_request(request)
    async for _ in response.aiter_stream():
        break


async def completion_is_queued(door: Door) -> None:
    """The answer is here, the loop has not looked yet, and then the task is cancelled."""
    for number in range(10):
        answered = threading.Event()

        def play(peer: Peer, answered: threading.Event = answered) -> None:
            answer(peer, peer.read_whole_request())
            answer(peer, peer.read_whole_request())
            answered.set()

        peers = Peers()
        with serving(peers, greeted(play)) as server:
            pool = new_pool(door)
            await check_next(door, pool, server, peers)
            task = door.start(pool.request("GET", server.url()), (OWN, ANYIO)[number % 2])
            for _ in range(5):
                await door.sleep(0)
            # The loop is blocked on purpose, until the answer has come.
            answered.wait(0.05)
            time.sleep(0.002)
            task.cancel()
            await task.settled(RETURN_DEADLINE)
            check("verdict", task.cancelled or (task.value and task.value.body == b"ok"), f"{task.error!r}")
            check("after", pool.counts == ONE_IDLE, pool.counts)
            check("next", await check_next(door, pool, server, peers) == 0, "not on the same connection")
            await check_closed(door, pool, server)


def row(number: str, rule: str, scenario: Scenario) -> Row:
    return Row(f"X-{number}-http2", rule, scenario=scenario, doors=ASYNC_DOORS)


ROWS = [
    row("01", "while TCP connects", by_each_way(connecting)),
    row("02", "whoever opens a connection", by_each_way(handshake)),
    row("02a", "whoever waits for another's connection", by_each_way(joining)),
    row("03", "while the head is written", by_each_way(head_is_written)),
    row("05", "after the request, before the head", phase(get, silent)),
    row("06", "between the head and the body", phase(read, head_only)),
    row("07", "inside the body", phase(read_on, part_of_body)),
    row("08", "while nobody reads", peer_is_dead),
    row("09", "while the pool is closed", closing),
    row("10", "while queued", by_each_way(queued)),
    row("11", "as the stream is handed over", handed_over),
    row("13", "before it starts", cancelled_before_it_starts),
    row("14", "twice, and too late", cancelled_twice_and_late),
    row("15", "a hundred and twenty, before the head", many_cancels(head=False)),
    row("15a", "a hundred and twenty, inside the body", many_cancels(head=True)),
    row("16", "while the body is written", phase(post, full_window, whole=False)),
    row("17", "by a deadline around a stream", deadline_around_a_stream),
    row("18", "99 of 100, because one was first", first_one_wins),
    row("19", "by being forgotten", abandoned_iteration),
    row("20", "with the answer already here", completion_is_queued),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
