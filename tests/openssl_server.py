"""`openssl s_server`, for what no server of Python's can be told to do. It answers every GET with a page."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import IO

import trustme

# What it says once it listens, before its address.
LISTENS = b"ACCEPT "
DEADLINE = 10.0


class OpenSSLServer:
    """The server, with that certificate; its files lie in `folder`. The page tells of the session."""

    def __init__(self, certificate: trustme.LeafCert, folder: Path, *options: object) -> None:
        pem = folder / "s_server.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(pem)
        self._log: IO[bytes] = (folder / "s_server.log").open("wb")
        self._process = subprocess.Popen(
            ["openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cert", pem, *map(str, options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(LISTENS):
                self.port = int(line.rpartition(b":")[2])
                return
        self.close()
        raise AssertionError((folder / "s_server.log").read_text())

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=DEADLINE)
        self._log.close()

    def __enter__(self) -> OpenSSLServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
