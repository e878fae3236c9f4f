"""What a client shows of itself: the same chain as httpcore, to the same servers, whoever does the bytes.

A server here notes what it was shown. What it demands, and how it refuses, is its context's to say.
"""

from __future__ import annotations

import contextlib
import select
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certificate_cases
import pytest
import trustme
from certificates_made import CLIENT
from cryptography.hazmat.primitives import serialization
from openssl_server import OpenSSLServer
from servers import Connection, Server, Step, call
from test_tls_gate import pools, verdict

Change = Callable[[ssl.SSLContext], None]

AUTHORITY = trustme.CA()
CHILD = AUTHORITY.create_child_ca()
STRANGER = trustme.CA()
PASSWORD = "open sesame"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CANNOT_ASK = b"HTTP/1.1 204 No Content\r\n\r\n"
# For an answer of a client's that does not come.
DEADLINE = 5.0
# `_ssl.ENCODING_DER`, which `ssl` does not pass on.
DER = 2

V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
each_version = pytest.mark.parametrize("version", [V1_2, V1_3])


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    return context


def client(change: Change | None = None) -> Callable[[], ssl.SSLContext]:
    def make() -> ssl.SSLContext:
        context = trusting()
        if change is not None:
            change(context)
        return context

    return make


def load(folder: Path, leaf: trustme.LeafCert, *, chain: bool = True, password: Any = None) -> Change:
    """Has the context load a certificate from files, as most do."""
    file = folder / "client.pem"
    pems = leaf.cert_chain_pems if chain else leaf.cert_chain_pems[:1]
    private: Any = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    cipher = serialization.BestAvailableEncryption(PASSWORD.encode())
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption() if password is None else cipher,
    )
    file.write_bytes(b"".join(pem.bytes() for pem in pems) + pem)
    return lambda context: context.load_cert_chain(file, password=password)


class Shown:
    """The chains that a server was shown, one for each handshake."""

    def __init__(self) -> None:
        self.chains: list[list[bytes]] = []

    def noted_by(self, context: ssl.SSLContext) -> ssl.SSLContext:
        shown = self

        class Session(ssl.SSLSocket):
            def do_handshake(self, block: bool = False) -> None:
                super().do_handshake(block)
                shown.note(self)

        context.sslsocket_class = Session
        return context

    def note(self, session: Any) -> None:
        # Public since 3.13 alone.
        chain = session._sslobj.get_unverified_chain()
        # Without a certificate it has nothing, or nothing in it.
        self.chains.append([certificate.public_bytes(DER) for certificate in chain or () if certificate])


