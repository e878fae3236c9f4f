"""Proxies: what is sent to them, what they are called, what listeners are told, what counts through them too.

How they fail is in `faults/test_faults_proxies.py`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpcore
import pytest
from certificates import client_context, context_for, server_context
from doors import ALL_DOORS, DOORS, Door, Own, run, through
from engines import HTTPCORE
from pools import Pool
from proxies import ESTABLISHED, FORWARD, HTTPS, SOCKS, TUNNEL, pool_behind, proxy_to, serve, well_behaved
from routes import response
from servers import RECEIVE, SERVE, STALL, START_TLS, Script, Server, call, send, wait
from sockets import connected_to
from socks_server import NO_AUTH, PASSWORD, Socks

pytestmark = pytest.mark.parametrize("door", ALL_DOORS)

REFUSED = send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
USER = ("user", "secret")


def behind(kind: str, script: Script | None = None, *, tls: bool, auth: object = None) -> Server:
    """A proxy, and the origin behind it. An `https` proxy has a certificate in any case."""
    context = server_context() if tls or kind == HTTPS else None
    script = well_behaved(kind, tls=tls, auth=auth) if script is None else script
    return Server([script] * 16, tls=context, app=serve)


def chunks(door: Door) -> Any:
    async def iterate() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    return door.body(iterate())


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda door: {"method": "GET"}, id="get"),
        pytest.param(lambda door: {"method": "POST", "content": b"body"}, id="post"),
        pytest.param(lambda door: {"method": "PUT", "content": chunks(door)}, id="chunked"),
        pytest.param(lambda door: {"method": "OPTIONS", "path": "/a%20b?c=d#e"}, id="query"),
        pytest.param(
            lambda door: {
                "method": "GET",
                "headers": [
                    (b"X-One", b"1"),
                    (b"hOsT", b"other"),
                    (b"proxy-authorization", b"mine"),
                    (b"X-One", b"2"),
                ],
            },
            id="own headers",
        ),
        pytest.param(
            lambda door: {"method": "GET", "headers": [(b"ACCEPT", b"a"), (b"Host", b"h")]},
            id="a header of both",
        ),
        pytest.param(lambda door: {"method": "GET", "port": None}, id="no port"),
    ],
)
def test_a_forwarded_request_is_httpcores_byte_for_byte(
    door: str, engine: str, make: Callable[[Door], dict[str, Any]]
) -> None:
    async def scenario(door: Door) -> bytes:
        with behind(FORWARD, tls=False) as server:
            headers = [(b"Accept", b"proxy's"), (b"X-Proxy", b"1"), (b"x-proxy", b"2")]
            proxy = proxy_to(server, FORWARD, USER, headers=headers)
            pool = door.pool(proxy=proxy)
            request = make(door)
            url = httpcore.URL(
                scheme="http",
                host="example.com",
                port=request.pop("port", 81),
                target=request.pop("path", "/"),
            )
            reply = await pool.request(**request, url=url)
            assert reply.status == 200
            return server.connections[0].raw

    ours = through(door, engine, scenario)
    assert ours == run(DOORS[door](HTTPCORE), scenario)
    assert b"X-Proxy: 1\r\nx-proxy: 2\r\n" in ours


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param([(b"X-Proxy", b"1"), (b"x-proxy", b"2")], id="some"),
        pytest.param([(b"accept", b"a"), (b"HOST", b"b")], id="in place of httpcore's"),
    ],
)
@pytest.mark.parametrize("auth", [None, USER], ids=["nobody", "somebody"])
def test_the_question_for_a_tunnel_is_httpcores_byte_for_byte(
    door: str, engine: str, headers: list[tuple[bytes, bytes]], auth: Any
) -> None:
    async def scenario(door: Door) -> tuple[bytes, bytes]:
        with behind(FORWARD, tls=True) as server:
            pool = door.pool(
                proxy=proxy_to(server, FORWARD, auth, headers=headers), ssl_context=client_context()
            )
            assert (
                await pool.request("GET", "https://example.com/", headers=[(b"Host", b"h")])
            ).status == 200
            connect, request = server.requests
            return connect.head, request.head

    ours = through(door, engine, scenario)
    assert ours == run(DOORS[door](HTTPCORE), scenario)
    assert b"roxy" not in ours[1]


@pytest.mark.httpcore_differs("without brackets no proxy takes it")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_addresses_of_ipv6_stand_in_brackets(door: str, engine: str, scheme: str) -> None:
    async def scenario(door: Door) -> None:
        with behind(FORWARD, [RECEIVE, REFUSED, STALL], tls=True) as server:
            pool = pool_behind(door, server, FORWARD)
            with contextlib.suppress(httpcore.ProxyError):
                await pool.request("GET", f"{scheme}://[::1]:444/")
            wanted = {"http": b"http://[::1]:444/", "https": b"[::1]:444"}
            assert server.requests[0].target == wanted[scheme]

    through(door, engine, scenario)


@pytest.mark.httpcore_differs(
    "the target of a forwarded request names no host then, and that of a CONNECT leads elsewhere"
)
def test_a_target_is_the_origins(door: str, engine: str) -> None:
    """A path becomes a URL for a proxy that forwards, all else goes as it is; a CONNECT has its own."""

    async def scenario(door: Door) -> None:
        with behind(FORWARD, tls=True) as server:
            pool = pool_behind(door, server, FORWARD)
            for scheme, target in (("http", b"/a/../b"), ("http", b"*"), ("https", b"/c")):
                await pool.request("GET", f"{scheme}://example.com/", extensions={"target": target})
            seen = [request.target for request in server.requests]
            assert seen == [b"http://example.com/a/../b", b"*", b"example.com:443", b"/c"]

    through(door, engine, scenario)


CLASSES = {
    "HTTPProxy": FORWARD,
    "SOCKSProxy": SOCKS,
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("auth", [None, USER], ids=["nobody", "somebody"])
def test_the_classes_are_served_by_the_engine(
    door: str, engine: str, name: str, tls: bool, auth: Any
) -> None:
    """`HTTPProxy` and `SOCKSProxy`, like `proxy=` on the pools."""

    async def scenario(door: Door) -> None:
        with behind(CLASSES[name], tls=tls, auth=auth) as server:
            module: Any = httpcore if engine == HTTPCORE else importlib.import_module("httpcore_hyper")
            made = getattr(module, ("Async" if door.is_async else "") + name)
            pool = Pool(
                door,
                made(
                    proxy_url=f"{CLASSES[name]}://127.0.0.1:{server.port}",
                    proxy_auth=auth,
                    ssl_context=client_context(),
                ),
            )
            door.pools.append(pool)
            for _ in range(2):
                assert (await pool.request("GET", server.url("/"))).body == b"ok"
            assert server.accepted == 1
            assert pool.delegated is None

    through(door, engine, scenario)


def test_connections_have_the_names_and_words_of_httpcores(door: str, engine: str) -> None:
    """In each state: while the proxy is asked, when the request is under way, and afterwards."""

    async def scenario(door: Door) -> list[list[str]]:
        seen: list[list[str]] = []

        def look(pool: Pool, server: Server) -> None:
            port = str(server.port)
            seen.append([repr(one).replace(port, "PORT") for one in pool.raw.connections])

        for kind, tls in ((FORWARD, False), (FORWARD, True), (HTTPS, True), (SOCKS, False), (SOCKS, True)):
            gate = threading.Event()
            start: Script = [call(Socks(NO_AUTH)), START_TLS] if kind == SOCKS else [*TUNNEL, START_TLS]
            if not tls:
                start = start[:1] if kind == SOCKS else []
            elif kind != SOCKS:
                start = [RECEIVE, wait(gate), ESTABLISHED, START_TLS]
            with behind(kind, [*start, SERVE], tls=tls) as server:
                pool = pool_behind(door, server, kind)
                task = door.start(pool.open("GET", server.url("/")))
                if tls and kind != SOCKS:
                    assert await door.until(lambda: server.requests)
                    look(pool, server)
                    gate.set()
                stream = await task.outcome()
                look(pool, server)
                await stream.read()
                await stream.close()
                look(pool, server)
                (connection,) = pool.raw.connections
                assert connection.can_handle_request(httpcore.URL(server.url("/")).origin)
                assert not connection.can_handle_request(httpcore.URL("http://example.com/").origin)
                await pool.close()
        return seen

    ours = through(door, engine, scenario)
    assert ours == run(DOORS[door](HTTPCORE), scenario)


def shown(value: Any) -> Any:
    """A payload's value as far as it can be equal in two engines and two runs."""
    if isinstance(value, httpcore.Request):
        return value.method, re.sub(rb":\d+", b"", value.url.target), [name for name, _ in value.headers]
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, (httpcore.NetworkStream, httpcore.AsyncNetworkStream)):
        return "stream"
    return "port" if isinstance(value, int) and value > 1023 else value


