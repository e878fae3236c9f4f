"""Chapter B: bodies that are cut off, framed wrongly, or followed by bytes that nobody asked for."""

from __future__ import annotations

import gzip
import time

from doors import Door
from matrix import (
    FULL_SIZE,
    LEFT,
    P0,
    P1,
    PX,
    RE,
    RPE,
    RT,
    Answer,
    Case,
    Either,
    Expect,
    Row,
    attempt,
    check,
    check_after,
    fails,
)
from routes import chunk, response
from servers import (
    FIN,
    HALF_CLOSE,
    RECEIVE,
    RECEIVE_HEAD,
    RST,
    SERVE,
    STALL,
    Server,
    flood,
    pause,
    send,
)
from verdicts import judge, parametrize

OK = response(b"ok")
# An answer to a request that was never made; whoever receives it got someone else's bytes.
EVIL = response(b"EVIL", headers=((b"X-Nonce", b"EVIL"),))
SHORT_READ = {"read": 0.2}
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# Offsets of a sweep that are tried in CI: all at full size, each third one otherwise.
STRIDE = 1 if FULL_SIZE else 3


def sized(body: bytes, *lengths: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"".join(b"Content-Length: %s\r\n" % n for n in lengths) + b"\r\n" + body


def chunked(*parts: bytes, head: bytes = CHUNKED_HEAD) -> bytes:
    return head + b"".join(parts)


def encoded(*lines: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def kept(label: str, data: bytes, body: bytes = b"ok", after: str = P1) -> Case:
    return Case(Answer(body=body), [RECEIVE, send(data), SERVE], after, label=label)


def rejects(label: str, data: bytes) -> Case:
    return Case(fails(RPE), [RECEIVE, send(data), STALL], label=label)


def cut(label: str, data: bytes, expect: Expect, *, reset: bool = False) -> Case:
    return Case(expect, [RECEIVE, send(data), RST if reset else FIN], label=label)


HELLO = chunked(chunk(b"hello"), chunk(b"world!"), b"0\r\n\r\n")
SIZED_HELLO = sized(b"hello world", b"11")


async def cut_at_each_offset(door: Door) -> None:
    """Inside a body, a FIN is a protocol error and a RST a read error, wherever it falls."""
    cuts = [
        (data[:size], step, error)
        for data in (SIZED_HELLO, HELLO)
        for step, error in ((FIN, RPE), (RST, RE))
        for size in range(data.index(b"\r\n\r\n") + 4, len(data), STRIDE)
    ]
    with Server([[RECEIVE, send(data), step] for data, step, _ in cuts]) as server:
        pool = door.pool()
        for data, step, error in cuts:
            outcome = await attempt(door, pool.request("GET", server.url()))
            wrong = fails(error).judge(outcome)
            check("verdict", wrong is None, f"{step.verb} after {len(data)} bytes: {wrong}")
        await check_after(door, pool, server, P0)


async def huge_body_given_up(door: Door) -> None:
    """Closing after one chunk of 10 GB ends the connection; the rest is not read."""
    size = 10 << 30
    piece = b"x" * 65_536
    with Server([[RECEIVE, send(sized(b"", b"%d" % size)), flood(piece, size // len(piece))]]) as server:
        pool = door.pool()
        async with await pool.open("GET", server.url()) as response:
            first = await anext(aiter(response))
            check("verdict", first.strip(b"x") == b"" and first, "no chunk arrived")
        await check_after(door, pool, server, P0)
        check("wire", server.connections[0].sent < size // 100, "the body was drained")


async def small_chunks(door: Door) -> None:
    count = 100_000 if FULL_SIZE else 10_000
    script = [RECEIVE, send(CHUNKED_HEAD + chunk(b"x") * count + b"0\r\n\r\n"), SERVE]
    with Server([script]) as server:
        pool = door.pool()
        reply = await pool.request("GET", server.url())
        check("verdict", reply.body == b"x" * count, f"{len(reply.body)} bytes of {count}")
        await check_after(door, pool, server, P1)


async def half_closed_upload(door: Door) -> None:
    """A peer that ends its direction while our upload goes on must not make us spin."""
    waited = 0.5

    async def chunks():
        yield b"first"
        before = time.process_time()
        await door.sleep(waited)
        spent.append(time.process_time() - before)
        yield b"second"

    spent: list[float] = []
    with Server([[RECEIVE_HEAD, HALF_CLOSE, STALL]]) as server:
        pool = door.pool()
        outcome = await attempt(door, pool.request("POST", server.url(), content=door.body(chunks())))
        wrong = fails(RPE).judge(outcome)
        check("verdict", wrong is None, str(wrong))
        # A loop that spins takes a whole processor; half of one is far above any noise.
        check("busy", not spent or spent[0] < waited / 2, f"{spent} s of processor time while waiting")
        await check_after(door, pool, server, P0)


MANY_TRAILERS = b"0\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(150)) + b"\r\n"
BIG_TRAILERS = b"0\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 6_000) for n in range(10)) + b"\r\n"
ANSWER_OR_REFUSAL = Either((Answer(body=b"ok"), fails(RPE)))


def undecided(label: str, data: bytes) -> Case:
    """The parser's limits decide; what it accepts must be right."""
    return Case(ANSWER_OR_REFUSAL, [RECEIVE, send(data), SERVE], LEFT, label=label)


def smuggled(label: str, first: bytes, method: str = "GET", body: bytes = b"") -> Case:
    """A complete response, and a second one behind it in the same segment."""
    return Case(
        Answer(int(first[9:12]), body=body),
        [RECEIVE, send(first + EVIL), SERVE],
        PX,
        label=label,
        method=method,
    )


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n"
ENDED_EARLY = "peer closed connection without sending complete message body (received 3 bytes, expected 10)"

ROWS = [
    Row(
        "B-01", "a sized body cut off by FIN", (cut("", sized(b"abc", b"10"), fails(RPE, text=ENDED_EARLY)),)
    ),
    Row("B-02", "a sized body cut off by RST", (cut("", sized(b"abc", b"10"), fails(RE), reset=True),)),
    Row(
        "B-03",
        "a sized body that stalls",
        (Case(fails(RT), [RECEIVE, send(sized(b"abc", b"10")), STALL], timeout=SHORT_READ),),
    ),
    Row("B-04", "FIN and RST at every offset of a body", scenario=cut_at_each_offset),
    Row(
        "B-05",
        "malformed Content-Length",
        tuple(
            rejects(value.decode() or "empty", sized(b"ok", value))
            for value in (b"-1", b"+2", b"0x2", b"", b"1 2", b"1" * 25)
        ),
    ),
    Row(
        "B-06",
        "equal Content-Lengths count, and show, once",
        tuple(
            Case(
                Answer(body=b"ok", headers=[(b"Content-Length", b"2")]),
                [RECEIVE, send(sized(b"ok", *values)), SERVE],
                P1,
                label=b" / ".join(values).decode(),
            )
            for values in ((b"2", b"2"), (b"2, 2",))
        ),
    ),
    Row(
        "B-07",
        "different Content-Lengths",
        (
            rejects("twice", sized(b"ok", b"2", b"3")),
            rejects("list", sized(b"ok", b"2, 3")),
        ),
    ),
    Row(
        "B-08",
        "only `chunked`, once, is a transfer encoding",
        (
            rejects(
                "twice",
                encoded(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")
                + chunk(b"ok")
                + b"0\r\n\r\n",
            ),
            *(
                rejects(value.decode(), encoded(b"Transfer-Encoding: " + value) + chunk(b"ok") + b"0\r\n\r\n")
                for value in (b"gzip, chunked", b"identity", b"xchunked")
            ),
            kept("CHUNKED", encoded(b"Transfer-Encoding: CHUNKED") + chunk(b"ok") + b"0\r\n\r\n"),
        ),
    ),
    Row(
        "B-09",
        "chunked wins over Content-Length",
        (
            Case(
                Answer(body=b"ok", headers=[(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")]),
                [
                    RECEIVE,
                    send(
                        encoded(b"Content-Length: 5", b"Transfer-Encoding: chunked")
                        + chunk(b"ok")
                        + b"0\r\n\r\n"
                    ),
                    SERVE,
                ],
                LEFT,
            ),
        ),
    ),
    Row(
        "B-10",
        "chunk extensions are skipped",
        (
            kept("one", chunked(b"2;a=b\r\nok\r\n0\r\n\r\n")),
            undecided("20 kB", chunked(b"2;a=" + b"b" * 20_000 + b"\r\nok\r\n0\r\n\r\n")),
            Case(
                Either((Answer(body=b"x" * 10_000), fails(RPE))),
                [RECEIVE, send(chunked(b"1;a\r\nx\r\n" * 10_000, b"0\r\n\r\n")), SERVE],
                LEFT,
                label="10,000 small ones",
            ),
        ),
    ),
    Row("B-11", "bare LF after a chunk size", (rejects("", chunked(b"2\nok\r\n0\r\n\r\n")),)),
    Row("B-12", "bare LF inside a chunk extension", (rejects("", chunked(b"2;a\nb\r\nok\r\n0\r\n\r\n")),)),
    Row("B-13", "a blank after a chunk size", (kept("", chunked(b"2 \r\nok\r\n0\r\n\r\n")),)),
    Row(
        "B-14",
        "malformed chunk sizes",
        tuple(
            rejects(value.decode() or "empty", chunked(value + b"\r\nok\r\n0\r\n\r\n"))
            for value in (b"-2", b"0x2", b"")
        ),
    ),
    Row(
        "B-15",
        "chunk sizes beyond 64 bits",
        (
            cut("17 digits", chunked(b"1" + b"0" * 16 + b"\r\nok"), fails(RPE)),
            cut("31 digits", chunked(b"0" * 30 + b"2\r\nok\r\n0\r\n\r\n"), fails(RPE)),
        ),
    ),
    Row("B-16", "a chunk without its CRLF", (rejects("", chunked(b"2\r\nokXX0\r\n\r\n")),)),
    Row("B-17", "a chunk that ends in bare LF", (rejects("", chunked(b"2\r\nok\n0\r\n\r\n")),)),
    Row(
        "B-18",
        "the end of the connection inside a chunked body",
        tuple(
            cut(label, chunked(data), fails(RPE))
            for label, data in (
                ("size", b"2"),
                ("size line", b"2\r\n"),
                ("data", b"5\r\nok"),
                ("after data", b"2\r\nok\r\n"),
                ("after zero", b"2\r\nok\r\n0\r\n"),
            )
        ),
    ),
    Row(
        "B-19",
        "trailers are skipped, malformed ones refused",
        (
            kept("ok", chunked(chunk(b"ok"), b"0\r\nX-Sum: 1\r\n\r\n")),
            rejects("malformed", chunked(chunk(b"ok"), b"0\r\nbad trailer\r\n\r\n")),
            rejects("150", chunked(chunk(b"ok"), MANY_TRAILERS)),
            undecided("60 kB", chunked(chunk(b"ok"), BIG_TRAILERS)),
        ),
    ),
    Row(
        "B-20",
        "a second response behind the first answers nobody",
        (
            smuggled("sized", OK, body=b"ok"),
            smuggled("chunked", chunked(chunk(b"ok"), b"0\r\n\r\n"), body=b"ok"),
        ),
    ),
    Row(
        "B-21",
        "a second response behind 204 and 304 answers nobody",
        (
            smuggled("204", NO_CONTENT),
            smuggled("304", NOT_MODIFIED + b"\r\n"),
        ),
    ),
    Row(
        "B-22",
        "body bytes behind a HEAD response answer nobody",
        (smuggled("", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(EVIL), "HEAD"),),
    ),
    Row(
        "B-23",
        "bytes beyond the Content-Length answer nobody",
        (
            Case(Answer(body=b"ok"), [RECEIVE, send(OK + b"extra"), SERVE], PX, label="same segment"),
            Case(
                Answer(body=b"ok"),
                [RECEIVE, send(OK), pause(0.15), send(b"extra")],
                PX,
                label="later",
                settle=True,
            ),
        ),
    ),
    Row(
        "B-24",
        "a body without length ends with the connection",
        (
            cut("fin", encoded(b"A: b") + b"all of it", Answer(body=b"all of it")),
            cut("rst", encoded(b"A: b") + b"part of it", fails(RE), reset=True),
        ),
    ),
    Row(
        "B-25",
        "after a body ended by half close nothing is kept",
        (Case(Answer(body=b"all"), [RECEIVE, send(encoded(b"A: b") + b"all"), HALF_CLOSE, STALL]),),
    ),
    Row(
        "B-26",
        "204 and 304 have no body, whatever they say",
        tuple(
            Case(
                Answer(code, body=b""),
                [RECEIVE, send(b"HTTP/1.1 %d No\r\nContent-Length: 5\r\n\r\n" % code), SERVE],
                P1,
                label=str(code),
            )
            for code in (204, 304)
        ),
    ),
    Row(
        "B-27",
        "`Connection: close` is obeyed by us",
        tuple(
            Case(
                Answer(body=b"ok"),
                [RECEIVE, send(response(b"ok", headers=((b"Connection", value),))), STALL],
                label=value.decode(),
            )
            for value in (b"close", b"foo, CLOSE")
        ),
    ),
    Row(
        "B-28",
        "HTTP/1.0 is never kept alive, and knows no chunks",
        (
            Case(
                Answer(body=b"ok"),
                [RECEIVE, send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), STALL],
                label="sized",
            ),
            Case(
                Answer(body=b"ok"),
                [
                    RECEIVE,
                    send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
                    STALL,
                ],
                label="keep-alive",
            ),
            rejects(
                "chunked", chunked(chunk(b"ok"), b"0\r\n\r\n", head=CHUNKED_HEAD.replace(b"1.1", b"1.0"))
            ),
        ),
    ),
    Row(
        "B-29",
        "Content-Lengths beyond 63 bits",
        tuple(cut(f"2^{power}", sized(b"ok", b"%d" % 2**power), fails(RPE)) for power in (63, 64)),
    ),
    Row("B-30", "a body of 10 GB is given up, not drained", scenario=huge_body_given_up),
    Row("B-31", "a great many one-byte chunks", scenario=small_chunks),
    Row("B-33", "a half-closed peer during an upload", scenario=half_closed_upload),
    Row(
        "B-34",
        "a compressed body stays compressed",
        (
            kept(
                "",
                response(gzip.compress(b"ok", mtime=0), headers=((b"Content-Encoding", b"gzip"),)),
                gzip.compress(b"ok", mtime=0),
            ),
        ),
    ),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
