"""What servers do that no library's server does on demand: odd handshakes, and surprises in a session.

`tls_by_hand.py` does it. Whatever comes of it comes of it with httpcore, and with ours, with and without
rustls, in the same words.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import certificate_cases
import certificates
import client_hello
import pytest
import trustme
from certificates_made import DIGITAL_SIGNATURE, KEY_ENCIPHERMENT
from cryptography.hazmat.primitives import serialization
from servers import RAW, STALL, Script, Server
from test_tls_gate import backend, pools, verdict
from tls_by_hand import (
    ANSWER,
    EARLY_DATA,
    Server12,
    Server13,
    ask_for_group,
    certificate_request,
    extension,
    message,
    play,
    ticket,
    update_keys,
)
from tls_records import APPLICATION, HANDSHAKE, MAX_FRAGMENT

import httpcore_hyper

AUTHORITY = trustme.CA()
# OpenSSL's, for servers that do not say how they renegotiate (RFC 5746). Python has a name for it since 3.12.
LEGACY_SERVER_CONNECT = getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 4)
# A connection, and a second one for what rustls cannot serve.
CONNECTIONS = 2
# Messages that belong into a handshake.
FINISHED = message(20, bytes(32))
# A type of record that there is not, and an alert that is only a warning.
NO_TYPE, USER_CANCELED, WARNING = 25, 90, 1
INTERNAL_ERROR, CERTIFICATE_REQUIRED = 80, 116

Scene = Callable[[Any], None]


ECDSA = certificates.by_hand(AUTHORITY.issue_cert("localhost"))
RSA = certificates.by_hand(AUTHORITY.issue_cert("localhost", key_type=trustme.KeyType.RSA))
NEW, FORMER = Server13(**ECDSA), Server12(**ECDSA)


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    return context


def lenient() -> ssl.SSLContext:
    context = trusting()
    context.options |= LEGACY_SERVER_CONNECT
    return context


def by_hand(script: Script) -> Server:
    """Its context says that it speaks TLS, and is used for nothing."""
    return Server([[RAW, *script, STALL]] * CONNECTIONS, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def outcome(script: Script, make: Callable[[], ssl.SSLContext] = trusting) -> str:
    """What comes of one request, whoever makes it."""
    verdicts = {}
    with pools(make) as made:
        for name, (_, pool) in made.items():
            with by_hand(script) as server:
                verdicts[name] = verdict(pool, server.url(host="localhost"))
    assert len(set(verdicts.values())) == 1, verdicts
    return verdicts["auto"]


@pytest.mark.parametrize(
    ("server", "served"),
    [
        pytest.param(NEW, "rustls", id="TLS 1.3, ECDSA"),
        pytest.param(Server13(**RSA), "rustls", id="TLS 1.3, RSA"),
        pytest.param(FORMER, "python", id="TLS 1.2, ECDSA"),
        pytest.param(Server12(**RSA), "python", id="TLS 1.2, RSA"),
    ],
)
def test_a_good_server_is_served(server: Any, served: str) -> None:
    """Else the servers below would prove nothing."""
    with pools(trusting) as made:
        for name in ("auto", "python"):
            with by_hand([play(server)]) as other:
                found = backend(made[name][1], other.url(host="localhost"))
            assert found == (served if name == "auto" else "python")


@pytest.mark.parametrize(
    ("server", "said"),
    [
        pytest.param(Server13(**ECDSA, fragment=1), "accepted", id="one byte in a record"),
        pytest.param(Server13(**ECDSA, fragment=100), "accepted", id="100 bytes in a record"),
        pytest.param(Server12(**ECDSA, fragment=1), "accepted", id="one byte in a record, TLS 1.2"),
        pytest.param(Server13(**ECDSA, compression=1), "INVALID_COMPRESSION", id="compression"),
        pytest.param(Server12(**ECDSA, compression=1), "COMPRESSION_DISABLED", id="compression, TLS 1.2"),
        pytest.param(
            Server13(**ECDSA, more=extension(EARLY_DATA, b"")), "UNSOLICITED", id="an answer to no question"
        ),
        pytest.param(
            Server12(**ECDSA, extends_master_secret=False), "accepted", id="no extended master secret"
        ),
        pytest.param(
            Server12(**ECDSA, says_how_to_renegotiate=False), "UNSAFE_LEGACY", id="no renegotiation_info"
        ),
        pytest.param(
            Server12(**ECDSA, says_how_to_renegotiate=False, extends_master_secret=False),
            "UNSAFE_LEGACY",
            id="neither",
        ),
    ],
)
def test_odd_handshakes(server: Any, said: str) -> None:
    assert said in outcome([play(server)])


# Groups by the registry's numbers: one that no client of these tests has, one that quantum computers do not
# break, which OpenSSL has since 3.5, and one that every client has a key for already.
NO_GROUP, X25519MLKEM768, X25519 = 0xFEFE, 0x11EC, 29


@pytest.mark.parametrize("group", [NO_GROUP, X25519MLKEM768, X25519])
def test_servers_that_ask_for_a_key_of_another_group(group: int) -> None:
    """Of one that was not offered; or for a key that was sent with the first flight."""
    if group == X25519MLKEM768 and group in client_hello.offered_by(trusting()).groups:
        pytest.skip("this OpenSSL has the group, and would answer")
    assert outcome([ask_for_group(group)]).startswith("ConnectError [SSL")


def test_a_context_may_do_without_renegotiation_info() -> None:
    """It is an option of the context, and no attribute of the ClientHello."""
    server = Server12(**ECDSA, says_how_to_renegotiate=False)
    assert outcome([play(server)], lenient).startswith("accepted")


@pytest.mark.parametrize("usage", [DIGITAL_SIGNATURE, KEY_ENCIPHERMENT])
@pytest.mark.parametrize("kind", [Server13, Server12])
def test_keys_that_must_not_sign(kind: Any, usage: int) -> None:
    """OpenSSL lets a key without that usage sign in TLS 1.3, not in 1.2: behind the verdict on the chain."""
    case = certificate_cases.case("usage", sent="leaf", leaf={"by": "root", "ku": (usage,)})

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=b"".join(case.trusted))
        return context

    key = serialization.load_pem_private_key(case.key, None)
    server = kind(chain=tuple(case.chain), key=key)
    verdicts = {}
    with pools(make) as made:
        for name, (_, pool) in made.items():
            with by_hand([play(server)]) as other:
                verdicts[name] = verdict(pool, other.url(), sni_hostname=case.host)
    assert len(set(verdicts.values())) == 1, verdicts
    bad = kind is Server12 and usage == KEY_ENCIPHERMENT
    assert verdicts["auto"].startswith("accepted") != bad, verdicts


# Surprises in a session.


def keys(*, asking: bool, times: int = 1) -> Scene:
    def update(wire: Any) -> None:
        for _ in range(times):
            update_keys(wire, asking=asking)

    return update


def renegotiate(wire: Any) -> None:
    wire.ask_to_renegotiate()
    wire.shake_hands()


def record(kind: int, data: bytes) -> Scene:
    return lambda wire: wire.send(kind, data)


def too_long(wire: Any) -> None:
    """A record with one byte more than any may have."""
    wire.fragment = MAX_FRAGMENT + 1
    wire.send(APPLICATION, bytes(MAX_FRAGMENT + 1))


def forged(wire: Any) -> None:
    """A record that nobody with the right keys has made."""
    sealed = bytearray(wire.writing.seal(APPLICATION, b"ok"))
    sealed[-1] ^= 1
    wire.send_as_it_is(bytes(sealed))


def former_version(wire: Any) -> None:
    wire.send_as_it_is(b"\x17\x02\x00\x00\x20" + bytes(32))


NEW_SURPRISES = [
    pytest.param(keys(asking=False), "accepted", id="KeyUpdate"),
    pytest.param(keys(asking=True), "accepted", id="KeyUpdate, ours as well"),
    pytest.param(keys(asking=True, times=30), "accepted", id="30 KeyUpdates"),
    pytest.param(record(HANDSHAKE, ticket()), "accepted", id="ticket"),
    pytest.param(record(HANDSHAKE, ticket() * 50), "accepted", id="50 tickets"),
    pytest.param(record(APPLICATION, b""), "accepted", id="an empty record"),
    pytest.param(record(HANDSHAKE, certificate_request()), "UNEXPECTED_MESSAGE", id="CertificateRequest"),
    pytest.param(record(HANDSHAKE, FINISHED), "UNEXPECTED_MESSAGE", id="Finished"),
    pytest.param(
        lambda wire: wire.alert(CERTIFICATE_REQUIRED), "TLSV13_ALERT_CERTIFICATE_REQUIRED", id="TLS 1.3 alert"
    ),
]
SURPRISES = [
    pytest.param(lambda wire: wire.alert(USER_CANCELED, WARNING), "accepted", id="warning"),
    pytest.param(lambda wire: wire.alert(INTERNAL_ERROR), "TLSV1_ALERT_INTERNAL_ERROR", id="alert"),
    pytest.param(lambda wire: wire.alert(255), "ReadError", id="unknown alert"),
    pytest.param(record(NO_TYPE, b"?"), "ReadError", id="unknown type"),
    pytest.param(too_long, "ReadError", id="too long"),
    pytest.param(forged, "BAD_RECORD_MAC", id="forged"),
    pytest.param(former_version, "WRONG_VERSION", id="another version"),
]


def early(surprise: Scene, server: Any) -> Script:
    """Right after the handshake."""
    return [play(server, surprise)]


def late(surprise: Scene, server: Any) -> Script:
    """In the middle of a response."""

    def scene(wire: Any) -> None:
        wire.receive_request()
        wire.answer(ANSWER[:-1])
        surprise(wire)
        wire.answer(ANSWER[-1:])

    return [play(server, scene, answers=0)]


@pytest.mark.parametrize("when", [early, late])
@pytest.mark.parametrize(("surprise", "said"), [*NEW_SURPRISES, *SURPRISES])
def test_surprises_in_tls_1_3(surprise: Scene, said: str, when: Any) -> None:
    assert said in outcome(when(surprise, NEW))


@pytest.mark.parametrize("when", [early, late])
@pytest.mark.parametrize(
    ("surprise", "said"),
    [
        *SURPRISES,
        pytest.param(renegotiate, "accepted", id="renegotiation"),
        pytest.param(lambda wire: [renegotiate(wire) for _ in range(3)], "accepted", id="three of them"),
    ],
)
def test_surprises_in_tls_1_2(surprise: Scene, said: str, when: Any) -> None:
    assert said in outcome(when(surprise, FORMER))


@pytest.mark.parametrize("tls", ["auto", "python"])
def test_our_keys_are_changed_when_the_server_asks(tls: Any) -> None:
    """The next request comes under new ones."""
    updates = []

    def scene(wire: Any) -> None:
        for _ in range(3):
            wire.receive_request()
            updates.append(wire.updates)
            update_keys(wire, asking=True)
            wire.answer(ANSWER)

    with (
        by_hand([play(NEW, scene, answers=0)]) as server,
        httpcore_hyper.ConnectionPool(trusting(), tls=tls) as pool,
    ):
        for _ in range(3):
            assert pool.request("GET", server.url(host="localhost")).content == b"ok"
        assert server.accepted == 1
    assert updates == [0, 1, 2]


@pytest.mark.parametrize("tls", ["auto", "python"])
def test_an_upload_goes_on_behind_a_renegotiation(tls: Any) -> None:
    """The server asks before the body is there; it is read until the client begins anew."""
    body = bytes(range(256)) * 4000
    received = []

    def scene(wire: Any) -> None:
        renegotiate(wire)
        wire.receive_request(size=len(body))
        received.append(wire.body)
        wire.answer(ANSWER)

    with (
        by_hand([play(FORMER, scene, answers=0)]) as server,
        httpcore_hyper.ConnectionPool(trusting(), tls=tls) as pool,
    ):
        response = pool.request("POST", server.url(host="localhost"), content=body)
        assert response.content == b"ok"
    assert received == [body]


def test_more_key_updates_than_rustls_takes() -> None:
    """It allows 32 with no data between them, where OpenSSL has no limit; whoever needs more has `python`."""
    with pools(trusting) as made:
        for name, (_, pool) in made.items():
            with by_hand([play(NEW, keys(asking=False, times=40))]) as server:
                said = verdict(pool, server.url(host="localhost"))
            assert said.startswith("ReadError" if name == "auto" else "accepted"), (name, said)
