"""How a row is run on a door, and what it may do differently with httpcore's engine.

With our engine nothing may differ. With httpcore's, exactly what `verdicts.toml` lists must: an entry
that no longer differs fails as well, so the list cannot rot. No row is defined here.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import pytest
from doors import DOORS, Door, run
from engines import HTTPCORE
from matrix import Difference, Row

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENTRIES: list[dict[str, Any]] = [
    entry
    for file in sorted(pathlib.Path(__file__).parent.glob("verdicts*.toml"))
    for entry in tomllib.loads(file.read_text("utf-8"))["difference"]
]


def parametrize(rows: list[Row]) -> pytest.MarkDecorator:
    """One test per row and door: `test_row[H-03-trio]`."""
    return pytest.mark.parametrize(
        ("row", "door"),
        [pytest.param(row, door, id=f"{row.id}-{door}") for row in rows for door in row.doors],
    )


def judge(row: Row, door: str, engine: str, tls: str = "auto") -> None:
    seen = _run(row, door, engine, tls)
    listed = _listed(row, door) if engine == HTTPCORE else {}
    unlisted = [
        f"{label or row.id}: {found}"
        for label, found in seen.items()
        if not _allows(listed.get(label), found)
    ]
    if unlisted:
        pytest.fail(f"{row.id} {row.rule}\n" + "\n".join(unlisted), pytrace=False)
    stale = [label for label, entry in listed.items() if label not in seen and not entry.get("sometimes")]
    assert not stale, f"{row.id}: listed in verdicts.toml, but httpcore does not differ: {stale}"


def _run(row: Row, door_name: str, engine: str, tls: str) -> dict[str, Difference]:
    def new() -> Door:
        door = DOORS[door_name](engine)
        door.tls = tls
        return door

    seen = {}
    for case in row.cases:
        try:
            run(new(), case.run)
        except Difference as difference:
            seen[case.label] = difference
    if row.scenario is not None:
        try:
            run(new(), row.scenario)
        except Difference as difference:
            seen[""] = difference
    return seen


def _listed(row: Row, door: str) -> dict[str, dict[str, Any]]:
    listed = {}
    for entry in ENTRIES:
        if entry["row"] == row.id and door in entry.get("doors", row.doors):
            for label in entry.get("cases", [case.label for case in row.cases] or [""]):
                listed[label] = entry
    return listed


def _allows(entry: dict[str, Any] | None, found: Difference) -> bool:
    return entry is not None and found.part in entry["parts"]
