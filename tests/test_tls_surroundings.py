"""Who does the cryptography where something around the context is out of the ordinary.

gevent, OpenSSL's own configuration, an OpenSSL that says something else than it should: each of them in a
process of its own, since it holds for all of a process. And many threads at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import client_hello
import pytest
import trustme
from certificates import client_context, server_context, stranger_context
from servers import HEAR, RAW, RST, Server
from test_tls_gate import authority_pem, backend, bare, compare, pools, verdict

import httpcore_hyper

FULL_SIZE = os.environ.get("HTTPCORE_HYPER_TESTS") == "full"
HERE = Path(__file__).parent
DEADLINE = 60.0


def run(code: str, *arguments: str, **environment: str) -> Any:
    """What the code, in an interpreter of its own, prints last, as JSON."""
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


GEVENT = """
from gevent import monkey
monkey.patch_all()
import json, ssl, sys
import httpcore_hyper
url, file = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(file)
with httpcore_hyper.ConnectionPool(context) as pool:
    print(json.dumps([pool.delegated, pool.request("GET", url).status]))
"""


def test_gevent(tmp_path: Path) -> None:
    """Its contexts wrap sockets that let other greenlets run; httpcore's engine uses them."""
    pytest.importorskip("gevent", reason="it is not installed")
    (tmp_path / "ca.pem").write_bytes(authority_pem())
    with Server(tls=server_context()) as server:
        delegated, status = run(GEVENT, server.url(host="localhost"), str(tmp_path / "ca.pem"))
    assert "which the engine would not heed" in delegated
    assert status == 200


INJECTED = """
import truststore
truststore.inject_into_ssl()
import json, ssl, sys
import httpcore_hyper
from test_tls_gate import backend, verdict
good, bad = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
with httpcore_hyper.ConnectionPool(context) as pool:
    served, said = backend(pool, good), verdict(pool, bad)
    print(json.dumps([type(context) is ssl.SSLContext, pool.delegated, served, said]))
"""


