"""`install()` and `uninstall()`: whose classes the names mean, before, during and after."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from unittest import mock

import httpcore
import httpx
import pytest
from servers import Server

import httpcore_hyper

# Where httpcore keeps the names of its pools.
NAMES = {
    "ConnectionPool": ("", "_api", "_sync", "_sync.connection_pool", "_sync.http_proxy", "_sync.socks_proxy"),
    "AsyncConnectionPool": (
        "",
        "_async",
        "_async.connection_pool",
        "_async.http_proxy",
        "_async.socks_proxy",
    ),
    "HTTPProxy": ("", "_sync", "_sync.http_proxy"),
    "AsyncHTTPProxy": ("", "_async", "_async.http_proxy"),
    "SOCKSProxy": ("", "_sync", "_sync.socks_proxy"),
    "AsyncSOCKSProxy": ("", "_async", "_async.socks_proxy"),
}
ORIGINALS = {name: getattr(httpcore, name) for name in NAMES}


def named(name: str) -> Iterator[tuple[str, type]]:
    for place in NAMES[name]:
        module = sys.modules[f"{httpcore.__name__}.{place}".rstrip(".")]
        yield module.__name__, getattr(module, name)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_swapped_and_put_back(name: str) -> None:
    """In httpcore and in its modules, by identity."""
    with httpcore_hyper.install():
        assert dict(named(name)) == {place: getattr(httpcore_hyper, name) for place, _ in named(name)}
    assert dict(named(name)) == {place: ORIGINALS[name] for place, _ in named(name)}


def test_nothing_is_swapped_by_itself() -> None:
    assert httpcore.ConnectionPool is ORIGINALS["ConnectionPool"]
    assert not isinstance(ORIGINALS["ConnectionPool"](), httpcore_hyper.ConnectionPool)
    assert not issubclass(ORIGINALS["HTTPProxy"], httpcore_hyper.ConnectionPool)


def test_no_exception_class_is_added() -> None:
    """httpx maps every exception class that it finds in httpcore."""
    before = set(vars(httpcore))
    with httpcore_hyper.install():
        assert set(vars(httpcore)) == before


def test_httpx_runs_on_the_engine(server: Server) -> None:
    """A client that is made meanwhile is the engine's, for its whole life; one from before is not."""
    with httpx.Client() as before:
        with httpcore_hyper.install(), httpx.Client() as client:
            assert client.get(server.url()).status_code == 200
            pool = client._transport._pool
            assert isinstance(pool, httpcore_hyper.ConnectionPool)
            assert pool.delegated is None
            assert pool._native is not None
            assert before.get(server.url()).status_code == 200
            assert type(before._transport._pool) is ORIGINALS["ConnectionPool"]
        with httpx.Client() as after:
            assert type(after._transport._pool) is ORIGINALS["ConnectionPool"]


def test_top_level_functions(server: Server) -> None:
    """`httpcore.request` makes its pool of the name."""
    with (
        httpcore_hyper.install(),
        mock.patch.object(httpcore_hyper.ConnectionPool, "handle_request") as patched,
    ):
        patched.return_value = httpcore.Response(299)
        assert httpcore.request("GET", server.url()).status == 299


def test_isinstance_and_issubclass_both_ways() -> None:
    """What exists already keeps its engine, and passes for what the name means now."""

    class Subclass(ORIGINALS["ConnectionPool"]):
        pass

    old, proxy = ORIGINALS["ConnectionPool"](), ORIGINALS["HTTPProxy"]("http://127.0.0.1:1")
    with httpcore_hyper.install():
        assert isinstance(old, httpcore.ConnectionPool)
        assert isinstance(Subclass(), httpcore.ConnectionPool)
        assert issubclass(Subclass, httpcore.ConnectionPool)
        assert isinstance(proxy, httpcore.HTTPProxy)
        assert isinstance(proxy, httpcore.ConnectionPool)
        assert not isinstance(old, httpcore.HTTPProxy)
        new = httpcore.HTTPProxy("http://127.0.0.1:1")
        assert isinstance(new, httpcore.ConnectionPool)
        assert isinstance(new, ORIGINALS["HTTPProxy"])
        assert isinstance(new, ORIGINALS["ConnectionPool"])

        class Ours(httpcore.ConnectionPool):
            pass

        assert not isinstance(old, Ours)
        assert isinstance(Ours(), httpcore.ConnectionPool)
    assert not isinstance(old, httpcore_hyper.ConnectionPool)


def test_idempotent_and_nested() -> None:
    """Only the call that began ends it."""
    with httpcore_hyper.install():
        with httpcore_hyper.install():
            pass
        assert httpcore.ConnectionPool is httpcore_hyper.ConnectionPool
    assert httpcore.ConnectionPool is ORIGINALS["ConnectionPool"]
    httpcore_hyper.uninstall()
    httpcore_hyper.install()
    httpcore_hyper.install()
    httpcore_hyper.uninstall()
    assert httpcore.ConnectionPool is ORIGINALS["ConnectionPool"]


