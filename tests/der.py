"""A writer of DER, as much as certificates need, which writes whatever it is told. Nothing is checked here.

That is its purpose: libraries that make certificates refuse to make the bad ones.
"""

from __future__ import annotations

import datetime

SEQUENCE, SET = 0x30, 0x31
BOOLEAN, INTEGER, BITS, OCTETS, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, UTF8, IA5, UTC_TIME = 0x0A, 0x0C, 0x16, 0x17
# A tag of the type's own: in the place of another tag, or around it.
CONTEXT, CONSTRUCTED = 0x80, 0x20


def tlv(tag: int, *parts: bytes) -> bytes:
    """Tag, length, value (X.690 section 8.1)."""
    value = b"".join(parts)
    if len(value) < 0x80:
        return bytes([tag, len(value)]) + value
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, *parts)


def explicit(number: int, *parts: bytes) -> bytes:
    """`[number]` around other values; in the place of the tag of a sequence it looks the same."""
    return tlv(CONTEXT | CONSTRUCTED | number, *parts)


def implicit(number: int, value: bytes) -> bytes:
    """`[number]` in the place of the tag of a value that is not made of others."""
    return tlv(CONTEXT | number, value)


def integer(value: int, tag: int = INTEGER) -> bytes:
    # One bit more than the number has, for its sign.
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def boolean(value: bool) -> bytes:
    return tlv(BOOLEAN, b"\xff" if value else b"\x00")


def bits(value: bytes, unused: int = 0) -> bytes:
    return tlv(BITS, bytes([unused]), value)


def named_bits(numbers: tuple[int, ...]) -> bytes:
    """Bits that are set by their numbers, the first being the highest, without zeros at the end."""
    if not numbers:
        return bits(b"")
    size = max(numbers) // 8 + 1
    value = sum(1 << (size * 8 - 1 - number) for number in numbers)
    return bits(value.to_bytes(size, "big"), unused=7 - max(numbers) % 8)


def oid(dotted: str) -> bytes:
    first, second, *arcs = map(int, dotted.split("."))
    value = b""
    for arc in (first * 40 + second, *arcs):
        digits = bytes([arc & 0x7F])
        while arc := arc >> 7:
            digits = bytes([0x80 | arc & 0x7F]) + digits
        value += digits
    return tlv(OID, value)


def utc_time(moment: datetime.datetime) -> bytes:
    """For the years 1950 to 2049."""
    return tlv(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
