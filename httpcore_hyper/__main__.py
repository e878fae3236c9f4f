"""`python -m httpcore_hyper run ...`: a program, unchanged, with `install()` before its first line."""

from __future__ import annotations

import os
import runpy
import sys
from importlib.util import find_spec

from . import install

USAGE = """\
usage: python -m httpcore_hyper run SCRIPT [ARGUMENT ...]
       python -m httpcore_hyper run -m MODULE [ARGUMENT ...]

Runs a Python program as `python SCRIPT` or `python -m MODULE` would, with httpcore's connection pools
(and so those of httpx, httpx2 and what stands on them) replaced by httpcore_hyper's."""
BAD_USAGE = 2


def fail(reason: str) -> int:
    print(f"httpcore_hyper: {reason}", file=sys.stderr)
    return BAD_USAGE


def run_module(name: str, arguments: list[str]) -> int:
    # As `python -m` does: the folder that one stands in comes first on the path.
    sys.path[0] = os.getcwd()
    try:
        found = find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        return fail(f"no module named {name!r}")
    if found.submodule_search_locations is not None and find_spec(f"{name}.__main__") is None:
        return fail(f"{name!r} is a package without a __main__ module")
    # runpy puts the module's file in the first place.
    sys.argv = [name, *arguments]
    install()
    runpy.run_module(name, run_name="__main__", alter_sys=True)
    return 0


def run_script(path: str, arguments: list[str]) -> int:
    if not os.path.exists(path):
        return fail(f"no such file: {path}")
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "__main__.py")):
        return fail(f"{path} is a folder without a __main__.py")
    # As `python SCRIPT` does: the folder of the script comes first on the path.
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    sys.argv = [path, *arguments]
    install()
    runpy.run_path(path, run_name="__main__")
    return 0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["-h" | "--help", *_] | ["run", "-h" | "--help", *_]:
            print(USAGE)
            return 0
        case ["run", "-m", name, *rest]:
            return run_module(name, rest)
        case ["run", "-m"]:
            return fail("-m needs the name of a module")
        case ["run", path, *rest] if not path.startswith("-"):
            return run_script(path, rest)
        case ["run", option, *_]:
            return fail(f"unknown option {option}; try --help")
        case ["run"]:
            return fail("run needs a script, or -m and a module; try --help")
        case [unknown, *_]:
            return fail(f"unknown command {unknown!r}; try --help")
    print(USAGE, file=sys.stderr)
    return BAD_USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
