"""What comes between a pool and its engine after it has served: the next request goes by it.

All of it is watched from the first request on; each place here is one that a watch must cover.
"""

from __future__ import annotations

import functools
import gc
import logging
import ssl
import weakref
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest
from certificates import client_context, server_context
from servers import Server

import httpcore_hyper
from httpcore_hyper._surroundings import watch_over


class Own(httpcore.SyncBackend):
    """A backend of somebody's own."""


class OwnContext(ssl.SSLContext):
    """A context that does something of its own with sockets."""

    def wrap_socket(self, *args: Any, **options: Any) -> Any:
        return super().wrap_socket(*args, **options)


def replace(owner: Any, name: str) -> Callable[..., None]:
    """Puts a function there that calls what was there."""

    def change(pool: Any, patch: pytest.MonkeyPatch) -> None:
        target = owner(pool)
        own = getattr(target, name)
        patch.setattr(target, name, functools.partial(own), raising=False)

    return change


def set_level(name: str) -> Callable[..., None]:
    def change(pool: Any, patch: pytest.MonkeyPatch) -> None:
        logger = logging.getLogger(name)
        patch.setattr(logger, "level", logger.level)
        logger.setLevel(logging.DEBUG)

    return change


def assign(name: str, make: Callable[[], Any]) -> Callable[..., None]:
    def change(pool: Any, patch: pytest.MonkeyPatch) -> None:
        setattr(pool, name, make())

    return change


def become_another(pool: Any, patch: pytest.MonkeyPatch) -> None:
    pool.__class__ = type("Other", (type(pool),), {"create_connection": lambda self, origin: None})


CHANGES: dict[str, Callable[..., None]] = {
    "backend": assign("_network_backend", Own),
    "connect_tcp of the backend": replace(lambda pool: pool._network_backend, "connect_tcp"),
    "connect_tcp of all backends": replace(lambda _: httpcore.SyncBackend, "connect_tcp"),
    "create_connection of the pool": replace(lambda pool: pool, "create_connection"),
    "create_connection of its class": replace(type, "create_connection"),
    "create_connection of httpcore's class": replace(lambda _: httpcore.ConnectionPool, "create_connection"),
    "handle_request of the pool": replace(lambda pool: pool, "handle_request"),
    "handle_request of its class": replace(type, "handle_request"),
    "handle_request of httpcore's class": replace(lambda _: httpcore.ConnectionPool, "handle_request"),
    "handle_request of connections": replace(lambda _: httpcore.HTTPConnection, "handle_request"),
    "context": assign("_ssl_context", lambda: OwnContext(ssl.PROTOCOL_TLS_CLIENT)),
    "wrap_socket of the context": replace(lambda pool: pool._ssl_context, "wrap_socket"),
    "wrap_socket of all contexts": replace(lambda _: ssl.SSLContext, "wrap_socket"),
    "class of the pool": become_another,
    "level of a logger": set_level("httpcore.http11"),
    "level of all loggers": set_level("httpcore"),
    "level of the root": set_level(""),
    "Request": replace(lambda _: httpcore.Request, "__init__"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_after_requests_is_seen(name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the next request on, and no longer than it lasts."""
    context = ssl.create_default_context()
    with httpcore_hyper.ConnectionPool(ssl_context=context) as pool:
        for _ in range(2):
            pool.request("GET", server.url())
        assert pool._watch is not None
        assert pool._is_untouched()
        with monkeypatch.context() as patch:
            CHANGES[name](pool, patch)
            assert not pool._is_untouched()
    logging.getLogger().manager._clear_cache()  # type: ignore[attr-defined]
    with httpcore_hyper.ConnectionPool(ssl_context=context) as pool:
        pool.request("GET", server.url())
        assert pool._is_untouched()


@pytest.mark.parametrize("name", ["connect_tcp", "handle_request", "create_connection"])
def test_a_patch_between_two_requests_of_a_client(
    name: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heeded under httpx as well."""
    owners: dict[str, Any] = {
        "connect_tcp": httpcore.SyncBackend,
        "handle_request": httpcore.HTTPConnection,
        "create_connection": httpcore.ConnectionPool,
    }
    owner, asked = owners[name], []
    own = getattr(owner, name)
    with httpx.Client(transport=httpcore_hyper.HTTPTransport()) as client:
        client.get(server.url())

        def patch(*args: Any, **options: Any) -> Any:
            asked.append(name)
            return own(*args, **options)

        monkeypatch.setattr(owner, name, patch)
        client.get(server.url())
    assert asked


def test_a_listener_of_one_request(server: Server) -> None:
    """Nothing is watched for it: it comes with the request."""
    events: list[str] = []
    with httpcore_hyper.ConnectionPool() as pool:
        pool.request("GET", server.url())
        pool.request("GET", server.url(), extensions={"trace": lambda event, _: events.append(event)})
        pool.request("GET", server.url())
    assert events.count("http11.send_request_headers.started") == 1


def test_a_logger_that_is_no_longer_listening(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that was logged from the beginning takes the short way once nobody listens."""
    logger = logging.getLogger("httpcore.http11")
    logger.setLevel(logging.DEBUG)
    try:
        with httpcore_hyper.ConnectionPool() as pool:
            pool.request("GET", server.url())
            assert not pool._is_untouched()
            logger.setLevel(logging.NOTSET)
            assert pool._is_untouched()
    finally:
        logger.setLevel(logging.NOTSET)


def test_what_cannot_be_watched_is_asked_each_time() -> None:
    """A context of a class that is not known: the answers are the same, but not kept."""

    class Context(ssl.SSLContext):
        pass

    with Server(tls=server_context()) as secure:
        context = client_context(Context)
        with httpcore_hyper.ConnectionPool(ssl_context=context) as pool:
            assert pool.request("GET", secure.url()).status == 200
            assert pool._is_untouched()
            assert watch_over(pool, ("handle_request",)) is None
            assert pool._watch is None


def test_a_watch_keeps_nobody(server: Server) -> None:
    """Neither a pool, which goes when it is let go, nor a class that holds its own pool."""
    pool = httpcore_hyper.ConnectionPool()
    pool.request("GET", server.url())
    assert pool._watch is not None
    gone = weakref.ref(pool)
    del pool
    assert gone() is None

    class Holder(httpcore_hyper.ConnectionPool):
        one: Any = None

    Holder.one = Holder()
    Holder.one.request("GET", server.url())
    assert Holder.one._watch is not None
    gone_class = weakref.ref(Holder)
    del Holder
    gc.collect()
    assert gone_class() is None
