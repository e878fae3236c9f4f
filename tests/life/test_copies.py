"""Chapter L: a pool that has anything cannot be pickled or copied, and says so as httpcore's does."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from servers import Server

import httpcore_hyper

COPIES = pytest.mark.parametrize(
    "copied", [lambda pool: pickle.loads(pickle.dumps(pool)), copy.deepcopy], ids=["pickle", "deepcopy"]
)


@COPIES
def test_used_pools_are_not_copied(copied: Callable[[Any], Any], server: Server) -> None:
    """L-29: `TypeError`, and the pool works on."""
    pool, asynchronous = httpcore_hyper.ConnectionPool(), httpcore_hyper.AsyncConnectionPool()
    for _ in range(2):
        assert pool.request("GET", server.url()).status == 200
        assert asyncio.run(asynchronous.request("GET", server.url())).status == 200
        for one in (pool, asynchronous):
            with pytest.raises(TypeError, match="cannot pickle"):
                copied(one)
    pool.close()
    asyncio.run(asynchronous.aclose())


@COPIES
def test_unused_pools_are_copied_as_httpcore_copies_them(
    copied: Callable[[Any], Any], server: Server
) -> None:
    """A sync pool has a lock from the first; an async one has nothing yet, and its copy works."""
    with pytest.raises(TypeError, match="cannot pickle"):
        copied(httpcore_hyper.ConnectionPool())
    pool = copied(httpcore_hyper.AsyncConnectionPool(max_connections=1))
    assert asyncio.run(pool.request("GET", server.url())).status == 200
    asyncio.run(pool.aclose())
