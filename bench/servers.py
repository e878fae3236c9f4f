"""The servers that are measured against: a real nginx, and a sink for uploads. No client code here.

Both are children of ours on free ports of 127.0.0.1, pinned to the server's core, stopped by pid.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import trust

if TYPE_CHECKING:
    from typing_extensions import Self

SMALL_BODY = 242  # bytes; what a small JSON answer weighs, and what earlier figures were taken with
# What nginx sends with it. The ceilings answer with the same, since httpx has work with each header.
SMALL_HEADERS = [
    (b"Server", b"nginx/1.22.1"),
    (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"Content-Type", b"application/octet-stream"),
    (b"Content-Length", b"%d" % SMALL_BODY),
    (b"Last-Modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"Connection", b"keep-alive"),
    (b"ETag", b'"2ebc9b71-f2"'),
    (b"Accept-Ranges", b"bytes"),
]
LARGE_BODY = 256 * 1024 * 1024  # long enough that TCP's start does not count
MIB = 1024 * 1024
START_SECONDS = 10.0  # a server that does not listen by then never will
STOP_SECONDS = 5.0
SERVER_CORE = 0
CLIENT_CORE = 1

_CONFIG = """
worker_processes 1;
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    default_type application/octet-stream;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/www;
        location = /post {{ return 200; }}
    }}
    {tls}
}}
"""


_TLS = """
    server {{
        listen 127.0.0.1:{tls_port} ssl {http2}backlog=4096;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache off;
        root {folder}/www;
    }}
"""


class ServerMissing(Exception):
    """The server is not installed, or did not start. The message is for the user."""


def can_pin() -> bool:
    """Both cores are ours to choose; nothing is pinned on one core, or where the system has no such call."""
    return hasattr(os, "sched_setaffinity") and {SERVER_CORE, CLIENT_CORE} <= os.sched_getaffinity(0)


def pin(core: int) -> None:
    """Keeps this process, and those it starts, on one core."""
    if can_pin():
        os.sched_setaffinity(0, {core})


def find_nginx() -> str | None:
    # Debian puts it where a user's PATH does not look.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Returns once something listens on the port; raises if the process ends before that."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerMissing(f"{process.args[0]} ended with code {process.returncode}")  # type: ignore[index]
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise ServerMissing(f"nothing listens on port {port} after {START_SECONDS:.0f} s")


class Server:
    """A child process on a port: started on entry, gone on exit whatever happens in between."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        # The child inherits the core from us, and nginx's worker from the child.
        before = os.sched_getaffinity(0) if can_pin() else None
        pin(SERVER_CORE)
        try:
            # Its own session: a Ctrl-C in the terminal reaches us alone, and we stop it in order.
            self._process = subprocess.Popen(
                self.command(),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            if before is not None:
                os.sched_setaffinity(0, before)
        try:
            wait_for(self._process, self.port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class Nginx(Server):
    """One worker, static files: `/small` and, if asked for, `/large`; POST to `/post` is answered 200.

    If asked for, the same files over TLS, at `tls_url`, and also over HTTP/2, at `http2_url`.
    """

    def __init__(self, large: bool = False, tls: bool = False) -> None:
        binary = find_nginx()
        if binary is None:
            raise ServerMissing("nginx is not installed; on Debian and Ubuntu: apt-get install nginx-light")
        super().__init__()
        self.binary = binary
        self._tls_ports = (free_port(), free_port())
        self.tls_url, self.http2_url = (f"https://127.0.0.1:{port}" for port in self._tls_ports)
        self._tls = tls
        self._large = large
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def version(self) -> str:
        said = subprocess.run([self.binary, "-v"], capture_output=True, text=True, check=False).stderr
        return said.strip().rpartition(" ")[2] or "nginx"

    def command(self) -> list[str]:
        self._folder = tempfile.TemporaryDirectory(prefix="httpcore-hyper-bench-")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        (folder / "www").mkdir()
        (folder / "www" / "small").write_bytes(b"x" * SMALL_BODY)
        if self._large:
            with open(folder / "www" / "large", "wb") as file:
                for _ in range(LARGE_BODY // MIB):
                    file.write(b"x" * MIB)
        # Started by root, nginx would drop to a user who may not exist or not see the folder.
        user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        config = folder / "nginx.conf"
        tls = ""
        if self._tls:
            os.environ[trust.VARIABLE] = str(trust.issue(folder))
            for port, http2 in zip(self._tls_ports, ("", "http2 "), strict=True):
                tls += _TLS.format(folder=folder, tls_port=port, http2=http2)
        config.write_text(_CONFIG.format(folder=folder, port=self.port, tls=tls, user=user))
        return [self.binary, "-e", str(folder / "error.log"), "-c", str(config)]

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        os.environ.pop(trust.VARIABLE, None)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


class OwnServer(Server):
    """`bench/server`, which answers sooner than nginx, and in one segment where nginx sends two."""

    def __init__(self, program: Path) -> None:
        self.program = program
        super().__init__()

    def command(self) -> list[str]:
        return [str(self.program), str(self.port)]


def own_program() -> Path | None:
    """`bench/server` as nox builds it, where the environment tells of it."""
    named = os.environ.get("BENCH_SERVER")
    return Path(named) if named else None


class Proxy(Server):
    """A forward proxy that tunnels as well, one thread for each connection."""

    def __init__(self) -> None:
        binary = shutil.which("tinyproxy")
        if binary is None:
            raise ServerMissing("tinyproxy is not installed; on Debian and Ubuntu: apt-get install tinyproxy")
        super().__init__()
        self._binary = binary
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def command(self) -> list[str]:
        self._folder = tempfile.TemporaryDirectory(prefix="httpcore-hyper-bench-")
        config = Path(self._folder.name) / "tinyproxy.conf"
        lines = (f"Port {self.port}", "Listen 127.0.0.1", "MaxClients 1000", "LogLevel Critical")
        config.write_text("\n".join((*lines, f'LogFile "{config}.log"')) + "\n")
        return [self._binary, "-d", "-c", str(config)]

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


class Sink(Server):
    """Takes uploads and answers when it has read them to the end.

    nginx's `return 200` answers before it has read the body: a client that stops sending then would look
    fast.
    """

    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("sink.py")), str(self.port)]