def test_truststore_in_the_place_of_ssl(tmp_path: Path) -> None:
    """By its name its class is the genuine one then, and it is not."""
    pytest.importorskip("truststore", reason="it is not installed")
    (tmp_path / "ca.pem").write_bytes(authority_pem())
    trusted = {"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "SSL_CERT_DIR": str(tmp_path / "nothing")}
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(stranger)
    with Server(tls=server_context()) as good, Server(tls=stranger) as bad:
        urls = good.url(host="localhost"), bad.url(host="localhost")
        is_named_so, delegated, served, said = run(INJECTED, *urls, **trusted)
    assert is_named_so
    assert delegated is None
    assert served == "python"
    assert "CERTIFICATE_VERIFY_FAILED" in said


CONFIGURED = """
import json
import client_hello, httpcore_hyper
from certificates import client_context, server_context
from servers import HEAR, RAW, RST, Server
from test_tls_gate import backend, compare, pools, verdict
with Server(tls=server_context()) as server, pools(client_context) as made:
    url = server.url(host="localhost")
    said = compare(made, url)
    served = backend(made["auto"][1], url) if said.startswith("accepted") else None
context = client_context()
with Server([[RAW, HEAR, RST]], tls=server_context()) as server:
    with httpcore_hyper.ConnectionPool(context) as pool:
        verdict(pool, server.url(host="localhost"))
    offered = client_hello.parse(server.connections[0].raw)
allowed = client_hello.offered_by(context)
print(json.dumps([said, served, offered.exceeds(allowed), sorted(allowed.groups)]))
"""
CONFIGURATION = """
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = client
[client]
{}
"""
P_256, P_521 = 23, 25


@pytest.mark.parametrize(
    ("line", "served", "groups"),
    [
        pytest.param("Groups = P-256", "rustls", [P_256], id="a group"),
        pytest.param("Groups = P-521", "python", [P_521], id="a group that rustls has not"),
        pytest.param("MinProtocol = TLSv1.3", "rustls", None, id="TLS 1.3 at the least"),
        pytest.param("MaxProtocol = TLSv1.2", "python", None, id="TLS 1.2 at the most"),
        pytest.param("Ciphersuites = TLS_CHACHA20_POLY1305_SHA256", "rustls", None, id="a cipher"),
        pytest.param("Ciphersuites = TLS_AES_128_CCM_SHA256", None, None, id="a cipher that rustls has not"),
        pytest.param("SignatureAlgorithms = RSA-PSS+SHA256", None, None, id="a signature"),
    ],
)
def test_openssls_own_configuration(
    line: str, served: str | None, groups: list[int] | None, tmp_path: Path
) -> None:
    """Its limits show in no attribute of a context, and hold."""
    file = tmp_path / "openssl.cnf"
    file.write_text(CONFIGURATION.format(line))
    said, found, beyond, offered = run(CONFIGURED, OPENSSL_CONF=str(file))
    assert beyond == {}
    if served is not None:
        assert said.startswith("accepted")
        assert found == served
    if groups is not None:
        # The configuration is heeded; else all this would say nothing.
        assert offered == groups


MISLEADING = """
import json, logging, ssl, sys
import httpcore_hyper, httpcore_hyper._ssl as ours
from certificates import client_context, server_context, stranger_context
from servers import Server
from test_tls_gate import verdict
lie, user = sys.argv[1], client_context()
original = ours.Session.turn

def turn(self, *args):
    *rest, error = original(self, *args)
    if lie == "accepts in other words" and getattr(error, "reason", None) == "BAD_SIGNATURE":
        error = ssl.SSLError(1, "something is wrong")
    if isinstance(error, ssl.SSLCertVerificationError) and (
        lie == "accepts all" or (lie == "accepts all, with this context" and self.ssl_object.context is user)
    ):
        error = ours.named("BAD_SIGNATURE")
    return (*rest, error)

ours.Session.turn = turn
reasons = []
class Listener(logging.Handler):
    def emit(self, record):
        reasons.append(record.getMessage())
ours.logger.addHandler(Listener())
ours.logger.setLevel(logging.DEBUG)
with Server(tls=server_context()) as server:
    with httpcore_hyper.ConnectionPool(user) as pool:
        response = pool.request("GET", server.url(host="localhost"))
        served = response.extensions["network_stream"].get_extra_info("tls_backend")
    with httpcore_hyper.ConnectionPool(user, tls="rustls") as pool:
        refused = verdict(pool, server.url(host="localhost"))
print(json.dumps([served, refused, reasons]))
"""


@pytest.mark.parametrize(
    ("lie", "noticed"),
    [
        ("accepts in other words", "a good chain"),
        ("accepts all", "a bad chain was not rejected"),
        ("accepts all, with this context", "a bad chain was not rejected"),
        ("tells the truth", None),
    ],
)
def test_a_library_that_says_something_else(lie: str, noticed: str | None) -> None:
    """Whoever verifies elsewhere, or in another order, is found out before anything rests on it."""
    served, refused, reasons = run(MISLEADING, lie)
    if noticed is None:
        assert served == "rustls"
    else:
        assert served == "python"
        assert "rustls cannot serve this connection" in refused
        assert any(noticed in reason for reason in reasons), reasons


# Limits of contexts.


@pytest.mark.parametrize("level", range(6))
def test_security_levels(level: int) -> None:
    """What is too weak for a context is too weak for ours."""

    def make() -> ssl.SSLContext:
        context = client_context()
        context.set_ciphers(f"DEFAULT:@SECLEVEL={level}")
        return context

    with Server(tls=server_context()) as server, pools(make) as made:
        said = compare(made, server.url(host="localhost"))
    assert said.startswith("accepted") or level > 2, said


SUITES = ("ECDHE+AESGCM", "ECDHE+CHACHA20", "AES256-SHA256", "DHE+AES", "ALL")
CURVES = (None, "X25519", "prime256v1", "secp384r1", "secp521r1", "X448")
V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = ((V1_2, V1_3), (V1_3, V1_3), (V1_2, V1_2))
SEED = 11
CONTEXTS = 300 if FULL_SIZE else 30


def test_nothing_is_offered_beyond_any_context() -> None:
    """Of contexts with limits by chance; rustls begins with some of them, and stays within all."""
    chance = random.Random(SEED)
    begun = 0
    for _ in range(CONTEXTS):
        context = client_context()
        suites = ":".join(chance.sample(SUITES, chance.randrange(1, 4)))
        context.set_ciphers(f"{suites}:@SECLEVEL={chance.randrange(4)}")
        if (curve := chance.choice(CURVES)) is not None:
            with contextlib.suppress(ssl.SSLError):  # Python 3.10 knows fewer of them
                context.set_ecdh_curve(curve)
        context.minimum_version, context.maximum_version = chance.choice(VERSIONS)
        with Server([[RAW, HEAR, RST]] * 2, tls=server_context()) as server:
            with httpcore_hyper.ConnectionPool(context, tls="rustls") as pool:
                verdict(pool, server.url(host="localhost"))
            heard = [connection.raw for connection in server.connections if connection.raw]
        if heard:
            begun += 1
            offered = client_hello.parse(heard[0])
            assert offered.exceeds(client_hello.offered_by(context)) == {}
    assert CONTEXTS / 4 < begun < CONTEXTS


REQUESTS = 150 if FULL_SIZE else 15


def test_many_threads_share_a_context() -> None:
    """Two pools, four threads, names good and bad, and somebody who changes the context meanwhile."""
    context = client_context()
    wrong: list[str] = []
    ended = threading.Event()

    def change() -> None:
        while not ended.wait(0.001):
            context.set_alpn_protocols(["something-else"])
            context.verify_flags ^= ssl.VERIFY_X509_PARTIAL_CHAIN

    def request(pool: Any, number: int) -> None:
        for turn in range(REQUESTS):
            good = (turn + number) % 3 > 0
            name = "localhost" if good else "elsewhere.com"
            said = verdict(pool, server.url(), sni_hostname=name)
            if not said.startswith("accepted" if good else "ConnectError [SSL: CERTIFICATE_VERIFY_FAILED]"):
                wrong.append(f"{name}: {said}")

    with (
        Server(tls=server_context("http/1.1")) as server,
        httpcore_hyper.ConnectionPool(context) as first,
        httpcore_hyper.ConnectionPool(context) as second,
    ):
        changing = threading.Thread(target=change)
        threads = [
            threading.Thread(target=request, args=(pool, number))
            for number, pool in enumerate((first, second, first, second))
        ]
        for thread in [changing, *threads]:
            thread.start()
        for thread in threads:
            thread.join()
        ended.set()
        changing.join()
        assert wrong == []
        assert backend(first, server.url(host="localhost")) == "rustls"


def test_a_context_that_trusts_more_and_one_that_trusts_nobody() -> None:
    """They are apart, though all else of them is equal, and their servers are one."""
    with Server(tls=server_context()) as server:
        url = server.url(host="localhost")
        for make in (client_context, stranger_context, bare, client_context):
            with pools(make) as made:
                said = compare(made, url)
            assert said.startswith("accepted") == (make is client_context), said
