"""The judgement of `nox -s upstream`; the suites themselves take minutes and a network."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "upstream"))
from compare import Difference, compare, read_differences


def test_what_passes_stock_must_pass_ours() -> None:
    stock = {"a": "passed", "b": "passed", "c": "failed", "d": "xpassed", "e": "passed"}
    ours = {"a": "passed", "b": "failed", "c": "passed", "d": "passed"}
    verdict = compare(stock, ours, [])
    assert (verdict.passed_stock, verdict.passed_ours) == (4, 3)
    assert verdict.lost == ["b", "e"]


def test_listed_differences_are_excused_and_must_be_used() -> None:
    stock = {"t.py::x[1]": "passed", "t.py::x[2]": "passed", "t.py::y": "passed"}
    ours = {"t.py::x[1]": "failed", "t.py::x[2]": "error", "t.py::y": "passed"}
    listed = [Difference("t.py::x[*]", "why"), Difference("t.py::y", "because")]
    verdict = compare(stock, ours, listed)
    assert verdict.lost == []
    assert verdict.excused == [("t.py::x[1]", "why"), ("t.py::x[2]", "why")]
    assert verdict.unused == ["t.py::y"]


def test_the_list_can_be_read() -> None:
    listed = read_differences(Path(__file__).parent / "upstream" / "differences.toml")
    assert all(entry.reason for entries in listed.values() for entry in entries)