def server(version: ssl.TLSVersion, mode: ssl.VerifyMode, **more: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost", **more).configure_cert(context)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = mode
    AUTHORITY.configure_trust(context)
    return context


def compared(
    make: Callable[[], ssl.SSLContext],
    serve: Callable[[], ssl.SSLContext],
    requests: Callable[[ssl.SSLContext, Callable[[], str]], str],
) -> tuple[str, list[list[bytes]]]:
    """The verdict of all, and what all of them have shown: chains that are no empty ones."""
    found = {}
    with pools(make) as made:
        for name, (context, pool) in made.items():
            shown = Shown()
            with Server(tls=shown.noted_by(serve())) as listening:
                url = listening.url(host="localhost")
                said = requests(context, lambda pool=pool, url=url: verdict(pool, url))  # type: ignore[misc]
            found[name] = said, [chain for chain in shown.chains if chain]
    assert found["auto"] == found["httpcore"]
    assert found["python"] == found["httpcore"]
    return found["httpcore"]


def once(context: ssl.SSLContext, request: Callable[[], str]) -> str:
    return request()


@each_version
def test_none_is_asked_for(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """So none is shown."""
    make = client(load(tmp_path, AUTHORITY.issue_cert("me@example.com")))
    said, chains = compared(make, lambda: server(version, ssl.CERT_NONE), once)
    assert said.startswith("accepted")
    assert chains == []


@each_version
@pytest.mark.parametrize("mode", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
@pytest.mark.parametrize("loaded", [True, False])
def test_one_is_asked_for(
    version: ssl.TLSVersion, mode: ssl.VerifyMode, loaded: bool, tmp_path: Path
) -> None:
    """Shown if there is one, with its issuer, whom the client trusts; else the server says what it thinks."""
    make = client(load(tmp_path, AUTHORITY.issue_cert("me@example.com")) if loaded else None)
    said, chains = compared(make, lambda: server(version, mode), once)
    assert [len(chain) for chain in chains] == [2] * loaded
    if loaded or mode == ssl.CERT_OPTIONAL:
        assert said.startswith("accepted")
    else:
        # Behind the handshake, as the client sees it, in TLS 1.3.
        assert said.startswith("ReadError" if version == V1_3 else "ConnectError")


@each_version
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "p521", "ed"])
def test_keys_of_each_kind(version: ssl.TLSVersion, kind: str, tmp_path: Path) -> None:
    case = certificate_cases.case("client", sent="leaf", leaf={"by": "root", "key": kind, "eku": (CLIENT,)})
    file = tmp_path / "client.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(case.chain[0]) + case.key.decode())

    def serve() -> ssl.SSLContext:
        context = server(version, ssl.CERT_REQUIRED)
        context.load_verify_locations(cadata=b"".join(case.trusted))
        return context

    said, chains = compared(client(lambda context: context.load_cert_chain(file)), serve, once)
    assert said.startswith("accepted")
    assert chains == [[case.chain[0]]]


@each_version
def test_a_chain_that_the_file_has(version: ssl.TLSVersion, tmp_path: Path) -> None:
    make = client(load(tmp_path, CHILD.issue_cert("me@example.com")))
    said, chains = compared(make, lambda: server(version, ssl.CERT_REQUIRED), once)
    assert said.startswith("accepted")
    assert [len(chain) for chain in chains] == [2]


@each_version
def test_a_chain_that_the_trusted_certificates_complete(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """OpenSSL looks for the issuers among what the client trusts, and sends them."""
    loading = load(tmp_path, CHILD.issue_cert("me@example.com"), chain=False)

    def change(context: ssl.SSLContext) -> None:
        loading(context)
        context.load_verify_locations(cadata=CHILD.cert_pem.bytes().decode())

    said, chains = compared(client(change), lambda: server(version, ssl.CERT_REQUIRED), once)
    assert said.startswith("accepted")
    assert [len(chain) for chain in chains] == [3]


@pytest.mark.parametrize("kind", [trustme.KeyType.RSA, trustme.KeyType.ECDSA])
def test_two_keys_in_one_context(kind: trustme.KeyType, tmp_path: Path) -> None:
    """The one that the server can check is shown."""
    leaves = {}
    for each in trustme.KeyType:
        leaves[each] = AUTHORITY.issue_cert("me@example.com", key_type=each)

    def change(context: ssl.SSLContext) -> None:
        for leaf in leaves.values():
            load(tmp_path, leaf)(context)

    folder = tmp_path / "server"
    folder.mkdir()
    leaf = AUTHORITY.issue_cert("localhost")
    options = ["-client_sigalgs", "RSA-PSS+SHA256" if kind is trustme.KeyType.RSA else "ECDSA+SHA256"]
    (folder / "ca.pem").write_bytes(AUTHORITY.cert_pem.bytes())
    with pools(client(change)) as made:
        for name, (_, pool) in made.items():
            with OpenSSLServer(leaf, folder, "-Verify", "2", "-CAfile", folder / "ca.pem", *options) as other:
                response = pool.request("GET", other.url, headers={"Connection": "close"})
            algorithm = b"rsaEncryption" if kind is trustme.KeyType.RSA else b"id-ecPublicKey"
            # Its page has the client's certificate, and the algorithm of its key.
            assert algorithm in response.content, (name, response.content)


@pytest.mark.parametrize("form", ["str", "bytes", "callable"])
def test_a_key_behind_a_password(form: str, tmp_path: Path) -> None:
    password = {"str": PASSWORD, "bytes": PASSWORD.encode(), "callable": lambda: PASSWORD}[form]
    make = client(load(tmp_path, AUTHORITY.issue_cert("me@example.com"), password=password))
    said, chains = compared(make, lambda: server(V1_3, ssl.CERT_REQUIRED), once)
    assert said.startswith("accepted")
    assert [len(chain) for chain in chains] == [2]


@each_version
def test_files_that_are_deleted_after_loading(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """The context has all of it."""
    loading = load(tmp_path, AUTHORITY.issue_cert("me@example.com"))
    kept = (tmp_path / "client.pem").read_bytes()

    def change(context: ssl.SSLContext) -> None:
        (tmp_path / "client.pem").write_bytes(kept)
        loading(context)
        (tmp_path / "client.pem").unlink()

    said, chains = compared(client(change), lambda: server(version, ssl.CERT_REQUIRED), once)
    assert said.startswith("accepted")
    assert [len(chain) for chain in chains] == [2]


@each_version
def test_one_that_is_loaded_after_the_first_request(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """Nothing remembers that there was none."""
    loading = load(tmp_path, AUTHORITY.issue_cert("me@example.com"))

    def twice(context: ssl.SSLContext, request: Callable[[], str]) -> str:
        first = request()
        loading(context)
        return f"{first}, then {request()}"

    said, chains = compared(client(), lambda: server(version, ssl.CERT_REQUIRED), twice)
    assert said.endswith(", then accepted 200")
    assert [len(chain) for chain in chains] == [2]


@each_version
@pytest.mark.parametrize("mode", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
def test_one_of_an_authority_that_the_server_does_not_know(
    version: ssl.TLSVersion, mode: ssl.VerifyMode, tmp_path: Path
) -> None:
    """Shown all the same: the names that the server gives are a hint."""
    make = client(load(tmp_path, STRANGER.issue_cert("me@example.com")))
    said, _ = compared(make, lambda: server(version, mode), once)
    assert "ALERT_UNKNOWN_CA" in said


@each_version
def test_one_of_a_client_who_trusts_everybody(version: ssl.TLSVersion, tmp_path: Path) -> None:
    loading = load(tmp_path, AUTHORITY.issue_cert("me@example.com"))

    def change(context: ssl.SSLContext) -> None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        loading(context)

    said, chains = compared(client(change), lambda: server(version, ssl.CERT_REQUIRED), once)
    assert said.startswith("accepted")
    assert [len(chain) for chain in chains] == [2]


def test_one_in_a_context_of_truststore(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import truststore  # noqa: PLC0415 - no other test here needs it

    (tmp_path / "authority.pem").write_bytes(AUTHORITY.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    loading = load(tmp_path, AUTHORITY.issue_cert("me@example.com"))

    def make() -> ssl.SSLContext:
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        loading(context)
        return context

    said, chains = compared(make, lambda: server(V1_3, ssl.CERT_REQUIRED), once)
    assert said.startswith("accepted")
    assert [len(chain) for chain in chains] == [2]


def ask_later(shown: Shown) -> Step:
    """Asks for a certificate behind the first request (RFC 8446 section 4.6.2), and answers then."""

    def play(connection: Connection) -> None:
        session: Any = connection.sock
        session.recv(65536)
        try:
            session.verify_client_post_handshake()
        except ssl.SSLError:
            session.sendall(CANNOT_ASK)
            return
        # The question leaves with the next bytes, and the answer comes in with a read.
        session.sendall(OK[:1])
        session.setblocking(False)
        while session.getpeercert(True) is None:
            select.select([session], [], [], DEADLINE)
            with contextlib.suppress(ssl.SSLWantReadError):
                session.recv(65536)
        session.setblocking(True)
        shown.note(session)
        session.sendall(OK[1:])

    return call(play)


@pytest.mark.parametrize(
    ("willing", "loaded", "expected"),
    [
        (True, True, "accepted 200"),
        (True, False, "ReadError [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]"),
        (False, True, "accepted 204"),
    ],
    ids=["willing", "with none to show", "not willing"],
)
def test_one_that_is_asked_for_later(willing: bool, loaded: bool, expected: str, tmp_path: Path) -> None:
    """A context that is willing says so in its ClientHello, and no other can be asked."""
    loading = load(tmp_path, AUTHORITY.issue_cert("me@example.com"))

    def change(context: ssl.SSLContext) -> None:
        context.post_handshake_auth = willing
        if loaded:
            loading(context)

    found = {}
    with pools(client(change)) as made:
        for name, (_, pool) in made.items():
            shown = Shown()
            context = server(V1_3, ssl.CERT_REQUIRED)
            context.post_handshake_auth = True
            with Server([[ask_later(shown)]], tls=context) as listening:
                found[name] = verdict(pool, listening.url(host="localhost")), shown.chains
    assert found["auto"] == found["httpcore"]
    assert found["python"] == found["httpcore"]
    said, chains = found["httpcore"]
    assert said.startswith(expected)
    assert [len(chain) for chain in chains] == [2] * (willing and loaded)
