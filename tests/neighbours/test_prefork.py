"""Servers that load a program once and fork it: the client that was used before works in every worker."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Server

import httpcore_hyper

ROOT = Path(__file__).parent.parent.parent
# Starting a server and its workers, on a loaded machine.
PATIENCE = 30.0

# Used once before the fork: the client has a connection, a runtime and an engine by then.
CLIENT = """\
import os
import httpcore_hyper
httpcore_hyper.install()
import httpx
client = httpx.Client()
assert client.get(os.environ["URL"]).status_code == 200

def ask():
    status = client.get(os.environ["URL"]).status_code
    assert client._transport._pool.delegated is None
    return f"{os.getpid()} {status}"
"""
WEB = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [ask().encode()]
"""
TASKS = """
import celery
folder = os.environ["FOLDER"]
app = celery.Celery("program", broker="filesystem://", backend=f"file://{folder}")
app.conf.broker_transport_options = {
    "data_folder_in": folder, "data_folder_out": folder, "control_folder": f"{folder}/control",
    "polling_interval": 0.05,
}
app.conf.worker_hijack_root_logger = False
ask = app.task(ask, name="ask")
"""


@contextlib.contextmanager
def running(folder: Path, url: str, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A server of the program in that folder; must leave on SIGTERM, with code 0 and without a traceback."""
    path = os.pathsep.join([str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "URL": url, "FOLDER": str(folder)}
    log = folder / "log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=environment, stdout=sink, stderr=sink, text=True
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    except BaseException as error:
        error.add_note(log.read_text()) if sys.version_info >= (3, 11) else None
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(predicate: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + PATIENCE
    while not predicate():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


@pytest.mark.timeout(3 * PATIENCE)
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_gunicorn_with_preload(kind: str, need: Callable[[str], Any], tmp_path: Path, server: Server) -> None:
    """L-04: every worker has connections of its own."""
    need("gunicorn")
    (tmp_path / "program.py").write_text(CLIENT + WEB)
    socket = tmp_path / "socket"
    command = ("gunicorn", "--preload", "-w", "3", "-k", kind, "-b", f"unix:{socket}", "program:app")
    with running(tmp_path, server.url(), *command) as process:
        until(socket.exists, process)
        with httpcore_hyper.ConnectionPool(uds=str(socket), max_keepalive_connections=0) as pool:
            workers: set[str] = set()

            def ask() -> bool:
                worker, status = pool.request("GET", "http://x/").content.decode().split()
                assert status == "200"
                workers.add(worker)
                return len(workers) == 3

            until(ask, process)
        assert str(process.pid) not in workers
        # The one before the fork, and one for each worker.
        assert server.accepted >= 4


@pytest.mark.timeout(3 * PATIENCE)
def test_celery_prefork(
    need: Callable[[str], Any], tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L-04: the same of a worker pool; the messages are files."""
    need("celery")
    (tmp_path / "program.py").write_text(CLIENT + textwrap.dedent(TASKS))
    (tmp_path / "control").mkdir()
    options = ("-P", "prefork", "-c", "2", "--without-gossip", "--without-mingle", "--without-heartbeat")
    with running(tmp_path, server.url(), "celery", "-A", "program", "worker", *options) as process:
        monkeypatch.setenv("URL", server.url())
        monkeypatch.setenv("FOLDER", str(tmp_path))
        spec = importlib.util.spec_from_file_location("program", tmp_path / "program.py")
        program = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(program)
        try:
            results = [program.ask.delay() for _ in range(20)]
            answers = [result.get(timeout=PATIENCE, interval=0.05).split() for result in results]
        finally:
            program.client.close()
            httpcore_hyper.uninstall()
        assert {status for _, status in answers} == {"200"}
        assert str(process.pid) not in {worker for worker, _ in answers}
