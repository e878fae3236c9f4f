"""The list of replays is complete and true."""

from __future__ import annotations

import ast
import pathlib

import pytest
from replays import ENTRIES, FEATURES, REPLAY_DOORS, WAITING

# What httpcore 1.0.9 has of them, by file.
NODES = {
    "test_connection_pool.py": 48,
    "test_cancellations.py": 4,
    "test_http_proxy.py": 15,
    "test_socks_proxy.py": 15,
}


@pytest.mark.parametrize("file", NODES)
def test_every_node_is_listed(file: str) -> None:
    listed = [entry for entry in ENTRIES if entry["original"].startswith(file + "::")]
    assert sum(len(entry["nodes"]) for entry in listed) == NODES[file]


def test_each_is_listed_once_with_known_words() -> None:
    assert len({entry["original"] for entry in ENTRIES}) == len(ENTRIES)
    assert len({entry["here"] for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert set(entry["nodes"]) <= set(REPLAY_DOORS), entry
        assert set(entry["uses"]) <= FEATURES, entry
        assert set(entry.get("fails", {})) <= set(entry["uses"]), entry
    assert set(WAITING) <= FEATURES


def test_each_is_written() -> None:
    """Every listed replay is a test of this directory, and every replay is listed."""
    written = []
    for path in pathlib.Path(__file__).parent.glob("test_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and "replay" in [arg.arg for arg in node.args.args]:
                written.append(node.name)
    assert sorted(written) == sorted(entry["here"] for entry in ENTRIES)
