"""A TLS server written out by hand: handshakes of TLS 1.2 and 1.3 with one thing in them that is odd.

`play` makes a step of a server's script of it. What a client ought to think of the oddness is told by
httpcore, never here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from typing import Any

from certificates_made import Key
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from servers import Connection, Step, call
from tls_records import (
    CHANGE_CIPHER_SPEC,
    KEY_UPDATE,
    MAX_FRAGMENT,
    TLS_1_2,
    Keys12,
    Keys13,
    Wire,
    derive,
    expand_label,
    hmac_sha256,
    number,
    prf,
    vector,
)

# Messages of a handshake (RFC 8446 section 4, RFC 5246 section 7.4).
HELLO_REQUEST, SERVER_HELLO, NEW_SESSION_TICKET, ENCRYPTED_EXTENSIONS = 0, 2, 4, 8
CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE = 11, 12, 13, 14
CERTIFICATE_VERIFY, FINISHED = 15, 20

# Extensions, in the registry's numbers.
SIGNATURE_ALGORITHMS, MASTER_SECRET, EARLY_DATA, VERSIONS, KEY_SHARE = 13, 23, 42, 43, 51
RENEGOTIATION = 0xFF01

X25519 = 29
# The random number by which a ServerHello asks for another ClientHello (RFC 8446 section 4.1.3).
RETRY = hashlib.sha256(b"HelloRetryRequest").digest()
AES_128_GCM_SHA256 = b"\x13\x01"
ECDHE_ECDSA, ECDHE_RSA = b"\xc0\x2b", b"\xc0\x2f"
NO_COMPRESSION = 0

# What a server's key signs with (RFC 8446 section 4.2.3).
SCHEMES = {"secp256r1": 0x0403, "secp384r1": 0x0503, "secp521r1": 0x0603}
PSS, ED25519, ED448 = 0x0804, 0x0807, 0x0808
PSS_SALT = 32

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def message(kind: int, *parts: bytes) -> bytes:
    return bytes([kind]) + vector(b"".join(parts), 3)


def extension(kind: int, value: bytes) -> bytes:
    return number(kind) + vector(value, 2)


class ClientHello:
    """What of it a server needs to go on."""

    def __init__(self, hello: bytes) -> None:
        at = 4 + 2
        self.random, at = hello[at : at + 32], at + 32
        self.session_id, at = _vector(hello, at, 1)
        _suites, at = _vector(hello, at, 2)
        _compression, at = _vector(hello, at, 1)
        block, at = _vector(hello, at, 2)
        self.extensions: dict[int, bytes] = {}
        place = 0
        while place < len(block):
            kind = int.from_bytes(block[place : place + 2], "big")
            self.extensions[kind], place = _vector(block, place + 2, 2)

    @property
    def share(self) -> bytes:
        """Its key for X25519."""
        shares, _ = _vector(self.extensions[KEY_SHARE], 0, 2)
        place = 0
        while place < len(shares):
            group = int.from_bytes(shares[place : place + 2], "big")
            share, place = _vector(shares, place + 2, 2)
            if group == X25519:
                return share
        raise AssertionError("the client has no key for X25519 in its first flight")


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    size = int.from_bytes(data[at : at + width], "big")
    start = at + width
    return data[start : start + size], start + size


def _signature(key: Any, content: bytes) -> bytes:
    """The number of its kind, and the signature."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        digest = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}[key.curve.key_size]()
        return number(SCHEMES[key.curve.name]) + vector(key.sign(content, ec.ECDSA(digest)), 2)
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), PSS_SALT)
        return number(PSS) + vector(key.sign(content, pss, hashes.SHA256()), 2)
    return number(ED25519 if "25519" in type(key).__name__ else ED448) + vector(key.sign(content), 2)


def _exchange(share: bytes) -> tuple[bytes, bytes]:
    """Our key, and the secret that it makes with the client's."""
    mine = x25519.X25519PrivateKey.generate()
    public = mine.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return public, mine.exchange(x25519.X25519PublicKey.from_public_bytes(share))


