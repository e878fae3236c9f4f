"""Chapter H2: HTTP/2 responses that break the rules of messages, and some that only look as if they did."""

from __future__ import annotations

from doors import EMPTY, Door
from frames import PROTOCOL_ERROR, Peer, Peers
from http2_matrix import PS, Fault, Play, answer, check_next, faults, greeted, new_pool, serving
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame
from matrix import P0, RPE, Answer, Row, check, check_closed, fails
from verdicts import judge, parametrize

OK = Answer(body=b"ok")
BROKEN = fails(RPE)
STATUS = (":status", "200")


def reset_it(peer: Peer) -> bool:
    """The client has answered by a stream error, and by nothing else."""
    return peer.resets == {1: PROTOCOL_ERROR}


def heads(*headers: tuple[str, str], body: bytes | None = b"ok") -> Play:
    """A head of these, and DATA that ends the stream, or END_STREAM on the head."""

    def play(peer: Peer, stream: int) -> None:
        if body is None:
            peer.send(peer.head(stream, "END_STREAM", headers=headers))
            return
        peer.send(peer.head(stream, headers=headers), DataFrame(stream, body, flags=["END_STREAM"]))

    return play


def lengths(*values: str, body: bytes | None = b"ok") -> Play:
    return heads(STATUS, *[("content-length", value) for value in values], body=body)


