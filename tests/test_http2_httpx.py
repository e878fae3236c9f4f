"""httpx over HTTP/2: by its transport, and by `install()`."""

from __future__ import annotations

import anyio
import httpx
import pytest
from certificates import client_context, server_context
from frames import Peers
from servers import Server

import httpcore_hyper

BACKENDS = ["asyncio", "trio"]


def looked_at(response: httpx.Response) -> None:
    assert (response.status_code, response.text) == (200, "/pathbody")
    assert response.http_version == "HTTP/2"
    assert response.reason_phrase == "OK"
    assert response.extensions["stream_id"] % 2 == 1


def test_a_transport() -> None:
    with (
        Server([Peers().serve()], tls=server_context("h2")) as server,
        httpx.Client(transport=httpcore_hyper.HTTPTransport(verify=client_context(), http2=True)) as client,
    ):
        for _ in range(3):
            looked_at(client.post(server.url("/path", "localhost"), content=b"body"))
        with client.stream(
            "POST", server.url("/path", "localhost"), content=iter([b"bo", b"dy"])
        ) as response:
            response.read()
            looked_at(response)
        assert server.accepted == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_asynchronous_transport(backend: str) -> None:
    async def main() -> None:
        with Server([Peers().serve()], tls=server_context("h2")) as server:
            transport = httpcore_hyper.AsyncHTTPTransport(verify=client_context(), http2=True)
            async with httpx.AsyncClient(transport=transport) as client:

                async def ask() -> None:
                    looked_at(await client.post(server.url("/path", "localhost"), content=b"body"))

                async with anyio.create_task_group() as group:
                    for _ in range(20):
                        group.start_soon(ask)
                assert server.accepted == 1

    anyio.run(main, backend=backend)


def test_prior_knowledge() -> None:
    with (
        Server([Peers().serve()]) as server,
        httpx.Client(transport=httpcore_hyper.HTTPTransport(http1=False, http2=True)) as client,
    ):
        looked_at(client.post(server.url("/path"), content=b"body"))


def test_install() -> None:
    with (
        httpcore_hyper.install(),
        Server([Peers().serve()], tls=server_context("h2")) as server,
        httpx.Client(verify=client_context(), http2=True) as client,
    ):
        looked_at(client.post(server.url("/path", "localhost"), content=b"body"))
        pool = client._transport._pool  # type: ignore[attr-defined]
        assert isinstance(pool, httpcore_hyper.ConnectionPool)
        assert pool.delegated is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_install_for_asynchronous_clients(backend: str) -> None:
    async def main() -> None:
        with httpcore_hyper.install(), Server([Peers().serve()], tls=server_context("h2")) as server:
            async with httpx.AsyncClient(verify=client_context(), http2=True) as client:
                looked_at(await client.post(server.url("/path", "localhost"), content=b"body"))

    anyio.run(main, backend=backend)
