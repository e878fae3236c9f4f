"""Real servers over HTTP/2: nginx, nghttpd and hypercorn, with TLS and by prior knowledge.

Each is started for a test and gone with it. A server that is not installed is not asked.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from doors import ALL_DOORS, ASYNCIO, SYNC, TRIO, Door, through

FULL_SIZE = os.environ.get("HTTPCORE_HYPER_TESTS") == "full"
MIB = 1 << 20
DOWNLOAD = (1024 if FULL_SIZE else 50) * MIB
UPLOAD = (512 if FULL_SIZE else 10) * MIB
STREAMS = 1000
RELOADS = 30 if FULL_SIZE else 3
# A server that does not listen by then never will; one that does not end by then is ended.
START_DEADLINE, STOP_DEADLINE = 20.0, 5.0
SMALL = b"small"

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("localhost")

NGINX, NGHTTPD, HYPERCORN = "nginx", "nghttpd", "hypercorn"

NGINX_CONFIG = """
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} {listen};
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.pem;
        root {folder}/www;
        location = /length {{ proxy_pass http://127.0.0.1:{inner}; proxy_http_version 1.1; }}
    }}
    server {{
        listen 127.0.0.1:{inner};
        location / {{ return 200 $content_length; }}
    }}
}}
"""


def find(server: str) -> str | None:
    # Debian puts some where a user's PATH does not look.
    return shutil.which(server) or shutil.which(server, path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Place(NamedTuple):
    url: str
    options: dict[str, Any]
    large: str
    command: list[str]


def place(server: str, folder: Path, *, tls: bool) -> Place:
    """How a server is started, and asked."""
    program = find(server) if server != HYPERCORN else sys.executable
    if program is None or (server == HYPERCORN and importlib.util.find_spec(HYPERCORN) is None):
        pytest.skip(f"{server} is not installed")
    port = free_port()
    CERTIFICATE.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    (folder / "www").mkdir()
    (folder / "www" / "small").write_bytes(SMALL)
    with open(folder / "www" / "large", "wb") as file:
        file.truncate(DOWNLOAD)
    # nginx's workers are somebody else where the test is root.
    for path in (folder, folder / "www", *folder.parents):
        with contextlib.suppress(OSError):
            path.chmod(path.stat().st_mode | 0o055)
    pem = str(folder / "server.pem")
    if server == NGINX:
        config = NGINX_CONFIG.format(
            folder=folder,
            user="user root;" if os.geteuid() == 0 else "",
            port=port,
            listen="ssl http2" if tls else "http2",
            inner=free_port(),
        )
        (folder / "nginx.conf").write_text(config, "ascii")
        command = [program, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
    elif server == NGHTTPD:
        secured = [str(port), pem, pem] if tls else ["--no-tls", str(port)]
        command = [program, "-d", str(folder / "www"), "-a", "127.0.0.1", "--echo-upload", *secured]
    else:
        secured = ["--certfile", pem, "--keyfile", pem] if tls else []
        command = [program, "-m", "hypercorn", "-b", f"127.0.0.1:{port}", *secured, "http2_app:app"]
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(trust)
    return Place(
        f"http{'s' * tls}://localhost:{port}",
        {"http1": tls, "http2": True, "ssl_context": trust},
        f"/bytes/{DOWNLOAD}" if server == HYPERCORN else "/large",
        command,
    )


@contextlib.contextmanager
def running(place: Place, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(
            place.command,
            cwd=Path(__file__).parent,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    port = int(place.url.rpartition(":")[2])
    try:
        limit = time.monotonic() + START_DEADLINE
        while True:
            said = (folder / "output").read_text("utf-8", "replace")
            assert process.poll() is None, f"{place.command[0]} has ended: {said}"
            assert time.monotonic() < limit, f"{place.command[0]} does not listen: {said}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.01)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


EVERY = pytest.mark.parametrize(
    ("server", "tls"),
    [(NGINX, True), (NGINX, False), (NGHTTPD, True), (NGHTTPD, False), (HYPERCORN, True), (HYPERCORN, False)],
)


@pytest.mark.timeout(600 if FULL_SIZE else 60)
@EVERY
@pytest.mark.parametrize("door", [SYNC, ASYNCIO, TRIO] if FULL_SIZE else [ASYNCIO])
def test_downloads_uploads_and_many_streams(
    server: str, tls: bool, door: str, engine: str, tmp_path: Path
) -> None:
    """A large body in each direction, then a thousand requests at once over few connections."""
    there = place(server, tmp_path, tls=tls)

    async def scenario(door: Door) -> None:
        pool = door.pool(max_connections=10, **there.options)
        response = await pool.open("GET", there.url + there.large)
        assert (response.status, response.extensions["http_version"]) == (200, b"HTTP/2")
        received = 0
        async for chunk in response:
            received += len(chunk)
        await response.close()
        assert received == DOWNLOAD
        reply = await pool.request("POST", there.url + "/length", content=bytes(UPLOAD))
        # nghttpd gives the body back, the others its length.
        assert reply.body == (bytes(UPLOAD) if server == NGHTTPD else str(UPLOAD).encode())
        small = "/bytes/5" if server == HYPERCORN else "/small"
        patient = {"read": 60.0, "pool": 60.0}
        tasks = [door.start(pool.request("GET", there.url + small, timeout=patient)) for _ in range(STREAMS)]
        for task in tasks:
            reply = await task.outcome(deadline=60)
            assert (reply.status, len(reply.body)) == (200, 5)
        assert len(pool.raw.connections) <= 10

    with running(there, tmp_path):
        through(door, engine, scenario)


@pytest.mark.timeout(600 if FULL_SIZE else 60)
@pytest.mark.parametrize("door", ALL_DOORS if FULL_SIZE else [SYNC, ASYNCIO])
def test_a_reload_under_load_costs_nobody_anything(door: str, engine: str, tmp_path: Path) -> None:
    """nginx says goodbye to its connections; what it has not looked at is sent again on new ones.

    A worker that is about to end may still accept a connection, only to say goodbye on it as well.
    """
    there = place(NGINX, tmp_path, tls=True)

    async def scenario(door: Door) -> None:
        pool = door.pool(**there.options)
        over: list[bool] = []
        used: set[tuple[str, int]] = set()

        async def work() -> None:
            while not over:
                reply = await pool.request("GET", there.url + "/small")
                assert (reply.status, reply.body) == (200, SMALL)
                # Closed already, it has no address any more.
                with contextlib.suppress(OSError):
                    used.add(reply.extensions["network_stream"].get_extra_info("client_addr"))

        tasks = [door.start(work()) for _ in range(8)]
        for _ in range(RELOADS):
            before = len(used)
            subprocess.run([*there.command, "-s", "reload"], check=True, capture_output=True)
            assert await door.until(lambda before=before: len(used) > before, 30), (
                "no connection was replaced"
            )
        over.append(True)
        for task in tasks:
            await task.outcome()

    with running(there, tmp_path):
        through(door, engine, scenario)
