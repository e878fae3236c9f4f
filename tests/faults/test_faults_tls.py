"""Chapter T: certificates that are refused, handshakes that end in the middle, sessions that end silently."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import ssl
import tempfile
import threading
import time
import warnings

import client_hello
import pytest
from certificate_cases import CASES
from certificate_cases import case as certificates_of
from certificates import (
    by_hand,
    careless_context,
    client_context,
    deep_context,
    demanding_context,
    expired_context,
    identify,
    server_context,
    stranger_context,
)
from doors import Door
from matrix import (
    CE,
    CT,
    FULL_SIZE,
    P0,
    P1,
    PX,
    RE,
    RPE,
    VAIN,
    WE,
    Answer,
    Case,
    Either,
    Expect,
    Row,
    attempt,
    check,
    check_after,
    check_closed,
    check_next,
    fails,
    run_case,
)
from proxies import HTTPS, TUNNEL, pool_behind
from routes import Request
from servers import (
    CLOSE,
    DROP,
    FIN,
    HEAR,
    RAW,
    RECEIVE,
    RECEIVE_HEAD,
    RST,
    SERVE,
    STALL,
    START_TLS,
    Connection,
    Script,
    Server,
    call,
    drip,
    send,
    wait,
)
from test_certificate_cases import client_context as context_of
from test_certificate_cases import server_context as showing
from tls_by_hand import ANSWER, EARLY_DATA, Server12, Server13, extension, play, ticket, update_keys
from tls_records import HANDSHAKE, vector
from verdicts import judge, parametrize

SHORT = {"connect": 0.3}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TO_EOF = b"HTTP/1.1 200 OK\r\n\r\n0123456789"
SHORT_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

# TLS records: type, version, length, payload (RFC 8446 section 5.1).
HEADER_ONLY = b"\x16\x03\x03\x00\x7a"
TOO_LONG = b"\x16\x03\x03\xff\xff" + b"x" * 100
CLOSE_NOTIFY = b"\x15\x03\x03\x00\x02\x01\x00"
USER_CANCELED = b"\x15\x03\x03\x00\x02\x01\x5a"
# A record of application data whose authentication cannot be right.
FORGED = b"\x17\x03\x03\x00\x40" + bytes(64)


# What a server may say that wants anything but TLS 1.3.
ASK_FOR_MORE = (40, 47, 70, 71, 109, 110)

# Certificates whose constraints or names are bent, so that a careless reader would accept them.
ABUSES = (
    "nc-dns-violate",
    "nc-dns-excluded",
    "nc-dns-excluded-other-san",
    "nc-root-violate",
    "nc-uri-permit",
    "nc-cn-only-violate",
    "name-wild-partial-prefix",
    "name-wild-two-labels",
    "name-wild-tld",
    "name-wild-middle",
    "name-wild-underscore",
    "name-uri-san-only",
    "name-nul-in-san",
)
# More messages than a session should have in all its life.
STORM = 10_000 if FULL_SIZE else 1_000
# So many lie in the socket for sure when the next request comes, and they fit into it.
ENOUGH = 900
# The extension by which protocols are agreed on (RFC 7301).
ALPN = 16
# A second of one processor is what a chain may take; ten times that for a loaded machine.
CPU_SECONDS = 10.0
# 100 ms is what a close may take; ten times that.
CLOSING = 1.0


def fatal(code: int) -> bytes:
    return b"\x15\x03\x03\x00\x02\x02" + bytes([code])


def trusting(**more: object) -> dict[str, object]:
    return {"ssl_context": client_context(), **more}


def secure(expect: Expect, script: Script, after: str = P0, label: str = "", **more) -> Case:
    """A case between a server with a good certificate and a client who trusts it; `more` changes that."""
    return Case(
        expect, script, after, label, **{"tls": server_context(), "pool": trusting(), "timeout": {}, **more}
    )


def below(expect: Expect, *script: object, label: str = "", **more) -> Case:
    """A case whose server has heard the ClientHello, and goes on below TLS."""
    return secure(expect, [RAW, HEAR, *script], label=label, **more)


def below_by_hand(expect: Expect, server: Server12 | Server13, label: str) -> Case:
    """A case with a server that is written out by hand."""
    return secure(expect, [RAW, play(server), STALL], label=label, twice=True)


def agreed(protocol: str) -> bytes:
    """A server's answer by ALPN."""
    return extension(ALPN, vector(vector(protocol.encode(), 1), 2))


