"""Chapter H: response heads that are cut off, malformed, odd or endless."""

from __future__ import annotations

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
    Row,
    attempt,
    check,
    check_after,
    fails,
)
from routes import response
from servers import (
    FIN,
    RECEIVE,
    RST,
    SERVE,
    STALL,
    Script,
    Server,
    Step,
    drip,
    flood,
    pause,
    send,
    wait,
)
from verdicts import judge, parametrize

OK = response(b"ok", headers=((b"X-One", b"1"), (b"Content-Type", b"text/plain")))
HEAD = OK[: OK.index(b"\r\n\r\n") + 4]
# Long enough that a loaded machine sends the next byte in time, short enough to wait for.
SHORT_READ = {"read": 0.2}


def answer(*data: bytes) -> Script:
    """A keep-alive server whose first answer is these bytes."""
    return [RECEIVE, *(send(part) for part in data), SERVE]


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"Content-Length: 2"]) + b"\r\n\r\nok"


def status(line: bytes) -> bytes:
    return line + b"\r\nContent-Length: 2\r\n\r\nok"


def rejects(label: str, data: bytes) -> Case:
    """The bytes arrive whole and are refused at once, while the server keeps the connection open."""
    return Case(fails(RPE), [RECEIVE, send(data), STALL], label=label)


def sweep(last: Step, error: type[BaseException]):
    """The connection ends after each number of bytes of a canonical response, short of the whole."""

    async def scenario(door: Door) -> None:
        scripts = [[RECEIVE, *([send(OK[:size])] if size else []), last] for size in range(len(OK))]
        with Server(scripts) as server:
            pool = door.pool()
            for size in range(len(OK)):
                outcome = await attempt(door, pool.request("GET", server.url()))
                wrong = fails(error).judge(outcome)
                check("verdict", wrong is None, f"after {size} bytes: {wrong}")
            await check_after(door, pool, server, P0)

    return scenario


async def split_at_each_offset(door: Door) -> None:
    script = [RECEIVE, send(OK)]
    for size in range(1, len(OK)):
        script += [RECEIVE, send(OK[:size]), pause(0.001), send(OK[size:])]
    with Server([[*script, SERVE]]) as server:
        pool = door.pool()
        whole = await pool.request("GET", server.url())
        for size in range(1, len(OK)):
            reply = await pool.request("GET", server.url())
            same = (reply.status, reply.headers, reply.body) == (whole.status, whole.headers, whole.body)
            check("verdict", same, f"split at {size}: {reply.headers} {reply.body!r}")
        await check_after(door, pool, server, P1)


async def endless_informational(door: Door) -> None:
    """Each 1xx restarts the read timer, so only the caller can end it."""
    forever = [RECEIVE, drip(b"HTTP/1.1 102 Processing\r\n\r\n" * 10_000, 0.01, 27)]
    with Server([forever]) as server:
        pool = door.pool()
        task = door.start(pool.request("GET", server.url(), timeout=SHORT_READ))
        await door.until(lambda: server.requests)
        await door.sleep(0.3)
        check("verdict", not task.done, f"ended by itself: {task.error!r}")
        task.cancel()
        await task.settled()
        check("verdict", task.cancelled, f"{task.error!r}")
        await check_after(door, pool, server, P0)


MANY = (FULL_SIZE and 50_000) or 5_000
DISCONNECTED = "Server disconnected without sending a response."
LONG = [b"X-%05d: %s" % (number, b"v" * 8_990) for number in range(10)]

