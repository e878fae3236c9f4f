"""Who does the cryptography: rustls where it makes no difference, the user's own context elsewhere.

Each verdict here is compared with httpcore's, given an equal context. The certificates themselves have
their own matrix; faults of servers are chapter T's.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pathlib
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import client_hello
import httpcore
import httpx
import pytest
import trustme
from certificates import client_context, demanding_context, identify, server_context, stranger_context
from proxies import HTTPS, TUNNEL, proxy_to
from servers import HEAR, RAW, RST, SERVE, START_TLS, Server

import httpcore_hyper

Change = Callable[[ssl.SSLContext], None]
DEADLINE = 10.0


@contextlib.contextmanager
def pools(make: Callable[[], ssl.SSLContext]) -> Iterator[dict[str, tuple[ssl.SSLContext, Any]]]:
    """A pool of each engine, with a context of its own for each."""
    with contextlib.ExitStack() as stack:
        made = {}
        for name in ("httpcore", "auto", "python"):
            context = make()
            if name == "httpcore":
                pool = httpcore.ConnectionPool(context)
            else:
                pool = httpcore_hyper.ConnectionPool(context, tls=name)
            made[name] = context, stack.enter_context(pool)
        yield made


def verdict(pool: Any, url: str, **extensions: Any) -> str:
    """`accepted`, or what was said, without the place in `ssl`'s source."""
    try:
        response = pool.request("GET", url, headers={"Connection": "close"}, extensions=extensions)
    except (httpcore.ConnectError, httpcore.ReadError) as error:
        return f"{type(error).__name__} {error}".partition(" (_ssl.c")[0]
    return f"accepted {response.status}"


def compare(made: dict[str, Any], url: str) -> str:
    """The verdict of all."""
    verdicts = {name: verdict(pool, url) for name, (_, pool) in made.items()}
    assert len(set(verdicts.values())) == 1, verdicts
    return verdicts["auto"]


def backend(pool: Any, url: str) -> str | None:
    response = pool.request("GET", url, headers={"Connection": "close"})
    found = response.extensions["network_stream"].get_extra_info("tls_backend")
    assert found in ("rustls", "python")
    return str(found)


def bare() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def authority_pem() -> bytes:
    return ssl.DER_cert_to_PEM_cert(client_context().get_ca_certs(binary_form=True)[0]).encode()


def hashed(folder: pathlib.Path) -> None:
    """Puts the authority into a directory as OpenSSL looks for it."""
    file = folder / "authority.pem"
    file.write_bytes(authority_pem())
    command = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(file)]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    file.rename(folder / f"{name}.0")


# Where trust comes from.


def from_file(folder: pathlib.Path, context: ssl.SSLContext) -> None:
    (folder / "ca.pem").write_bytes(authority_pem())
    context.load_verify_locations(cafile=folder / "ca.pem")


def from_der(folder: pathlib.Path, context: ssl.SSLContext) -> None:
    context.load_verify_locations(cadata=ssl.PEM_cert_to_DER_cert(authority_pem().decode()))


def from_text_twice(folder: pathlib.Path, context: ssl.SSLContext) -> None:
    for _ in range(2):
        context.load_verify_locations(cadata=authority_pem().decode())


def from_directory(folder: pathlib.Path, context: ssl.SSLContext) -> None:
    hashed(folder)
    context.load_verify_locations(capath=folder)


def from_empty_directory(folder: pathlib.Path, context: ssl.SSLContext) -> None:
    context.load_verify_locations(capath=folder)


def from_nowhere(folder: pathlib.Path, context: ssl.SSLContext) -> None:
    pass


def from_trusted(purpose: str) -> Callable[[pathlib.Path, ssl.SSLContext], None]:
    """A file that says what its certificate is trusted for, which no attribute of a context shows."""

    def load(folder: pathlib.Path, context: ssl.SSLContext) -> None:
        (folder / "ca.pem").write_bytes(authority_pem())
        words = ["openssl", "x509", "-in", folder / "ca.pem", "-trustout", *purpose.split()]
        subprocess.run([*words, "-out", folder / "trusted.pem"], check=True, capture_output=True)
        context.load_verify_locations(cafile=folder / "trusted.pem")

    return load