async def told(door: Door, kind: str, script: Script, *, tls: bool, auth: Any = None) -> list[Any]:
    """The events of one request through a proxy, whatever comes of it."""
    events: list[Any] = []
    with behind(kind, script, tls=tls) as server:
        pool = pool_behind(door, server, kind, auth)
        trace = door.callback(
            lambda name, info: events.append((name, {key: shown(value) for key, value in info.items()}))
        )
        url = f"http{'s' if tls else ''}://example.com/"
        with contextlib.suppress(httpcore.ProxyError, httpcore.NetworkError, httpcore.ProtocolError):
            await pool.request("GET", url, extensions={"trace": trace})
    return [(name, {k: v for k, v in info.items() if k != "ssl_context"}) for name, info in events]


STORIES = {
    "forward": (FORWARD, [SERVE], False, None),
    "forward over TLS": (HTTPS, [SERVE], False, None),
    "tunnel": (FORWARD, [SERVE], True, USER),
    "tunnel over TLS": (HTTPS, [SERVE], True, None),
    "a tunnel refused": (FORWARD, [RECEIVE, REFUSED, STALL], True, None),
    "a tunnel that ends": (FORWARD, [RECEIVE, send(b"nonsense\r\n\r\n"), STALL], True, None),
    "SOCKS": (SOCKS, [call(Socks(NO_AUTH)), SERVE], False, None),
    "SOCKS and TLS": (SOCKS, [call(Socks(PASSWORD)), START_TLS, SERVE], True, USER),
    "SOCKS refused": (SOCKS, [call(Socks(NO_AUTH, outcome=5)), STALL], True, None),
}


