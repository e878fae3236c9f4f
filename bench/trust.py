"""The certificate of the measured server, and the context by which each client trusts it. No sockets here."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

# Where a worker finds the authority's certificate; set by whoever starts the servers.
VARIABLE = "HTTPCORE_HYPER_BENCH_AUTHORITY"


def issue(folder: Path) -> Path:
    """Writes `server.pem` (certificate and key) for 127.0.0.1; returns the file of its authority."""
    import trustme  # no other part of the benchmark needs it

    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    return trusted


def context() -> ssl.SSLContext:
    """What every client is given: httpx's own default, with one authority more."""
    context = ssl.create_default_context()
    if VARIABLE in os.environ:
        context.load_verify_locations(os.environ[VARIABLE])
    return context
