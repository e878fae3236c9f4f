"""The fixture that runs a replay on each door, and what is expected of those that wait for a feature."""

from __future__ import annotations

import pytest
from engines import HYPER
from replays import REPLAY_DOORS, WAITING, Replay, entry_of, uses_of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--engine") != HYPER:
        return
    for item in items:
        if not isinstance(item, pytest.Function) or "replay" not in item.fixturenames:
            continue
        waits = uses_of(item.originalname, item.callspec.params) & set(WAITING)
        if waits:
            # httpcore's engine serves it, which leaves the socket of a proxy's refusal to the collector.
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
        for feature, reason in entry_of(item.originalname).get("fails", {}).items():
            if feature in waits:
                item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


@pytest.fixture(params=REPLAY_DOORS)
def replay(request: pytest.FixtureRequest, engine: str, caplog: pytest.LogCaptureFixture) -> Replay:
    uses = uses_of(request.node.originalname, request.node.callspec.params)
    return Replay(request.param, engine, uses, caplog)
