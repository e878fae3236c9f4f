"""What kinds of servers are reached: versions, ciphers, groups, signatures, and certificates of any size.

Each is reached, or refused in the same words, by httpcore and by ours, with and without rustls. What is
asked of certificates is `test_certificate_cases.py`'s.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import certificate_cases
import pytest
import trustme
from openssl_server import OpenSSLServer
from servers import Server
from test_certificate_cases import ACCEPTED, verdicts
from test_certificate_cases import server_context as showing
from test_tls_gate import backend, compare, pools, verdict

import httpcore_hyper

Configure = Callable[[ssl.SSLContext], None]
AUTHORITY = trustme.CA()
ECDSA = AUTHORITY.issue_cert("localhost")
RSA = AUTHORITY.issue_cert("localhost", key_type=trustme.KeyType.RSA)
# Every installation's own default, and what older ones need.
LENIENT = "ALL:@SECLEVEL=0"


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    return context


def serving(certificate: trustme.LeafCert, configure: Configure) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are among what is tested
        configure(context)
    return context


def version(number: ssl.TLSVersion) -> Configure:
    def configure(context: ssl.SSLContext) -> None:
        context.set_ciphers(LENIENT)
        context.minimum_version = context.maximum_version = number

    return configure


def ciphers(names: str) -> Configure:
    """Of TLS 1.2, since those of TLS 1.3 cannot be chosen."""

    def configure(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{names}:@SECLEVEL=0")

    return configure


def curve(name: str) -> Configure:
    """A server that can only do this one; the client may have to begin anew (RFC 8446 section 4.1.4)."""

    def configure(context: ssl.SSLContext) -> None:
        try:
            context.set_ecdh_curve(name)
        except (ssl.SSLError, ValueError):
            pytest.skip(f"this Python's servers cannot be limited to {name}")

    return configure


def anything(context: ssl.SSLContext) -> None:
    pass


@pytest.mark.parametrize(
    ("certificate", "configure", "served"),
    [
        pytest.param(ECDSA, version(ssl.TLSVersion.TLSv1_3), "rustls", id="TLS 1.3"),
        pytest.param(ECDSA, version(ssl.TLSVersion.TLSv1_2), "python", id="TLS 1.2"),
        pytest.param(ECDSA, version(ssl.TLSVersion.TLSv1_1), None, id="TLS 1.1"),
        pytest.param(ECDSA, version(ssl.TLSVersion.TLSv1), None, id="TLS 1.0"),
        pytest.param(RSA, anything, "rustls", id="RSA certificate"),
        pytest.param(ECDSA, ciphers("ECDHE-ECDSA-AES128-SHA256"), "python", id="ECDHE-CBC-SHA256"),
        pytest.param(ECDSA, ciphers("ECDHE-ECDSA-AES128-SHA"), None, id="ECDHE-CBC-SHA1"),
        pytest.param(RSA, ciphers("AES128-GCM-SHA256"), None, id="RSA key exchange"),
        pytest.param(ECDSA, ciphers("ECDHE-ECDSA-CHACHA20-POLY1305"), "python", id="ChaCha20 alone"),
        pytest.param(ECDSA, ciphers("ECDHE-ECDSA-AES128-CCM"), None, id="CCM alone"),
        pytest.param(RSA, ciphers("ECDHE-RSA-AES256-GCM-SHA384"), "python", id="RSA, TLS 1.2"),
        pytest.param(ECDSA, curve("X25519"), "rustls", id="X25519"),
        pytest.param(ECDSA, curve("prime256v1"), "rustls", id="P-256"),
        pytest.param(ECDSA, curve("secp384r1"), "rustls", id="P-384"),
        pytest.param(ECDSA, curve("secp521r1"), "python", id="P-521"),
        pytest.param(ECDSA, curve("X448"), "python", id="X448"),
    ],
)
def test_kinds_of_servers(certificate: trustme.LeafCert, configure: Configure, served: str | None) -> None:
    """rustls does what it can; the rest is reached by the context's own sessions, or by nobody."""
    with Server(tls=serving(certificate, configure)) as server, pools(trusting) as made:
        url = server.url(host="localhost")
        said = compare(made, url)
        # What a default context accepts depends on OpenSSL and on its configuration; that all agree does not.
        if served is not None and said.startswith("accepted"):
            assert backend(made["auto"][1], url) == served
        assert said.startswith("accepted") or served != "rustls", said


