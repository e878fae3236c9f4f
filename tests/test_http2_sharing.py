"""Many requests on one HTTP/2 connection: who shares it, and that none of them stops another."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpcore
import pytest
from certificates import client_context, server_context
from doors import ASYNCIO, SYNC, TRIO, Door, through
from frames import FIRST_WINDOW, Peer, Peers
from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame
from servers import RAW, SERVE, START_TLS, Script, Server, wait

import httpcore_hyper

pytestmark = pytest.mark.parametrize("door", [SYNC, ASYNCIO, TRIO])

PRIOR_KNOWLEDGE = {"http1": False, "http2": True}
# Of a body that no window takes as a whole.
LARGE = 3 << 20


def after(play: Callable[[Peer], object]) -> Callable[[Peer], object]:
    """A peer that has greeted."""

    def begin(peer: Peer) -> None:
        peer.greet()
        play(peer)

    return begin


@pytest.mark.parametrize("tls", ["python", "rustls"])
def test_requests_wait_for_a_handshake_and_share_its_connection(door: str, engine: str, tls: str) -> None:
    """However many come before the version is agreed upon: one socket."""
    peers = Peers()
    shaken = threading.Event()

    async def scenario(door: Door) -> None:
        held: Script = [RAW, wait(shaken), START_TLS, *peers.serve()]
        with Server([held], tls=server_context("h2")) as server:
            pool = door.pool(http2=True, ssl_context=client_context(), tls=tls)
            url = server.url(host="localhost")
            tasks = [door.start(pool.request("GET", f"{url}{number}")) for number in range(20)]
            assert await door.until(lambda: pool.counts.startswith("20 active, 0 queued | 1 active, 0 idle"))
            assert len(pool.raw._requests) == 20
            shaken.set()
            for number, task in enumerate(tasks):
                reply = await task.outcome()
                assert (reply.body, reply.extensions["http_version"]) == (f"/{number}".encode(), b"HTTP/2")
            assert server.accepted == 1
            assert pool.counts == "0 active, 0 queued | 0 active, 1 idle"

    through(door, engine, scenario)


def test_requests_scatter_when_the_server_picks_http1(door: str, engine: str) -> None:
    """They waited for a version that did not come: each gets a connection, up to the limit."""
    shaken, answered = threading.Event(), threading.Event()

    async def scenario(door: Door) -> None:
        held: Script = [RAW, wait(shaken), START_TLS, wait(answered), SERVE]
        with Server([held, *[[wait(answered), SERVE]] * 4], tls=server_context("http/1.1")) as server:
            pool = door.pool(http2=True, max_connections=5, ssl_context=client_context())
            url = server.url(host="localhost")
            tasks = [door.start(pool.request("GET", url)) for _ in range(12)]
            assert await door.until(lambda: pool.counts.startswith("12 active, 0 queued | 1 active"))
            assert await door.until(lambda: server.accepted == 1)
            shaken.set()
            assert await door.until(lambda: server.accepted == 5)
            assert await door.until(lambda: pool.counts == "5 active, 7 queued | 5 active, 0 idle")
            answered.set()
            for task in tasks:
                reply = await task.outcome()
                assert (reply.status, reply.extensions["http_version"]) == (200, b"HTTP/1.1")
            assert server.accepted == 5

    through(door, engine, scenario)


def test_all_who_wait_for_a_connection_learn_that_there_is_none(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        with Server() as server:
            url = server.url()
        pool = door.pool(**PRIOR_KNOWLEDGE)
        for task in [door.start(pool.request("GET", url)) for _ in range(5)]:
            with pytest.raises(httpcore.ConnectError):
                await task.outcome()

    through(door, engine, scenario)


@pytest.mark.parametrize("source", ["bytes", "chunks", "one chunk"])
def test_uploads_larger_than_the_windows(door: str, engine: str, source: str) -> None:
    """All of it arrives, by and by."""
    peers = Peers()
    block = bytes(range(256)) * (LARGE // 256)

    async def pieces() -> AsyncIterator[bytes]:
        step = LARGE if source == "one chunk" else 100_000
        for start in range(0, LARGE, step):
            yield block[start : start + step]

    async def scenario(door: Door) -> None:
        with Server([peers.plays(after(lambda peer: peer.answer(peer.read_whole_request())))]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            body = block if source == "bytes" else door.body(pieces())
            assert (await pool.request("POST", server.url(), content=body)).status == 200
            assert peers[0].bodies[1] == block

    through(door, engine, scenario)


def test_uploads_at_once_do_not_hold_each_other_up(door: str, engine: str) -> None:
    """More streams than the connection's window has room for; it is given back only when it is used up."""
    peers = Peers()
    uploads, size = 10, FIRST_WINDOW

    def play(peer: Peer) -> None:
        peer.gives_back = False
        answered = came = 0
        while answered < uploads:
            frame = peer.read()
            if isinstance(frame, DataFrame):
                came += frame.flow_controlled_length
                if came == FIRST_WINDOW:
                    peer.give(0, came)
                    came = 0
                if "END_STREAM" in frame.flags:
                    peer.answer(frame.stream_id)
                    answered += 1

    async def scenario(door: Door) -> None:
        with Server([peers.plays(after(play))]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            body = bytes(size)
            tasks = [door.start(pool.request("POST", server.url(), content=body)) for _ in range(uploads)]
            for task in tasks:
                assert (await task.outcome()).status == 200
            assert [len(body) for body in peers[0].bodies.values()] == [size] * uploads
            assert server.accepted == 1

    through(door, engine, scenario)


def test_readers_that_stall_do_not_stop_the_others(door: str, engine: str) -> None:
    """Each holds up its own stream's window at most: four of them leave room for everybody else."""
    peers = Peers()
    stalled, size = 4, 4 << 20

    def play(peer: Peer) -> None:
        first = [peer.read_whole_request() for _ in range(stalled)]
        rest = {}
        for stream in first:
            peer.send(peer.head(stream))
            rest[stream] = size
        # As much as the client takes of each.
        for stream in first:
            while (room := min(peer.windows[0], peer.windows[stream], 16384)) > 0 and rest[stream] > room:
                peer.send(DataFrame(stream, bytes(room)))
                peer.windows[0] -= room
                peer.windows[stream] -= room
                rest[stream] -= room
        for _ in range(5):
            peer.answer(peer.read_whole_request(), bytes(size))
        for stream in first:
            peer.send_data(stream, bytes(rest[stream]), end=True)

    async def scenario(door: Door) -> None:
        with Server([peers.plays(after(play))]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            opened = [door.start(pool.open("GET", server.url("/slow"))) for _ in range(stalled)]
            slow = [await task.outcome() for task in opened]
            for _ in range(5):
                assert len((await pool.request("GET", server.url("/quick"))).body) == size
            # The peer sends one after the other, in an order of its own.
            for task in [door.start(response.read()) for response in slow]:
                assert len(await task.outcome()) == size
            for response in slow:
                await response.close()
            assert server.accepted == 1

    through(door, engine, scenario)


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_streams_than_the_server_takes(door: str, engine: str, limit: int) -> None:
    """Those beyond wait in the queue, and none is refused."""
    peers = Peers()
    most: list[int] = []

    def play(peer: Peer) -> None:
        peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: limit})
        first = peer.read_whole_request()
        peer.answer(first)
        for start in range(0, 12, limit):
            streams = [peer.read_whole_request() for _ in range(min(limit, 12 - start))]
            most.append(len(streams))
            for stream in streams:
                peer.answer(stream)

    async def scenario(door: Door) -> None:
        with Server([peers.plays(play)]) as server:
            pool = door.pool(max_connections=1, **PRIOR_KNOWLEDGE)
            # By its answer the limit is known.
            await pool.request("GET", server.url())
            for task in [door.start(pool.request("GET", server.url())) for _ in range(12)]:
                assert (await task.outcome()).status == 200
            assert most == [limit] * (12 // limit)
            assert server.accepted == 1

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("its waits for a window count as `read`")
def test_a_connection_that_somebody_waits_for_makes_no_room(door: str, engine: str) -> None:
    """Also if it is idle, because its only request was given up before its server has said anything."""
    peers = Peers()
    joined = threading.Event()

    def play(peer: Peer) -> None:
        peer.gives_back = False
        peer.read_preface()
        peer.read_until(lambda frame: isinstance(frame, RstStreamFrame))
        peer.connection._wait(joined)
        peer.send(SettingsFrame(0, settings={}))
        peer.serve()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(play)]) as server, Server([Peers().serve()]) as other:
            pool = door.pool(max_connections=1, **PRIOR_KNOWLEDGE)
            with pytest.raises(httpcore.WriteTimeout):
                await pool.request("POST", server.url(), content=bytes(LARGE), timeout={"write": 0.1})
            assert pool.counts == "0 active, 0 queued | 0 active, 1 idle"
            waits = door.start(pool.request("GET", server.url("/waits")))
            assert await door.until(lambda: pool.counts == "1 active, 0 queued | 1 active, 0 idle")
            elsewhere = door.start(pool.request("GET", other.url("/elsewhere")))
            assert await door.until(lambda: pool.counts == "1 active, 1 queued | 1 active, 0 idle")
            joined.set()
            assert (await waits.outcome()).body == b"/waits"
            assert (await elsewhere.outcome()).body == b"/elsewhere"
            assert server.accepted == 1

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("it does not queue those who wait for a stream")
def test_the_private_list_of_requests(door: str, engine: str) -> None:
    """Each stream is one request; beyond what the server takes they are queued."""
    peers = Peers()
    seen = threading.Event()

    def play(peer: Peer) -> None:
        peer.greet({SettingsFrame.MAX_CONCURRENT_STREAMS: 2})
        peer.answer(peer.read_whole_request())
        streams = [peer.read_whole_request() for _ in range(2)]
        peer.connection._wait(seen)
        for stream in streams:
            peer.answer(stream)
        peer.serve()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(play)]) as server:
            pool = door.pool(max_connections=1, **PRIOR_KNOWLEDGE)
            await pool.request("GET", server.url())
            assert pool.raw._requests == []
            tasks = [door.start(pool.request("GET", server.url())) for _ in range(3)]
            assert await door.until(lambda: len(pool.raw._requests) == 3)
            *served, queued = pool.raw._requests
            assert [request.is_queued() for request in served] == [False, False]
            assert [request.connection for request in served] == pool.raw.connections * 2
            assert queued.is_queued()
            seen.set()
            for task in tasks:
                assert (await task.outcome()).status == 200
            assert pool.raw._requests == []

    through(door, engine, scenario)


