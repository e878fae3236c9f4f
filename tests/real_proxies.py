"""Proxies that others wrote: squid, tinyproxy, dante, microsocks; child processes on free ports of 127.0.0.1.

Each is started for a test, with or without a user to log in, and stopped by its pid. No rule is tested here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import by_hand
from cryptography.hazmat.primitives import serialization

USER, PASSWORD = "user", "s3cret"
# Debian puts them where a user's PATH does not look.
SYSTEM = "/usr/sbin:/usr/local/sbin"
START_DEADLINE = 20.0
STOP_DEADLINE = 10.0
# On the CI's machine none of them may be missing.
REQUIRED = os.environ.get("HTTPCORE_HYPER_PROXIES") == "all"


def find(program: str) -> str:
    """Where a program is; skips the test where it is not installed."""
    found = shutil.which(program) or shutil.which(program, path=SYSTEM)
    if found is None:
        assert not REQUIRED, f"{program} is not installed"
        pytest.skip(f"{program} is not installed")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[int]:
    """The child, until the end of the block; its output is in the message should it not start."""
    with open(folder / "output", "w+b") as output:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
        try:
            deadline = time.monotonic() + START_DEADLINE
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                ended = child.poll() is not None
                if ended or time.monotonic() > deadline:
                    output.seek(0)
                    raise AssertionError(f"{command[0]} does not listen: {output.read()!r}")
                time.sleep(0.02)
            yield port
        finally:
            child.terminate()
            try:
                child.wait(STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A directory that a child may use that has dropped its rights."""
    with tempfile.TemporaryDirectory(prefix="hh-proxy-") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


@contextlib.contextmanager
def squid(*, login: bool, tls: bool = False) -> Iterator[int]:
    """An HTTP proxy; with `tls` one that is spoken to over TLS, with the certificate of the tests."""
    program = find("squid")
    port = free_port()
    with folder() as path:
        listen = f"http_port 127.0.0.1:{port}"
        if tls:
            listen = f"https_port 127.0.0.1:{port} tls-cert={_pem(path)}"
        access = "http_access allow all"
        if login:
            check = path / "login"
            # squid's protocol for helpers: a line with name and password, a line with the verdict.
            check.write_text(
                "#!/bin/sh\nwhile read line; do\n"
                f'[ "$line" = "{USER} {PASSWORD}" ] && echo OK || echo ERR\ndone\n'
            )
            check.chmod(0o755)
            access = (
                f"auth_param basic program {check}\nauth_param basic children 1\n"
                "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all"
            )
        config = path / "squid.conf"
        config.write_text(
            f"{listen}\n{access}\npid_filename none\naccess_log none\ncache_log {path}/cache.log\n"
            f"cache deny all\ncoredump_dir {path}\nnetdb_filename none\nshutdown_lifetime 0 seconds\n"
            "pinger_enable off\nforwarded_for delete\nvisible_hostname proxy.example\n"
        )
        with running([program, "-N", "-f", str(config)], port, path):
            yield port


@contextlib.contextmanager
def tinyproxy(*, login: bool) -> Iterator[int]:
    """An HTTP proxy that answers in HTTP/1.0."""
    program = find("tinyproxy")
    port = free_port()
    with folder() as path:
        config = path / "tinyproxy.conf"
        user = f"BasicAuth {USER} {PASSWORD}\n" if login else ""
        config.write_text(
            f"Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\nAllow 127.0.0.1\n{user}"
        )
        with running([program, "-d", "-c", str(config)], port, path):
            yield port


@contextlib.contextmanager
def dante(*, login: bool) -> Iterator[int]:
    """A SOCKS proxy whose users are the system's own, so that nobody of the tests is one."""
    program = find("danted")
    port = free_port()
    with folder() as path:
        config = path / "danted.conf"
        config.write_text(
            f"logoutput: stderr\ninternal: 127.0.0.1 port = {port}\nexternal: lo\n"
            f"socksmethod: {'username' if login else 'none'}\nclientmethod: none\n"
            "user.privileged: root\nuser.unprivileged: nobody\n"
            "client pass { from: 0/0 to: 0/0 }\nsocks pass { from: 0/0 to: 0/0 }\n"
        )
        with running([program, "-f", str(config)], port, path):
            yield port


@contextlib.contextmanager
def microsocks(*, login: bool) -> Iterator[int]:
    """A SOCKS proxy that knows the user of the tests."""
    program = find("microsocks")
    port = free_port()
    user = ["-u", USER, "-P", PASSWORD] if login else []
    with folder() as path, running([program, "-i", "127.0.0.1", "-p", str(port), *user], port, path):
        yield port


def _pem(path: Path) -> Path:
    parts = by_hand()
    pem = path / "proxy.pem"
    key = parts["key"].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    pem.write_text(key.decode() + "".join(ssl.DER_cert_to_PEM_cert(one) for one in parts["chain"]))
    return pem
