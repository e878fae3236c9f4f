"""`python -m httpcore_hyper run`: what a program sees is what `python` itself shows it, but for the pools."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from servers import Server

ROOT = Path(__file__).parent.parent
# What a program can see of how it was started. Both ways must print the same.
SHOW = """\
import __main__, json, os, sys, atexit
json.dump([
    sys.argv, sys.path[0], __name__, __file__, __package__, __builtins__ is __import__("builtins"),
    __main__.__dict__ is globals(), sys.modules["__main__"] is __main__,
    None if __spec__ is None else __spec__.name, os.path.basename(sys.argv[0]),
], sys.stdout)
atexit.register(lambda: print(__main__.__dict__ is globals(), "at exit"))
"""


def call(
    folder: Path, *arguments: str, ours: bool = True, python: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, *(("-m", "httpcore_hyper", "run") if ours else ()), *arguments]
    # The tree that is tested comes from the path, and not from the folder one stands in.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def same(folder: Path, *arguments: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The outcome, which is that of `python` itself."""
    ours = call(folder, *arguments, python=python)
    theirs = call(folder, *arguments, ours=False, python=python)
    assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, theirs.returncode)
    return ours


def write(path: Path, source: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))
    return path


@pytest.mark.parametrize("flags", [(), ("-P",)] if sys.version_info >= (3, 11) else [()])
def test_script_sees_what_it_always_sees(tmp_path: Path, flags: tuple[str, ...]) -> None:
    write(tmp_path / "inner" / "show.py", SHOW)
    assert "at exit" in same(tmp_path, "inner/show.py", "-m", "--help", "x y", python=flags).stdout


def test_script_behind_a_link(tmp_path: Path) -> None:
    """The folder of the real file comes first on the path."""
    script = write(tmp_path / "real" / "show.py", SHOW)
    (tmp_path / "link.py").symlink_to(script)
    assert same(tmp_path, "link.py").returncode == 0


@pytest.mark.parametrize("name", ["show", "pack", "pack.inner"])
def test_module_sees_what_it_always_sees(tmp_path: Path, name: str) -> None:
    write(tmp_path / "show.py", SHOW)
    write(tmp_path / "pack" / "__init__.py", "")
    write(tmp_path / "pack" / "__main__.py", SHOW)
    write(tmp_path / "pack" / "inner.py", SHOW)
    assert "at exit" in same(tmp_path, "-m", name, "run", "-m").stdout


def test_folder_and_archive(tmp_path: Path) -> None:
    write(tmp_path / "app" / "__main__.py", SHOW)
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    assert same(tmp_path, "app", "x").returncode == 0
    assert same(tmp_path, "app.zip", "x").returncode == 0


@pytest.mark.parametrize(
    "end",
    [
        "raise SystemExit",
        "raise SystemExit(3)",
        "import sys; sys.exit('a last word')",
        "def f():\n    1 / 0\nf()",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('x') from error",
        "def broken(:",
        "import os; os._exit(5)",
        "raise KeyboardInterrupt",
        "import sys\nsys.excepthook = lambda *error: print('own hook', error[0])\n1 / 0",
    ],
)
def test_ends_as_it_always_does(tmp_path: Path, end: str) -> None:
    """Exit codes and tracebacks, without a frame of ours."""
    write(tmp_path / "end.py", end + "\n")
    assert "httpcore_hyper" not in same(tmp_path, "end.py").stderr


def test_module_that_fails_shows_no_frame_of_ours(tmp_path: Path) -> None:
    write(tmp_path / "end.py", "1 / 0\n")
    ended = call(tmp_path, "-m", "end")
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
    assert "httpcore_hyper" not in ended.stderr


def test_interrupted_program_dies_of_the_signal(tmp_path: Path) -> None:
    # Whoever runs the tests in the background of a shell has them ignore the signal.
    heed = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    write(tmp_path / "end.py", f"import os, signal\n{heed}\nos.kill(os.getpid(), signal.SIGINT)\n")
    assert same(tmp_path, "end.py").returncode == -signal.SIGINT


def test_pools_are_ours_from_the_first_line(tmp_path: Path, server: Server) -> None:
    """Also those that a package around the module takes by name."""
    source = """
        import sys
        from httpcore import ConnectionPool, AsyncConnectionPool
        import httpx
        with httpx.Client(trust_env=False) as client:
            print(client.get(sys.argv[1]).status_code)
            pool = client._transport._pool
            print(type(pool) is ConnectionPool, pool.delegated, pool._native is not None)
    """
    write(tmp_path / "script.py", source)
    write(tmp_path / "pack" / "__init__.py", "from httpcore import ConnectionPool")
    write(tmp_path / "pack" / "inner.py", "import pack; print(hasattr(pack.ConnectionPool, 'delegated'))")
    ran = call(tmp_path, "script.py", server.url())
    assert (ran.stdout, ran.stderr) == ("200\nTrue None True\n", "")
    assert call(tmp_path, "-m", "pack.inner").stdout == "True\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.py"], "no such file: nowhere.py"),
        (["run", "-m", "no_such_module"], "no module named 'no_such_module'"),
        (["run", "-m", "no_such.module"], "cannot find 'no_such.module': No module named 'no_such'"),
        (["run", "-m", "bare"], "'bare' is a package without a __main__ module"),
        (["run", "-m", "broken.inner"], "cannot find 'broken.inner': No module named 'elsewhere'"),
        (["run", "bare"], "bare is a folder or an archive without a __main__.py"),
        (["run", "-m"], "-m needs the name of a module"),
        (["run", "-x"], "unknown option -x"),
        (["run"], "run needs a script"),
        (["walk"], "unknown command 'walk'"),
    ],
)
def test_wrong_use_is_one_clear_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    write(tmp_path / "bare" / "__init__.py", "")
    write(tmp_path / "broken" / "__init__.py", "import elsewhere")
    ended = call(tmp_path, "-m", "httpcore_hyper", *arguments, ours=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert words in ended.stderr


def test_help_and_no_arguments(tmp_path: Path) -> None:
    for arguments in (["--help"], ["run", "--help"], ["-h"]):
        ended = call(tmp_path, "-m", "httpcore_hyper", *arguments, ours=False)
        assert ended.returncode == 0
        assert ended.stdout.startswith("usage: python -m httpcore_hyper run")
    ended = call(tmp_path, "-m", "httpcore_hyper", ours=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage:")
