"""Servers that leave, reset or fall silent in a handshake: after each flight, or in the middle of one.

A server of `ssl`'s says all it has to say up to there. What comes of it comes of it with httpcore, and with
ours, with and without rustls.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

import httpcore
import pytest
from certificates import client_context, server_context
from servers import FIN, RAW, RST, STALL, Connection, Server, Step, call
from test_certificate_cases import SOURCE_LINE
from test_tls_gate import pools

V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
# A connection, and a second one for what rustls cannot serve.
CONNECTIONS = 2
# Seconds that are waited for where nothing comes, and where something does.
SHORT, LONG = 0.2, 10.0
RECEIVE_SIZE = 65536
# What a reset comes to where the handshake is over for the client: whether it gets there before the
# request is written, or behind it, is chance.
RESET = {"ReadError", "RemoteProtocolError"}


class Cut:
    """A place in a handshake: so many flights of the server's, the last one half or whole.

    With `heard` the client has answered to the last one: a reset would take it out of the client's socket.
    """

    def __init__(
        self, version: ssl.TLSVersion, flights: int, *, half: bool = False, heard: bool = False
    ) -> None:
        self.version = version
        self._flights = flights
        self._half = half
        self._heard = heard

    def play(self, connection: Connection) -> None:
        """The server's part up to there."""
        context = server_context()
        context.minimum_version = context.maximum_version = self.version
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_side=True)
        # Its first flight answers the ClientHello, and the second one the client's Finished.
        self._take(connection, incoming)
        for flight in range(1, self._flights + 1):
            while not outgoing.pending:
                with contextlib.suppress(ssl.SSLWantReadError):
                    session.do_handshake()
                if not outgoing.pending:
                    self._take(connection, incoming)
            said = outgoing.read()
            is_last = flight == self._flights
            connection.sock.sendall(said[: len(said) // 2] if is_last and self._half else said)
            if not is_last or self._heard:
                self._take(connection, incoming)

    def _take(self, connection: Connection, incoming: ssl.MemoryBIO) -> None:
        if not (received := connection.sock.recv(RECEIVE_SIZE)):
            raise BrokenPipeError("the client has left")
        incoming.write(received)


# The places, and whether the handshake is over for the client by then.
PLACES = {
    "TLS 1.2, after the ClientHello": (Cut(V1_2, 0), False),
    "TLS 1.2, within the first flight": (Cut(V1_2, 1, half=True), False),
    "TLS 1.2, after the first flight": (Cut(V1_2, 1), False),
    "TLS 1.2, within the second flight": (Cut(V1_2, 2, half=True), False),
    "TLS 1.2, after the handshake": (Cut(V1_2, 2, heard=True), True),
    "TLS 1.3, after the ClientHello": (Cut(V1_3, 0), False),
    "TLS 1.3, within the first flight": (Cut(V1_3, 1, half=True), False),
    "TLS 1.3, after the first flight": (Cut(V1_3, 1, heard=True), True),
    "TLS 1.3, within the tickets": (Cut(V1_3, 2, half=True), True),
    "TLS 1.3, after the tickets": (Cut(V1_3, 2), True),
}
ENDS = {"end": FIN, "reset": RST, "silence": STALL}


def outcome(pool: Any, url: str, timeout: dict[str, float]) -> tuple[str, str]:
    """The class of what is raised, and its words."""
    with pytest.raises((httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)) as raised:
        pool.request("GET", url, extensions={"timeout": timeout})
    return type(raised.value).__name__, str(raised.value).partition(SOURCE_LINE)[0]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_server_that_goes_no_further(place: str, end: str) -> None:
    cut, is_shaken = PLACES[place]
    script: list[Step] = [RAW, call(cut.play), ENDS[end]]
    is_silent = end == "silence"
    timeout = {
        "connect": SHORT if is_silent and not is_shaken else LONG,
        "read": SHORT if is_silent else LONG,
    }
    found = {}
    with pools(client_context) as made:
        for name, (_, pool) in made.items():
            with Server([script] * CONNECTIONS, tls=server_context()) as server:
                found[name] = outcome(pool, server.url(host="localhost"), timeout)
    if is_silent:
        # Whose time has run out is told by the class; the words of httpcore's doors differ.
        expected = "ReadTimeout" if is_shaken else "ConnectTimeout"
        assert {kind for kind, _ in found.values()} == {expected}, found
    elif end == "reset" and is_shaken:
        assert {kind for kind, _ in found.values()} <= RESET, found
    else:
        assert found["python"] == found["httpcore"]
        assert found["auto"] == found["httpcore"]