@pytest.mark.parametrize(
    ("load", "accepted"),
    [
        pytest.param(from_file, True, id="file"),
        pytest.param(from_der, True, id="der"),
        pytest.param(from_text_twice, True, id="text, twice"),
        pytest.param(from_directory, True, id="directory"),
        pytest.param(from_empty_directory, False, id="empty directory"),
        pytest.param(from_nowhere, False, id="nowhere"),
        pytest.param(from_trusted("-addtrust serverAuth"), True, id="trusted for servers"),
        pytest.param(from_trusted("-addtrust clientAuth"), False, id="trusted for clients"),
        pytest.param(from_trusted("-addreject serverAuth"), False, id="rejected for servers"),
    ],
)
def test_trust_is_the_contexts(load: Any, accepted: bool, tmp_path: pathlib.Path) -> None:
    """Wherever it comes from, and whether or not it can be read back."""
    number = iter(range(9))

    def make() -> ssl.SSLContext:
        context = bare()
        folder = tmp_path / str(next(number))
        folder.mkdir()
        load(folder, context)
        return context

    with Server(tls=server_context()) as server, pools(make) as made:
        said = compare(made, server.url(host="localhost"))
        assert said.startswith("accepted") == accepted, said
        if accepted:
            assert backend(made["auto"][1], server.url(host="localhost")) == "rustls"
            assert backend(made["python"][1], server.url(host="localhost")) == "python"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_trust_from_the_environment(
    variable: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx reads these when it makes its context."""
    hashed(tmp_path)
    place = tmp_path if variable == "SSL_CERT_DIR" else next(tmp_path.iterdir())
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)  # it comes first
    monkeypatch.setenv(variable, str(place))
    with (
        Server(tls=server_context()) as server,
        httpx.Client(transport=httpcore_hyper.HTTPTransport()) as client,
    ):
        response = client.get(server.url(host="localhost"))
        assert response.extensions["network_stream"].get_extra_info("tls_backend") == "rustls"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("load", ["set_default_verify_paths", "load_default_certs"])
def test_trust_from_default_places(
    variable: str, load: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL's own, which the environment may move; with nothing there nobody is trusted."""
    place, nothing = tmp_path / "place", tmp_path / "nothing"
    place.mkdir()
    nothing.mkdir()
    hashed(place)
    (file,) = place.iterdir()
    places = {"SSL_CERT_FILE": nothing / "ca.pem", "SSL_CERT_DIR": nothing}

    def make() -> ssl.SSLContext:
        context = bare()
        getattr(context, load)()
        return context

    for moved, accepted in ({variable: place if variable == "SSL_CERT_DIR" else file}, True), ({}, False):
        for name, value in {**places, **moved}.items():
            monkeypatch.setenv(name, str(value))
        with Server(tls=server_context()) as server, pools(make) as made:
            said = compare(made, server.url(host="localhost"))
            assert said.startswith("accepted") == accepted, said
            if accepted:
                assert backend(made["auto"][1], server.url(host="localhost")) == "rustls"


def test_trust_that_comes_later_is_honoured(tmp_path: pathlib.Path) -> None:
    """A refusal is never remembered: neither the context nor its directory is a copy."""

    def make() -> ssl.SSLContext:
        context = bare()
        context.load_verify_locations(capath=tmp_path)
        return context

    with Server(tls=server_context()) as server, pools(make) as made:
        url = server.url(host="localhost")
        assert "CERTIFICATE_VERIFY_FAILED" in compare(made, url)
        hashed(tmp_path)
        assert compare(made, url).startswith("accepted")
    with Server(tls=server_context()) as server, pools(bare) as made:
        url = server.url(host="localhost")
        assert "CERTIFICATE_VERIFY_FAILED" in compare(made, url)
        for context, _ in made.values():
            from_der(tmp_path, context)
        assert compare(made, url).startswith("accepted")


def demand_revocation_lists(context: ssl.SSLContext) -> None:
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def want_more(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(demand_revocation_lists, "unable to get certificate CRL", id="verify_flags"),
        pytest.param(want_more, "accepted", id="versions"),
    ],
)
def test_what_is_changed_later_is_honoured_at_once(change: Change, said: str) -> None:
    """An answer holds for a context as it was: a change that can be seen makes it another."""
    with Server(tls=server_context()) as server, pools(client_context) as made:
        url = server.url(host="localhost")
        assert compare(made, url).startswith("accepted")
        for context, _ in made.values():
            change(context)
        assert said in compare(made, url)


