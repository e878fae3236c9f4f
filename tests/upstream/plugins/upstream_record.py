"""pytest plugin: writes each test's outcome to the file that UPSTREAM_REPORT names."""

from __future__ import annotations

import json
import os

import pytest

_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "call":
        # A fixture that fails is the test's failure; a skip in one is its skip.
        if report.failed:
            _outcomes[report.nodeid] = "error"
        elif report.skipped:
            _outcomes[report.nodeid] = "skipped"
    elif hasattr(report, "wasxfail"):
        _outcomes[report.nodeid] = "xfailed" if report.skipped else "xpassed"
    else:
        _outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    with open(os.environ["UPSTREAM_REPORT"], "w") as file:
        json.dump(_outcomes, file)
