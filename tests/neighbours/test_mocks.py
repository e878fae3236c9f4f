"""Libraries that intercept requests: with and without `install()`, and no socket is opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import Server

import httpcore_hyper

pytestmark = pytest.mark.filterwarnings("default")  # the libraries' own warnings are their own
INSTALLED = pytest.mark.parametrize("installed", [True, False], ids=["installed", "transport"])


def client(installed: bool) -> httpx.Client:
    return httpx.Client() if installed else httpx.Client(transport=httpcore_hyper.HTTPTransport())


def async_client(installed: bool) -> httpx.AsyncClient:
    if installed:
        return httpx.AsyncClient()
    return httpx.AsyncClient(transport=httpcore_hyper.AsyncHTTPTransport())


def maybe(installed: bool) -> contextlib.AbstractContextManager[object]:
    return httpcore_hyper.install() if installed else contextlib.nullcontext()


@INSTALLED
@pytest.mark.parametrize("using", ["httpcore", "httpx"])
def test_respx(need: Callable[[str], Any], server: Server, installed: bool, using: str) -> None:
    respx = need("respx")

    async def ask() -> int:
        async with async_client(installed) as asynchronous:
            return (await asynchronous.get(server.url())).status_code

    with maybe(installed), respx.mock(using=using) as mock:
        mock.get(server.url()).respond(299)
        with client(installed) as sync:
            assert sync.get(server.url()).status_code == 299
        assert asyncio.run(ask()) == 299
        assert mock.calls.call_count == 2
    assert server.accepted == 0
    with maybe(installed), client(installed) as sync:
        assert sync.get(server.url()).status_code == 200


@INSTALLED
def test_pytest_httpx(
    need: Callable[[str], Any], request: pytest.FixtureRequest, server: Server, installed: bool
) -> None:
    need("pytest_httpx")
    mock = request.getfixturevalue("httpx_mock")
    mock.add_response(url=server.url(), status_code=299)
    with maybe(installed), client(installed) as sync:
        assert sync.get(server.url()).status_code == 299
    assert server.accepted == 0


@INSTALLED
def test_vcrpy(need: Callable[[str], Any], server: Server, tmp_path: Path, installed: bool) -> None:
    """Records from the server, and answers from the cassette."""
    vcr = need("vcr")
    for _ in range(2):
        with maybe(installed), vcr.use_cassette(str(tmp_path / "cassette.yaml")), client(installed) as sync:
            assert sync.get(server.url()).text == "ok"
    assert len(server.requests) == 1