def revoking(folder: pathlib.Path) -> tuple[ssl.SSLContext, pathlib.Path, pathlib.Path]:
    """A server's context, its authority's file, and one with the list that revokes its certificate."""
    from cryptography import x509  # noqa: PLC0415 - trustme brings it, nobody else here needs it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415

    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key: Any = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    mine = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    revoked = (
        x509.RevokedCertificateBuilder()
        .serial_number(mine.serial_number)
        .revocation_date(issuer.not_valid_before_utc)
        .build()
    )
    revocations = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(issuer.not_valid_before_utc)
        .next_update(issuer.not_valid_after_utc)
        .add_revoked_certificate(revoked)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
    (folder / "crl.pem").write_bytes(revocations.public_bytes(serialization.Encoding.PEM))
    return context, folder / "ca.pem", folder / "crl.pem"


def test_a_revoked_certificate_is_refused(tmp_path: pathlib.Path) -> None:
    """As soon as the flag says that the list is to be looked at."""
    context, authority, revocations = revoking(tmp_path)
    mine = bare()
    mine.load_verify_locations(authority)
    mine.load_verify_locations(revocations)  # read, and looked at when the flag says so
    with Server(tls=context) as server, httpcore_hyper.ConnectionPool(mine) as pool:
        url = server.url(host="localhost")
        assert verdict(pool, url).startswith("accepted")
        mine.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        assert "certificate revoked" in verdict(pool, url)


def test_a_change_that_cannot_be_seen_is_honoured_soon() -> None:
    """Curves show in no attribute: what the context would offer is asked for again after a second."""
    context = client_context()
    with Server(tls=server_context()) as server, httpcore_hyper.ConnectionPool(context) as pool:
        assert backend(pool, server.url()) == "rustls"
        far_curve(context)
        limit = time.monotonic() + DEADLINE
        while backend(pool, server.url()) == "rustls":
            assert time.monotonic() < limit, "still offers what the context no longer does"


# Who serves.


def listen(context: ssl.SSLContext) -> None:
    context._msg_callback = lambda *args: None  # type: ignore[attr-defined]


def authenticate_later(context: ssl.SSLContext) -> None:
    context.post_handshake_auth = True


def hook(context: ssl.SSLContext) -> None:
    context.wrap_bio = context.wrap_bio  # type: ignore[method-assign]


def note(context: ssl.SSLContext) -> None:
    vars(context)["mine"] = "a note"


def one_suite(context: ssl.SSLContext) -> None:
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")


def former_exchange(context: ssl.SSLContext) -> None:
    context.set_ciphers("AES128-GCM-SHA256")


def careful(context: ssl.SSLContext) -> None:
    context.set_ciphers("DEFAULT:@SECLEVEL=2")


def one_curve(context: ssl.SSLContext) -> None:
    context.set_ecdh_curve("prime256v1")


def far_curve(context: ssl.SSLContext) -> None:
    context.set_ecdh_curve("secp521r1")


def former_version(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def any_protocol(context: ssl.SSLContext) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "served"),
    [
        pytest.param(note, "rustls", id="an attribute of the user's own"),
        pytest.param(one_suite, "rustls", id="one suite of TLS 1.2"),
        pytest.param(former_exchange, "rustls", id="RSA key exchange, in TLS 1.2"),
        pytest.param(careful, "rustls", id="security level"),
        pytest.param(one_curve, "rustls", id="one curve"),
        pytest.param(want_more, "rustls", id="TLS 1.3 only"),
        pytest.param(far_curve, "python", id="a curve that rustls has not"),
        pytest.param(former_version, "python", id="TLS 1.2 only"),
        pytest.param(listen, "python", id="a message callback"),
        pytest.param(authenticate_later, "python", id="post-handshake authentication"),
        pytest.param(hook, "python", id="an overridden method"),
    ],
)
def test_who_serves(change: Change, served: str) -> None:
    """What acts on sessions, or is more than rustls has, stays with the context; `rustls` says why."""
    context = client_context()
    change(context)
    with Server(tls=server_context()) as server:
        url = server.url(host="localhost")
        with httpcore_hyper.ConnectionPool(context) as pool:
            assert backend(pool, url) == served
        with httpcore_hyper.ConnectionPool(context, tls="python") as pool:
            assert backend(pool, url) == "python"
        with httpcore_hyper.ConnectionPool(context, tls="rustls") as pool:
            if served == "rustls":
                assert backend(pool, url) == "rustls"
            else:
                assert "rustls cannot serve this connection: " in verdict(pool, url)