@dataclasses.dataclass(frozen=True)
class Server13:
    """A server of TLS 1.3. The defaults are those of a good one."""

    chain: tuple[bytes, ...]
    key: Key
    # How much of a message goes into one record.
    fragment: int = MAX_FRAGMENT
    compression: int = NO_COMPRESSION
    # More of what comes back for the client's extensions.
    more: bytes = b""
    # Filled in here: what each client has said.
    hellos: list[ClientHello] = dataclasses.field(default_factory=list)

    def shake_hands(self, connection: Connection) -> Wire:
        """The wire after the handshake; raises `OSError` if the client has none of it."""
        wire = Wire(connection.sock)
        hello = ClientHello(wire.receive_message())
        self.hellos.append(hello)
        wire.fragment = self.fragment
        share, shared = _exchange(hello.share)
        extensions = extension(VERSIONS, b"\x03\x04") + extension(
            KEY_SHARE, number(X25519) + vector(share, 2)
        )
        wire.send_messages(
            message(
                SERVER_HELLO,
                TLS_1_2 + os.urandom(32) + vector(hello.session_id, 1),
                AES_128_GCM_SHA256 + bytes([self.compression]) + vector(extensions, 2),
            )
        )
        wire.send(CHANGE_CIPHER_SPEC, b"\x01")
        early = hmac_sha256(bytes(32), bytes(32))
        secret = hmac_sha256(derive(early, "derived", b""), shared)
        wire.writing = mine = Keys13(derive(secret, "s hs traffic", wire.transcript))
        wire.reading = Keys13(derive(secret, "c hs traffic", wire.transcript))
        certificates = b"".join(vector(certificate, 3) + vector(b"", 2) for certificate in self.chain)
        wire.send_messages(
            message(ENCRYPTED_EXTENSIONS, vector(self.more, 2)),
            message(CERTIFICATE, vector(b"", 1), vector(certificates, 3)),
        )
        digest = hashlib.sha256(wire.transcript).digest()
        content = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + digest
        wire.send_messages(message(CERTIFICATE_VERIFY, _signature(self.key, content)))
        finished_key = expand_label(mine.secret, "finished", b"", 32)
        digest = hashlib.sha256(wire.transcript).digest()
        wire.send_messages(message(FINISHED, hmac_sha256(finished_key, digest)))
        master = hmac_sha256(derive(secret, "derived", b""), bytes(32))
        until_now = wire.transcript
        wire.receive_message()
        wire.writing = Keys13(derive(master, "s ap traffic", until_now))
        wire.reading = Keys13(derive(master, "c ap traffic", until_now))
        return wire


def ask_for_group(group: int) -> Step:
    """A server that has this group alone, and asks the client for a key of it (RFC 8446 section 4.1.4)."""

    def run(connection: Connection) -> None:
        wire = Wire(connection.sock)
        hello = ClientHello(wire.receive_message())
        extensions = extension(VERSIONS, b"\x03\x04") + extension(KEY_SHARE, number(group))
        wire.send_messages(
            message(
                SERVER_HELLO,
                TLS_1_2 + RETRY + vector(hello.session_id, 1),
                AES_128_GCM_SHA256 + bytes([NO_COMPRESSION]) + vector(extensions, 2),
            )
        )
        wire.receive_message()

    return call(run)


def update_keys(wire: Wire, *, asking: bool) -> None:
    """Changes our keys, and may ask for the client's to be changed (RFC 8446 section 4.6.3)."""
    assert isinstance(wire.writing, Keys13)
    wire.send_messages(message(KEY_UPDATE, bytes([asking])))
    wire.writing = wire.writing.following()


def ticket(size: int = 32) -> bytes:
    """Something to resume the session with, which nobody should do."""
    about = number(7200, 4) + os.urandom(4) + vector(os.urandom(8), 1)
    return message(NEW_SESSION_TICKET, about, vector(os.urandom(size), 2), vector(b"", 2))


def certificate_request() -> bytes:
    """Asks for a certificate (RFC 8446 section 4.3.2), after the handshake too (section 4.6.2)."""
    schemes = extension(SIGNATURE_ALGORITHMS, vector(number(SCHEMES["secp256r1"]), 2))
    return message(CERTIFICATE_REQUEST, vector(b"later", 1), vector(schemes, 2))