# httpcore leaves the socket of a refusal to the collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("story", STORIES)
def test_events_are_httpcores(door: str, engine: str, story: str) -> None:
    kind, script, tls, auth = STORIES[story]

    async def scenario(door: Door) -> list[Any]:
        return await told(door, kind, script, tls=tls, auth=auth)

    ours = through(door, engine, scenario)
    assert ours == run(DOORS[door](HTTPCORE), scenario)
    assert ours


# httpcore leaves the socket of a refusal to the collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("story", STORIES)
def test_loggers_tell_the_same(door: str, engine: str, story: str, caplog: pytest.LogCaptureFixture) -> None:
    kind, script, tls, auth = STORIES[story]

    async def scenario(door: Door) -> None:
        with behind(kind, script, tls=tls) as server:
            pool = pool_behind(door, server, kind, auth)
            with contextlib.suppress(httpcore.ProxyError, httpcore.NetworkError, httpcore.ProtocolError):
                await pool.request("GET", f"http{'s' if tls else ''}://example.com/")

    def records(engine: str) -> list[tuple[str, str]]:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, httpcore.__name__):
            run(DOORS[door](engine), scenario)
        return [
            (
                record.name,
                re.split(r" (?:return_value|exception|stream)=", record.getMessage())[0].split(" port=")[0],
            )
            for record in caplog.records
            if record.name.startswith(httpcore.__name__ + ".")
            # Ours are closed when the test ends; of httpcore's refusals some are not.
            and "close." not in record.getMessage()
        ]

    def plain(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, re.sub(r"0x\w+", "0x", text)) for name, text in found]

    ours = records(engine)
    assert engine == HTTPCORE or "secret" not in caplog.text
    assert plain(ours) == plain(records(HTTPCORE))
    assert ours


