"""Flavours: pools built from a module, each with its own models, exceptions and loggers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from types import ModuleType
from typing import Any

import httpcore
import pytest
from servers import Server

import httpcore_hyper
from httpcore_hyper._flavour import Flavour

httpcore2 = pytest.importorskip("httpcore2")
httpx2 = pytest.importorskip("httpx2")
# Under httpx2's alias both names are the fork, and there is one flavour.
pytestmark = pytest.mark.skipif(httpcore is httpcore2, reason="httpcore is httpcore2 here")


def python(code: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), *arguments], check=True, timeout=30)


def test_one_flavour_for_the_same_classes() -> None:
    """The module object may be another, as after `del sys.modules["httpcore"]`."""
    copy = ModuleType("httpcore")
    copy.__dict__.update(vars(httpcore))
    assert Flavour.of(copy) is Flavour.of(httpcore)
    assert Flavour.of(httpcore2) is not Flavour.of(httpcore)


def test_flavour_is_the_same_while_installed() -> None:
    """Its bases are the original classes."""
    flavour = Flavour.of(httpcore)
    with httpcore_hyper.install():
        assert Flavour.of(httpcore) is flavour
    assert flavour.originals["ConnectionPool"] is httpcore.ConnectionPool
    assert httpcore_hyper.ConnectionPool.__mro__[1:].count(httpcore.ConnectionPool) == 1


def test_pools_are_the_forks() -> None:
    from httpcore_hyper import httpcore2 as ours  # noqa: PLC0415 - after `importorskip`

    for name in ours.__all__:
        assert issubclass(getattr(ours, name), getattr(httpcore2, name))
        assert not issubclass(getattr(ours, name), getattr(httpcore, name))
        assert getattr(ours, name).__module__ == "httpcore_hyper.httpcore2"
        assert getattr(ours, name) is not getattr(httpcore_hyper, name)


def test_requests_responses_and_errors_are_the_forks(server: Server) -> None:
    from httpcore_hyper.httpcore2 import ConnectionPool  # noqa: PLC0415 - after `importorskip`

    with ConnectionPool() as pool:
        response: Any = pool.request("GET", server.url())
        assert type(response) is httpcore2.Response
        assert pool.delegated is None
        assert pool._native is not None
        assert isinstance(pool.connections[0], httpcore2.ConnectionInterface)
        assert isinstance(response.extensions["network_stream"], httpcore2.NetworkStream)
        with pytest.raises(httpcore2.ConnectError):
            pool.request("GET", "http://127.0.0.1:1/")


def test_async_requests_responses_and_errors_are_the_forks(server: Server) -> None:
    from httpcore_hyper.httpcore2 import AsyncConnectionPool  # noqa: PLC0415 - after `importorskip`

    async def main() -> None:
        async with AsyncConnectionPool() as pool:
            response: Any = await pool.request("GET", server.url())
            assert type(response) is httpcore2.Response
            assert pool.delegated is None
            assert pool._native is not None
            assert isinstance(pool.connections[0], httpcore2.AsyncConnectionInterface)
            with pytest.raises(httpcore2.ConnectError):
                await pool.request("GET", "http://127.0.0.1:1/")

    asyncio.run(main())


def test_httpx2_over_our_transports(server: Server) -> None:
    from httpcore_hyper import httpx2 as ours  # noqa: PLC0415 - after `importorskip`

    transport: Any = ours.HTTPTransport()
    with httpx2.Client(transport=transport) as client:
        assert client.post(server.url("/echo"), content=b"hello").content == b"hello"
        with pytest.raises(httpx2.ConnectError):
            client.get("http://127.0.0.1:1/")
        assert transport._pool.delegated is None
        assert transport._pool._native is not None
    asynchronous: Any = ours.AsyncHTTPTransport()

    async def main() -> None:
        async with httpx2.AsyncClient(transport=asynchronous) as client:
            assert (await client.post(server.url("/echo"), content=b"hello")).content == b"hello"
            assert asynchronous._pool.delegated is None
            assert asynchronous._pool._native is not None

    asyncio.run(main())
    proxied: Any = ours.HTTPTransport(proxy="http://127.0.0.1:1")
    assert type(proxied._pool) is ours.HTTPProxy
    assert ours.HTTPTransport.__module__ == "httpcore_hyper.httpx2"


def test_install_covers_the_fork(server: Server) -> None:
    original = httpcore2.ConnectionPool
    with httpcore_hyper.install():
        with httpx2.Client() as client:
            assert client.get(server.url()).status_code == 200
            pool: Any = client._transport._pool
            assert pool.delegated is None
            assert pool._native is not None
        assert isinstance(original(), httpcore2.ConnectionPool)
    assert httpcore2.ConnectionPool is original


def test_patch_on_one_flavour_leaves_the_other(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from httpcore_hyper.httpcore2 import ConnectionPool  # noqa: PLC0415 - after `importorskip`

    monkeypatch.setattr(httpcore2.HTTPConnection, "handle_request", lambda self, request: None)
    assert "HTTPConnection.handle_request has been patched" in str(ConnectionPool().delegated)
    assert httpcore_hyper.ConnectionPool().delegated is None


def test_fork_imported_after_install_is_swapped() -> None:
    python("""
        import sys, httpcore_hyper
        httpcore_hyper.install()
        assert "httpcore2" not in sys.modules
        import httpcore2
        assert hasattr(httpcore2.ConnectionPool, "delegated")
        assert httpcore2._sync.connection_pool.ConnectionPool is httpcore2.ConnectionPool
        import httpcore_hyper.httpcore2
        assert httpcore_hyper.httpcore2.ConnectionPool is httpcore2.ConnectionPool
        httpcore_hyper.uninstall()
        assert not hasattr(httpcore2.ConnectionPool, "delegated")
    """)


def test_alias_before_install(server: Server) -> None:
    """`httpx2.alias_httpx()` makes httpcore another name of the fork."""
    code = """
        import sys, httpx2
        httpx2.alias_httpx()
        import httpcore_hyper, httpx, httpcore
        with httpcore_hyper.install():
            assert httpcore.__name__ == "httpcore2" and httpx is httpx2
            assert httpcore.ConnectionPool is httpcore_hyper.ConnectionPool
            with httpx.Client() as client:
                assert client.get(sys.argv[1]).status_code == 200
                assert client._transport._pool._native is not None
        assert httpcore.ConnectionPool is not httpcore_hyper.ConnectionPool
        assert isinstance(httpcore_hyper.HTTPTransport(), httpx2.HTTPTransport)
    """
    python(code, server.url())


def test_alias_after_install(server: Server) -> None:
    """httpx2 refuses it while httpcore itself is loaded; without, the alias is swapped as well."""
    code = """
        import sys, httpcore_hyper, httpcore
        httpcore_hyper.install()
        import httpx2
        try:
            httpx2.alias_httpx()
        except RuntimeError:
            pass
        else:
            raise AssertionError("httpcore is loaded")
        for name in [name for name in sys.modules if name.partition(".")[0] == "httpcore"]:
            del sys.modules[name]
        httpx2.alias_httpx()
        import httpcore, httpcore2
        assert httpcore is httpcore2
        del sys.modules["httpcore"]
        import httpcore
        assert httpcore is httpcore2 and hasattr(httpcore.ConnectionPool, "delegated")
        assert httpcore.request("GET", sys.argv[1]).status == 200
        httpcore_hyper.uninstall()
        assert not hasattr(httpcore.ConnectionPool, "delegated")
    """
    python(code, server.url())


@pytest.mark.parametrize(
    ("module", "missing"), [("httpcore2", "httpcore2"), ("httpx2", "httpcore2"), ("httpx2", "httpx2")]
)
def test_missing_fork_is_said_clearly(module: str, missing: str) -> None:
    python(f"""
        import sys
        sys.modules["{missing}"] = None
        try:
            import httpcore_hyper.{module}
        except ImportError as error:
            assert "pip install 'httpcore-hyper[httpx2]'" in str(error), error
        else:
            raise AssertionError("imported without it")
        import httpcore_hyper
        httpcore_hyper.install()
    """)


def test_a_program_imports_the_door_that_it_uses() -> None:
    """The other one's names are there when they are asked for, and stay what they were then."""
    python("""
        import pickle, sys, httpcore_hyper
        assert not any("_async." in name for name in sys.modules if name.startswith("httpcore_hyper"))
        assert set(httpcore_hyper.__all__) <= set(dir(httpcore_hyper))
        with httpcore_hyper.ConnectionPool():
            pass
        assert not any("_async." in name for name in sys.modules if name.startswith("httpcore_hyper"))
        pool = httpcore_hyper.AsyncConnectionPool
        assert pickle.loads(pickle.dumps(pool)) is pool is httpcore_hyper.AsyncConnectionPool
        try:
            httpcore_hyper.ConectionPool
        except AttributeError as error:
            assert "ConectionPool" in str(error), error
        else:
            raise AssertionError("there is no such name")
    """)


def test_without_anyio_trio_and_socksio(server: Server) -> None:
    """Optional for httpcore, and so for us: a sync pool needs none of them."""
    code = """
        import sys
        for name in ("anyio", "trio", "socksio", "h2"):
            sys.modules[name] = None
        import httpcore, httpcore_hyper
        with httpcore_hyper.install():
            assert httpcore.request("GET", sys.argv[1]).status == 200
            try:
                httpcore.SOCKSProxy("socks5://127.0.0.1:1")
            except RuntimeError as error:
                assert "socksio" in str(error)
            else:
                raise AssertionError("made without socksio")
    """
    python(code, server.url())
