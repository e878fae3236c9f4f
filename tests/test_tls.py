"""TLS as Python sees it: what a context's hooks may do, what a stream tells of its session, `start_tls`.

Handshakes and sessions that fail are chapter T's, in `faults/test_faults_tls.py`.
"""

from __future__ import annotations

import ssl
from typing import Any

import httpcore
import pytest
from certificates import client_context, server_context, stranger_context
from doors import ALL_DOORS, ASYNCIO, SYNC, TRIO, UVLOOP, Door, through
from nested_tls import NestedTLS
from pools import settle
from servers import RAW, RECEIVE, RST, START_TLS, Connection, Server, call, send

import httpcore_hyper

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
UPGRADE = {"Connection": "upgrade", "Upgrade": "echo", "Host": "localhost"}

each_door = pytest.mark.parametrize("door_name", ALL_DOORS)
WORDLESS = pytest.param(TRIO, marks=pytest.mark.httpcore_differs("on trio its errors of TLS have no words"))
each_door_with_words = pytest.mark.parametrize("door_name", [SYNC, ASYNCIO, UVLOOP, WORDLESS])


def echo(connection: Connection) -> None:
    """Sends everything back, until the peer ends."""
    echo_of(connection.sock)


def echo_of(stream: Any) -> None:
    while data := stream.recv(65536):
        stream.sendall(data)


ECHO = call(echo)


@each_door
def test_a_stream_tells_of_its_session(door_name: str, engine: str) -> None:
    """As tools ask for it: version, cipher, protocol, the peer's certificate in both forms."""

    async def scenario(door: Door) -> None:
        with Server(tls=server_context("http/1.1")) as server:
            pool = door.pool(ssl_context=client_context())
            reply = await pool.request("GET", server.url(host="localhost"))
            stream = reply.extensions["network_stream"]
            session = stream.get_extra_info("ssl_object")
            assert session.version() == "TLSv1.3"
            assert session.cipher()[1:] in (("TLSv1.3", 256), ("TLSv1.3", 128))
            assert session.selected_alpn_protocol() == "http/1.1"
            assert ("DNS", "localhost") in session.getpeercert()["subjectAltName"]
            assert ssl.DER_cert_to_PEM_cert(session.getpeercert(True)).startswith("-----BEGIN")
            assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
            plain = door.pool()
            with Server() as other:
                reply = await plain.request("GET", other.url())
                assert reply.extensions["network_stream"].get_extra_info("ssl_object") is None
                await plain.close()
            await pool.close()

    through(door_name, engine, scenario)


