"""Chapter Q: what may be sent. Nothing that could be read as two requests, nothing that was not asked for."""

from __future__ import annotations

from doors import Door, Own
from matrix import (
    LPE,
    P0,
    P1,
    RE,
    RPE,
    WT,
    Answer,
    Case,
    Either,
    Row,
    attempt,
    check,
    check_after,
    check_closed,
    fails,
)
from routes import response
from servers import (
    DROP,
    FIN,
    HALF_CLOSE,
    RECEIVE,
    RECEIVE_HEAD,
    SERVE,
    STALL,
    Server,
    pause,
    send,
    wait,
)
from verdicts import judge, parametrize

OK = response(b"ok")
TOO_LARGE = response(b"too large", 413, headers=((b"Connection", b"close"),))
BIG = b"x" * (20 << 20)
VISIBLE = range(0x21, 0x7F)


def nothing_sent(server: Server) -> None:
    received = sum(connection.received for connection in server.connections)
    check("wire", received == 0, f"{received} bytes were sent")


def refused(label: str, **request) -> Case:
    """The request is illegal: LocalProtocolError, and not a byte of it on the wire."""
    return Case(fails(LPE), [SERVE], P0, label=label, wire=nothing_sent, **request)


def sent(label: str, line: bytes, **request) -> Case:
    """The request is legal, and `line` is in its head as it was given."""

    def wire(server: Server) -> None:
        check("wire", line in server.requests[0].head, f"{server.requests[0].head!r}")

    return Case(Answer(), [SERVE], P1, label=label, wire=wire, **request)


def value(data: bytes) -> dict:
    return {"headers": ((b"X-Value", data),)}


def iterated(*chunks: bytes):
    """A request body in pieces."""

    async def generate():
        for chunk in chunks:
            yield chunk

    return lambda door: door.body(generate())


async def each_target_byte(door: Door) -> None:
    """A visible ASCII byte is sent as it is, any other is refused; none is escaped for the caller."""
    with Server() as server:
        pool = door.pool()
        for byte in range(256):
            target = b"/a%cz" % byte
            outcome = await attempt(door, pool.request("GET", server.url(), extensions={"target": target}))
            if byte in VISIBLE:
                check("verdict", outcome.error is None, f"{target!r}: {outcome.error!r}")
                check(
                    "wire",
                    server.requests[-1].target == target,
                    f"{target!r} became {server.requests[-1].target!r}",
                )
            else:
                count = len(server.requests)
                wrong = fails(LPE).judge(outcome)
                check("verdict", wrong is None, f"{target!r}: {wrong}")
                check("wire", len(server.requests) == count, f"{target!r} was sent")
        await check_closed(door, pool, server)


async def no_header_of_another_request(door: Door) -> None:
    with Server() as server:
        pool = door.pool()
        await pool.request("GET", server.url(), headers={"Authorization": "secret"})
        await pool.request("GET", server.url(), headers={"X-Other": "1"})
        check("after", server.accepted == 1, "the second request went elsewhere")
        check("wire", b"ecret" not in server.requests[1].head, f"{server.requests[1].head!r}")
        await check_closed(door, pool, server)


async def body_iterator_raises(door: Door) -> None:
    """The caller's own exception comes out, the very object, and the body is not terminated."""
    mine = Own("in the body")

    async def chunks():
        yield b"first"
        raise mine

    with Server([[RECEIVE]]) as server:
        pool = door.pool()
        outcome = await attempt(door, pool.request("POST", server.url(), content=door.body(chunks())))
        check("verdict", outcome.error is mine, f"{outcome.error!r}")
        await door.until(lambda: server.accepted and server.connections[0].ended)
        check("wire", not server.connections[0].raw.endswith(b"0\r\n\r\n"), "the body was terminated")
        await check_after(door, pool, server, P0)


async def body_iterator_blocks(door: Door) -> None:
    async def chunks():
        yield b"first"
        await door.sleep(60)
        yield b"never"

    with Server([[RECEIVE]]) as server:
        pool = door.pool()
        task = door.start(pool.request("POST", server.url(), content=door.body(chunks())))
        await door.until(lambda: server.accepted and b"first" in server.connections[0].raw)
        task.cancel()
        await task.settled()
        check("verdict", task.cancelled, f"{task.error!r}")
        await check_after(door, pool, server, P0)


async def body_of_wrong_type(door: Door) -> None:
    """A `str` chunk is the caller's mistake and shows as Python's own error."""
    door.provoked = (TypeError, AttributeError)

    async def chunks():
        yield "text"

    with Server([[RECEIVE]]) as server:
        pool = door.pool()
        outcome = await attempt(door, pool.request("POST", server.url(), content=door.body(chunks())))
        check("verdict", isinstance(outcome.error, TypeError), f"{outcome.error!r}")
        await check_after(door, pool, server, P0)


async def iterator_is_not_replayed(door: Door) -> None:
    started = []

    async def chunks():
        started.append(True)
        yield b"once"

    with Server([[RECEIVE, send(OK), RECEIVE, FIN]]) as server:
        pool = door.pool()
        await pool.request("GET", server.url())
        outcome = await attempt(door, pool.request("POST", server.url(), content=door.body(chunks())))
        wrong = fails(RPE).judge(outcome)
        check("verdict", wrong is None, str(wrong))
        check("wire", (len(started), server.accepted) == (1, 1), "the body was asked for twice")
        await check_after(door, pool, server, P0)