def versioned(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server_context()
    # Versions that a default installation has retired.
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is what the row is about
        context.minimum_version = context.maximum_version = version
    return context


def on_the_wire(data: bytes):
    """Bytes below TLS, behind whatever the session has sent."""

    def play(connection: Connection) -> None:
        with connection.wire as wire:
            wire.sendall(data)

    return call(play)


def end_below(how: int):
    """Our direction ends, and the session says nothing of it."""

    def play(connection: Connection) -> None:
        with connection.wire as wire:
            wire.shutdown(how)

    return call(play)


UNCLEAN_FIN = end_below(socket.SHUT_WR)
# Reads no more, and so answers no goodbye, until the test is over.
DEAF = wait(threading.Event())


def say_goodbye(connection: Connection) -> None:
    """Sends close_notify, and leaves the connection open below."""
    connection.sock.settimeout(0.05)
    with contextlib.suppress(OSError):
        connection.sock.unwrap()  # waits in vain for the client's
    connection.sock.settimeout(None)


GOODBYE = call(say_goodbye)


async def each_alert(door: Door) -> None:
    """Every fatal alert there may be ends the handshake at once."""
    codes = (
        range(256) if FULL_SIZE else (0, 10, 20, 40, 42, 48, 50, 70, 71, 80, 86, 90, 109, 112, 116, 120, 255)
    )
    for code in codes:
        await run_case(
            door, below(fails(CE), send(fatal(code)), STALL, label=f"{code}", twice=code in ASK_FOR_MORE)
        )


async def cut_flight(door: Door) -> None:
    """The server's flight, cut off by a RST at different places, up to one byte before its end."""
    context = client_context()
    offset = 0
    while offset is not None:
        cut = _Cut(offset)
        await run_case(
            door,
            secure(
                fails(CE),
                [RAW, call(cut.play), RST],
                VAIN,
                f"{offset}",
                pool={"ssl_context": context},
                twice=True,
            ),
        )
        offset = cut.following


class _Cut:
    """Sends the first bytes of a real server's flight."""

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self.following: int | None = None

    def play(self, connection: Connection) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = server_context().wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(connection.sock.recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        flight = outgoing.read()
        connection.sock.sendall(flight[: self._offset])
        step = 1 if FULL_SIZE else 131
        self.following = self._offset + step if self._offset + step < len(flight) else None


async def pools_apart(door: Door) -> None:
    """What one pool trusts, another does not have to."""
    with Server(tls=server_context()) as server:
        careless = door.pool(ssl_context=careless_context())
        strict = door.pool(ssl_context=stranger_context())
        for _ in range(2):
            outcome = await attempt(door, careless.request("GET", server.url()))
            check("verdict", outcome.error is None, f"{outcome.error!r}")
            outcome = await attempt(door, strict.request("GET", server.url()))
            check("verdict", isinstance(outcome.error, CE), f"{outcome.error!r}")
        check("foreign", not door.foreign, f"{door.foreign!r}")


async def changed_context(door: Door) -> None:
    """A connection is made with the context as it is by then."""
    context = client_context()
    with Server(tls=demanding_context(ssl.TLSVersion.TLSv1_2)) as server:
        pool = door.pool(ssl_context=context)
        outcome = await attempt(door, pool.request("GET", server.url()))
        check("verdict", isinstance(outcome.error, CE), f"{outcome.error!r}")
        identify(context)
        await check_next(door, pool, server)


async def asked_for_names(door: Door) -> None:
    """SNI names the URL's host, or what the request says; an address is not named (RFC 6066 section 3)."""
    asked: list[str | None] = []
    context = server_context()
    context.sni_callback = lambda session, name, context: asked.append(name)
    with Server(tls=context) as server:
        for host, extensions, name in (
            ("localhost", {}, "localhost"),
            ("127.0.0.1", {}, None),
            ("127.0.0.1", {"sni_hostname": "example.com"}, "example.com"),
            ("localhost", {"sni_hostname": "other.com"}, "other.com"),
        ):
            pool = door.pool(ssl_context=client_context())
            outcome = await attempt(
                door, pool.request("GET", server.url(host=host), extensions=dict(extensions))
            )
            check("verdict", outcome.error is None, f"{host}: {outcome.error!r}")
            check("verdict", asked.pop() == name, f"{host}: asked for {asked}")


async def abandoned_while_writing(door: Door) -> None:
    """The server leaves without a word in the middle of an upload."""
    with Server([[RECEIVE_HEAD, DROP]], tls=server_context()) as server:
        pool = door.pool(ssl_context=client_context())
        content = bytes(8_000_000)
        outcome = await attempt(door, pool.request("POST", server.url(), content=content))
        check("foreign", not door.foreign, f"came out of the pool: {door.foreign!r}")
        check("verdict", isinstance(outcome.error, (RE, RPE, WE)), f"{outcome.error!r}")
        await check_after(door, pool, server, P0)


async def shown(door: Door, expect: Expect, after: str, name: str, **links: object) -> None:
    """A case with that chain of certificates, which must not keep a processor busy."""
    case = certificates_of(name, **links)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        started = time.process_time()
        await run_case(
            door,
            secure(
                expect,
                [SERVE],
                after,
                name,
                tls=showing(case.chain, case.key, place),
                pool={"ssl_context": context_of(case, ssl.VERIFY_DEFAULT, place)},
                extensions={"sni_hostname": case.host},
            ),
        )
        check("verdict", time.process_time() - started < CPU_SECONDS, f"{name}: too much work")


async def laborious_chains(door: Door) -> None:
    """Whether they lead anywhere is OpenSSL's to say; that it is said soon is ours."""
    # All of one name, and nothing says which of them has signed which: there are ever more ways to try.
    same = {"subject": ("CN=one of many",), "ski": False, "aki": None}
    links = {"inter0": {"by": "root2", **same}}
    links |= {f"inter{n}": {"by": f"inter{n - 1}", **same} for n in range(1, 100)}
    sent = " ".join(["leaf", *links])
    leaf = {"by": "inter99", "aki": None}
    await shown(door, fails(CE), VAIN, "a hundred of one name", sent=sent, root2={}, **links, leaf=leaf)
    # An extension of a private number, which nobody looks at (RFC 5280 section 4.2).
    more = (("1.3.6.1.4.1.99999.1", False, b"\x04\x00" + bytes(64_000)),)
    good = Answer(body=b"ok")
    await shown(door, good, P1, "64 kB", sent="leaf", leaf={"by": "root", "more": more})


async def without_a_goodbye(door: Door) -> None:
    """Nobody waits for the peer's close_notify, nor for its FIN."""
    with Server([[RECEIVE, send(OK), DEAF]], tls=server_context()) as server:
        pool = door.pool(ssl_context=client_context())
        outcome = await attempt(door, pool.request("GET", server.url()))
        check("verdict", outcome.error is None, f"{outcome.error!r}")
        started = time.monotonic()
        await check_closed(door, pool, server)
        check("closed", time.monotonic() - started < CLOSING, "the close waited for the server")


async def abused_names(door: Door) -> None:
    """Constraints hold for what certificates say and for what they leave out."""
    for name in ABUSES:
        case = next(case for case in CASES if case.name == name)
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            context = context_of(case, ssl.VERIFY_DEFAULT, place)
            await run_case(
                door,
                secure(
                    fails(CE),
                    [SERVE],
                    VAIN,
                    name,
                    tls=showing(case.chain, case.key, place),
                    pool={"ssl_context": context},
                    extensions={"sni_hostname": case.host},
                ),
            )


async def tickets_are_not_shown(door: Door) -> None:
    """Sessions end with their connection: neither their server nor another is asked to go on with one."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        reused: list[bool] = []

        class Session(ssl.SSLSocket):
            def do_handshake(self, block: bool = False, reused: list[bool] = reused) -> None:
                super().do_handshake(block)
                reused.append(bool(self.session_reused))

        class Inner(ssl.SSLObject):
            def do_handshake(self, reused: list[bool] = reused) -> None:
                super().do_handshake()
                reused.append(bool(self.session_reused))

        context = versioned(version)
        context.sslsocket_class, context.sslobject_class = Session, Inner
        hear = [[RAW, HEAR, RST]]
        mine = client_context()
        with (
            Server(tls=context) as first,
            Server(tls=context) as second,
            Server(hear, tls=context) as listening,
        ):
            pool = door.pool(ssl_context=mine)
            for server in (first, first, second):
                outcome = await attempt(
                    door, pool.request("GET", server.url(host="localhost"), headers={"Connection": "close"})
                )
                check("verdict", outcome.error is None, f"{outcome.error!r}")
            await attempt(door, pool.request("GET", listening.url(host="localhost")))
            offered = client_hello.parse(listening.connections[0].raw)
        check("wire", len(reused) >= 3 and not any(reused), f"resumed: {reused}")
        # A proxy's tickets are none of the origin's, nor the other way round.
        reused.clear()
        with Server([[*TUNNEL, START_TLS, SERVE]] * 8, tls=context) as proxy:
            pool = pool_behind(door, proxy, HTTPS, ssl_context=mine)
            for _ in range(2):
                outcome = await attempt(
                    door, pool.request("GET", proxy.url(host="localhost"), headers={"Connection": "close"})
                )
                check("verdict", outcome.error is None, f"{outcome.error!r}")
        check("wire", len(reused) >= 4 and not any(reused), f"resumed: {reused}")
        # pre_shared_key and early_data (RFC 8446 section 4.2).
        check("wire", not offered.extensions & {41, 42}, f"offered: {offered.extensions}")


async def storm_while_idle(door: Door) -> None:
    """Messages that nobody asked for end a connection at the most, never the request that comes next."""
    for label, storm in (
        ("tickets", lambda wire: wire.send(HANDSHAKE, ticket())),
        ("keys", lambda wire: update_keys(wire, asking=False)),
        ("keys of ours as well", lambda wire: update_keys(wire, asking=True)),
    ):
        begun = threading.Event()

        def play_storm(wire, storm=storm, begun=begun) -> None:
            wire.receive_request()
            wire.answer(ANSWER)
            for number in range(STORM):
                try:
                    storm(wire)
                except OSError:
                    # The client has had enough of it: that is a storm as well, unless it was none yet.
                    check("peer", number, "gone before the first message")
                    begun.set()
                    raise
                if number == ENOUGH:
                    begun.set()
            # If the connection has outlived that, it serves.
            wire.receive_request()
            nonce = Request.parse(wire.head).header(b"X-Nonce")
            wire.answer(ANSWER.replace(b"\r\n\r\n", b"\r\nX-Nonce: %s\r\n\r\n" % nonce))

        script = [RAW, play(Server13(**by_hand()), play_storm, answers=0), STALL]
        with Server([script], tls=server_context()) as server:
            pool = door.pool(ssl_context=client_context())
            outcome = await attempt(door, pool.request("GET", server.url()))
            check("verdict", outcome.error is None, f"{label}: {outcome.error!r}")
            check("peer", await door.until(begun.is_set), f"{label}: the storm did not begin")
            await check_next(door, pool, server)
            await pool.close()


async def renegotiation(door: Door) -> None:
    """Hands are shaken again where the server wants it, before its response or within."""

    def before(wire) -> None:
        wire.ask_to_renegotiate()
        wire.shake_hands()
        wire.receive_request()
        wire.answer(ANSWER)

    def within(wire) -> None:
        wire.receive_request()
        wire.answer(ANSWER[:-1])
        wire.ask_to_renegotiate()
        wire.shake_hands()
        wire.answer(ANSWER[-1:])

    for scene in (before, within):
        script = [RAW, play(Server12(**by_hand()), scene, answers=0), STALL]
        with Server([script, script], tls=server_context()) as server:
            pool = door.pool(ssl_context=client_context())
            outcome = await attempt(door, pool.request("GET", server.url()))
            check("verdict", outcome.error is None, f"{scene.__name__}: {outcome.error!r}")
            check("verdict", outcome.value.body == b"ok", f"{outcome.value.body!r}")
            await check_closed(door, pool, server)


async def stalled_handshake(door: Door) -> None:
    """The time to connect holds for the whole handshake, however busy the server looks."""
    for label, script in (
        ("silent", [STALL]),
        ("a byte at a time", [drip(HEADER_ONLY + bytes(100), 0.05), STALL]),
        ("a header", [send(HEADER_ONLY), STALL]),
    ):
        started = time.monotonic()
        await run_case(door, below(fails(CT), *script, timeout=SHORT, label=label))
        check("verdict", time.monotonic() - started < 3.0, f"{label}: late")


ROWS = [
    Row("T-01", "a good certificate", (secure(Answer(body=b"ok"), [SERVE], P1),)),
    Row(
        "T-02",
        "an unknown authority",
        (
            secure(
                fails(CE, part="CERTIFICATE_VERIFY_FAILED"),
                [SERVE],
                VAIN,
                pool={"ssl_context": stranger_context()},
            ),
        ),
    ),
    Row(
        "T-03",
        "a certificate of another host",
        (secure(fails(CE, part="Hostname mismatch"), [SERVE], extensions={"sni_hostname": "wrong.com"}),),
    ),
    Row(
        "T-04",
        "a certificate that is too old, or not valid yet",
        (
            secure(fails(CE, part="certificate has expired"), [SERVE], VAIN, "old", tls=expired_context()),
            secure(fails(CE, part="not yet valid"), [SERVE], VAIN, "early", tls=expired_context(days=-2)),
        ),
    ),
    Row(
        "T-05",
        "a server that wants to see a certificate, TLS 1.3",
        (secure(fails(RE), [SERVE], VAIN, tls=demanding_context(ssl.TLSVersion.TLSv1_3)),),
    ),
    Row(
        "T-06",
        "a server that wants to see a certificate, TLS 1.2",
        (secure(fails(CE), [SERVE], VAIN, tls=demanding_context(ssl.TLSVersion.TLSv1_2)),),
    ),
    Row(
        "T-07",
        "a server of TLS 1.1",
        (secure(fails(CE), [SERVE], VAIN, tls=versioned(ssl.TLSVersion.TLSv1_1)),),
    ),
    Row(
        "T-08",
        "a server that speaks no TLS",
        (below(fails(CE, part="WRONG_VERSION_NUMBER"), send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), CLOSE),),
    ),
    Row(
        "T-09",
        "noise instead of a ServerHello",
        (
            below(fails(CE), send(bytes(range(200))), STALL, label="no record"),
            below(fails(CE), send(b"\x16\x03\x03\x00\xc3" + bytes(range(195))), STALL, label="a record"),
        ),
    ),
    Row("T-10", "the server ends after the ClientHello", (below(fails(CE), CLOSE, twice=True),)),
    Row(
        "T-11",
        "the server resets",
        (
            below(fails(CE), RST, label="after the ClientHello", twice=True),
            # Whether a connection is made before it is lost, and so whether there is a second, is chance.
            secure(fails(CE), [RAW, RST], VAIN, "on accept", twice=True),
        ),
    ),
    Row("T-12", "close_notify within the handshake", (below(fails(CE), send(CLOSE_NOTIFY), STALL),)),
    Row("T-13", "handshakes that do not get on (also T-14, T-15)", scenario=stalled_handshake),
    Row("T-16", "every fatal alert", scenario=each_alert),
    Row("T-17", "5,000 warnings", (below(fails(CE), send(USER_CANCELED * 5_000), STALL),)),
    Row("T-18", "a record that is too long", (below(fails(CE), send(TOO_LONG), STALL),)),
    Row(
        "T-19",
        "chains that are long, or hard to follow, and a large certificate",
        (secure(Answer(body=b"ok"), [SERVE], P1, "eight authorities", tls=deep_context(8)),),
        scenario=laborious_chains,
    ),
    Row("T-20", "constraints and names that are abused", scenario=abused_names),
    Row(
        "T-21",
        "whatever the server makes of ALPN",
        (
            secure(Answer(body=b"ok"), [SERVE], P1, "http/1.1", tls=server_context("http/1.1")),
            secure(Answer(body=b"ok"), [SERVE], P1, "h2", tls=server_context("h2")),
            secure(Answer(body=b"ok"), [SERVE], P1, "foo", tls=server_context("foo")),
            below_by_hand(fails(CE), Server13(**by_hand(), more=agreed("h2")), "h2, which was not offered"),
        ),
    ),
    Row("T-22", "pools with different trust share nothing", scenario=pools_apart),
    Row("T-23", "a context that is changed between two connections", scenario=changed_context),
    Row("T-24", "tickets", scenario=tickets_are_not_shown),
    Row("T-25", "an end without a word while we write", scenario=abandoned_while_writing),
    Row("T-26", "a server that answers no goodbye", scenario=without_a_goodbye),
    Row(
        "T-27",
        "a whole body, then an end without a word",
        (
            secure(Answer(body=b"ok"), [RECEIVE, send(OK), UNCLEAN_FIN], PX, "sized", settle=True),
            secure(Answer(body=b"ok"), [RECEIVE, send(CHUNKED), UNCLEAN_FIN], PX, "chunked", settle=True),
        ),
    ),
    Row(
        "T-28",
        "a body up to the end, then an end without a word",
        (secure(Answer(body=b"0123456789"), [RECEIVE, send(TO_EOF), UNCLEAN_FIN, STALL]),),
    ),
    Row(
        "T-29",
        "half a body, then an end without a word",
        (secure(fails(RPE), [RECEIVE, send(SHORT_BODY), UNCLEAN_FIN, STALL]),),
    ),
    Row(
        "T-30",
        "a body up to close_notify; the connection stays open below",
        (secure(Answer(body=b"0123456789"), [RECEIVE, send(TO_EOF), GOODBYE, STALL]),),
    ),
    Row(
        "T-31",
        "a forged record in the middle of a body",
        (secure(fails(RE), [RECEIVE, send(SHORT_BODY), on_the_wire(FORGED), STALL]),),
    ),
    Row(
        "T-32",
        "close_notify while idle",
        (secure(Answer(body=b"ok"), [RECEIVE, send(OK), GOODBYE], PX, settle=True),),
    ),
    Row(
        "T-33",
        "noise while idle",
        (secure(Answer(body=b"ok"), [RECEIVE, send(OK), on_the_wire(b"noise")], PX, settle=True),),
    ),
    Row("T-34", "the server ends after the handshake", (secure(fails(RPE), [FIN]),)),
    Row(
        "T-35",
        "the server resets after the request",
        (secure(Either((fails(RE), fails(RPE))), [RECEIVE, RST]),),
    ),
    Row("T-36", "a storm of messages while idle", scenario=storm_while_idle),
    Row(
        "T-37",
        "renegotiation, compression, and an answer to early data that nobody sent",
        (
            below_by_hand(fails(CE), Server13(**by_hand(), compression=1), "compression"),
            below_by_hand(fails(CE), Server12(**by_hand(), compression=1), "compression, TLS 1.2"),
            below_by_hand(fails(CE), Server13(**by_hand(), more=extension(EARLY_DATA, b"")), "early data"),
        ),
        scenario=renegotiation,
    ),
    Row("T-38", "whom the server is asked for", scenario=asked_for_names),
    Row("T-39", "the server resets in the middle of its flight", scenario=cut_flight),
]


@pytest.mark.parametrize("tls", ["auto", "python"])
@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str, tls: str) -> None:
    judge(row, door, engine, tls)
