"""The fixture that runs a replay on each door, and what is expected of those that wait for a feature."""

from __future__ import annotations

import pytest
from engines import HYPER
from replays import REPLAY_DOORS, WAITING, Replay, failures_of, uses_of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--engine") != HYPER:
        return
    for item in items:
        if not isinstance(item, pytest.Function) or "replay" not in item.fixturenames:
            continue
        uses = uses_of(item.originalname, item.callspec.params)
        if uses & set(WAITING):
            # httpcore's engine serves it, which leaves the socket of a proxy's refusal to the collector.
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
        for reason in failures_of(item.originalname, uses):
            item.add_marker(pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason))


@pytest.fixture(params=REPLAY_DOORS)
def replay(request: pytest.FixtureRequest, engine: str, caplog: pytest.LogCaptureFixture) -> Replay:
    function = request.node.originalname
    return Replay(request.param, engine, function, uses_of(function, request.node.callspec.params), caplog)