@pytest.mark.parametrize("hindered", [None, "proxy", "origin"])
def test_who_serves_behind_a_proxy(hindered: str | None) -> None:
    """The way to an `https` proxy and the one within its tunnel are two sessions, under one rule."""
    contexts = {"proxy": client_context(), "origin": client_context()}
    if hindered is not None:
        listen(contexts[hindered])
    script = [*TUNNEL, START_TLS, SERVE]
    with Server([script] * 8, tls=server_context()) as server:
        url = server.url(host="localhost")
        for policy in ("auto", "python", "rustls"):
            proxy = proxy_to(server, HTTPS, ssl_context=contexts["proxy"])
            with httpcore_hyper.ConnectionPool(contexts["origin"], proxy=proxy, tls=policy) as pool:
                if policy == "rustls" and hindered is not None:
                    assert "rustls cannot serve this connection: " in verdict(pool, url)
                else:
                    served = policy == "python" or hindered == "origin"
                    assert backend(pool, url) == ("python" if served else "rustls")


def test_a_key_log_is_the_contexts(tmp_path: pathlib.Path) -> None:
    """Its lines are those of the session that was used."""
    context = client_context()
    context.keylog_filename = str(tmp_path / "keys")
    with Server(tls=server_context()) as server, httpcore_hyper.ConnectionPool(context) as pool:
        assert backend(pool, server.url(host="localhost")) == "python"
    assert "CLIENT_TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()


def test_other_protocol_objects(caplog: pytest.LogCaptureFixture) -> None:
    """`PROTOCOL_TLS` is served as `PROTOCOL_TLS_CLIENT` is; one of one version is not, as the log says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is what is tested
        general, former = ssl.SSLContext(ssl.PROTOCOL_TLS), ssl.SSLContext(ssl.PROTOCOL_TLSv1_2)
    with Server(tls=server_context()) as server:
        for context, served in ((general, "rustls"), (former, "python")):
            with (
                caplog.at_level(logging.DEBUG, "httpcore_hyper"),
                httpcore_hyper.ConnectionPool(context) as pool,
            ):
                assert backend(pool, server.url()) == served
    assert "TLS runs on Python's ssl: ssl_context.protocol is" in caplog.text


def test_a_servers_context_is_refused() -> None:
    """It makes no sessions for clients, as `ssl` says itself."""
    with (
        Server(tls=server_context()) as server,
        pools(lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as made,
    ):
        assert "PROTOCOL_TLS_SERVER" in compare(made, server.url(host="localhost"))


@pytest.mark.parametrize("place", ["instance", "class"])
def test_a_pin_by_wrap_bio_is_honoured(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes the sessions has the last word on them."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            raise ssl.SSLError("not the certificate that was pinned")

    original = ssl.SSLContext.wrap_bio
    context = client_context()

    def wrap_bio(own: ssl.SSLContext, *args: Any, **more: Any) -> ssl.SSLObject:
        session = original(own, *args, **more)
        session.__class__ = Pinned
        return session

    if place == "class":
        monkeypatch.setattr(ssl.SSLContext, "wrap_bio", wrap_bio)
    else:
        context.wrap_bio = functools.partial(wrap_bio, context)  # type: ignore[method-assign]
    with Server(tls=server_context()) as server, httpcore_hyper.ConnectionPool(context) as pool:
        assert pool.delegated is None
        assert "pinned" in verdict(pool, server.url(host="localhost"))
        assert server.accepted == 1


def test_a_patched_module_is_left_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinning by patching works with httpcore, and works here."""
    original = ssl.SSLObject.do_handshake
    seen = []

    def do_handshake(self: ssl.SSLObject) -> None:
        original(self)
        seen.append(self.getpeercert(True))

    monkeypatch.setattr(ssl.SSLObject, "do_handshake", do_handshake)
    with Server(tls=server_context()) as server, httpcore_hyper.ConnectionPool(client_context()) as pool:
        assert backend(pool, server.url()) == "python"
    assert len(seen) == 1


def test_another_word_is_refused() -> None:
    """A typo must not choose who does the cryptography."""
    with pytest.raises(ValueError, match="'rustle'"):
        httpcore_hyper.ConnectionPool(tls="rustle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'rustle'"):
        httpcore_hyper.HTTPTransport(tls="rustle")  # type: ignore[arg-type]


