"""httpcore's tests of trace events and log records, replayed over real sockets.

Over TCP, where the others use a Unix socket, because a Unix socket has an event of its own.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

import httpcore
import pytest
from certificates import client_context, server_context
from doors import Door
from replays import Replay, hello
from servers import CLOSE, RECEIVE, STALL, Server, send

with_and_without_tls = pytest.mark.parametrize("scheme", ["http", "https"])
with_and_without_trace = pytest.mark.parametrize("traced", [False, True])
OPENED = ["connection.connect_tcp.started", "connection.connect_tcp.complete"]
SECURED = ["connection.start_tls.started", "connection.start_tls.complete"]
SENT = [
    "http11.send_request_headers.started",
    "http11.send_request_headers.complete",
    "http11.send_request_body.started",
    "http11.send_request_body.complete",
]
HEAD = ["http11.receive_response_headers.started", "http11.receive_response_headers.complete"]
BODY = ["http11.receive_response_body.started", "http11.receive_response_body.complete"]
CLOSED = ["http11.response_closed.started", "http11.response_closed.complete"]


class Events:
    """The names of the events of one request, in their order."""

    def __init__(self, door: Door) -> None:
        self.names: list[str] = []
        self.trace = door.callback(lambda name, info: self.names.append(name))


def opened(scheme: str) -> list[str]:
    return [*OPENED, *(SECURED if scheme in ("https", "wss") else [])]


def url(scheme: str, server: Server) -> str:
    return f"{scheme}://127.0.0.1:{server.port}/"


@with_and_without_tls
def test_a_request_is_traced(replay: Replay, scheme: str) -> None:
    """Every step tells when it begins and when it is complete, in the order of the wire."""

    async def scenario(door: Door) -> None:
        with Server(tls=server_context(), app=hello) as server:
            events = Events(door)
            pool = door.pool(ssl_context=client_context())
            await pool.request("GET", url(scheme, server), extensions={"trace": events.trace})
            assert events.names == [*opened(scheme), *SENT, *HEAD, *BODY, *CLOSED]

    replay(scenario)


def test_a_request_is_logged(replay: Replay, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG the loggers tell the same, with what each step was given and what came of it."""
    caplog.set_level(logging.DEBUG)
    ports = []

    async def scenario(door: Door) -> None:
        with Server(app=hello) as server:
            ports.append(server.port)
            pool = door.pool()
            await pool.request("GET", url("http", server), timeout={"connect": None})
            await pool.close()

    replay(scenario)
    records = [record for record in caplog.record_tuples if record[0].startswith(("httpcore.", "httpcore2."))]
    assert {level for _, level, _ in records} == {logging.DEBUG}
    lines = [(name.partition(".")[2], text) for name, _, text in records]
    # What a stream calls itself differs from door to door.
    name, text = lines.pop(1)
    assert (name, text.partition("<")[0]) == ("connection", "connect_tcp.complete return_value=")
    assert lines == [
        (
            "connection",
            f"connect_tcp.started host='127.0.0.1' port={ports[0]} "
            "local_address=None timeout=None socket_options=None",
        ),
        ("http11", "send_request_headers.started request=<Request [b'GET']>"),
        ("http11", "send_request_headers.complete"),
        ("http11", "send_request_body.started request=<Request [b'GET']>"),
        ("http11", "send_request_body.complete"),
        ("http11", "receive_response_headers.started request=<Request [b'GET']>"),
        (
            "http11",
            "receive_response_headers.complete return_value=(b'HTTP/1.1', 200, b'OK', "
            "[(b'Content-Type', b'plain/text'), (b'Content-Length', b'13')])",
        ),
        ("http11", "receive_response_body.started request=<Request [b'GET']>"),
        ("http11", "receive_response_body.complete"),
        ("http11", "response_closed.started"),
        ("http11", "response_closed.complete"),
        ("connection", "close.started"),
        ("connection", "close.complete"),
    ]


def extensions(events: Events, traced: bool) -> dict[str, Any]:
    return {"trace": events.trace} if traced else {}


@with_and_without_trace
@with_and_without_tls
def test_a_connection_that_does_not_speak_http_is_dropped(replay: Replay, scheme: str, traced: bool) -> None:
    async def scenario(door: Door) -> None:
        with Server(
            [[RECEIVE, send(b"Wait, this isn't valid HTTP!"), CLOSE]], tls=server_context()
        ) as server:
            events = Events(door)
            pool = door.pool(ssl_context=client_context())
            with pytest.raises(httpcore.RemoteProtocolError):
                await pool.request("GET", url(scheme, server), extensions=extensions(events, traced))
            assert pool.raw.connections == []
            failed = [HEAD[0], "http11.receive_response_headers.failed"]
            assert events.names == ([*opened(scheme), *SENT, *failed, *CLOSED] if traced else [])

    replay(scenario)


@with_and_without_trace
@with_and_without_tls
def test_a_connection_that_was_refused_is_dropped(replay: Replay, scheme: str, traced: bool) -> None:
    async def scenario(door: Door) -> None:
        # Bound, so that nobody else gets the port, but not listening.
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            events = Events(door)
            pool = door.pool(ssl_context=client_context())
            with pytest.raises(httpcore.ConnectError):
                await pool.request(
                    "GET",
                    f"{scheme}://127.0.0.1:{reserved.getsockname()[1]}/",
                    extensions=extensions(events, traced),
                )
            assert pool.raw.connections == []
            failed = [OPENED[0], "connection.connect_tcp.failed"]
            assert events.names == (failed if traced else [])

    replay(scenario)


@pytest.mark.parametrize("scheme", ["http", "ws", "wss"])
@with_and_without_trace
def test_an_upgraded_connection_is_handed_over(replay: Replay, scheme: str, traced: bool) -> None:
    """After a 101 the network stream gives what came behind the head; there is no body."""
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: custom\r\n\r\n"

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(switched + b"..."), STALL]], tls=server_context()) as server:
            events = Events(door)
            pool = door.pool(ssl_context=client_context(), max_connections=1)
            stream = await pool.open(
                "GET",
                url(scheme, server),
                headers={"Connection": "upgrade", "Upgrade": "custom"},
                extensions=extensions(events, traced),
            )
            async with stream:
                assert stream.status == 101
                reading = stream.extensions["network_stream"].read(max_bytes=1024)
                assert (await reading if door.is_async else reading) == b"..."
            assert events.names == ([*opened(scheme), *SENT, *HEAD, *CLOSED] if traced else [])

    replay(scenario)
