"""The proxy's side of SOCKS5 (RFC 1928, RFC 1929) for a scripted connection, with its answers given."""

from __future__ import annotations

from servers import Connection

NO_AUTH, PASSWORD = 0, 2
SUCCEEDED, REFUSED = 0, 5
_IPV4, _NAME, _IPV6 = 1, 3, 4


class Socks:
    """One dialogue; what the client said is kept."""

    def __init__(self, method: int, *, accepts: bool = True, outcome: int = SUCCEEDED) -> None:
        self.method = method
        self.accepts = accepts
        self.outcome = outcome
        self.offered = b""
        self.credentials: tuple[bytes, bytes] | None = None
        self.address: tuple[bytes, int] | None = None

    def __call__(self, connection: Connection) -> None:
        """Answer up to the first refusal; its end is the client's to make."""

        def take(size: int) -> bytes:
            data = b""
            while len(data) < size:
                piece = connection.sock.recv(size - len(data))
                if not piece:
                    raise ConnectionResetError("the client has gone")
                data += piece
            return data

        version, methods = take(2)
        assert version == 5
        self.offered = take(methods)
        connection.sock.sendall(bytes((5, self.method)))
        if self.method not in self.offered:
            return
        if self.method == PASSWORD:
            version, length = take(2)
            assert version == 1
            user = take(length)
            self.credentials = (user, take(take(1)[0]))
            connection.sock.sendall(bytes((1, 0 if self.accepts else 1)))
            if not self.accepts:
                return
        version, command, _, kind = take(4)
        assert (version, command) == (5, 1)
        host = take(take(1)[0] if kind == _NAME else {_IPV4: 4, _IPV6: 16}[kind])
        self.address = (host, int.from_bytes(take(2), "big"))
        connection.sock.sendall(bytes((5, self.outcome, 0, _IPV4, 127, 0, 0, 1, 0, 80)))
