"""What is raised when TLS fails: httpcore's class, and in it the exception of `ssl` with all that it tells.

httpcore's sync pool is the measure for every door: its async ones hide or leak some of it, which
`docs/differences.md` lists.
"""

from __future__ import annotations

import dataclasses
import functools
import ssl
from collections.abc import Callable
from typing import Any

import httpcore
import pytest
import trustme
from certificates import (
    by_hand,
    client_context,
    demanding_context,
    expired_context,
    server_context,
    stranger_context,
)
from doors import Door, through
from engines import HTTPCORE, HYPER
from servers import CLOSE, HEAR, RAW, RST, SERVE, STALL, Script, Server, send
from tls_by_hand import ANSWER, Server13, play

# Where an error's text goes on with a line of CPython's own source.
SOURCE_LINE = " (_ssl.c"
SHORT = {"connect": 0.2}


@dataclasses.dataclass(frozen=True)
class Case:
    """A server, a client, and the class that comes of them."""

    raised: type[Exception]
    words: str
    script: Script = (SERVE,)
    serve: Callable[[], ssl.SSLContext] = server_context
    trust: Callable[[], ssl.SSLContext] = client_context
    extensions: dict[str, Any] = dataclasses.field(default_factory=dict)
    host: str = "localhost"


def former() -> ssl.SSLContext:
    """A server of TLS 1.2, with a cipher that no default client offers."""
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0")
    return context


def oldest() -> ssl.SSLContext:
    """A server of TLS 1.2 for a client of TLS 1.3."""
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def newest() -> ssl.SSLContext:
    context = client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def self_signed() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    with authority.private_key_pem.tempfile() as key, authority.cert_pem.tempfile() as certificate:
        context.load_cert_chain(certificate, key)
    return context


def demanding_1_2() -> ssl.SSLContext:
    return demanding_context(ssl.TLSVersion.TLSv1_2)


def demanding_1_3() -> ssl.SSLContext:
    return demanding_context(ssl.TLSVersion.TLSv1_3)


def alert(code: int) -> Script:
    """The answer to the ClientHello."""
    return [RAW, HEAR, send(bytes((21, 3, 3, 0, 2, 2, code))), STALL]


def within(act: Callable[[Any], None]) -> Script:
    """Something in the middle of a body."""

    def scene(wire: Any) -> None:
        wire.receive_request()
        wire.answer(ANSWER[:-1])
        act(wire)

    return [RAW, play(Server13(**by_hand()), scene, answers=0), STALL]


def forge(wire: Any) -> None:
    sealed = bytearray(wire.writing.seal(23, b"ok"))
    sealed[-1] ^= 1
    wire.send_as_it_is(bytes(sealed))


CE, RE = httpcore.ConnectError, httpcore.ReadError
CASES = {
    "unknown authority": Case(CE, "unable to get local issuer certificate", trust=stranger_context),
    "self-signed": Case(CE, "self-signed certificate", serve=self_signed),
    "too old": Case(CE, "certificate has expired", serve=expired_context),
    "another name": Case(CE, "Hostname mismatch", extensions={"sni_hostname": "elsewhere.com"}),
    "another address": Case(CE, "IP address mismatch", extensions={"sni_hostname": "127.0.0.2"}),
    "no TLS": Case(CE, "[SSL: WRONG_VERSION_NUMBER]", [RAW, HEAR, send(b"HTTP/1.1 400 No\r\n\r\n"), CLOSE]),
    "another version": Case(CE, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION]", serve=oldest, trust=newest),
    "no cipher": Case(CE, "[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE]", serve=former),
    "no protocol": Case(CE, "alert no application protocol", alert(120)),
    "no such name": Case(CE, "[SSL: TLSV1_UNRECOGNIZED_NAME]", alert(112)),
    "no certificate, TLS 1.2": Case(CE, "[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE]", serve=demanding_1_2),
    "no certificate, TLS 1.3": Case(RE, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]", serve=demanding_1_3),
    "end": Case(CE, "[SSL: UNEXPECTED_EOF_WHILE_READING]", [RAW, HEAR, CLOSE]),
    "reset": Case(CE, "[Errno 104] Connection reset by peer", [RAW, HEAR, RST]),
    "forged record": Case(RE, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC]", within(forge)),
    "alert in a body": Case(RE, "[SSL: TLSV1_ALERT_INTERNAL_ERROR]", within(lambda wire: wire.alert(80))),
    "handshake in a body": Case(
        RE, "[SSL: UNEXPECTED_MESSAGE]", within(lambda wire: wire.send(22, bytes(4)))
    ),
}


def facts(error: Exception) -> dict[str, Any]:
    """All that a program may ask of an exception, but for its traceback."""
    (under,) = error.args
    return {
        "class": type(error),
        "words": str(error).partition(SOURCE_LINE)[0],
        "argument": type(under),
        "its number": under.errno,
        "its library": getattr(under, "library", None),
        "its reason": getattr(under, "reason", None),
        "its code": getattr(under, "verify_code", None),
        "its message": getattr(under, "verify_message", None),
        "cause": error.__cause__,
        "context": error.__context__ is under,
        "hidden": error.__suppress_context__,
    }


def provoked(case: Case, door_name: str, engine: str, tls: str = "python") -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def scenario(door: Door) -> None:
        door.tls = tls
        # The second is for what rustls leaves to the context.
        with Server([case.script] * 2, tls=case.serve()) as server:
            pool = door.pool(ssl_context=case.trust())
            with pytest.raises(case.raised) as raised:
                await pool.request("GET", server.url(host=case.host), extensions=dict(case.extensions))
            found.append(facts(raised.value))
            await pool.close()

    through(door_name, engine, scenario)
    return found[0]


@functools.cache
def measure(name: str) -> dict[str, Any]:
    return provoked(CASES[name], "sync", HTTPCORE)


@pytest.mark.parametrize("tls", ["auto", "python"])
@pytest.mark.parametrize("door_name", ["sync", "asyncio", "trio"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_raised(name: str, door_name: str, tls: str) -> None:
    """On each door and by either cryptography what httpcore raises, down to the numbers."""
    case, expected = CASES[name], measure(name)
    assert case.words in expected["words"]
    found = provoked(case, door_name, HYPER, tls)
    if httpcore.__name__ == "httpcore2":
        # What an error of a body was raised from is its `__cause__` there; with httpcore, and with us, it is
        # the `__context__` alone, as with every other error.
        expected, found = ({**one, "cause": None} for one in (expected, found))
    assert found == expected


@pytest.mark.parametrize("tls", ["auto", "python"])
@pytest.mark.parametrize("door_name", ["sync", "asyncio", "trio"])
def test_a_handshake_that_takes_too_long(door_name: str, tls: str) -> None:
    """The words are the same on every door, where httpcore's are different ones or none."""

    async def scenario(door: Door) -> None:
        door.tls = tls
        with Server([[RAW, HEAR, STALL]], tls=server_context()) as server:
            pool = door.pool(ssl_context=client_context())
            with pytest.raises(httpcore.ConnectTimeout, match="timed out"):
                await pool.request("GET", server.url(host="localhost"), timeout=SHORT)
            await pool.close()

    through(door_name, HYPER, scenario)
