"""TLS by Python's own `ssl` module, with the user's own context, over the engine's sockets.

The engine moves the bytes; here they pass through an `ssl.SSLObject`. Whatever the context says about
trust, certificates, versions and hooks holds, since it is the context that is asked.

Everything here is called on threads of the engine's. Nothing here does any I/O.
"""

from __future__ import annotations

import ssl
from threading import Lock

from ._flavour import Flavour

__all__ = ["Session", "Sessions", "acts_on_sockets"]

# One read takes one TLS record, whatever is asked for.
_READ_SIZE = 256 * 1024

# A context's ALPN protocols are its own state, and pools with others may share it: they are set and used
# in one step.
_ALPN = Lock()


class Sessions:
    """Opens the sessions of one pool, or of one `start_tls`."""

    def __init__(self, flavour: Flavour, context: ssl.SSLContext | None) -> None:
        self._flavour = flavour
        self._context = context

    @property
    def context(self) -> ssl.SSLContext:
        """The user's, else httpcore's default, made once."""
        if self._context is None:
            self._context = self._flavour.module.default_ssl_context()
        return self._context

    def open(self, server_hostname: str | None, protocols: list[str]) -> Session:
        """A session that has sent nothing yet. Raises what `wrap_bio` raises, `ValueError` for bad names."""
        return Session(self.context, server_hostname, protocols)


class Session:
    """A client's end of one TLS connection."""

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None, protocols: list[str]) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        with _ALPN:
            if protocols:
                context.set_alpn_protocols(protocols)
            self.ssl_object = context.wrap_bio(
                self._incoming, self._outgoing, server_hostname=server_hostname
            )
        self._is_shaken = False
        self._is_closed = False

    def turn(
        self, received: bytes, ended: bool, outgoing: bytes
    ) -> tuple[bytes, bytes, int, bool, bool, Exception | None]:
        """Takes in bytes from the peer (and their end), and bytes in the clear for it.

        Returns `(opened, sealed, unsealed, is_shaken, is_closed, error)`: what the peer sent in the clear, what to
        send to it, how many bytes of `outgoing` could not be taken yet, whether the handshake is over, whether
        the peer sends no more, and what ended the session, which comes behind what is opened and sealed.
        """
        if received:
            self._incoming.write(received)
        if ended:
            self._incoming.write_eof()
        opened: list[bytes] = []
        unsealed = len(outgoing)
        error = None
        try:
            self._shake_hands()
            unsealed = self._seal(outgoing)
            if received or ended:
                self._open(opened)
                # The peer may have been waited for: a handshake within the session.
                unsealed = self._seal(outgoing[len(outgoing) - unsealed :])
        except ssl.SSLWantReadError:
            pass
        except Exception as raised:
            error = raised
        sealed = self._outgoing.read()
        return b"".join(opened), sealed, unsealed, self._is_shaken, self._is_closed, error

    def _shake_hands(self) -> None:
        if not self._is_shaken:
            self.ssl_object.do_handshake()
            self._is_shaken = True

    def _seal(self, outgoing: bytes) -> int:
        """Returns how many bytes could not be taken."""
        unsealed = memoryview(outgoing)
        try:
            while unsealed:
                unsealed = unsealed[self.ssl_object.write(unsealed) :]
        except ssl.SSLWantReadError:
            pass
        return len(unsealed)

    def _open(self, opened: list[bytes]) -> None:
        try:
            while not self._is_closed:
                chunk = self.ssl_object.read(_READ_SIZE)
                opened.append(chunk)
                self._is_closed = not chunk
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # Closed with or without a word. httpcore makes no difference: what is missing, framing tells.
            self._is_closed = True


def acts_on_sockets(context: ssl.SSLContext) -> str | None:
    """What of a context takes effect on sockets alone, so that a session without one would miss it.

    httpcore's sync pools wrap sockets, its async ones do not.
    """
    if not isinstance(context, ssl.SSLContext):
        return f"ssl_context is {context!r}"
    own = vars(context)
    if "wrap_socket" in own and "wrap_bio" not in own:
        return "ssl_context.wrap_socket is overridden"
    if _owner(context, "wrap_socket") is not _owner(context, "wrap_bio"):
        return f"{type(context).__qualname__}.wrap_socket is overridden"
    if context.sslsocket_class is not ssl.SSLSocket:
        return f"ssl_context.sslsocket_class is {context.sslsocket_class!r}"
    if getattr(ssl.SSLContext.wrap_socket, "__module__", None) not in ("ssl", type(context).__module__):
        return "ssl.SSLContext.wrap_socket has been patched"
    return None


def _owner(context: ssl.SSLContext, name: str) -> type | None:
    return next((base for base in type(context).__mro__ if name in base.__dict__), None)
