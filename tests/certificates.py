"""A certificate authority that only the tests trust, and a context for each side. No sockets here."""

from __future__ import annotations

import datetime
import functools
import ssl
from typing import Any

import trustme
from cryptography.hazmat.primitives import serialization

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


def expired_context(days: int = 1) -> ssl.SSLContext:
    """A server's context whose certificate was good for a day, up to so many days ago."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    day = datetime.timedelta(days=1)
    end = datetime.datetime.now(datetime.timezone.utc) - days * day
    _authority().issue_cert(*NAMES, not_before=end - day, not_after=end).configure_cert(context)
    return context


def context_for(*names: str) -> ssl.SSLContext:
    """A server's context with a certificate for these names alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert(*names).configure_cert(context)
    return context


def deep_context(depth: int) -> ssl.SSLContext:
    """A server's context with that many authorities between its certificate and the trusted one."""
    authority = _authority()
    for _ in range(depth):
        authority = authority.create_child_ca()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*NAMES).configure_cert(context)
    return context


def demanding_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server's context that wants to see a certificate of the client's."""
    context = server_context()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    _authority().configure_trust(context)
    return context


def identify(context: ssl.SSLContext) -> None:
    """Gives a client's context a certificate to show."""
    _authority().issue_cert("client@example.com").configure_cert(context)


def stranger_context() -> ssl.SSLContext:
    """A context that trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def careless_context() -> ssl.SSLContext:
    """A context that trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client_context(kind: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    """A context that trusts those certificates and no others."""
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    _authority().configure_trust(context)
    return context


def by_hand(leaf: trustme.LeafCert | None = None) -> dict[str, Any]:
    """The chain and the key of a certificate, `NAMES`' own or another, for servers written out by hand."""
    leaf = leaf or _certificate()
    return {
        "chain": tuple(ssl.PEM_cert_to_DER_cert(pem.bytes().decode()) for pem in leaf.cert_chain_pems),
        "key": serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None),
    }