def test_a_server_without_tls_1_3_is_remembered() -> None:
    """It is asked twice for its first connection, and once for each later one."""
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Server(tls=context) as server, httpcore_hyper.ConnectionPool(client_context()) as pool:
        assert backend(pool, server.url()) == "python"
        assert server.accepted == 2
        assert backend(pool, server.url()) == "python"
        assert server.accepted == 3
    with Server(tls=context) as server, httpcore_hyper.ConnectionPool(client_context(), tls="rustls") as pool:
        assert "rustls cannot serve this connection" in verdict(pool, server.url())


def test_a_refused_certificate_is_asked_for_once() -> None:
    """The verdict is the context's own: a second connection would say the same."""
    with Server(tls=server_context()) as server:
        with httpcore_hyper.ConnectionPool(stranger_context(), tls="rustls") as pool:
            assert "CERTIFICATE_VERIFY_FAILED" in verdict(pool, server.url())
        assert server.accepted == 1


def test_sessions_are_not_resumed() -> None:
    """A resumed session would be asked for no certificate. httpcore resumes none either."""
    reused = []
    context = server_context()

    class Session(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            reused.append(self.session_reused)

    context.sslsocket_class = Session
    with Server(tls=context) as server, httpcore_hyper.ConnectionPool(client_context()) as pool:
        for _ in range(3):
            assert backend(pool, server.url()) == "rustls"
    assert reused == [False] * 3


def test_a_forked_child_serves_itself() -> None:
    """What the parent has learned of the library and the context holds for the child; its locks do not."""
    with Server(tls=server_context()) as server, httpcore_hyper.ConnectionPool(client_context()) as pool:
        assert backend(pool, server.url()) == "rustls"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the server's, who stay behind
            child = os.fork()
        if child == 0:
            try:
                code = 0 if backend(pool, server.url()) == "rustls" else 1
            except BaseException:
                code = 2
            os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert backend(pool, server.url()) == "rustls"


# Certificates of the client's own.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", [True, False])
def test_a_certificate_that_is_demanded(version: ssl.TLSVersion, shown: bool) -> None:
    """The context's own session shows it, or shows none."""

    def make() -> ssl.SSLContext:
        context = client_context()
        if shown:
            identify(context)
        return context

    with Server(tls=demanding_context(version)) as server, pools(make) as made:
        said = {name: verdict(pool, server.url())[:12] for name, (_, pool) in made.items()}
        assert len(set(said.values())) == 1, said
        assert said["auto"].startswith("accepted") == shown


def test_a_certificate_that_is_asked_for() -> None:
    """A server that could do without one is shown what there is, as httpcore shows it."""
    seen: dict[str, list[bytes | None]] = {}
    for name in ("httpcore", "auto", "python"):
        context = demanding_context(ssl.TLSVersion.TLSv1_3)
        context.verify_mode = ssl.CERT_OPTIONAL
        peers = seen.setdefault(name, [])

        class Session(ssl.SSLSocket):
            def do_handshake(self, block: bool = False, peers: Any = peers) -> None:
                super().do_handshake(block)
                peers.append(self.getpeercert(True))

        context.sslsocket_class = Session
        mine = client_context()
        with Server(tls=context) as server, pools(lambda mine=mine: mine) as made:  # type: ignore[misc]
            pool = made[name][1]
            assert verdict(pool, server.url()).startswith("accepted")
            identify(mine)  # also one that is loaded later
            assert verdict(pool, server.url()).startswith("accepted")
    assert [bool(peer) for peer in seen["httpcore"]] == [False, True]
    for name in ("auto", "python"):
        assert [bool(peer) for peer in seen[name]] == [False, True]


# What is offered.


@pytest.mark.parametrize(
    "change",
    [any_protocol, one_suite, careful, one_curve, want_more],
    ids=["as it is", "one suite", "security level", "one curve", "TLS 1.3 only"],
)
def test_nothing_is_offered_beyond_the_context(change: Change) -> None:
    """Versions, suites, groups and signatures of rustls are among those of the context itself."""
    context = client_context()
    change(context)
    with Server([[RAW, HEAR, RST]], tls=server_context()) as server:
        with httpcore_hyper.ConnectionPool(context, tls="rustls") as pool:
            verdict(pool, server.url(host="localhost"))
        offered = client_hello.parse(server.connections[0].raw)
    assert offered.exceeds(client_hello.offered_by(context)) == {}
    assert offered.versions == {0x0304}
    # Session tickets to resume with (pre_shared_key), and data ahead of the handshake, are never offered.
    assert not offered.extensions & {41, 42}
