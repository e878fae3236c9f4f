"""What somebody had patched before this library was imported is obeyed too: tracers are installed first."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from servers import Server

PATCH = """
    import importlib, sys
    owner, name, url = sys.argv[1:]
    module, _, kind = owner.rpartition(".")
    owner = getattr(importlib.import_module(module), kind)
    original = getattr(owner, name)
    calls = []

    def patched(*args, **options):
        calls.append(name)
        return original(*args, **options)

    setattr(owner, name, patched)
"""
SYNC = """
    import httpx, httpcore_hyper

    transport = httpcore_hyper.HTTPTransport()
    calls.clear()
    with httpx.Client(transport=transport) as client:
        assert client.get(url).status_code == 200
        assert calls, "the patch was passed over"
        setattr(owner, name, original)
        calls.clear()
        assert client.get(url).status_code == 200
        assert not calls
"""
ASYNC = """
    import anyio, httpx, httpcore_hyper

    async def main():
        transport = httpcore_hyper.AsyncHTTPTransport()
        calls.clear()
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get(url)).status_code == 200
            assert calls, "the patch was passed over"

    anyio.run(main)
"""


@pytest.mark.parametrize(
    ("owner", "name", "program"),
    [
        ("httpx.HTTPTransport", "handle_request", SYNC),
        ("httpx.Response", "__init__", SYNC),
        ("httpx.Response", "iter_raw", SYNC),
        ("httpx.Response", "read", SYNC),
        ("httpcore.ConnectionPool", "handle_request", SYNC),
        ("httpcore.HTTP11Connection", "handle_request", SYNC),
        ("httpcore.SyncBackend", "connect_tcp", SYNC),
        ("httpx.AsyncHTTPTransport", "handle_async_request", ASYNC),
        ("httpx.Response", "aiter_bytes", ASYNC),
        ("httpcore.AsyncHTTP11Connection", "handle_async_request", ASYNC),
    ],
)
def test_what_was_patched_first_is_obeyed(server: Server, owner: str, name: str, program: str) -> None:
    code = textwrap.dedent(PATCH) + textwrap.dedent(program)
    subprocess.run([sys.executable, "-c", code, owner, name, server.url()], check=True, timeout=30)


def test_a_patch_that_is_gone_delegates_nothing(server: Server) -> None:
    program = """
        import httpcore_hyper

        with httpcore_hyper.ConnectionPool() as pool:
            assert pool.request("GET", url).status == 200
            assert f"{name} has been patched" in pool.delegated
        setattr(owner, name, original)
        with httpcore_hyper.ConnectionPool() as pool:
            assert pool.request("GET", url).status == 200
            assert pool.delegated is None, pool.delegated
            setattr(owner, name, patched)
            assert pool.request("GET", url).status == 200
            assert f"{name} has been patched" in pool.delegated
    """
    code = textwrap.dedent(PATCH) + textwrap.dedent(program)
    command = [sys.executable, "-c", code, "httpcore.HTTP11Connection", "handle_request", server.url()]
    subprocess.run(command, check=True, timeout=30)