@pytest.mark.parametrize("story", ["tunnel over TLS", "SOCKS and TLS"])
@pytest.mark.httpcore_differs("a callback that raises behind the proxy's agreement leaks the slot")
def test_a_callback_that_raises_aborts_there(door: str, engine: str, story: str) -> None:
    """At each event on the way: its own exception comes out, nothing follows, and the slot is free."""
    kind, script, tls, auth = STORIES[story]

    async def scenario(door: Door) -> None:
        events = [name for name, _ in await told(door, kind, script, tls=tls, auth=auth)]
        opened = events.index(f"{'proxy' if kind == HTTPS else 'socks'}.start_tls.complete")
        last = events.index("http11.send_request_body.complete", opened)
        for number in range(last):
            with behind(kind, script, tls=tls) as server:
                pool = pool_behind(door, server, kind, auth, max_connections=1)
                seen: list[str] = []

                def fail(name: str, info: object, seen: list[str] = seen, number: int = number) -> None:
                    seen.append(name)
                    if len(seen) == number + 1:
                        raise Own(name)

                with pytest.raises(Own, match=events[number]):
                    await pool.request(
                        "GET", "https://example.com/", extensions={"trace": door.callback(fail)}
                    )
                assert seen[: number + 1] == events[: number + 1]
                after = [name for name in seen[number + 1 :] if not name.endswith(".failed")]
                assert [name for name in after if "response_closed" not in name] == []
                assert pool.raw.connections == []

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("retries are ignored with proxies")
@pytest.mark.parametrize("traced", [False, True], ids=["plain", "traced"])
def test_retries_count(door: str, engine: str, traced: bool) -> None:
    """A connection is what is tried again: the socket, and each handshake."""

    async def scenario(door: Door) -> None:
        fails = [RECEIVE, ESTABLISHED, send(b"garbage" * 30), STALL]
        with Server([fails, [SERVE]], tls=server_context(), app=serve) as server:
            pool = pool_behind(door, server, FORWARD, retries=1)
            names: list[str] = []
            trace = door.callback(lambda name, info: names.append(name))
            reply = await pool.request("GET", server.url("/"), extensions={"trace": trace} if traced else {})
            assert reply.status == 200
            assert not traced or names.count("connection.retry.complete") == 1

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("retries are ignored with proxies")
def test_a_refusal_is_not_tried_again(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        with behind(FORWARD, [RECEIVE, REFUSED, STALL], tls=True) as server:
            pool = pool_behind(door, server, FORWARD, retries=3)
            with pytest.raises(httpcore.ProxyError):
                await pool.request("GET", server.url("/"))
            assert server.accepted == 1

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("local_address and socket_options are dropped with proxies")
@pytest.mark.parametrize("kind", [FORWARD, HTTPS, SOCKS])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_the_sockets_options_count(door: str, engine: str, kind: str, tls: bool) -> None:
    async def scenario(door: Door) -> None:
        with behind(kind, tls=tls) as server:
            options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
            pool = pool_behind(door, server, kind, local_address="127.0.0.2", socket_options=options)
            stream = await pool.open("GET", f"http{'s' if tls else ''}://127.0.0.1:{server.port}/")
            with connected_to(server.port) as sock:
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert sock.getsockname()[0] == "127.0.0.2"
            await stream.read()
            await stream.close()

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("sni_hostname is told to the proxy, and not to the origin")
@pytest.mark.parametrize("kind", [FORWARD, HTTPS, SOCKS])
def test_sni_hostname_is_the_origins(door: str, engine: str, kind: str) -> None:
    """It names whom the origin's certificate must name; the proxy's names the proxy."""

    async def scenario(door: Door) -> None:
        with Server(
            [well_behaved(kind, tls=True)], tls=context_for("example.com", "127.0.0.1"), app=serve
        ) as server:
            pool = pool_behind(door, server, kind)
            reply = await pool.request(
                "GET", "https://elsewhere.example/", extensions={"sni_hostname": "example.com"}
            )
            assert reply.status == 200

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("it is ignored")
def test_a_unix_socket_leads_to_the_proxy(door: str, engine: str) -> None:
    async def scenario(door: Door) -> None:
        with Server(unix=True, tls=server_context(), app=serve) as server:
            pool = door.pool(
                proxy=httpcore.Proxy("http://proxy.example:3128"),
                uds=server.path,
                ssl_context=client_context(),
            )
            assert (await pool.request("GET", "https://example.com/")).status == 200
            assert (await pool.request("GET", "http://example.com/")).status == 200
            assert server.requests[0].target == b"example.com:443"

    through(door, engine, scenario)


SWITCH = send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")


@pytest.mark.httpcore_differs("TLS is spoken in every tunnel, and with SOCKS not for wss")
@pytest.mark.parametrize("kind", [FORWARD, SOCKS])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websockets_have_tunnels(door: str, engine: str, kind: str, scheme: str) -> None:
    """Without TLS for `ws`, with it for `wss`."""

    async def scenario(door: Door) -> None:
        start: Script = TUNNEL if kind == FORWARD else [call(Socks(NO_AUTH))]
        inside = [START_TLS] if scheme == "wss" else []
        with Server(
            [[*start, *inside, RECEIVE, SWITCH, send(b"hello"), STALL]], tls=server_context()
        ) as server:
            pool = pool_behind(door, server, kind)
            headers = [(b"Host", b"h"), (b"Upgrade", b"echo"), (b"Connection", b"upgrade")]
            stream = await pool.open("GET", f"{scheme}://example.com/", headers=headers)
            assert stream.status == 101
            network = stream.extensions["network_stream"]
            data = network.read(5) if not door.is_async else await network.read(5)
            assert data == b"hello"
            await stream.close()

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("they are read as the answer")
def test_nothing_of_a_tunnel_comes_before_its_request(door: str, engine: str) -> None:
    """What the origin says unasked, in one segment with the proxy's agreement, answers nothing."""

    async def scenario(door: Door) -> None:
        early = send(b"HTTP/1.1 200 OK\r\n\r\n" + response(b"EVIL"))
        with Server([[RECEIVE, early, STALL]]) as server:
            pool = pool_behind(door, server, FORWARD)
            with pytest.raises(httpcore.RemoteProtocolError):
                await pool.request("GET", "ws://example.com/")

    through(door, engine, scenario)


def test_what_a_proxy_of_another_kind_is_called(door: str, engine: str) -> None:
    """A URL that is no proxy's is refused in httpcore's own words for such."""

    async def scenario(door: Door) -> None:
        pool = door.pool(proxy=httpcore.Proxy("ftp://127.0.0.1:1"))
        door.provoked = (KeyError,)
        with pytest.raises((httpcore.UnsupportedProtocol, KeyError), match="ftp"):
            await pool.request("GET", "http://example.com/")

    through(door, engine, scenario)


def test_credentials_are_not_shown(door: str, engine: str) -> None:
    """Neither by the pool and its connections nor by what goes wrong."""

    async def scenario(door: Door) -> None:
        for kind, script in (
            (FORWARD, [RECEIVE, REFUSED, STALL]),
            (SOCKS, [call(Socks(PASSWORD, accepts=False))]),
        ):
            with behind(kind, script, tls=True) as server:
                pool = pool_behind(door, server, kind, USER)
                with pytest.raises(httpcore.ProxyError) as raised:
                    await pool.request("GET", server.url("/"))
                for words in (repr(raised.value), repr(pool), repr(vars(pool.raw).get("_proxy_settings"))):
                    assert "secret" not in words
                    assert "c2VjcmV0" not in words

    through(door, engine, scenario)


@pytest.mark.httpcore_differs("they are its own")
@pytest.mark.parametrize(
    "path",
    [
        "http_proxy.{}ForwardHTTPConnection.handle_{}request",
        "http_proxy.{}TunnelHTTPConnection.handle_{}request",
        "socks_proxy.{}Socks5Connection.handle_{}request",
        "socks_proxy._init_socks5_connection",
    ],
)
def test_patched_functions_of_httpcores_are_heeded(
    door: str, engine: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever put something on httpcore's way to a proxy wants to be on it."""
    is_async = DOORS[door].is_async
    where = path.format("Async" if is_async else "", "async_" if is_async else "")
    inside = f"{httpcore.__name__}.{'_async' if is_async else '_sync'}.{where}"

    async def scenario(door: Door) -> None:
        direct = door.pool()
        proxied = door.pool(proxy=httpcore.Proxy("http://127.0.0.1:1"))
        assert proxied.delegated is None
        with monkeypatch.context() as patched:
            patched.setattr(inside, lambda *args, **options: None)
            assert inside in proxied.delegated
            assert direct.delegated is None

    run(DOORS[door](engine), scenario)
