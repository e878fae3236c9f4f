"""What two runs of one suite differ in. Runs nothing, prints nothing."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Difference", "Outcomes", "Verdict", "compare", "read_differences"]

Outcomes = dict[str, str]
"""Node id -> `passed`, `failed`, `skipped`, `xfailed`, `xpassed` or `error`."""

_GOOD = {"passed", "xpassed"}


@dataclass(frozen=True)
class Difference:
    """A test that is allowed to pass stock and not over ours."""

    pattern: str
    """Its node id; `*` stands for anything."""
    reason: str


@dataclass
class Verdict:
    passed_stock: int = 0
    passed_ours: int = 0
    lost: list[str] = field(default_factory=list)
    """Pass stock, not ours, and are not listed."""
    excused: list[tuple[str, str]] = field(default_factory=list)
    """The same, but listed: with the reasons."""
    unused: list[str] = field(default_factory=list)
    """Listed, and no difference."""


def read_differences(path: Path) -> dict[str, list[Difference]]:
    """The listed differences of each suite."""
    with open(path, "rb") as file:
        listed = tomllib.load(file)
    return {
        suite: [Difference(entry["test"], entry["reason"]) for entry in entries]
        for suite, entries in listed.items()
    }


def compare(stock: Outcomes, ours: Outcomes, listed: list[Difference]) -> Verdict:
    """A test that did not run over ours has not passed."""
    verdict = Verdict(
        passed_stock=sum(outcome in _GOOD for outcome in stock.values()),
        passed_ours=sum(outcome in _GOOD for outcome in ours.values()),
    )
    used: set[str] = set()
    for node, outcome in stock.items():
        if outcome not in _GOOD or ours.get(node) in _GOOD:
            continue
        found = next((entry for entry in listed if fnmatchcase(node, _literal(entry.pattern))), None)
        if found is None:
            verdict.lost.append(node)
        else:
            used.add(found.pattern)
            verdict.excused.append((node, found.reason))
    verdict.unused = [entry.pattern for entry in listed if entry.pattern not in used]
    return verdict


def _literal(pattern: str) -> str:
    """Brackets are part of node ids, not of the pattern."""
    return pattern.replace("[", "[[]")