@each_door
def test_a_connection_that_left_http_is_read_and_written_through_tls(door_name: str, engine: str) -> None:
    """`wss` and everything like it: more than one record, both ways."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(SWITCH + b"leading"), ECHO]], tls=server_context()) as server:
            pool = door.pool(ssl_context=client_context())
            url = server.url(host="localhost").replace("https", "wss")
            async with await pool.open("GET", url, headers=UPGRADE) as response:
                assert response.status == 101
                stream = response.extensions["network_stream"]
                assert await settle(stream.read(100)) == b"leading"
                data = bytes(range(256)) * 400
                await settle(stream.write(data))
                assert await read_all(stream, len(data)) == data
            await pool.close()

    through(door_name, engine, scenario)


@each_door
def test_tls_is_put_over_a_stream(door_name: str, engine: str) -> None:
    """Once over a plain connection, and a second time within it."""

    async def scenario(door: Door) -> None:
        script = [RECEIVE, send(SWITCH), START_TLS, ECHO]
        with Server([script], tls=server_context()) as server:
            pool = door.pool()
            url = server.url().replace("https", "http")
            async with await pool.open("GET", url, headers=UPGRADE) as response:
                stream = response.extensions["network_stream"]
                assert stream.get_extra_info("ssl_object") is None
                stream = await settle(
                    stream.start_tls(client_context(), server_hostname="localhost", timeout=5.0)
                )
                assert stream.get_extra_info("ssl_object").version() == "TLSv1.3"
                await settle(stream.write(b"ping"))
                assert await read_all(stream, 4) == b"ping"
            await pool.close()

    through(door_name, engine, scenario)


def tunnel(connection: Connection) -> None:
    """What a proxy with TLS of its own leads to: a session within the session, and an echo in it."""
    echo_of(NestedTLS(server_context("inner"), connection.sock))


@each_door
@pytest.mark.parametrize("tls", ["auto", "python"])
def test_tls_within_tls(door_name: str, engine: str, tls: str) -> None:
    """Each layer has a context, a name and protocols of its own; bodies larger than any record pass both."""

    async def scenario(door: Door) -> None:
        door.tls = tls
        script = [RECEIVE, send(SWITCH), call(tunnel)]
        with Server([script], tls=server_context("http/1.1")) as server:
            pool = door.pool(ssl_context=client_context())
            async with await pool.open("GET", server.url(host="localhost"), headers=UPGRADE) as response:
                outer = response.extensions["network_stream"]
                assert outer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
                context = client_context()
                context.set_alpn_protocols(["inner"])
                inner = await settle(outer.start_tls(context, server_hostname="example.com", timeout=5.0))
                session = inner.get_extra_info("ssl_object")
                assert session.server_hostname == "example.com"
                assert session.version() == "TLSv1.3"
                assert inner.get_extra_info("server_addr") == ("127.0.0.1", server.port)
                data = bytes(range(256)) * 2000
                for _ in range(3):
                    await settle(inner.write(data))
                    assert await read_all(inner, len(data)) == data
            await pool.close()

    through(door_name, engine, scenario)


@each_door_with_words
def test_tls_within_tls_is_refused_by_its_own_context(door_name: str, engine: str) -> None:
    """What the outer one trusts does not help."""

    async def scenario(door: Door) -> None:
        script = [RECEIVE, send(SWITCH), call(tunnel)]
        with Server([script], tls=server_context()) as server:
            pool = door.pool(ssl_context=client_context())
            async with await pool.open("GET", server.url(host="localhost"), headers=UPGRADE) as response:
                stream = response.extensions["network_stream"]
                with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await settle(stream.start_tls(stranger_context(), server_hostname="example.com"))
                with pytest.raises((httpcore.WriteError, OSError)):
                    await settle(stream.write(b"ping"))
            await pool.close()

    through(door_name, engine, scenario)


@each_door_with_words
def test_tls_that_fails_closes_the_stream(door_name: str, engine: str) -> None:
    """The exception is the one of connecting, and nothing can be read or written afterwards."""

    async def scenario(door: Door) -> None:
        with Server([[RECEIVE, send(SWITCH), START_TLS]], tls=server_context()) as server:
            pool = door.pool()
            url = server.url().replace("https", "http")
            async with await pool.open("GET", url, headers=UPGRADE) as response:
                stream = response.extensions["network_stream"]
                with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await settle(stream.start_tls(stranger_context(), server_hostname="localhost"))
                with pytest.raises((httpcore.WriteError, OSError)):
                    await settle(stream.write(b"ping"))
            await pool.close()

    through(door_name, engine, scenario)


@pytest.mark.httpcore_differs("it begins TLS, and waits for a server that speaks none")
@each_door
def test_tls_is_refused_where_http_is_spoken(door_name: str, engine: str) -> None:
    """The engine reads and writes such a connection itself."""

    async def scenario(door: Door) -> None:
        with Server() as server:
            pool = door.pool()
            reply = await pool.request("GET", server.url())
            stream = reply.extensions["network_stream"]
            with pytest.raises(httpcore.ConnectError, match="speaks HTTP"):
                await settle(stream.start_tls(client_context(), server_hostname="localhost"))
            await pool.close()

    through(door_name, engine, scenario)


async def read_all(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await settle(stream.read(65536))
        assert part
        data += part
    return data


@each_door_with_words
def test_what_lies_under_an_error(door_name: str, engine: str) -> None:
    """`args[0]` is the exception of `ssl`, and the context of ours, as httpcore has it."""

    async def scenario(door: Door) -> None:
        with Server(tls=server_context()) as server:
            pool = door.pool(ssl_context=stranger_context())
            with pytest.raises(httpcore.ConnectError) as raised:
                await pool.request("GET", server.url(host="localhost"))
            (under,) = raised.value.args
            assert isinstance(under, ssl.SSLCertVerificationError)
            assert under.verify_code == 20
            assert under.verify_message == "unable to get local issuer certificate"
            assert raised.value.__cause__ is None
            assert raised.value.__context__ is under

    through(door_name, engine, scenario)


@each_door
def test_a_name_that_no_certificate_can_have(door_name: str, engine: str) -> None:
    """What `wrap_bio` says of it comes out as it is, as with httpcore; nothing leaks."""

    async def scenario(door: Door) -> None:
        door.provoked = (ValueError,)
        with Server(tls=server_context()) as server:
            pool = door.pool(ssl_context=client_context())
            with pytest.raises(ValueError, match=r"idna|leading dot"):
                await pool.request("GET", server.url(), extensions={"sni_hostname": ".example.com"})

    through(door_name, engine, scenario)


class Pinning(ssl.SSLObject):
    """Refuses every certificate, after the fact."""

    def do_handshake(self) -> None:
        super().do_handshake()
        raise ssl.SSLError("not the certificate that was pinned")


class PinningContext(ssl.SSLContext):
    sslobject_class = Pinning


class Both(ssl.SSLContext):
    """Overrides both ways to a session alike."""

    asked: list[str | None]

    def wrap_bio(self, *args: Any, server_hostname: Any = None, **more: Any) -> ssl.SSLObject:
        self.asked.append(server_hostname)
        return super().wrap_bio(*args, server_hostname="localhost", **more)

    def wrap_socket(self, *args: Any, server_hostname: Any = None, **more: Any) -> ssl.SSLSocket:
        self.asked.append(server_hostname)
        return super().wrap_socket(*args, server_hostname="localhost", **more)


class SocketsAlone(ssl.SSLContext):
    def wrap_socket(self, *args: Any, **more: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*args, **more)


class OwnSocket(ssl.SSLSocket):
    pass


def test_a_pin_on_the_session_is_honoured() -> None:
    """`sslobject_class` is asked, whoever moves the bytes."""
    context = PinningContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with Server(tls=server_context()) as server, httpcore_hyper.ConnectionPool(context) as pool:
        with pytest.raises(httpcore.ConnectError, match="pinned"):
            pool.request("GET", server.url())
        assert pool.delegated is None


def test_a_context_that_changes_the_name_is_honoured() -> None:
    """The override is what makes the session."""
    context = Both(ssl.PROTOCOL_TLS_CLIENT)
    context.asked = []
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(client_context().get_ca_certs(True)[0]))
    with Server(tls=server_context()) as server, httpcore_hyper.ConnectionPool(context) as pool:
        assert pool.request("GET", server.url(host="127.0.0.1")).status == 200
        assert pool.delegated is None
    assert context.asked == ["127.0.0.1"]


@pytest.mark.parametrize("kind", ["method", "attribute", "class", "patch", "foreign"])
def test_what_acts_on_sockets_alone_delegates(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine has no `ssl.SSLSocket` to do it on; httpcore's sync pools have."""
    context: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if kind == "method":
        context = SocketsAlone(ssl.PROTOCOL_TLS_CLIENT)
    elif kind == "attribute":
        context.wrap_socket = lambda *args, **more: None
    elif kind == "class":
        context.sslsocket_class = OwnSocket
    elif kind == "patch":
        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", SocketsAlone.wrap_socket)
    else:
        context = object()
    with httpcore_hyper.ConnectionPool(context) as pool:
        assert "which the engine would not heed" in str(pool.delegated)