def test_one_connection_for_fifty_threads(door: str, engine: str) -> None:
    """Whoever waits drives it, and while nobody does nothing breaks."""
    if door != SYNC:
        pytest.skip("threads share sync pools")
    peers = Peers()
    wrong: list[Any] = []

    def work(pool: httpcore_hyper.ConnectionPool, url: str, number: int) -> None:
        for turn in range(10):
            path = f"/{number}/{turn}"
            try:
                reply = pool.request("POST", url + path, content=path.encode() * number)
                if reply.content != path.encode() * (number + 1):
                    wrong.append(reply.content[:50])
            except Exception as error:
                wrong.append(error)

    with Server([peers.serve()]) as server, httpcore_hyper.ConnectionPool(**PRIOR_KNOWLEDGE) as pool:
        url = server.url("")
        threads = [threading.Thread(target=work, args=(pool, url, number)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert server.accepted == 1
        assert len(peers[0].requests) == 500


def test_what_comes_while_nobody_waits(door: str, engine: str) -> None:
    """A PING on an idle connection is answered by the time of the next request, which has the connection."""
    peers = Peers()
    idle = threading.Event()

    def play(peer: Peer) -> None:
        peer.answer(peer.read_whole_request())
        peer.connection._wait(idle)
        peer.ping(b"are you?")
        peer.serve()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(after(play))]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            await pool.request("GET", server.url())
            idle.set()
            assert (await pool.request("GET", server.url("/next"))).body == b"/next"
            assert peers[0].pongs == [b"are you?"]
            assert server.accepted == 1

    through(door, engine, scenario)


def test_late_frames_on_responses_that_were_closed(door: str, engine: str) -> None:
    """However many were closed, and however much of them was on its way: the connection goes on."""
    peers = Peers()
    # h2's own limits on either are 1024.
    closed = late = 1100

    def play(peer: Peer) -> None:
        stream = 0
        for _ in range(closed):
            stream = peer.read_whole_request()
            peer.send(peer.head(stream))
        while stream not in peer.resets:
            peer.read()
        peer.send(*[DataFrame(stream, b"late")] * late)
        peer.serve()

    async def scenario(door: Door) -> None:
        with Server([peers.plays(after(play))]) as server:
            pool = door.pool(**PRIOR_KNOWLEDGE)
            for _ in range(closed):
                await (await pool.open("GET", server.url())).close()
            assert (await pool.request("GET", server.url("/next"))).body == b"/next"
            assert server.accepted == 1

    through(door, engine, scenario)