ROWS = [
    Row("H-01", "FIN before any byte", (Case(fails(RPE, text=DISCONNECTED), [RECEIVE, FIN]),)),
    Row("H-02", "RST before any byte", (Case(fails(RE), [RECEIVE, RST]),)),
    Row("H-03", "FIN at every offset", scenario=sweep(FIN, RPE)),
    Row("H-04", "RST at every offset", scenario=sweep(RST, RE)),
    Row("H-05", "silence is a read timeout", (Case(fails(RT), [RECEIVE, STALL], timeout=SHORT_READ),)),
    Row("H-06", "binary garbage", (rejects("", bytes(range(128, 200)) + b"\r\n\r\n"),)),
    Row(
        "H-07",
        "another protocol's banner, then silence, fails at once",
        tuple(
            Case(fails(RPE), [RECEIVE, send(banner), STALL], label=label, timeout=SHORT_READ)
            for label, banner in (("ssh", b"SSH-2.0-OpenSSH_9.6\r\n"), ("smtp", b"220 mail ESMTP\r\n"))
        ),
    ),
    Row("H-08", "an HTTP/0.9 body", (Case(fails(RPE), [RECEIVE, send(b"<html>hello</html>\r\n"), FIN]),)),
    Row("H-09", "an HTTP/2 status line as text", (rejects("", status(b"HTTP/2 200 OK")),)),
    Row(
        "H-10",
        "only HTTP/1.0 and HTTP/1.1 are spoken",
        tuple(
            rejects(version.decode(), status(version + b" 200 OK"))
            for version in (b"HTTP/1.2", b"HTTP/1.10", b"http/1.1")
        ),
    ),
    Row(
        "H-11",
        "impossible status codes",
        tuple(
            rejects(code.decode(), status(b"HTTP/1.1 " + code + b" OK"))
            for code in (b"099", b"000", b"20", b"1000", b"abc")
        ),
    ),
    Row(
        "H-12",
        "an unknown status code is passed on",
        (Case(Answer(999), answer(status(b"HTTP/1.1 999 No")), P1),),
    ),
    Row(
        "H-13",
        "the reason phrase is the server's bytes",
        (
            Case(Answer(reason=b""), answer(status(b"HTTP/1.1 200")), P1, label="none"),
            Case(Answer(reason=b""), answer(status(b"HTTP/1.1 200 ")), P1, label="empty"),
            Case(
                Answer(reason=b"tr\xe8s bien"),
                answer(status(b"HTTP/1.1 200 tr\xe8s bien")),
                P1,
                label="obs-text",
            ),
        ),
    ),
    Row(
        "H-14",
        "a malformed status line",
        (
            rejects("nul", status(b"HTTP/1.1 200 O\x00K")),
            rejects("two spaces", status(b"HTTP/1.1  200 OK")),
        ),
    ),
    Row(
        "H-15",
        "bare LF ends a line too",
        (
            Case(
                Answer(headers=[(b"A", b"b"), (b"Content-Length", b"2")], body=b"ok"),
                answer(b"HTTP/1.1 200 OK\nA: b\nContent-Length: 2\n\nok"),
                P1,
                label="lf",
            ),
            Case(
                Answer(body=b"ok"),
                answer(b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 2\n\r\nok"),
                P1,
                label="mixed",
            ),
            Case(
                Answer(body=b"ok"),
                [
                    RECEIVE,
                    send(b"HTTP/1.1 200 OK\nContent-Length: 2\n"),
                    pause(0.02),
                    send(b"\r"),
                    pause(0.02),
                    send(b"\nok"),
                    SERVE,
                ],
                P1,
                label="in pieces",
            ),
        ),
    ),
    Row(
        "H-16", "an empty line before the status line is skipped", (Case(Answer(), answer(b"\r\n" + OK), P1),)
    ),
    Row(
        "H-17",
        "bare CR and NUL in a value",
        (rejects("cr", head(b"A: b\rc")), rejects("nul", head(b"A: b\x00c"))),
    ),
    Row(
        "H-18",
        "control bytes in a value: answered or refused, never a crash",
        tuple(
            Case(
                Either((Answer(), fails(RPE))),
                [RECEIVE, send(head(b"A: b%cc" % byte)), SERVE],
                LEFT,
                label=f"{byte:#x}",
            )
            for byte in (0x01, 0x08, 0x0B, 0x1F, 0x7F)
        ),
    ),
    Row(
        "H-19",
        "obs-text in a value is kept",
        (
            Case(
                Answer(headers=[(b"A", bytes(range(0x80, 0x100))), (b"Content-Length", b"2")]),
                answer(head(b"A: " + bytes(range(0x80, 0x100)))),
                P1,
            ),
        ),
    ),
    Row(
        "H-20",
        "a malformed header line",
        tuple(
            rejects(label, head(line))
            for label, line in (
                ("non-ascii", b"A\xe9: b"),
                ("space", b"A b: c"),
                ("before colon", b"A : b"),
                ("no colon", b"nothing"),
                ("no name", b": b"),
            )
        ),
    ),
    Row(
        "H-21",
        "an empty value",
        (
            Case(
                Answer(headers=[(b"A", b""), (b"B", b""), (b"Content-Length", b"2")]),
                answer(head(b"A:", b"B:  ")),
                P1,
            ),
        ),
    ),
    Row(
        "H-22",
        "a folded line is joined by one space",
        (
            Case(
                Answer(headers=[(b"A", b"a b"), (b"Content-Length", b"2")]),
                answer(head(b"A: a", b"   b")),
                P1,
                label="fold",
            ),
            rejects("first line", b"HTTP/1.1 200 OK\r\n folded: b\r\nContent-Length: 2\r\n\r\nok"),
        ),
    ),
    Row(
        "H-23",
        "50,000 folded lines end in an answer or a refusal",
        (
            Case(
                Either((Answer(), fails(RPE))), [RECEIVE, send(head(b"A: a", *[b" "] * 30_000)), SERVE], LEFT
            ),
        ),
    ),
    Row(
        "H-24",
        "512 headers are accepted, 5,000 are refused",
        (
            *(
                Case(
                    Answer(
                        headers=[*((b"X-%d" % n, b"y") for n in range(count - 1)), (b"Content-Length", b"2")]
                    ),
                    answer(head(*(b"X-%d: y" % n for n in range(count - 1)))),
                    P1,
                    label=str(count),
                )
                for count in (99, 101, 512)
            ),
            rejects("5000", head(*(b"X-%d: y" % n for n in range(5_000)))),
        ),
    ),
    Row(
        "H-25",
        "a head of 90 kB is accepted, 120 kB and more is refused",
        (
            Case(Answer(), answer(head(*LONG)), P1, label="90 kB"),
            Case(
                fails(RPE),
                [RECEIVE, drip(head(*LONG, *LONG[:4]), 0.002, 8_192), STALL],
                label="120 kB trickled",
            ),
            Case(fails(RPE), [RECEIVE, send(head(*LONG * 6)), STALL], label="500 kB"),
            Case(
                fails(RPE),
                [RECEIVE, send(b"HTTP/1.1 200 OK\r\nA: "), flood(b"x" * 65_536, 10_000)],
                label="endless",
            ),
        ),
    ),
    Row(
        "H-26",
        "headers arrive in wire order and case, duplicates apart",
        (
            Case(
                Answer(
                    headers=[
                        (b"set-Cookie", b"a=1"),
                        (b"X-b", b"1"),
                        (b"Set-cookie", b"b=2"),
                        (b"x-B", b"2"),
                        (b"Content-Length", b"2"),
                    ]
                ),
                answer(head(b"set-Cookie: a=1", b"X-b: 1", b"Set-cookie: b=2", b"x-B: 2")),
                P1,
            ),
        ),
    ),
    Row(
        "H-27",
        "informational responses are skipped",
        (
            Case(Answer(body=b"ok"), answer(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), P1, label="100"),
            Case(
                Answer(body=b"ok"),
                answer(*[b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"] * 3, OK),
                P1,
                label="3x103",
            ),
        ),
    ),
    Row(
        "H-28",
        "2,000 informational responses",
        (Case(Answer(body=b"ok"), answer(b"HTTP/1.1 102 Processing\r\n\r\n" * 2_000 + OK), P1),),
    ),
    Row(
        "H-29",
        "an endless run of 1xx can be cancelled",
        scenario=endless_informational,
        doors=("asyncio", "uvloop", "trio"),
    ),
    Row(
        "H-30",
        "`Expect: 100-continue` sends its body at once, and the next request is right",
        tuple(
            Case(
                Answer(code),
                answer(response(b"no", code)),
                P1,
                label=str(code),
                method="POST",
                content=b"body",
                headers=((b"Expect", b"100-continue"), (b"Content-Length", b"4")),
            )
            for code in (417, 200)
        ),
    ),
    Row(
        "H-31",
        "1xx, then garbage in pieces",
        (
            Case(
                fails(RPE),
                [
                    RECEIVE,
                    send(b"HTTP/1.1 100 Continue\r\n\r\n"),
                    pause(0.01),
                    send(b"\x00\x01"),
                    pause(0.01),
                    send(b"\xff\r\n\r\n"),
                    STALL,
                ],
            ),
        ),
    ),
    Row(
        "H-32",
        "a 101 that nobody asked for",
        (
            rejects(
                "", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
            ),
        ),
    ),
    Row(
        "H-34",
        "the read timeout counts gaps, not the whole head",
        (Case(Answer(), [RECEIVE, drip(OK, 0.02, 2), SERVE], P1, timeout={"read": 0.5}),),
    ),
    Row(
        "H-35",
        "a gap longer than the read timeout",
        (Case(fails(RT), lambda gate: [RECEIVE, drip(OK[:3], 0.02), wait(gate), STALL], timeout=SHORT_READ),),
    ),
    Row(
        "H-37",
        "an unsolicited 408 on an idle connection answers nobody",
        (
            Case(
                Answer(body=b"ok"),
                [RECEIVE, send(OK), pause(0.05), send(response(b"", 408)), FIN],
                PX,
                settle=True,
            ),
        ),
    ),
    Row("H-38", "the answer is the same for a split at every offset", scenario=split_at_each_offset),
]


@parametrize(ROWS)
def test_row(row: Row, door: str, engine: str) -> None:
    judge(row, door, engine)
