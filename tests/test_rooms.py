"""The house keeps its order: rooms depend downwards only, and the foreign language stays in its room."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUST = ROOT / "rust"
PACKAGE = ROOT / "httpcore_hyper"

# Each room may use what stands to its right of it, and nothing else of ours.
MAY_USE = {
    "origin": set(),
    "error": set(),
    "courtesy": set(),
    "heap": set(),
    "panics": set(),
    "timeouts": set(),
    "ledger": set(),
    "visits": set(),
    "url": {"origin"},
    "process": {"ledger", "visits"},
    "runtime": {"ledger", "process"},
    "poll_set": {"ledger", "process"},
    "connection": {"error", "poll_set"},
    "pool": {"error", "ledger", "origin"},
    "tls": {"connection", "runtime", "visits"},
    "connect": {
        *("connection", "error", "ledger", "origin", "poll_set", "runtime", "timeouts", "tls", "visits"),
    },
    "views": {"connect", "ledger"},
    "request": {"connection", "origin", "timeouts"},
    "exchange": {"connect", "connection", "error", "pool", "request", "runtime", "timeouts", "views"},
    "cell": {
        *("connect", "connection", "error", "exchange", "ledger", "panics", "poll_set", "request", "runtime"),
        *("timeouts", "tls"),
    },
}


def room(path: Path) -> str:
    return path.relative_to(RUST).parts[0].removesuffix(".rs")


def is_test(path: Path) -> bool:
    return "tests" in path.parts or path.stem in {"tests", "loom"}


def sources() -> list[Path]:
    return [path for path in sorted(RUST.rglob("*.rs")) if not is_test(path)]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(RUST)))
def test_rooms_depend_downwards(path: Path) -> None:
    """A room uses the rooms that it may use."""
    if room(path) in {"python", "lib"}:
        return
    used = set(re.findall(r"\bcrate::(\w+)", path.read_text().split("#[cfg(test)]")[0]))
    assert used - {room(path)} <= MAY_USE[room(path)]


def test_pyo3_is_written_at_the_border_only() -> None:
    """Only rust/python knows that there is a Python."""
    strangers = [path for path in sources() if room(path) != "python" and "pyo3::" in path.read_text()]
    assert strangers == []


def test_python_is_called_through_one_place() -> None:
    """Code of Python's runs below `call_out` alone, where the interpreter's end is survived."""
    # What these call is written in C, and keeps the GIL: `memoryview`, `dict.get`, `os.strerror`.
    exempt = {"call_out.rs", "convert.rs", "exceptions.rs"}
    for path in sorted((RUST / "python").glob("*.rs")):
        if path.name not in exempt:
            assert not re.findall(r"\.call_method\w*\(|\bpy\.import\(", path.read_text()), path


def test_tasks_are_in_the_ledger() -> None:
    """Tasks and blocking work begin in `runtime`, which enters them; nowhere else."""
    for path in sources():
        if room(path) != "runtime":
            runtimes_own = re.findall(
                r"(?:runtime|handle)(?:\(\))?\s*\.spawn(?:_blocking)?\(", path.read_text()
            )
            assert not runtimes_own, path
            assert "tokio::spawn" not in path.read_text(), path
            assert "tokio::task::spawn" not in path.read_text(), path


def test_state_is_pure() -> None:
    """The pool's state machine does no I/O, reads no clock, takes no lock and awaits nothing."""
    text = "\n".join(path.read_text() for path in (RUST / "pool" / "state").glob("*.rs"))
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//"))
    for forbidden in (
        "Instant::now",
        "tokio",
        "parking_lot",
        "Mutex",
        "async ",
        ".await",
        "std::io",
    ):
        assert forbidden not in code


@pytest.mark.parametrize(
    "module",
    sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
    ),
)
def test_module_imports_alone(module: str) -> None:
    """Each module can be the first that a program imports."""
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, timeout=30)


def test_import_does_not_import_httpx_or_trio() -> None:
    """httpx and trio are optional: neither is imported before it is needed."""
    code = (
        "import sys, httpcore_hyper\n"
        "assert not {'httpx', 'httpcore_hyper._trio'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
