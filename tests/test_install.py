"""install(): which names mean ours, for how long, and what keeps holding meanwhile."""

from __future__ import annotations

import abc
import asyncio
import inspect
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import httpcore
import httpx
import pytest
from servers import Server

import httpcore_hyper

POOLS = (
    *("ConnectionPool", "HTTPProxy", "SOCKSProxy"),
    *("AsyncConnectionPool", "AsyncHTTPProxy", "AsyncSOCKSProxy"),
)
PACKAGE = httpcore.__name__
# Where httpcore has its pools, by the identity of the classes.
PLACES = [
    *((PACKAGE, name) for name in POOLS),
    (f"{PACKAGE}._api", "ConnectionPool"),
    *((f"{PACKAGE}._sync", name) for name in POOLS[:3]),
    *((f"{PACKAGE}._async", name) for name in POOLS[3:]),
    (f"{PACKAGE}._sync.connection_pool", "ConnectionPool"),
    (f"{PACKAGE}._sync.http_proxy", "ConnectionPool"),
    (f"{PACKAGE}._sync.http_proxy", "HTTPProxy"),
    (f"{PACKAGE}._sync.socks_proxy", "ConnectionPool"),
    (f"{PACKAGE}._sync.socks_proxy", "SOCKSProxy"),
    (f"{PACKAGE}._async.connection_pool", "AsyncConnectionPool"),
    (f"{PACKAGE}._async.http_proxy", "AsyncConnectionPool"),
    (f"{PACKAGE}._async.http_proxy", "AsyncHTTPProxy"),
    (f"{PACKAGE}._async.socks_proxy", "AsyncConnectionPool"),
    (f"{PACKAGE}._async.socks_proxy", "AsyncSOCKSProxy"),
]
ORIGINALS = {name: getattr(httpcore, name) for name in POOLS}


def held() -> list[Any]:
    return [getattr(sys.modules[module], name) for module, name in PLACES]


@pytest.fixture
def installed() -> Iterator[None]:
    with httpcore_hyper.install():
        yield


@pytest.fixture(autouse=True)
def originals_are_back() -> Iterator[None]:
    yield
    assert held() == [ORIGINALS[name] for _, name in PLACES]
    assert [finder for finder in sys.meta_path if "httpcore_hyper" in type(finder).__module__] == []


def python(code: str, *arguments: str) -> None:
    """Runs a program of its own: the order of imports is part of what is tested."""
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), *arguments], check=True, timeout=30)


def test_every_name_means_ours_and_then_the_original() -> None:
    before = held()
    with httpcore_hyper.install():
        assert held() == [getattr(httpcore_hyper, name) for _, name in PLACES]
    assert all(now is then for now, then in zip(held(), before, strict=True))


def test_import_alone_changes_nothing() -> None:
    python("""
        import sys, httpcore
        before, finders = dict(vars(httpcore)), list(sys.meta_path)
        import httpcore_hyper, httpcore_hyper._install
        assert dict(vars(httpcore)) == before and sys.meta_path == finders
    """)


def test_install_is_idempotent_and_undone_at_once() -> None:
    httpcore_hyper.install()
    httpcore_hyper.install()
    assert httpcore.ConnectionPool is httpcore_hyper.ConnectionPool
    httpcore_hyper.uninstall()
    assert httpcore.ConnectionPool is ORIGINALS["ConnectionPool"]
    httpcore_hyper.uninstall()


def test_install_is_all_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a module that is none of httpcore's, it says so and leaves the other as it was."""
    monkeypatch.setitem(sys.modules, "httpcore2", ModuleType("httpcore2"))
    with pytest.raises(AttributeError, match="ConnectionPool"):
        httpcore_hyper.install()


def test_inner_block_undoes_nothing(installed: None) -> None:
    with httpcore_hyper.install():
        pass
    assert httpcore.ConnectionPool is httpcore_hyper.ConnectionPool


def test_block_undoes_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), httpcore_hyper.install():
        raise ZeroDivisionError
    assert httpcore.ConnectionPool is ORIGINALS["ConnectionPool"]


def test_what_was_made_before_still_passes() -> None:
    class Old(httpcore.ConnectionPool):
        pass

    old, proxy = Old(), httpcore.HTTPProxy("http://127.0.0.1:1/")
    with httpcore_hyper.install():
        assert isinstance(old, httpcore.ConnectionPool)
        assert issubclass(Old, httpcore.ConnectionPool)
        assert isinstance(proxy, httpcore.ConnectionPool)
        assert isinstance(proxy, httpcore.HTTPProxy)
        assert not isinstance(old, httpcore.HTTPProxy)
        assert not isinstance(proxy, httpcore.AsyncConnectionPool)
        assert not hasattr(old, "delegated")
    for check in (isinstance(old, httpcore_hyper.ConnectionPool), issubclass(Old, httpcore_hyper.HTTPProxy)):
        assert check is False


