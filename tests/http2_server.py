"""The server's side of HTTP/2 for a scripted connection: each stream is answered when it has ended.

An answer never comes before its request, which a mock's may: a real client takes that for a violation.
"""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
from servers import RECEIVE_SIZE, Connection

HELLO = b"Hello, world!"


class Http2:
    """One connection; its methods are played by `servers.call`, one after the other."""

    def __init__(self) -> None:
        self._protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._protocol.initiate_connection()

    def answer(self, connection: Connection) -> None:
        """Answer the requests until the client ends the connection."""
        while self._answer_what_comes(connection) is not None:
            pass

    def answer_one(self, connection: Connection) -> None:
        while self._answer_what_comes(connection) == 0:
            pass

    def say_goodbye(self, connection: Connection) -> None:
        """No more requests on this connection, please; all that came were answered."""
        self._protocol.close_connection()
        connection.sock.sendall(self._protocol.data_to_send())

    def _answer_what_comes(self, connection: Connection) -> int | None:
        """How many requests the next bytes completed; `None` at their end."""
        connection.sock.sendall(self._protocol.data_to_send())
        data = connection.sock.recv(RECEIVE_SIZE)
        if not data:
            return None
        answered = 0
        for event in self._protocol.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                stream = event.stream_id
                self._protocol.send_headers(stream, [(":status", "200"), ("content-type", "plain/text")])
                self._protocol.send_data(stream, HELLO, end_stream=True)
                answered += 1
        connection.sock.sendall(self._protocol.data_to_send())
        return answered
