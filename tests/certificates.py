"""A certificate authority that only the tests trust, and a context for each side. No sockets here."""

from __future__ import annotations

import functools
import ssl

import trustme

NAMES = ("example.com", "other.com", "a.com", "localhost", "127.0.0.1")


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def _certificate() -> trustme.LeafCert:
    return _authority().issue_cert(*NAMES)


def server_context(*protocols: str) -> ssl.SSLContext:
    """A context with a certificate for `NAMES`, which agrees on one of `protocols` by ALPN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _certificate().configure_cert(context)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def client_context() -> ssl.SSLContext:
    """A context that trusts those certificates and no others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority().configure_trust(context)
    return context