def test_checks_are_strict_without_install() -> None:
    """Also after an `install()` in which the answer was another: nothing remembers it."""
    old = httpcore.HTTPProxy("http://127.0.0.1:1/")
    for _ in range(2):
        assert not isinstance(old, httpcore_hyper.ConnectionPool)
        assert not issubclass(httpcore.HTTPProxy, httpcore_hyper.ConnectionPool)
        with httpcore_hyper.install():
            assert isinstance(old, httpcore_hyper.ConnectionPool)
            assert issubclass(ORIGINALS["HTTPProxy"], httpcore_hyper.ConnectionPool)


def test_what_was_made_meanwhile_still_passes_after() -> None:
    with httpcore_hyper.install():
        pool = httpcore.ConnectionPool()
    assert isinstance(pool, httpcore.ConnectionPool)
    assert pool.delegated is None  # type: ignore[attr-defined]


def test_users_subclass_replaces_nothing(installed: None) -> None:
    """A class on ours is a class of its own: nothing but its own objects passes for it."""

    class Sub(httpcore.ConnectionPool):
        pass

    assert isinstance(Sub(), Sub)
    assert not isinstance(httpcore.ConnectionPool(), Sub)
    assert not issubclass(ORIGINALS["ConnectionPool"], Sub)


def test_pool_and_abstract_class_are_bases_of_one(installed: None) -> None:
    """As with httpcore's own classes: no conflict of metaclasses."""

    class Base(abc.ABC):
        @abc.abstractmethod
        def name(self) -> str: ...

    class Both(httpcore.ConnectionPool, Base):
        def name(self) -> str:
            return "both"

    assert Both().name() == "both"


def test_no_exception_class_is_added() -> None:
    """httpx's own tests hold every exception class in httpcore's names against its map."""
    before = {name for name, value in vars(httpcore).items() if inspect.isclass(value)}
    with httpcore_hyper.install():
        assert {name for name, value in vars(httpcore).items() if inspect.isclass(value)} == before


def test_httpx_client_is_served_by_the_engine(server: Server, installed: None) -> None:
    with httpx.Client() as client:
        assert client.get(server.url()).status_code == 200
        pool = client._transport._pool  # type: ignore[attr-defined]
        assert type(pool) is httpcore_hyper.ConnectionPool
        assert pool.delegated is None
        assert pool._native is not None
    assert httpcore.request("GET", server.url()).status == 200


def test_async_httpx_client_is_served_by_the_engine(server: Server, installed: None) -> None:
    async def main() -> None:
        async with httpx.AsyncClient() as client:
            assert (await client.get(server.url())).status_code == 200
            pool = client._transport._pool  # type: ignore[attr-defined]
            assert type(pool) is httpcore_hyper.AsyncConnectionPool
            assert pool.delegated is None
            assert pool._native is not None

    asyncio.run(main())


def test_client_keeps_the_engine_that_it_began_with(server: Server) -> None:
    with httpx.Client() as before:
        with httpcore_hyper.install(), httpx.Client() as client:
            assert before.get(server.url()).status_code == 200
            assert type(before._transport._pool) is ORIGINALS["ConnectionPool"]  # type: ignore[attr-defined]
        with httpx.Client() as after:
            assert type(after._transport._pool) is ORIGINALS["ConnectionPool"]  # type: ignore[attr-defined]
    assert type(client._transport._pool) is httpcore_hyper.ConnectionPool  # type: ignore[attr-defined]


def test_our_transport_works_while_installed(server: Server, installed: None) -> None:
    with httpx.Client(transport=httpcore_hyper.HTTPTransport()) as client:
        assert client.get(server.url()).status_code == 200


def test_proxies_of_httpx_keep_their_class(installed: None) -> None:
    pool = httpx.HTTPTransport(proxy="http://127.0.0.1:1")._pool
    assert isinstance(pool, httpcore.HTTPProxy)
    assert type(pool) is httpcore_hyper.HTTPProxy
    pool = httpx.AsyncHTTPTransport(proxy="socks5://127.0.0.1:1")._pool
    assert type(pool) is httpcore_hyper.AsyncSOCKSProxy


@pytest.mark.parametrize(
    ("place", "method", "is_async"),
    [
        ("_sync.connection_pool.ConnectionPool", "handle_request", False),
        ("_sync.http_proxy.HTTPProxy", "handle_request", False),
        ("_async.connection_pool.AsyncConnectionPool", "handle_async_request", True),
        ("_async.http_proxy.AsyncHTTPProxy", "handle_async_request", True),
    ],
)
def test_mocks_find_what_they_look_for(installed: None, place: str, method: str, is_async: bool) -> None:
    """What respx asks of a class before it patches it, by the path that it has."""
    module, _, name = f"{PACKAGE}.{place}".rpartition(".")
    found = getattr(getattr(sys.modules[module], name), method)
    assert inspect.getfullargspec(found).args == ["self", "request"]
    assert inspect.iscoroutinefunction(found) is is_async
    assert found.__name__ == method