def test_mocks_find_methods_as_httpcore_has_them() -> None:
    """respx patches the methods by path, and looks at their signatures."""
    with httpcore_hyper.install():
        for name, method in (("ConnectionPool", "handle_request"), ("HTTPProxy", "handle_request")):
            found = getattr(getattr(httpcore, name), method)
            assert inspect.getfullargspec(found).args == ["self", "request"]
            assert found.__name__ == method
            assert not inspect.iscoroutinefunction(found)
        assert inspect.iscoroutinefunction(httpcore.AsyncConnectionPool.handle_async_request)


@pytest.mark.parametrize("name", ["ConnectionPool", "HTTPProxy"])
@pytest.mark.parametrize("installed", [True, False])
def test_a_patched_method_is_obeyed(name: str, installed: bool) -> None:
    """Whether it is put on our class or on httpcore's own."""
    arguments = ("http://127.0.0.1:1",) if name == "HTTPProxy" else ()
    answer = mock.Mock(return_value=httpcore.Response(299))
    with httpcore_hyper.install() if installed else mock.MagicMock():
        pool = getattr(httpcore_hyper, name)(*arguments)
        with mock.patch.object(ORIGINALS[name], "handle_request", answer):
            assert pool.request("GET", "http://127.0.0.1:1/").status == 299
        pool.close()
        with mock.patch.object(getattr(httpcore_hyper, name), "handle_request", answer):
            assert pool.request("GET", "http://127.0.0.1:1/").status == 299


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_httpcore_imported_again_is_swapped() -> None:
    """A second import gives new classes, and a flavour of their own: exceptions are mapped by identity."""
    python(
        """
        import sys, httpcore, httpcore_hyper
        httpcore_hyper.install()
        first = httpcore
        for name in [name for name in sys.modules if name.split(".")[0] == "httpcore"]:
            del sys.modules[name]
        import httpcore as second
        assert second is not first
        assert type(second.ConnectionPool).__name__ == "Replacement"
        assert second.ConnectionPool is not first.ConnectionPool
        for module in (first, second):
            try:
                module.ConnectionPool().request("GET", "http://127.0.0.1:1/")
            except module.ConnectError:
                pass
        httpcore_hyper.uninstall()
        assert type(second.ConnectionPool) is type(first.ConnectionPool) is type
        """
    )


def test_httpx_does_not_import_httpcore_early() -> None:
    """httpx imports it at its first request or transport, also with ours installed."""
    python(
        """
        import sys, httpcore_hyper
        httpcore_hyper.install()
        del sys.modules["httpcore"]
        import httpx
        assert "httpcore" not in sys.modules
        transport = httpx.HTTPTransport()
        import httpcore
        assert type(transport._pool) is httpcore_hyper.ConnectionPool is httpcore.ConnectionPool
        assert httpcore.__spec__.loader.__class__.__module__ != "httpcore_hyper._install"
        """
    )


def test_httpcore2_is_covered_whenever_it_is_imported() -> None:
    pytest.importorskip("httpx2")
    for before in ("", "import httpcore2"):
        out = python(
            f"""
            {before}
            import httpcore_hyper
            httpcore_hyper.install()
            import httpx2, httpcore2
            transport = httpx2.HTTPTransport()
            print(isinstance(transport._pool, httpcore2.ConnectionPool), transport._pool.delegated)
            import httpcore_hyper.httpcore2 as ours
            assert type(transport._pool) is ours.ConnectionPool
            try:
                httpx2.get("http://127.0.0.1:1/")
            except httpx2.ConnectError:
                print("mapped")
            """
        )
        assert out == "True None\nmapped\n"


@pytest.mark.parametrize("first", ["alias", "install"])
def test_alias_httpx(first: str) -> None:
    """`httpx2.alias_httpx()` before or after: `import httpx` gives httpx2 on the engine."""
    pytest.importorskip("httpx2")
    steps = ["import httpx2; httpx2.alias_httpx()", "import httpcore_hyper; httpcore_hyper.install()"]
    if first == "install":
        # The package imports httpcore itself; the alias wants to come before every other import of it.
        steps = ["import httpx2; httpx2.alias_httpx()", "import httpcore_hyper", "httpcore_hyper.install()"]
    lines = "\n".join(steps)
    out = python(
        f"{lines}\n"
        "import httpx, httpcore, httpx2, httpcore2\n"
        "assert httpx is httpx2 and httpcore is httpcore2\n"
        "with httpx.Client() as client: print(client._transport._pool.delegated, httpcore.ConnectionPool)\n"
    )
    assert out == "None <class 'httpcore_hyper.ConnectionPool'>\n"