def test_contexts_that_take_effect_everywhere_do_not_delegate() -> None:
    """A subclass that overrides neither, or both, and attributes of a user's own."""
    plain = client_context()
    vars(plain)["mine"] = "a note"
    for context in (None, plain, PinningContext(ssl.PROTOCOL_TLS_CLIENT), Both(ssl.PROTOCOL_TLS_CLIENT)):
        with httpcore_hyper.ConnectionPool(context) as pool:
            assert pool.delegated is None


def test_a_default_context_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the trusted certificates takes longer than a handshake."""
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(client_context())
        return made[-1]

    monkeypatch.setattr(httpcore, "default_ssl_context", make)
    with Server(tls=server_context()) as server, httpcore_hyper.ConnectionPool() as pool:
        for _ in range(2):
            response = pool.request("GET", server.url(), headers={"Connection": "close"})
            assert response.status == 200
    assert len(made) == 1


def test_tls_over_a_unix_socket() -> None:
    """The certificate names the host of the URL."""
    with Server(tls=server_context(), unix=True) as server:
        with httpcore_hyper.ConnectionPool(client_context(), uds=server.path) as pool:
            assert pool.request("GET", "https://localhost/").status == 200
        with (
            httpcore_hyper.ConnectionPool(client_context(), uds=server.path) as pool,
            pytest.raises(httpcore.ConnectError, match="Hostname mismatch"),
        ):
            pool.request("GET", "https://elsewhere.com/")


def test_a_failed_handshake_is_tried_again() -> None:
    """`retries` is for TLS as it is for TCP."""

    with (
        Server([[RAW, RST]], tls=server_context()) as server,
        httpcore_hyper.ConnectionPool(client_context(), retries=1) as pool,
    ):
        assert pool.request("GET", server.url()).status == 200
        assert server.accepted == 2