@pytest.mark.parametrize(
    ("certificate", "options", "served"),
    [
        pytest.param(RSA, "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", "python", id="DHE"),
        pytest.param(ECDSA, "-groups ffdhe2048", None, id="ffdhe2048"),
        pytest.param(ECDSA, "-groups P-521:X25519", "rustls", id="P-521 before X25519"),
        pytest.param(RSA, "-tls1_2 -sigalgs RSA+SHA256", "python", id="PKCS #1"),
        pytest.param(RSA, "-tls1_2 -sigalgs RSA+SHA1 -cipher DEFAULT@SECLEVEL=0", None, id="SHA-1"),
        pytest.param(RSA, "-sigalgs RSA-PSS+SHA512", "rustls", id="PSS with SHA-512"),
        pytest.param(ECDSA, "-ciphersuites TLS_CHACHA20_POLY1305_SHA256", "rustls", id="ChaCha20 in TLS 1.3"),
        pytest.param(ECDSA, "-ciphersuites TLS_AES_128_CCM_SHA256", None, id="CCM in TLS 1.3"),
        pytest.param(ECDSA, "-no_ticket", "rustls", id="no tickets"),
        pytest.param(ECDSA, "-num_tickets 20", "rustls", id="many tickets"),
    ],
)
def test_kinds_of_servers_that_python_cannot_be(
    certificate: trustme.LeafCert, options: str, served: str | None, tmp_path: Path
) -> None:
    with OpenSSLServer(certificate, tmp_path, *options.split()) as server, pools(trusting) as made:
        said = compare(made, server.url)
        if served is not None:
            assert said.startswith("accepted")
            assert backend(made["auto"][1], server.url) == served


@pytest.mark.parametrize("scheme", ["p521", "ed"])
def test_signatures_of_other_keys(scheme: str, tmp_path: Path) -> None:
    """rustls can check both."""
    case = certificate_cases.case("key", sent="leaf", leaf={"by": "root", "key": scheme})
    with Server(tls=showing(case.chain, case.key, tmp_path)) as server:
        found = verdicts(case, ssl.VERIFY_DEFAULT, server, tmp_path)
    assert found["httpcore"][0] == found["python"][0] == found["auto"][0] == ACCEPTED


def test_a_server_with_a_certificate_for_each_name() -> None:
    """It is told the name first, and chooses; a name that it does not know gets what there is."""
    contexts = {name: serving(AUTHORITY.issue_cert(name), anything) for name in ("one.test", "two.test")}
    context = serving(ECDSA, anything)

    def choose(session: ssl.SSLObject, name: str, _context: ssl.SSLContext) -> None:
        if name in contexts:
            session.context = contexts[name]

    context.sni_callback = choose
    with Server(tls=context) as server, pools(trusting) as made:
        for name, good in (
            ("one.test", True),
            ("two.test", True),
            ("localhost", True),
            ("three.test", False),
        ):
            said = {verdict(pool, server.url(), sni_hostname=name) for _, pool in made.values()}
            assert len(said) == 1, said
            assert said.pop().startswith("accepted" if good else "ConnectError"), name


@pytest.mark.parametrize(
    ("issued", "asked", "good"),
    [
        ("one.test", "one.test", True),
        ("one.test", "two.test", False),
        ("*.one.test", "a.one.test", True),
        ("*.one.test", "a.b.one.test", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("::1", "::1", True),
        ("bücher.test", "bücher.test", True),
        ("bücher.test", "xn--bcher-kva.test", True),
        ("bücher.test", "bucher.test", False),
    ],
)
@pytest.mark.parametrize("issuer", [AUTHORITY, AUTHORITY.create_child_ca()], ids=["root", "child"])
def test_names_on_certificates(issuer: trustme.CA, issued: str, asked: str, good: bool) -> None:
    """Those that most certificates have; `certificate_cases.py` has the others."""
    with Server(tls=serving(issuer.issue_cert(issued), anything)) as server, pools(trusting) as made:
        said = {verdict(pool, server.url(), sni_hostname=asked) for _, pool in made.values()}
    assert len(said) == 1, said
    assert said.pop().startswith("accepted" if good else "ConnectError [SSL: CERTIFICATE_VERIFY_FAILED]")


@pytest.mark.parametrize("kilobytes", [20, 50, 70, 120, 300])
def test_certificates_of_any_size(kilobytes: int, tmp_path: Path) -> None:
    """More than rustls takes (64 KiB) is left to OpenSSL, which has a limit of its own."""
    # An extension of a private number, which nobody looks at (RFC 5280 section 4.2).
    more = (("1.3.6.1.4.1.99999.1", False, b"\x04\x00" + bytes(kilobytes * 1000)),)
    case = certificate_cases.case("large", sent="leaf", leaf={"by": "root", "more": more})
    with Server(tls=showing(case.chain, case.key, tmp_path)) as server:
        found = verdicts(case, ssl.VERIFY_DEFAULT, server, tmp_path)
    assert len({said for said, _ in found.values()}) == 1, found


def test_truststore(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its contexts are no genuine ones; what they do on the way to a session, they do here."""
    import truststore  # noqa: PLC0415 - no other test needs it

    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nothing"))
    with (
        Server(tls=serving(ECDSA, anything)) as server,
        httpcore_hyper.ConnectionPool(truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as pool,
    ):
        assert pool.delegated is None
        assert backend(pool, server.url(host="localhost")) == "python"
    with (
        Server(tls=serving(trustme.CA().issue_cert("localhost"), anything)) as server,
        pools(lambda: truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as made,
    ):
        assert "CERTIFICATE_VERIFY_FAILED" in compare(made, server.url(host="localhost"))
