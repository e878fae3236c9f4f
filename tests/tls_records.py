"""TLS written out by hand: records, keys, and messages, for servers that do what no library's would.

`tls_by_hand.py` shakes hands with it. Both know the one way that every client here can go: X25519,
AES-128-GCM with SHA-256, TLS 1.2 and 1.3. Nothing is checked that only an attacker would get wrong: it is
the client who is under test.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Types of records (RFC 8446 section 5.1).
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23
TLS_1_2 = b"\x03\x03"
HEADER = 5
# A message of which a record holds no other part (RFC 8446 section 5.1).
KEY_UPDATE = 24
# The most that one record may hold in the clear.
MAX_FRAGMENT = 1 << 14

SHA256_SIZE = 32
KEY_SIZE, TAG_SIZE = 16, 16


def vector(data: bytes, width: int) -> bytes:
    """Bytes behind their length."""
    return len(data).to_bytes(width, "big") + data


def number(value: int, width: int = 2) -> bytes:
    return value.to_bytes(width, "big")


class Keys(Protocol):
    """What protects the records of one direction."""

    def seal(self, kind: int, data: bytes) -> bytes:
        """A record."""

    def open(self, header: bytes, body: bytes) -> tuple[int, bytes]:
        """Its type, and what was in it."""


class Clear:
    """Nothing does yet."""

    def seal(self, kind: int, data: bytes) -> bytes:
        return bytes([kind]) + TLS_1_2 + vector(data, 2)

    def open(self, header: bytes, body: bytes) -> tuple[int, bytes]:
        return header[0], body


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def expand_label(secret: bytes, label: str, context: bytes, size: int) -> bytes:
    """RFC 8446 section 7.1; `size` is at most one hash."""
    info = number(size) + vector(b"tls13 " + label.encode(), 1) + vector(context, 1)
    return hmac_sha256(secret, info + b"\x01")[:size]


def derive(secret: bytes, label: str, messages: bytes) -> bytes:
    return expand_label(secret, label, hashlib.sha256(messages).digest(), SHA256_SIZE)


class Keys13:
    """TLS 1.3 (RFC 8446 sections 5.2 and 7.3): the type is inside."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._aead = AESGCM(expand_label(secret, "key", b"", KEY_SIZE))
        self._iv = int.from_bytes(expand_label(secret, "iv", b"", 12), "big")
        self._records = 0

    def following(self) -> Keys13:
        """The keys after a KeyUpdate."""
        return Keys13(expand_label(self.secret, "traffic upd", b"", SHA256_SIZE))

    def seal(self, kind: int, data: bytes) -> bytes:
        header = bytes([APPLICATION]) + TLS_1_2 + number(len(data) + 1 + TAG_SIZE)
        return header + self._aead.encrypt(self._nonce(), data + bytes([kind]), header)

    def open(self, header: bytes, body: bytes) -> tuple[int, bytes]:
        if header[0] != APPLICATION:
            return header[
                0
            ], body  # a ChangeCipherSpec, which means nothing; an alert of one who has no keys yet
        data = self._aead.decrypt(self._nonce(), body, header).rstrip(b"\0")
        return data[-1], data[:-1]

    def _nonce(self) -> bytes:
        nonce = self._iv ^ self._records
        self._records += 1
        return number(nonce, 12)


class Keys12:
    """TLS 1.2 with AES-GCM (RFC 5246 section 6.2.3.3, RFC 5288)."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._aead = AESGCM(key)
        self._iv = iv
        self._records = 0

    def seal(self, kind: int, data: bytes) -> bytes:
        start, place = bytes([kind]) + TLS_1_2, number(self._records, 8)
        sealed = self._aead.encrypt(self._iv + place, data, self._about(start, len(data)))
        return start + vector(place + sealed, 2)

    def open(self, header: bytes, body: bytes) -> tuple[int, bytes]:
        about = self._about(header[:3], len(body) - 8 - TAG_SIZE)
        return header[0], self._aead.decrypt(self._iv + body[:8], body[8:], about)

    def _about(self, start: bytes, size: int) -> bytes:
        about = number(self._records, 8) + start + number(size)
        self._records += 1
        return about


def prf(secret: bytes, label: str, seed: bytes, size: int) -> bytes:
    """RFC 5246 section 5."""
    seed = label.encode() + seed
    made, a = b"", seed
    while len(made) < size:
        a = hmac_sha256(secret, a)
        made += hmac_sha256(secret, a + seed)
    return made[:size]


class Wire:
    """A socket, the records on it, and the messages in them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.reading: Keys = Clear()
        self.writing: Keys = Clear()
        # How much of a message goes into one record.
        self.fragment = MAX_FRAGMENT
        # All messages of the handshake, both ways.
        self.transcript = b""
        # What was received of a message that is not whole yet.
        self._part = b""
        # What the client has sent in the clear and nobody has taken.
        self._said = b""
        # The last request's.
        self.head = self.body = b""
        # How often the client has changed its keys.
        self.updates = 0

    def send(self, kind: int, data: bytes) -> None:
        """In as many records as it takes, all at once."""
        pieces = [data[at : at + self.fragment] for at in range(0, len(data) or 1, self.fragment)]
        self._sock.sendall(b"".join(self.writing.seal(kind, piece) for piece in pieces))

    def send_as_it_is(self, data: bytes) -> None:
        self._sock.sendall(data)

    def send_messages(self, *messages: bytes) -> None:
        """Of the handshake, as one flight."""
        flight = b"".join(messages)
        self.transcript += flight
        self.send(HANDSHAKE, flight)

    def alert(self, code: int, level: int = 2) -> None:
        self.send(ALERT, bytes([level, code]))

    def receive(self) -> tuple[int, bytes]:
        """One record. Raises `OSError` at the end."""
        header = self._take(HEADER)
        return self.reading.open(header, self._take(int.from_bytes(header[3:], "big")))

    def receive_message(self) -> bytes:
        """One whole message of the handshake. Raises `OSError` for an alert, since the client is done."""
        while len(self._part) < 4 or len(self._part) < 4 + int.from_bytes(self._part[1:4], "big"):
            kind, data = self.receive()
            if kind == ALERT:
                raise ConnectionResetError(f"the client sent an alert: {data!r}")
            if kind == HANDSHAKE:
                self._part += data
            if kind == APPLICATION:
                self._said += data
        size = 4 + int.from_bytes(self._part[1:4], "big")
        message, self._part = self._part[:size], self._part[size:]
        self.transcript += message
        return message

    def receive_change(self) -> None:
        """A ChangeCipherSpec."""
        kind, data = self.receive()
        if kind != CHANGE_CIPHER_SPEC:
            raise ConnectionResetError(f"the client sent {kind}: {data!r}")

    def receive_request(self, size: int = 0) -> None:
        """A head, and `size` bytes of a body."""
        while (end := self._said.find(b"\r\n\r\n") + 4) < 4 or len(self._said) < end + size:
            kind, data = self.receive()
            if kind == ALERT:
                raise ConnectionResetError(f"the client sent an alert: {data!r}")
            if kind == APPLICATION:
                self._said += data
            if kind == HANDSHAKE and data[0] == KEY_UPDATE and isinstance(self.reading, Keys13):
                self.reading = self.reading.following()
                self.updates += 1
        self.head = self._said[:end]
        self.body, self._said = self._said[end : end + size], self._said[end + size :]

    def answer(self, data: bytes) -> None:
        self.send(APPLICATION, data)

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._sock.recv(size - len(data))
            if not more:
                raise ConnectionResetError("the client has closed")
            data += more
        return data