@dataclasses.dataclass(frozen=True)
class Server12:
    """A server of TLS 1.2. The defaults are those of a good one."""

    chain: tuple[bytes, ...]
    key: Key
    fragment: int = MAX_FRAGMENT
    compression: int = NO_COMPRESSION
    # RFC 5746 and RFC 7627.
    says_how_to_renegotiate: bool = True
    extends_master_secret: bool = True

    def shake_hands(self, connection: Connection) -> Handshaken12:
        """The wire after the handshake; raises `OSError` if the client has none of it."""
        wire = Handshaken12(connection, self)
        wire.fragment = self.fragment
        wire.shake_hands()
        return wire


class Handshaken12(Wire):
    """A wire of TLS 1.2, on which hands can be shaken again."""

    def __init__(self, connection: Connection, server: Server12) -> None:
        super().__init__(connection.sock)
        self._server = server
        # What ended the last handshake, the client's and ours (RFC 5746 section 3.1).
        self._ends = b"", b""

    def ask_to_renegotiate(self) -> None:
        self.send(22, message(HELLO_REQUEST))

    def shake_hands(self) -> None:
        """Also in the middle of a session."""
        self.transcript = b""
        hello = ClientHello(self.receive_message())
        client_end, our_end = self._ends
        if client_end and hello.extensions[RENEGOTIATION] != vector(client_end, 1):
            raise AssertionError("the client does not say which session it goes on with")
        mine = os.urandom(32)
        extensions = b""
        if self._server.says_how_to_renegotiate:
            extensions += extension(RENEGOTIATION, vector(client_end + our_end, 1))
        if self._server.extends_master_secret:
            extensions += extension(MASTER_SECRET, b"")
        is_rsa = isinstance(self._server.key, rsa.RSAPrivateKey)
        private = x25519.X25519PrivateKey.generate()
        public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        parameters = b"\x03" + number(X25519) + vector(public, 1)
        certificates = b"".join(vector(certificate, 3) for certificate in self._server.chain)
        self.send_messages(
            message(
                SERVER_HELLO,
                TLS_1_2 + mine + vector(b"", 1) + (ECDHE_RSA if is_rsa else ECDHE_ECDSA),
                bytes([self._server.compression]) + (vector(extensions, 2) if extensions else b""),
            ),
            message(CERTIFICATE, vector(certificates, 3)),
            message(
                SERVER_KEY_EXCHANGE,
                parameters,
                _signature(self._server.key, hello.random + mine + parameters),
            ),
            message(SERVER_HELLO_DONE),
        )
        share, _ = _vector(self.receive_message(), 4, 1)
        shared = private.exchange(x25519.X25519PublicKey.from_public_bytes(share))
        if self._server.extends_master_secret:
            seed = hashlib.sha256(self.transcript).digest()
            master = prf(shared, "extended master secret", seed, 48)
        else:
            master = prf(shared, "master secret", hello.random + mine, 48)
        block = prf(master, "key expansion", mine + hello.random, 40)
        self.receive_change()
        self.reading = Keys12(block[:16], block[32:36])
        client_end = self._end(master, "client finished")
        assert self.receive_message()[4:] == client_end
        our_end = self._end(master, "server finished")
        self.send(CHANGE_CIPHER_SPEC, b"\x01")
        self.writing = Keys12(block[16:32], block[36:40])
        self.send_messages(message(FINISHED, our_end))
        self._ends = client_end, our_end

    def _end(self, master: bytes, label: str) -> bytes:
        return prf(master, label, hashlib.sha256(self.transcript).digest(), 12)


def play(
    server: Server13 | Server12, scene: Callable[[Any], None] | None = None, *, answers: int = 1
) -> Step:
    """Shakes hands, plays the scene on the wire, answers that many requests, and holds the connection."""

    def run(connection: Connection) -> None:
        wire = server.shake_hands(connection)
        if scene is not None:
            scene(wire)
        for _ in range(answers):
            wire.receive_request()
            wire.answer(ANSWER)

    return call(run)