def header(name: str, value: str, label: str, after: str) -> Fault:
    """One header in an otherwise good response."""
    return Fault(BROKEN, heads(STATUS, (name, value)), after, label, wire=reset_it if after == PS else None)


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """RFC 7541 section 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    parts, value = [first | most], value - most
    while value >= 128:
        parts.append(value % 128 + 128)
        value //= 128
    return bytes([*parts, value])


def string(value: bytes) -> bytes:
    return integer(len(value), 7) + value


def literal(name: bytes, value: bytes) -> bytes:
    """A header field as it is. RFC 7541 section 6.2.2."""
    return b"\x00" + string(name) + string(value)


def block(data: bytes) -> Play:
    """A head of exactly these bytes, in as many frames as it takes."""

    def play(peer: Peer, stream: int) -> None:
        parts = [data[start : start + 16384] for start in range(0, len(data), 16384)]
        kinds = [HeadersFrame, *[ContinuationFrame] * (len(parts) - 1)]
        frames = [kind(stream, part) for kind, part in zip(kinds, parts, strict=True)]
        frames[0].flags.add("END_STREAM")
        frames[-1].flags.add("END_HEADERS")
        peer.send(*frames)

    return play


# `:status: 200` of the static table, and an index beyond it while the dynamic one is empty.
OKAY, NOWHERE = b"\x88", b"\xff\x80\x7f"
LARGER_TABLE = integer(1 << 20, 5, 0x20)


def informational(times: int, status: str = "103") -> Play:
    def play(peer: Peer, stream: int) -> None:
        for _ in range(times):
            peer.send(peer.head(stream, headers=[(":status", status), ("link", "</style.css>")]))
        answer(peer, stream)

    return play


def trailers(*flags: str) -> Play:
    def play(peer: Peer, stream: int) -> None:
        peer.send(peer.head(stream), DataFrame(stream, b"ok"))
        peer.send(peer.head(stream, *flags, headers=[("x-check", "sum")]))

    return play


def many(count: int, size: int) -> list[tuple[str, str]]:
    return [(f"x-{number}", "v" * size) for number in range(count)]


def fields(headers: list[tuple[str, str]]) -> Fault:
    """They must arrive, all of them."""
    expect = Answer(body=b"", headers=[(name.encode(), value.encode()) for name, value in headers])
    whole = OKAY + b"".join(literal(name, value) for name, value in expect.headers or [])
    return Fault(expect, block(whole), PS, f"{len(headers)} headers")


async def collateral(door: Door) -> None:
    """What cannot be decoded ends the connection with all of its streams: each learns of it at once."""
    count = 10

    def play(peer: Peer) -> None:
        streams = [peer.read_whole_request() for _ in range(count)]
        peer.send(peer.head(streams[0], "END_STREAM", headers=[STATUS, ("Upper-Case", "x")]))

    peers = Peers()
    with serving(peers, greeted(play)) as server:
        pool = new_pool(door)
        tasks = [door.start(pool.request("GET", server.url())) for _ in range(count)]
        for task in tasks:
            check("verdict", await door.until(lambda task=task: task.done, 2.0), "a request hangs")
            wrong = BROKEN.judge(task)
            check("verdict", wrong is None, str(wrong))
        check("after", pool.counts == EMPTY, f"the pool holds {pool.counts}")
        check("next", await check_next(door, pool, server, peers) == 1, "not on a new connection")
        await check_closed(door, pool, server)


def data_after(status: str) -> Play:
    return heads((":status", status), body=b"body")


ROWS = [
    Row(
        "H2-14",
        "less DATA than Content-Length says",
        faults(
            Fault(BROKEN, lengths("9"), PS, "some", wire=reset_it),
            Fault(BROKEN, lengths("9", body=b""), PS, "none", wire=reset_it),
            Fault(BROKEN, lengths("9", body=None), PS, "END_STREAM on the head"),
            Fault(BROKEN, lengths("9"), PS, "over TLS", tls=True, wire=reset_it),
        ),
    ),
    Row(
        "H2-15",
        "more DATA than Content-Length says",
        faults(
            Fault(BROKEN, lengths("1"), PS, "some", wire=reset_it),
            Fault(BROKEN, lengths("0"), PS, "none was said", wire=reset_it),
        ),
    ),
    Row(
        "H2-16",
        "a Content-Length that is none",
        faults(
            Fault(BROKEN, lengths("2", "3"), PS, "two", wire=reset_it),
            Fault(BROKEN, lengths("two"), PS, "no number", wire=reset_it),
            Fault(BROKEN, lengths("-2"), PS, "negative", wire=reset_it),
            Fault(BROKEN, lengths("99999999999999999999"), PS, "beyond 64 bits", wire=reset_it),
            Fault(BROKEN, lengths(""), PS, "empty", wire=reset_it),
            Fault(OK, lengths("2", "2"), PS, "one, twice"),
        ),
    ),
    Row(
        "H2-17",
        "a status that is none",
        faults(
            Fault(BROKEN, heads(("x-name", "value")), PS, "none", wire=reset_it),
            Fault(BROKEN, heads((":status", "200"), (":status", "404")), PS, "two", wire=reset_it),
            Fault(BROKEN, heads(("x-name", "value"), STATUS), PS, "behind a header", wire=reset_it),
            Fault(BROKEN, heads((":status", "abc")), P0, "no number"),
            Fault(BROKEN, heads((":status", "20")), P0, "two digits"),
            Fault(BROKEN, heads((":status", "")), P0, "empty"),
            Fault(BROKEN, heads((":status", "099")), P0, "below 100"),
            Fault(Answer(999, b"ok"), heads((":status", "999")), PS, "999"),
        ),
    ),
    Row(
        "H2-18",
        "header names that are none",
        faults(
            header("Upper-Case", "x", "upper case", P0),
            header("na me", "x", "a space", P0),
            header("", "x", "empty", P0),
            header("na\nme", "x", "a line end", P0),
            header(":unknown", "x", "an unknown pseudo-header", P0),
        ),
    ),
    Row("H2-18a", "all streams of the connection learn of it", scenario=collateral),
    Row(
        "H2-19",
        "header values that are none",
        faults(
            Fault(BROKEN, block(OKAY + literal(b"x", b"a\r\nevil: 1")), P0, "CR LF"),
            Fault(BROKEN, block(OKAY + literal(b"x", b"a\nb")), P0, "LF"),
            Fault(BROKEN, block(OKAY + literal(b"x", b"a\0b")), P0, "NUL"),
            Fault(
                Answer(headers=[(b"x", b"a\xff\xe9b")]),
                block(OKAY + literal(b"x", b"a\xff\xe9b")),
                PS,
                "obs-text",
            ),
        ),
    ),
    Row(
        "H2-20",
        "headers of HTTP/1.1's connections",
        faults(
            header("connection", "close", "connection", PS),
            header("transfer-encoding", "chunked", "transfer-encoding", PS),
            header("keep-alive", "timeout=5", "keep-alive", PS),
            header("upgrade", "websocket", "upgrade", PS),
            Fault(BROKEN, block(OKAY + literal(b"connection", b"\xff\xfe")), PS, "no UTF-8", wire=reset_it),
        ),
    ),
    Row("H2-21", "a pseudo-header of requests", (Fault(OK, heads(STATUS, (":path", "/")), PS),)),
    Row(
        "H2-22",
        "informational responses",
        faults(
            Fault(OK, informational(1, "100"), PS, "100"),
            Fault(OK, informational(1, "199"), PS, "199"),
            Fault(OK, informational(500), PS, "500 times"),
        ),
    ),
    Row(
        "H2-23",
        "an informational response that ends the stream",
        (Fault(BROKEN, heads((":status", "103"), body=None), PS),),
    ),
    Row(
        "H2-24",
        "trailers",
        faults(
            Fault(OK, trailers("END_STREAM"), PS, "at the end"),
            Fault(BROKEN, trailers(), PS, "and no end", wire=reset_it),
        ),
    ),
    Row(
        "H2-30",
        "header blocks that cannot be decoded",
        faults(
            Fault(BROKEN, block(OKAY + NOWHERE), P0, "an index that is not there"),
            Fault(BROKEN, block(b"\x80"), P0, "index 0"),
            Fault(BROKEN, block(LARGER_TABLE + OKAY), P0, "a table larger than it may be"),
            Fault(BROKEN, block(OKAY + b"\x00\x05na"), P0, "cut short"),
            Fault(BROKEN, block(OKAY + b"\x00\x01x\x84\xff\xff\xff\xff"), P0, "no Huffman code"),
            Fault(BROKEN, block(OKAY + b"\x00\x01x" + integer(1 << 40, 7)), P0, "an endless integer"),
            Fault(
                BROKEN,
                block(OKAY + b"".join(literal(b"x-%d" % n, b"v" * 1000) for n in range(200))),
                P0,
                "200 kB",
            ),
        ),
    ),
    Row("H2-32", "large heads", faults(fields(many(20, 3000)), fields(many(300, 10)))),
    Row(
        "H2-53",
        "DATA where no body may be",
        faults(
            Fault(Answer(204, b"body"), data_after("204"), PS, "204"),
            Fault(Answer(304, b"body"), data_after("304"), PS, "304"),
            Fault(BROKEN, data_after("200"), PS, "HEAD", method="HEAD"),
        ),
    ),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
