"""Trace events and the `httpcore.*` loggers: httpcore's order and payloads, live, on the caller's own way."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpcore
import pytest
from doors import ALL_DOORS, DOORS, Door, Own, run, through
from engines import HTTPCORE
from routes import response
from servers import CLOSE, RECEIVE, RECEIVE_HEAD, RST, SERVE, STALL, Server, send, wait

pytestmark = pytest.mark.parametrize("door", ALL_DOORS)

Events = list[tuple[str, dict[str, Any]]]


def recorder(door: Door, events: Events) -> dict[str, Any]:
    return {"trace": door.callback(lambda name, info: events.append((name, dict(info))))}


def shown(value: Any) -> Any:
    """A payload's value as far as it can be equal in two engines and two runs."""
    if isinstance(value, httpcore.Request):
        return "request"
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, (httpcore.NetworkStream, httpcore.AsyncNetworkStream)):
        return "stream"
    return "port" if isinstance(value, int) and value > 1023 else value


def story(events: Events) -> list[tuple[str, dict[str, Any]]]:
    return [(name, {key: shown(value) for key, value in info.items()}) for name, info in events]


async def attempt(door: Door, scripts: list[Any], options: dict[str, Any], **request: Any) -> Events:
    """The events of one request to a scripted server, whatever comes of it."""
    events: Events = []
    with Server(scripts) as server:
        pool = door.pool(**options)
        request.setdefault("url", server.url())
        request.setdefault("method", "GET")
        with contextlib.suppress(httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
            await pool.request(**request, extensions=recorder(door, events))
        await pool.close()
    return events


OK = [RECEIVE, send(response(b"hello")), STALL]
LARGE = b"x" * (8 << 20)


def refused() -> str:
    """A URL that nobody listens on."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("scripts", "options", "request_"),
    [
        pytest.param([OK], {}, {}, id="get"),
        pytest.param([OK], {}, {"method": "POST", "content": b"body"}, id="post"),
        pytest.param([[RECEIVE, send(b"nonsense\r\n\r\n"), CLOSE]], {}, {}, id="malformed head"),
        pytest.param([[RECEIVE, CLOSE]], {}, {}, id="no answer"),
        pytest.param(
            [[RECEIVE, send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"), CLOSE]], {}, {}, id="cut"
        ),
        pytest.param([[RECEIVE, RST]], {}, {}, id="reset"),
        pytest.param([[RECEIVE, STALL]], {}, {"timeout": {"read": 0.2}}, id="read timeout"),
        pytest.param(
            [[RECEIVE_HEAD, STALL]], {}, {"content": LARGE, "timeout": {"write": 0.2}}, id="write timeout"
        ),
        pytest.param([], {"retries": 2}, {"url": "refused"}, id="connect error and retries"),
    ],
)
def test_events_are_httpcores(
    door: str, engine: str, scripts: list[Any], options: dict[str, Any], request_: dict[str, Any]
) -> None:
    """Event by event and payload by payload what httpcore's own engine tells of the same."""

    async def scenario(door: Door) -> Events:
        request = dict(request_)
        timeout = request.pop("timeout", None)
        if request.get("url") == "refused":
            request["url"] = refused()
        return await attempt(door, scripts, options, **request, timeout=timeout)

    ours = story(through(door, engine, scenario))
    reference = run(DOORS[door](HTTPCORE), scenario)
    assert ours == story(reference)
    assert ours


def test_a_write_error_is_told_and_survived(door: str, engine: str) -> None:
    """The body fails, then the response is waited for: the server may have answered early."""

    async def scenario(door: Door) -> Events:
        return await attempt(door, [[RECEIVE_HEAD, RST]], {}, method="POST", content=iter_large(door))

    events = story(through(door, engine, scenario))
    names = [name for name, _ in events if name.startswith("http11.")]
    # The system says it with the head, the body or the answer, as the reset arrives.
    failed = [name for name in names if name.endswith(".failed")]
    assert failed[-1] == "http11.receive_response_headers.failed"
    assert failed[0] in {"http11.send_request_body.failed", "http11.receive_response_headers.failed"}
    assert names[-2:] == ["http11.response_closed.started", "http11.response_closed.complete"]


def iter_large(door: Door) -> Any:
    async def chunks() -> AsyncIterator[bytes]:
        yield LARGE

    return door.body(chunks())


def test_the_callback_is_live(door: str, engine: str) -> None:
    """At each event the server has seen what was sent by then, and no more."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            seen: dict[str, tuple[int, int]] = {}

            def look(name: str, info: object) -> None:
                head = server.connections[0].received if server.connections else 0
                # What is under way from us to the server may still arrive; what was not sent never does.
                if name.endswith(".started"):
                    seen[name] = (server.accepted, head)

            pool = door.pool()
            reply = await pool.request(
                "POST", server.url(), content=b"body", extensions={"trace": door.callback(look)}
            )
            assert reply.status == 200
            assert seen["connection.connect_tcp.started"] == (0, 0)
            assert seen["http11.send_request_headers.started"][1] == 0
            assert seen["http11.receive_response_headers.started"][1] <= server.connections[0].received

    through(door, engine, scenario)


EVENTS = [
    f"{name}.{moment}"
    for name in (
        "connection.connect_tcp",
        "http11.send_request_headers",
        "http11.send_request_body",
        "http11.receive_response_headers",
        "http11.receive_response_body",
        "http11.response_closed",
    )
    for moment in ("started", "complete")
]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.httpcore_differs("a callback that raises while the response is closed leaks the slot")
def test_a_callback_that_raises_aborts_there(door: str, engine: str, event: str) -> None:
    """Its own exception comes out, nothing that follows happens, and the slot is free."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            names: list[str] = []

            def fail(name: str, info: object) -> None:
                names.append(name)
                if name == event:
                    raise Own(name)

            pool = door.pool(max_connections=1)
            with pytest.raises(Own, match=event):
                await pool.request(
                    "POST", server.url(), content=b"body", extensions={"trace": door.callback(fail)}
                )
            after = names[names.index(event) + 1 :]
            assert [
                name for name in after if "response_closed" not in name and not name.endswith("failed")
            ] == []
            if event == "http11.send_request_headers.started":
                assert not server.requests
            assert (await pool.request("GET", server.url())).status == 200

    through(door, engine, scenario)


def test_the_wrong_kind_of_callback_is_refused(door: str, engine: str) -> None:
    """A function where a coroutine function is wanted, and the reverse: httpcore's `TypeError`."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            door.provoked = (TypeError,)

            async def coroutine(name: str, info: object) -> None:
                raise AssertionError("never awaited")

            def function(name: str, info: object) -> None:
                pass

            wrong = function if door.is_async else coroutine
            with pytest.raises(TypeError, match="the callback of the `trace` extension"):
                await pool.request("GET", server.url(), extensions={"trace": wrong})

    # The coroutine that the sync door refuses is never awaited; Python says so.
    with pytest.warns(RuntimeWarning) if door == "sync" else contextlib.nullcontext():
        through(door, engine, scenario)


def test_a_callback_may_use_the_pool(door: str, engine: str) -> None:
    """A listener is ordinary code: it may send a request of its own."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool(max_connections=2)
            inner: list[int] = []

            if door.is_async:

                async def nested(name: str, info: object) -> None:
                    if name == "http11.send_request_headers.complete":
                        inner.append((await pool.request("GET", server.url())).status)

                trace: Any = nested
            else:

                def blocking(name: str, info: object) -> None:
                    if name == "http11.send_request_headers.complete":
                        inner.append(pool.raw.request("GET", server.url()).status)

                trace = blocking
            assert (await pool.request("GET", server.url(), extensions={"trace": trace})).status == 200
            assert inner == [200]

    through(door, engine, scenario)


def test_loggers_tell_the_same(door: str, engine: str, caplog: pytest.LogCaptureFixture) -> None:
    """The DEBUG records of both engines are equal, in their order and words."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            for _ in range(2):
                await pool.request("POST", server.url("/close"), content=b"body")
            await pool.close()

    def records(engine: str) -> list[tuple[str, str]]:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, httpcore.__name__):
            run(DOORS[door](engine), scenario)
        return [
            (record.name, _plain(record.getMessage()))
            for record in caplog.records
            if record.name.startswith(httpcore.__name__ + ".")
        ]

    ours = records(engine)
    assert ours == records(HTTPCORE)
    assert ours


def _plain(message: str) -> str:
    # Ports and objects differ from run to run.
    return re.sub(r"port=\d+", "port", message).split(" return_value=")[0]


def test_nobody_listens_nothing_is_split(door: str, engine: str) -> None:
    """Without a listener head and body leave in one piece."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            assert (await pool.request("POST", server.url(), content=b"body")).status == 200

    assert not logging.getLogger(f"{httpcore.__name__}.http11").isEnabledFor(logging.DEBUG)
    through(door, engine, scenario)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"max_connections": 1}, id="to make room"),
        pytest.param({"keepalive_expiry": 0.0}, id="for its age"),
        pytest.param({"max_keepalive_connections": 0}, id="not to be kept"),
        pytest.param({}, id="by its server"),
    ],
)
def test_idle_connections_that_are_closed_are_logged(
    door: str, engine: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Where httpcore tells of them, among everything else that the loggers tell."""

    async def scenario(door: Door) -> list[tuple[str, str]]:
        caplog.clear()
        idle = threading.Event()
        script = [SERVE] if options else [RECEIVE, send(response(b"hello")), wait(idle), CLOSE]
        with Server([script]) as one, Server() as other:
            pool = door.pool(**options)
            await pool.request("GET", one.url())
            idle.set()
            # One that its server closed is noticed when it would be used; httpcore looks at all each time.
            await door.until(lambda: options or one.connections[0].ended)
            if options:
                await pool.request("GET", other.url())
            await pool.request("GET", one.url())
            await pool.close()
        return [
            (record.name.rpartition(".")[2], record.getMessage().partition(" ")[0])
            for record in caplog.records
            if record.name.startswith(("httpcore.", "httpcore2."))
        ]

    caplog.set_level(logging.DEBUG)
    ours = through(door, engine, scenario)
    reference = run(DOORS[door](HTTPCORE), scenario)
    assert ours == reference
    assert ("connection", "close.complete") in ours
