"""Wrong values of arguments and extensions: httpcore's error, before a socket is opened, nothing leaked."""

from __future__ import annotations

from typing import Any

import pytest
from doors import ASYNCIO, DOORS, EMPTY, SYNC, TRIO, Door, run
from pools import Pool
from servers import Server

DOOR = pytest.mark.parametrize("door", [SYNC, ASYNCIO, TRIO])
# A wrong value is the caller's own mistake: these are not httpcore's classes, and need not be.
MISTAKES = (TypeError, ValueError, AttributeError, OverflowError, AssertionError)

# What httpcore refuses before it opens a socket. `url` is filled in where it is not what is wrong.
REFUSED: dict[str, dict[str, Any]] = {
    "method of the wrong type": {"method": 1},
    "method beyond ASCII": {"method": "GÉT"},
    "URL of the wrong type": {"url": 1},
    "URL without a scheme": {"url": "//example.com/"},
    "URL of another protocol": {"url": "ftp://example.com/"},
    "URL beyond ASCII": {"url": "http://exämple.com/"},
    "headers of the wrong type": {"headers": 1},
    "header value of the wrong type": {"headers": {"a": 1}},
    "header name of the wrong type": {"headers": [(1, "a")]},
    "header beyond ASCII": {"headers": {"a": "é"}},
    "content of the wrong type": {"content": 1},
    "timeout of the wrong type": {"extensions": {"timeout": 1}},
    "trace that is no function": {"extensions": {"trace": 1}},
}


async def attempt(door: Door, server: Server, options: dict[str, Any], request: dict[str, Any]) -> Any:
    """What comes out, and whether anything is left."""
    pool = Pool(door, None)
    try:
        pool = door.pool(**options)
        call = {"method": "GET", "url": server.url(), **request}
        if door.is_async:
            response = await pool.raw.request(**call)
        else:
            response = pool.raw.request(**call)
    except Exception as error:
        if pool.raw is not None:
            assert pool.counts == EMPTY
        return type(error)
    return response.status


@DOOR
@pytest.mark.parametrize("wrong", REFUSED)
def test_requests(door: str, engine: str, wrong: str) -> None:
    """The same exception class as httpcore's."""
    outcomes = []
    for one in ("httpcore", engine):
        with Server() as server:

            async def scenario(door: Door, server: Server = server) -> Any:
                return await attempt(door, server, {}, REFUSED[wrong])

            outcomes.append(run(DOORS[door](one), scenario))
            # httpcore looks at some of them when it has connected.
            assert one == "httpcore" or server.accepted == 0
    assert isinstance(outcomes[0], type), "httpcore takes this value"
    assert outcomes[1] is outcomes[0]


@DOOR
def test_a_body_of_text(door: str, engine: str) -> None:
    """It is an iterable, so both engines open a connection before they see that its parts are no bytes."""
    with Server() as server:

        async def scenario(door: Door) -> Any:
            return await attempt(door, server, {}, {"content": "text"})

        assert issubclass(run(DOORS[door](engine), scenario), MISTAKES)


@DOOR
@pytest.mark.parametrize(
    "extensions",
    [
        {"timeout": {"read": "1"}},
        {"timeout": {"connect": "1"}},
        {"timeout": {"write": []}},
        {"timeout": {"pool": "1"}},
        {"timeout": {"read": float("nan")}},
        {"timeout": {"read": -1}},
    ],
)
def test_timeouts(door: str, engine: str, extensions: dict[str, Any]) -> None:
    """A timeout that is none is refused at once; httpcore finds it when it gets there, or never."""
    if engine == "httpcore":
        pytest.skip("it looks at a timeout when it uses it")
    with Server() as server:

        async def scenario(door: Door) -> Any:
            return await attempt(door, server, {}, {"extensions": extensions})

        assert issubclass(run(DOORS[door](engine), scenario), (TypeError, ValueError))
        assert server.accepted == 0


@DOOR
@pytest.mark.parametrize(
    "options",
    [
        {"max_connections": "1"},
        {"max_keepalive_connections": "1"},
        {"keepalive_expiry": "1"},
        {"retries": "1"},
        {"local_address": 1},
        {"uds": 1},
        {"socket_options": 1},
        {"socket_options": [1]},
        {"socket_options": [("a", 1, 1)]},
        {"unknown": 1},
    ],
    ids=str,
)
def test_constructors(door: str, engine: str, options: dict[str, Any]) -> None:
    """At the latest the first request says so, before it opens a socket."""
    if engine == "httpcore":
        pytest.skip("it looks at a setting when it uses it")
    with Server() as server:

        async def scenario(door: Door) -> Any:
            return await attempt(door, server, options, {})

        assert issubclass(run(DOORS[door](engine), scenario), MISTAKES)
        assert server.accepted == 0


@DOOR
def test_unknown_extensions_are_ignored(door: str, engine: str) -> None:
    with Server() as server:

        async def scenario(door: Door) -> Any:
            extensions = {"unknown": object(), "sni_hostname": "example.com"}
            return await attempt(door, server, {}, {"extensions": extensions})

        assert run(DOORS[door](engine), scenario) == 200