def only_transfer_encoding(server: Server) -> None:
    head = server.requests[0].head.lower()
    check("wire", b"transfer-encoding: chunked" in head and b"content-length" not in head, f"{head!r}")
    check("wire", server.requests[0].body == b"body", f"{server.requests[0].raw_body!r}")


def terminated_once(server: Server) -> None:
    expected = b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
    check("wire", server.requests[0].raw_body == expected, f"{server.requests[0].raw_body!r}")


ROWS = [
    Row(
        "Q-01",
        "CR, LF and NUL in a value",
        (
            refused("crlf", **value(b"a\r\nEvil: 1")),
            refused("lf", **value(b"a\nb")),
            refused("cr", **value(b"a\rb")),
            refused("nul", **value(b"a\x00b")),
        ),
    ),
    Row(
        "Q-02",
        "a header name that is no token",
        tuple(
            refused(name.decode("latin-1") or "empty", headers=((name, b"1"),))
            for name in (b"a b", b"a:", b"", b"a\r\nb", b"\xe9", b"a(")
        ),
    ),
    Row(
        "Q-03",
        "blanks around a value",
        (
            refused("leading", **value(b" a")),
            refused("trailing", **value(b"a ")),
            refused("tab", **value(b"a\t")),
        ),
    ),
    Row(
        "Q-04",
        "other control bytes in a value are sent as they are",
        (
            sent("0x01", b"X-Value: a\x01b\r\n", **value(b"a\x01b")),
            sent("del", b"X-Value: a\x7fb\r\n", **value(b"a\x7fb")),
        ),
    ),
    Row(
        "Q-05",
        "obs-text in a value is sent as it is",
        (sent("", b"X-Value: " + bytes(range(0x80, 0x100)) + b"\r\n", **value(bytes(range(0x80, 0x100)))),),
    ),
    Row(
        "Q-06",
        "a method that is no token",
        tuple(
            refused(repr(method), method=method)
            for method in (b"GET\r\n", b"GE T", b"", b"G\x00T", b"G\xe9T")
        ),
    ),
    Row("Q-07", "any byte in a target", scenario=each_target_byte),
    Row("Q-09", "two Host headers", (refused("", headers=((b"host", b"other"),)),)),
    Row(
        "Q-10",
        "a method is sent as it is",
        (
            sent("lower", b"get / HTTP/1.1\r\n", method=b"get"),
            sent("custom", b"BREW / HTTP/1.1\r\n", method=b"BREW"),
        ),
    ),
    Row(
        "Q-11",
        "an early 413 is returned, not the failed upload",
        (
            Case(
                Answer(413),
                [RECEIVE_HEAD, send(TOO_LARGE), HALF_CLOSE, STALL],
                label="drained",
                method="POST",
                content=BIG,
                headers=((b"Content-Length", b"%d" % len(BIG)),),
            ),
            # The reset that the unread upload provokes may overtake the answer.
            Case(
                Either((Answer(413), fails(RE, RPE))),
                [RECEIVE_HEAD, send(TOO_LARGE), pause(0.05), DROP],
                label="closed",
                method="POST",
                content=BIG,
                headers=((b"Content-Length", b"%d" % len(BIG)),),
            ),
        ),
    ),
    Row(
        "Q-12",
        "a 413 from a peer that stops reading",
        (
            Case(
                Either((Answer(413), fails(WT))),
                lambda gate: [RECEIVE_HEAD, send(TOO_LARGE), wait(gate), STALL],
                method="POST",
                content=BIG,
                headers=((b"Content-Length", b"%d" % len(BIG)),),
                timeout={"write": 0.2},
            ),
        ),
    ),
    Row(
        "Q-13",
        "a body that does not fit its Content-Length",
        (
            Case(
                fails(LPE),
                [RECEIVE, STALL],
                label="shorter",
                method="POST",
                content=iterated(b"abc"),
                headers=((b"Content-Length", b"10"),),
            ),
            Case(
                fails(LPE),
                [RECEIVE, STALL],
                label="longer",
                method="POST",
                content=iterated(b"abc", b"def"),
                headers=((b"Content-Length", b"4"),),
            ),
            Case(
                fails(LPE),
                [RECEIVE, STALL],
                label="bytes",
                method="POST",
                content=b"abc",
                headers=((b"Content-Length", b"10"),),
            ),
        ),
    ),
    Row(
        "Q-14",
        "Transfer-Encoding and Content-Length are never sent together",
        (
            Case(
                Answer(),
                [SERVE],
                P1,
                method="POST",
                content=iterated(b"body"),
                wire=only_transfer_encoding,
                headers=((b"Content-Length", b"4"), (b"Transfer-Encoding", b"chunked")),
            ),
        ),
    ),
    Row("Q-15", "no header of another request", scenario=no_header_of_another_request),
    Row("Q-16", "the body iterator raises", scenario=body_iterator_raises),
    Row(
        "Q-17",
        "the body iterator blocks and is cancelled",
        scenario=body_iterator_blocks,
        doors=("asyncio", "uvloop", "trio"),
    ),
    Row(
        "Q-18",
        "empty chunks do not end a chunked body",
        (
            Case(
                Answer(),
                [SERVE],
                P1,
                method="POST",
                content=iterated(b"", b"a", b"", b"b", b""),
                wire=terminated_once,
            ),
        ),
        scenario=body_of_wrong_type,
    ),
    Row("Q-19", "a one-shot iterator is never replayed", scenario=iterator_is_not_replayed),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
