"""TLS by Python's own `ssl` module, with the user's own context, over the engine's sockets.

The engine moves the bytes; here they pass through an `ssl.SSLObject`. Whatever the context says about
trust, certificates, versions and hooks holds, since it is the context that is asked. Where rustls does the
bytes, the same objects are asked for the verdict on each certificate; here is told when that is not enough.

Everything here is called on threads of the engine's. Nothing here does any I/O.
"""

from __future__ import annotations

import _ssl
import logging
import os
import ssl
import tempfile
from threading import Lock
from typing import Any, Literal, TypeAlias, cast, get_args

from . import _rust
from ._flavour import Flavour
from ._native import missing
from ._originals import Attribute, namespace_of, watch_over

__all__ = ["Policy", "RustlsObject", "Session", "Sessions", "acts_on_sockets", "alerted", "checked", "named"]

Policy: TypeAlias = Literal["auto", "python", "rustls"]

logger = logging.getLogger("httpcore_hyper")


def checked(policy: str) -> Policy:
    """The policy, if there is such a one; else raises `ValueError`."""
    if policy not in get_args(Policy):
        raise ValueError(f"tls is one of {get_args(Policy)}, not {policy!r}")
    return cast(Policy, policy)


# One read takes one TLS record, whatever is asked for.
_READ_SIZE = 256 * 1024

# A context's ALPN protocols are its own state, and pools with others may share it: they are set and used
# in one step.
_ALPN = Lock()


def _renew() -> None:
    """In a forked child: another thread of the parent's may have held it."""
    global _ALPN  # noqa: PLW0603 - there is no other way to leave a lock that nobody will release
    _ALPN = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


class Sessions:
    """Opens the sessions of one pool, or of one `start_tls`."""

    def __init__(self, flavour: Flavour, context: ssl.SSLContext | None, policy: Policy = "python") -> None:
        self._flavour = flavour
        self._context = context
        self.policy = policy
        """Who does the cryptography. `"python"`: this module; `"rustls"`: rustls or nobody; `"auto"`: rustls
        where it is proven to make no difference, else this module."""

    @property
    def context(self) -> ssl.SSLContext:
        """The user's, else httpcore's default, made once."""
        if self._context is None:
            self._context = self._flavour.module.default_ssl_context()
        return self._context

    def open(self, server_hostname: str | None, protocols: list[str]) -> Session:
        """A session that has sent nothing yet. Raises what `wrap_bio` raises, `ValueError` for bad names."""
        return Session(self.context, server_hostname, protocols)

    def look(self) -> tuple[str | None, bool, bytes]:
        """What the context is like now: `(objection, verifies, attributes)`.

        Why rustls cannot take its place, or `None`; whether it looks at certificates; and what of it can be
        read, to notice a change.
        """
        context = self.context
        return objection(context), context.verify_mode != ssl.CERT_NONE, attributes(context)

    def trusting(self, authority: bytes) -> Sessions:
        """Sessions of a fresh context that trusts this authority (DER) alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=authority)
        return Sessions(self._flavour, context)

    def explain(self, reason: str) -> None:
        """Why a connection is not served by rustls."""
        logger.debug("A connection's TLS runs on Python's ssl: %s", reason)


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

        Returns `(opened, sealed, unsealed, is_shaken, is_closed, error)`: what the peer sent in the clear,
        what to send to it, how many bytes of `outgoing` could not be taken yet, whether the handshake is
        over, whether the peer sends no more, and what ended the session, behind what is opened and sealed.
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

    httpcore's sync pools wrap sockets, its async ones do not. Asked for each request.
    """
    if type(context) is _CONTEXT and not vars(context) and _WATCH and _WATCH.first_changed() is None:
        return None
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


def attributes_of(context: ssl.SSLContext) -> list[Attribute] | None:
    """What of a genuine context `acts_on_sockets` looks at, for a watch; `None` for any other context."""
    if type(context) is not _CONTEXT or _WATCH is None:
        return None
    return [(owner, name) for owner in (vars(context), namespace_of(_CONTEXT)) for name in _HOOKS]


def _watch(kind: type[ssl.SSLContext]) -> _rust.Watch | None:
    """Over what a class of contexts does with sockets; `None` where it is not the interpreter's own class."""
    genuine = kind.__dict__.get("sslsocket_class") is ssl.SSLSocket and kind.wrap_socket.__module__ == "ssl"
    return watch_over([(kind, name) for name in _HOOKS]) if genuine and missing is None else None


# What of a context decides how it works on sockets.
_HOOKS = ("wrap_socket", "wrap_bio", "sslsocket_class")
# Both as they were when this was imported.
_CONTEXT = ssl.SSLContext
_WATCH = _watch(_CONTEXT)


def _owner(context: ssl.SSLContext, name: str) -> type | None:
    return next((base for base in type(context).__mro__ if name in base.__dict__), None)


