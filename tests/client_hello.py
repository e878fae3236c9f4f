"""Reads what a client offers in its first flight (RFC 8446 section 4.1.2). No sockets here.

Written apart from the engine's own reader, so that the two check each other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ssl

HEADER = 5


@dataclasses.dataclass(frozen=True)
class Offer:
    versions: frozenset[int]
    cipher_suites: frozenset[int]
    groups: frozenset[int]
    signature_schemes: frozenset[int]
    extensions: frozenset[int]

    def exceeds(self, other: Offer) -> dict[str, list[int]]:
        """What is offered here and not there. Placeholders that mean nothing (RFC 8701) do not count."""
        beyond = {}
        for field in ("versions", "cipher_suites", "groups", "signature_schemes"):
            more = getattr(self, field) - getattr(other, field)
            more = {number for number in more if not is_placeholder(number)}
            if more:
                beyond[field] = sorted(more)
        return beyond


def is_placeholder(number: int) -> bool:
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def protocols(flight: bytes) -> list[str]:
    """The names offered by ALPN, in their order (RFC 7301 section 3.1)."""
    names, _ = _vector(_read(flight)[1][16], 0, 2)
    found, at = [], 0
    while at < len(names):
        name, at = _vector(names, at, 1)
        found.append(name.decode())
    return found


def offered_by(context: ssl.SSLContext) -> Offer:
    """What sessions of a context offer."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return parse(outgoing.read())


def parse(flight: bytes) -> Offer:
    suites, extensions = _read(flight)
    # A placeholder of the signalling kind (RFC 5746, RFC 7507) is no suite.
    signals = {0x00FF, 0x5600}
    return Offer(
        versions=_numbers(extensions.get(43, b"\0")[1:]),
        cipher_suites=_numbers(suites) - signals,
        groups=_numbers(extensions.get(10, b"\0\0")[2:]),
        signature_schemes=_numbers(extensions.get(13, b"\0\0")[2:]),
        extensions=frozenset(extensions),
    )


def _read(flight: bytes) -> tuple[bytes, dict[int, bytes]]:
    """The cipher suites and the extensions."""
    message = b""
    while flight:
        assert flight[0] == 22, "no handshake record"
        length = int.from_bytes(flight[3:HEADER], "big")
        message += flight[HEADER : HEADER + length]
        flight = flight[HEADER + length :]
    assert message[0] == 1, "no ClientHello"
    at = 4 + 2 + 32
    at += 1 + message[at]
    suites, at = _vector(message, at, 2)
    at += 1 + message[at]
    block, at = _vector(message, at, 2)
    extensions = {}
    place = 0
    while place < len(block):
        kind = int.from_bytes(block[place : place + 2], "big")
        extensions[kind], place = _vector(block, place + 2, 2)
    return suites, extensions


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    length = int.from_bytes(data[at : at + width], "big")
    start = at + width
    return data[start : start + length], start + length


def _numbers(data: bytes) -> frozenset[int]:
    return frozenset(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
