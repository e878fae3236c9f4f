"""The process lab: runs a program of `programs.py` and judges how it ended.

A program must end with its exit code, say nothing on stderr, and be gone in time once it is leaving. Servers
are the lab's own, so that no thread of theirs is in the process that is looked at.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h2.config
import h2.connection
import h2.events
import routes
from certificates import server_context
from programs import PROGRAMS, Place
from routes import Request, Steps
from servers import RECEIVE_SIZE, Connection, Script, Server, call

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# The promise is one second; ten times that for a loaded machine.
LEAVING_DEADLINE = 10.0
# A program that takes longer hangs. Its own limits are shorter, so that it tells where.
HANG = 60.0


class Outcome(NamedTuple):
    """How a process ended."""

    wrong: str | None
    """What was not as it must be: `crash`, `noise`, `hang` or `late`, and more about it."""
    leaving: float
    """Seconds from when it said so until it was gone."""


def respond(request: Request) -> Steps:
    """The routes of every server; `/stall` is never answered, `/half` not to its end."""
    if request.target == b"/stall":
        return [("stall", ())]
    if request.target == b"/half":
        return [("send", (routes.response(b"half" * 2)[:-4],)), ("stall", ())]
    return routes.respond(request)


class Always(list[Script]):
    """The same script for each connection."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, _: object) -> Script:  # type: ignore[override]
        return self._script


def respond_by_http2(connection: Connection) -> None:
    """`ok` on each stream, but those for `/stall`."""
    protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    protocol.initiate_connection()
    while True:
        connection.sock.sendall(protocol.data_to_send())
        data = connection.sock.recv(RECEIVE_SIZE)
        if not data:
            return
        for event in protocol.receive_data(data):
            if isinstance(event, h2.events.RequestReceived) and (b":path", b"/stall") not in event.headers:
                protocol.send_headers(event.stream_id, [(":status", "200")])
                protocol.send_data(event.stream_id, b"ok", end_stream=True)


@contextlib.contextmanager
def place() -> Iterator[Place]:
    with (
        Server(app=respond) as server,
        Server(app=respond, tls=server_context()) as tls_server,
        Server() as http2_server,
    ):
        http2_server.scripts = Always([call(respond_by_http2)])
        servers = (server, tls_server, http2_server)
        yield Place(*(each.url("").rstrip("/") for each in servers))
        # What programs left half done says nothing about the servers.
        for each in servers:
            each.errors.clear()


@functools.cache
def slow_libraries() -> str:
    """The library that makes two others slow, built once. Rust needs the same C compiler."""
    built = Path(tempfile.mkdtemp(prefix="hh")) / "slow_libraries.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(built), str(HERE / "slow_libraries.c"), "-ldl"], check=True
    )
    atexit.register(shutil.rmtree, built.parent)
    return str(built)


def environment_of_programs() -> dict[str, str]:
    """This tree's package, whatever else is installed, and the slow libraries."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "LD_PRELOAD": slow_libraries()}


def run(name: str, at: Place, *options: str, **environment: str) -> Outcome:
    """Run a program, with options of the interpreter's and variables of the environment."""
    process = subprocess.Popen(
        [sys.executable, *options, str(HERE / "programs.py"), name, *at],
        env={**environment_of_programs(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, noise = process.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        # With faulthandler on, this prints where it hangs.
        process.send_signal(6)
        out, noise = process.communicate()
        return Outcome(f"hang: {noise}", HANG)
    gone = time.monotonic()
    said = [line.split()[1] for line in out.splitlines() if line.startswith("leaving ")]
    took = gone - float(said[0]) if said else 0.0
    if process.returncode != PROGRAMS[name].code or not said:
        return Outcome(f"crash: ended with {process.returncode}: {noise}", took)
    if noise:
        return Outcome(f"noise: {noise}", took)
    return Outcome(f"late: {took:.2f} s" if took > LEAVING_DEADLINE else None, took)
