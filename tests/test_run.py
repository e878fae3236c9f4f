"""`python -m httpcore_hyper run`: the program sees what it sees under plain Python, and the engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """\
import sys, httpcore, httpcore_hyper
print(sys.argv, __name__, httpcore.ConnectionPool is httpcore_hyper.ConnectionPool)
print(sys.path[0])
import beside
print(beside.__name__, sys.modules["__main__"].__dict__ is globals())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "exits.py").write_text("import sys; sys.exit(7)")
    (tmp_path / "raises.py").write_text("raise ValueError('mine')")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(PROGRAM)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "__init__.py").write_text("")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "httpcore_hyper", *arguments]
    environment = {"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": ""}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_a_script(folder: Path) -> None:
    done = run(folder, "run", "program.py", "--flag", "value")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['program.py', '--flag', 'value'] __main__ True",
        str(folder),
        "beside True",
    ]


@pytest.mark.parametrize("module", ["program", "package"])
def test_a_module(folder: Path, module: str) -> None:
    done = run(folder, "run", "-m", module, "--flag")
    file = folder / ("program.py" if module == "program" else "package/__main__.py")
    assert done.stderr == ""
    assert done.stdout.splitlines()[:2] == [f"['{file}', '--flag'] __main__ True", str(folder)]


def test_exit_codes_and_tracebacks(folder: Path) -> None:
    assert run(folder, "run", "exits.py").returncode == 7
    raised = run(folder, "run", "raises.py")
    assert raised.returncode == 1
    assert raised.stderr.endswith("ValueError: mine\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "needs a script"),
        (["run", "-m"], "needs the name of a module"),
        (["run", "missing.py"], "no such file: missing.py"),
        (["run", "empty"], "without a __main__.py"),
        (["run", "-m", "missing"], "no module named 'missing'"),
        (["run", "-m", "missing.inner"], "no module named 'missing.inner'"),
        (["run", "-m", "empty"], "'empty' is a package without a __main__ module"),
        (["run", "--what"], "unknown option --what"),
        (["walk"], "unknown command 'walk'"),
        ([], "usage:"),
    ],
)
def test_misuse_is_one_clear_line(folder: Path, arguments: list[str], words: str) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_help(folder: Path) -> None:
    done = run(folder, "run", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "SCRIPT" in done.stdout
