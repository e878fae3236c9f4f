"""Which pool the tests run against, chosen by `--engine`.

`hyper` is the engine of this package. `httpcore` is the reference: the same tests pass against it, but
for the differences that `faults/verdicts.toml` lists, and that proves the tests.
"""

from __future__ import annotations

from typing import Any

import httpcore

HYPER, HTTPCORE = "hyper", "httpcore"


def pool_class(engine: str, *, is_async: bool) -> Any:
    if engine == HTTPCORE:
        return httpcore.AsyncConnectionPool if is_async else httpcore.ConnectionPool
    import httpcore_hyper  # noqa: PLC0415 - the reference runs without it

    return httpcore_hyper.AsyncConnectionPool if is_async else httpcore_hyper.ConnectionPool


def delegated(engine: str, pool: Any) -> str | None:
    """Why our pool runs on httpcore's Python engine: never, in these tests."""
    return None if engine == HTTPCORE else pool.delegated
