"""The fixture that runs a replay on each door."""

from __future__ import annotations

import pytest
from engines import HYPER
from replays import REPLAY_DOORS, WAITING, Replay, entry_of, uses_of


@pytest.fixture(params=REPLAY_DOORS)
def replay(request: pytest.FixtureRequest, engine: str, caplog: pytest.LogCaptureFixture) -> Replay:
    function = request.function.__name__
    uses = uses_of(function, request.node.callspec.params)
    fails = entry_of(function).get("fails", {})
    for feature in uses & set(fails) & set(WAITING):
        if engine == HYPER:
            request.applymarker(pytest.mark.xfail(strict=True, reason=fails[feature]))
    return Replay(request.param, engine, uses, caplog)
