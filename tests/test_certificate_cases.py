"""Whether a certificate is good, and what is said of a bad one: as httpcore has it, whoever does the bytes.

Each case of `certificate_cases.py` is shown by a real server to equal contexts of three pools. What the right
verdict is depends on the OpenSSL that Python is built on; that it is one verdict does not.
"""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpcore
import pytest
from certificate_cases import CASES, Case
from cryptography.hazmat.primitives import serialization
from servers import RAW, STALL, Server
from tls_by_hand import Server13, play

import httpcore_hyper

# What contexts ask of a certificate: what Python's do by themselves, and since 3.13 its default ones.
PROFILES = {
    "plain": ssl.VERIFY_DEFAULT,
    "strict": ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN,
}
ACCEPTED = "accepted"
# Where an error's text goes on with a line of CPython's own source, which may differ.
SOURCE_LINE = " (_ssl.c"
TIMEOUT = 20.0
EVERYTHING = "DEFAULT:@SECLEVEL=0"
# Of three pools, one of which may need a second one.
CONNECTIONS = 4


def server_context(chain: Iterable[bytes], key: bytes, directory: Path) -> ssl.SSLContext:
    """A server's context that shows this chain, however weak or odd. Raises `ssl.SSLError` if it cannot."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(EVERYTHING)
    file = directory / "server.pem"
    pem = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in chain)
    file.write_text(pem + key.decode())
    context.load_cert_chain(file)
    return context


def showing(case: Case, directory: Path) -> Server:
    """A server that shows the chain; one written out by hand where OpenSSL's own refuse to load it."""
    if not case.by_hand:
        return Server(tls=server_context(case.chain, case.key, directory))
    key: Any = serialization.load_pem_private_key(case.key, None)
    script = [RAW, play(Server13(chain=tuple(case.chain), key=key)), STALL]
    return Server([script] * CONNECTIONS, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def client_context(case: Case, flags: ssl.VerifyFlags, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = case.check_hostname
    context.verify_mode = case.verify_mode
    context.verify_flags |= case.flags | flags
    if case.trusted:
        context.load_verify_locations(cadata=b"".join(case.trusted))
    for number, revoked in enumerate(case.revoked):
        # Such lists are taken from files alone.
        file = directory / f"revoked{number}.pem"
        file.write_text(ssl.DER_cert_to_PEM_cert(revoked).replace("CERTIFICATE", "X509 CRL"))
        context.load_verify_locations(file)
    return context


def verdict(pool: Any, server: Server, host: str) -> tuple[str, str | None]:
    """What becomes of a request, and who did the cryptography. Closes the pool."""
    extensions = {"sni_hostname": host, "timeout": {"connect": TIMEOUT, "read": TIMEOUT}}
    with pool:
        try:
            response = pool.request("GET", server.url(), extensions=extensions)
        except Exception as error:
            text = str(error.args[0]) if error.args else ""
            return f"{type(error).__name__}: {text.partition(SOURCE_LINE)[0]}", None
        stream = response.extensions["network_stream"]
        return ACCEPTED, stream.get_extra_info("tls_backend")


def verdicts(
    case: Case, flags: ssl.VerifyFlags, server: Server, directory: Path
) -> dict[str, tuple[str, str | None]]:
    """httpcore's, and ours with and without rustls."""

    def context() -> ssl.SSLContext:
        return client_context(case, flags, directory)

    pools: dict[str, Any] = {
        "httpcore": httpcore.ConnectionPool(ssl_context=context()),
        "python": httpcore_hyper.ConnectionPool(ssl_context=context(), tls="python"),
        "auto": httpcore_hyper.ConnectionPool(ssl_context=context(), tls="auto"),
    }
    return {name: verdict(pool, server, case.host) for name, pool in pools.items()}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_there_is_one_verdict(case: Case, profile: str, tmp_path: Path) -> None:
    """Accepted by all, or refused by all in the same words."""
    with showing(case, tmp_path) as server:
        found = verdicts(case, PROFILES[profile], server, tmp_path)
    assert found["python"][0] == found["httpcore"][0]
    assert found["auto"][0] == found["httpcore"][0]


@pytest.mark.parametrize("name", ["ok-root-leaf", "leaf-key-rsa2048", "leaf-key-ed"])
def test_rustls_serves_what_is_good(name: str, tmp_path: Path) -> None:
    """Else the verdicts above would say nothing of it."""
    case = by_name(name)
    with Server(tls=server_context(case.chain, case.key, tmp_path)) as server:
        found = verdicts(case, ssl.VERIFY_DEFAULT, server, tmp_path)
    assert found == {
        "httpcore": (ACCEPTED, None),
        "python": (ACCEPTED, "python"),
        "auto": (ACCEPTED, "rustls"),
    }


# Which bytes are changed, the same each time; all of them at full size.
SEED = 7
MUTATIONS = None if os.environ.get("HTTPCORE_HYPER_TESTS") == "full" else 150


def test_one_byte_makes_nothing_acceptable(tmp_path: Path) -> None:
    """Any byte of a good chain, changed to any other: ours accepts only what httpcore accepts."""
    case = by_name("ok-root-inter-leaf")
    places = [(link, at) for link, certificate in enumerate(case.chain) for at in range(len(certificate))]
    chance = random.Random(SEED)
    chosen = places if MUTATIONS is None else chance.sample(places, MUTATIONS)
    accepted = shown = 0
    for link, at in chosen:
        chain = [bytearray(certificate) for certificate in case.chain]
        chain[link][at] ^= chance.randrange(1, 256)
        try:
            context = server_context([bytes(certificate) for certificate in chain], case.key, tmp_path)
        except ssl.SSLError:
            continue  # no server of OpenSSL's can show it
        shown += 1
        with Server(tls=context) as server:
            found = verdicts(case, ssl.VERIFY_DEFAULT, server, tmp_path)
        reference = found["httpcore"][0] == ACCEPTED
        accepted += reference
        for name in ("python", "auto"):
            assert reference or found[name][0] != ACCEPTED, (link, at, found)
    assert shown > len(chosen) / 3
    assert accepted < shown


def by_name(name: str) -> Case:
    return next(case for case in CASES if case.name == name)