# What a genuine context has at any time. Whoever puts one of these names on an instance changes what it does.
_ATTRIBUTES = frozenset(dir(ssl.SSLContext))

_PROTOCOLS = (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS)


def objection(context: ssl.SSLContext) -> str | None:
    """Why the verdicts of a context's sessions are not all there is to them; `None` where they are.

    Cheap, since it is asked for each connection: a context may be changed at any time.
    """
    kind = type(context)
    # After `truststore.inject_into_ssl()` its class has this name; so the one base is looked at as well.
    if kind.__bases__ != (_ssl._SSLContext,) or (kind.__module__, kind.__qualname__) != ("ssl", "SSLContext"):
        return f"{kind.__module__}.{kind.__qualname__} is not ssl.SSLContext itself"
    own = _ATTRIBUTES.intersection(vars(context)) - {"_msg_callback"}
    if own:
        return f"ssl_context.{min(own)} is overridden"
    if kind.sslobject_class is not ssl.SSLObject or kind.sslsocket_class is not ssl.SSLSocket:
        return "the context's sessions are of a class of their own"
    create = ssl.SSLObject._create  # type: ignore[attr-defined]
    for function in (kind.wrap_bio, ssl.SSLObject.do_handshake, create):
        if getattr(function, "__module__", None) != "ssl":
            return "ssl has been patched"
    if context._msg_callback is not None:  # type: ignore[attr-defined]
        return "ssl_context has a message callback"
    if context.protocol not in _PROTOCOLS:
        return f"ssl_context.protocol is {context.protocol!r}"
    if context.post_handshake_auth:
        return "ssl_context.post_handshake_auth is set"
    if context.keylog_filename is not None:
        return "ssl_context.keylog_filename is set"
    if not ssl.OPENSSL_VERSION.startswith("OpenSSL "):
        return f"ssl is built on {ssl.OPENSSL_VERSION}"
    return None


def attributes(context: ssl.SSLContext) -> bytes:
    """What can be read of a context for little."""
    return repr(
        (
            int(context.verify_mode),
            int(context.verify_flags),
            int(context.options),
            int(context.minimum_version),
            int(context.maximum_version),
            context.check_hostname,
            context.hostname_checks_common_name,
            context.security_level,
        )
    ).encode()


def alerted(code: int) -> ssl.SSLError:
    """What `ssl` says of a fatal alert that a server has sent: it is told of one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming = ssl.MemoryBIO()
    session = context.wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="localhost")
    # A record of it (RFC 8446 sections 5.1 and 6).
    incoming.write(bytes((21, 3, 3, 0, 2, 2, code)))
    try:
        session.do_handshake()
    except ssl.SSLError as error:
        # Its traceback would lead here.
        return error.with_traceback(None)
    return ssl.SSLError(ssl.SSL_ERROR_SSL, f"[SSL] the server sent alert {code}")


def named(reason: str) -> ssl.SSLError:
    """An error of `ssl`'s by its name, as `ssl` makes them."""
    error = ssl.SSLError(ssl.SSL_ERROR_SSL, f"[SSL: {reason}] {reason.lower().replace('_', ' ')}")
    error.library, error.reason = "SSL", reason
    return error


class RustlsObject:
    """What tools ask an `ssl.SSLObject` for, of a session by rustls."""

    def __init__(
        self,
        cipher: str,
        bits: int,
        protocol: str | None,
        certificate: bytes | None,
        server_hostname: str,
        verifies: bool,
    ) -> None:
        self._cipher = cipher, "TLSv1.3", bits
        self._protocol = protocol
        self._certificate = certificate
        self._verifies = verifies
        self.server_hostname = server_hostname
        """Whom the certificate names."""
        self.server_side = False
        self.session_reused = False

    def version(self) -> str:
        """`"TLSv1.3"`: rustls does no other here."""
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        """The suite's name, its protocol, and the size of its key in bits."""
        return self._cipher

    def shared_ciphers(self) -> None:
        """Known to servers only."""

    def compression(self) -> None:
        """There is none in TLS 1.3."""

    def selected_alpn_protocol(self) -> str | None:
        """What was agreed on by ALPN."""
        return self._protocol

    def selected_npn_protocol(self) -> None:
        """There is none in TLS 1.3."""

    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """The server's certificate, decoded or as DER; `{}` for one that nobody has looked at."""
        if binary_form or self._certificate is None:
            return self._certificate
        return _decoded(self._certificate) if self._verifies else {}


def _decoded(certificate: bytes) -> dict[str, Any]:
    # The one decoder that gives exactly this form; it reads files.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(ssl.DER_cert_to_PEM_cert(certificate))
        file.flush()
        decoded: dict[str, Any] = _ssl._test_decode_cert(file.name)  # type: ignore[attr-defined]
    return decoded
