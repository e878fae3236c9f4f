"""What somebody had patched before this library was imported is obeyed too: tracers are installed first."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from unittest import mock

import httpcore
import pytest
from servers import Server

from httpcore_hyper._flavour import Flavour
from httpcore_hyper._originals import is_original, package_of
from httpcore_hyper._response import Responses

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


@contextlib.contextmanager
def span() -> Iterator[None]:
    """What tracers decorate with as well."""
    yield


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return wrapper


def bare(function: Callable[..., Any]) -> Callable[..., Any]:
    """Without what `functools.wraps` leaves."""

    def wrapper(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return wrapper


OTHERS: list[Callable[[Any], Any]] = [
    wrapped,
    bare,
    span(),
    functools.partial,
    mock.create_autospec,
    lambda function: mock.Mock(spec=function),
    lambda _: mock.MagicMock(),
    staticmethod,
    lambda _: len,
    lambda _: 7,
]


@pytest.mark.parametrize("replace", OTHERS)
def test_a_function_of_somebody_elses_is_known(replace: Callable[[Any], Any]) -> None:
    package = package_of(httpcore)
    for owner, name in (
        (httpcore.HTTP11Connection, "handle_request"),
        (httpcore.AsyncHTTP11Connection, "handle_async_request"),
        (import_module(f"{package}._sync.interfaces").RequestInterface, "stream"),
    ):
        assert is_original(owner, name, package)
        with mock.patch.object(owner, name, replace(vars(owner)[name])):
            assert not is_original(owner, name, package)


def test_a_class_of_somebody_elses_is_known() -> None:
    class Traced(httpcore.HTTP11Connection):
        def handle_request(self, request: Any) -> Any:
            return super().handle_request(request)

    assert not is_original(Traced, "handle_request", package_of(httpcore))
    assert is_original(Traced, "close", package_of(httpcore)), "inherited"


def test_all_that_is_looked_at_is_httpcores_own() -> None:
    """Else nothing would be served by the engine."""
    modules = [httpcore]
    with contextlib.suppress(ImportError):
        modules.append(import_module("httpcore2"))
    for module in modules:
        for way in Flavour.of(module).ways.values():
            for seen in (way._seen, way._seen_by_proxies, way._seen_by_callers):
                assert seen._places
                assert not seen._replaced


@pytest.mark.parametrize("name", ["__init__", "read", "aread"])
def test_responses_that_somebody_reads_are_made_by_httpcore(name: str) -> None:
    assert Responses(httpcore.Response, package_of(httpcore))._is_known
    with mock.patch.object(httpcore.Response, name, wrapped(getattr(httpcore.Response, name))):
        assert not Responses(httpcore.Response, package_of(httpcore))._is_known


def test_a_response_class_of_somebody_elses_makes_its_own() -> None:
    class Traced(httpcore.Response):
        def read(self) -> bytes:
            return super().read()

    assert not Responses(Traced, package_of(httpcore))._is_known