def answer(self: object, request: httpcore.Request) -> httpcore.Response:
    return httpcore.Response(299, content=b"mocked")


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("name", ["ConnectionPool", "HTTPProxy"])
def test_mock_on_the_original_class_is_obeyed(server: Server, order: str, name: str) -> None:
    """Also one on a class that had no such method of its own."""
    options = {"proxy_url": server.url()} if name == "HTTPProxy" else {}
    patch = mock.patch.object(ORIGINALS[name], "handle_request", answer)
    with patch if order == "before" else httpcore_hyper.install():
        with httpcore_hyper.install() if order == "before" else patch:
            pool = getattr(httpcore, name)(**options)
            assert type(pool) is getattr(httpcore_hyper, name)
            assert pool.request("GET", server.url()).status == 299
        pool.close()
    assert server.accepted == 0


def test_mock_on_our_class_intercepts(server: Server, installed: None) -> None:
    with httpx.Client() as client:
        with mock.patch(f"{PACKAGE}._sync.connection_pool.ConnectionPool.handle_request", answer):
            assert client.get(server.url()).status_code == 299
        assert client.get(server.url()).status_code == 200
    assert server.accepted == 1


def test_httpcore_imported_again_is_swapped_and_put_back() -> None:
    """All of it, with new classes, which make a flavour of their own."""
    python("""
        import sys, httpcore, httpcore_hyper
        first = httpcore.ConnectError
        old = sys.modules["httpcore"]
        originals = [old.ConnectionPool, old._sync.connection_pool.ConnectionPool]
        with httpcore_hyper.install():
            for name in [name for name in sys.modules if name.partition(".")[0] == "httpcore"]:
                del sys.modules[name]
            import httpcore as new
            assert new is not old and new.ConnectError is not first
            assert new.ConnectionPool is not httpcore_hyper.ConnectionPool
            assert hasattr(new.ConnectionPool, "delegated")
            assert new._sync.connection_pool.ConnectionPool is new.ConnectionPool
            assert new.__spec__.loader.__class__.__module__ != "httpcore_hyper._install"
            try:
                new.request("GET", "http://127.0.0.1:1/")
            except new.ConnectError:
                pass
            else:
                raise AssertionError("of the other flavour")
        assert [old.ConnectionPool, old._sync.connection_pool.ConnectionPool] == originals
        assert not hasattr(new.ConnectionPool, "delegated")
        assert not hasattr(new._sync.ConnectionPool, "delegated")
    """)


def test_httpx_still_imports_httpcore_late(server: Server) -> None:
    """httpx's own test of it, with `install()` active."""
    code = """
        import sys, httpx, httpcore_hyper
        httpcore_hyper.install()
        del sys.modules["httpx"]
        del sys.modules["httpcore"]
        import httpx
        assert "httpcore" not in sys.modules
        with httpx.Client(trust_env=False) as client:
            assert client.get(sys.argv[1]).status_code == 200
            pool = client._transport._pool
            assert "httpcore" in sys.modules
            assert type(pool) is httpcore_hyper.ConnectionPool and pool._native is not None
        httpcore_hyper.uninstall()
        assert sys.modules["httpcore"].ConnectionPool is not httpcore_hyper.ConnectionPool
    """
    python(code, server.url())


def test_reload_stays_swapped() -> None:
    python("""
        import importlib, httpcore, httpcore_hyper
        original = httpcore.ConnectionPool
        with httpcore_hyper.install():
            importlib.reload(httpcore)
            assert httpcore.ConnectionPool is httpcore_hyper.ConnectionPool
            importlib.reload(httpcore)
        assert httpcore.ConnectionPool is original
    """)


def test_finder_that_asks_the_others_as_ours_does() -> None:
    """Two such finders do not ask each other for ever."""
    python("""
        import sys, httpcore_hyper
        class Asking:
            def find_spec(self, name, path, target=None):
                for finder in sys.meta_path:
                    if finder is not self:
                        spec = finder.find_spec(name, path, target)
                        if spec is not None:
                            return spec
        with httpcore_hyper.install():
            sys.meta_path.insert(0, Asking())
            for name in [name for name in sys.modules if name.partition(".")[0] == "httpcore"]:
                del sys.modules[name]
            import httpcore
            assert hasattr(httpcore.ConnectionPool, "delegated")
    """)


def test_threads_install_and_uninstall_at_once() -> None:
    failed: list[BaseException] = []
    together = threading.Barrier(4)

    def work() -> None:
        try:
            together.wait()
            for _ in range(50):
                httpcore_hyper.install()
                httpcore_hyper.uninstall()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    httpcore_hyper.uninstall()
