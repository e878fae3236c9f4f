"""`python -m httpcore_hyper run ...`: a program, unchanged, with `install()` before its first line.

What the program sees of its interpreter (`__main__`, `sys.argv`, `sys.path`, its exit) is what `python`
itself would have shown it. How requests are served is none of this file's business.
"""

from __future__ import annotations

import builtins
import os
import sys
from importlib.machinery import ModuleSpec, SourcelessFileLoader
from importlib.util import find_spec
from pkgutil import get_importer
from types import CodeType, ModuleType, TracebackType

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
    first_on_path(os.getcwd())
    sys.argv = ["-m", *arguments]
    # Before the module is looked for: that imports the packages around it.
    install()
    try:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = find_spec(f"{name}.__main__")
            if spec is None:
                return fail(f"{name!r} is a package without a __main__ module")
    except (ImportError, ValueError) as error:
        return fail(f"cannot find {name!r}: {error}")
    if spec is None:
        return fail(f"no module named {name!r}")
    get_code = getattr(spec.loader, "get_code", None)
    code = None if get_code is None else get_code(spec.name)
    if code is None:
        return fail(f"{name!r} has no Python code to run")
    sys.argv[0] = str(spec.origin)
    run(code, str(spec.origin), spec)
    return 0


def run_script(path: str, arguments: list[str]) -> int:
    if not os.path.exists(path):
        return fail(f"no such file: {path}")
    sys.argv = [path, *arguments]
    # As `python SCRIPT` does: `sys.argv` has the path as it was given, all else has the whole path.
    path = os.path.abspath(path)
    importer = get_importer(path)
    if importer is not None:
        # A folder or an archive: the program is the `__main__` in it, and it comes first on the path.
        spec = importer.find_spec("__main__")
        if spec is None or spec.loader is None:
            return fail(f"{sys.argv[0]} is a folder or an archive without a __main__.py")
        first_on_path(path, always=True)
        install()
        run(spec.loader.get_code("__main__"), str(spec.origin), spec)  # type: ignore[attr-defined]
        return 0
    # As `python SCRIPT` does: the folder of the script, links followed, comes first on the path.
    first_on_path(os.path.dirname(os.path.realpath(path)))
    if path.endswith(".pyc"):
        code = SourcelessFileLoader("__main__", path).get_code("__main__")
    else:
        with open(path, "rb") as file:
            source = file.read()
        code = compile(source, path, "exec", dont_inherit=True)
    install()
    run(code, path, None)
    return 0


def first_on_path(folder: str, *, always: bool = False) -> None:
    # With -P or -I nothing stands there for the program's sake, so there is nothing to replace.
    safe = getattr(sys.flags, "safe_path", False) or sys.flags.isolated
    if not safe:
        sys.path[0] = folder
    elif always:
        sys.path.insert(0, folder)


def run(code: CodeType | None, path: str, spec: ModuleSpec | None) -> None:
    """Runs the code as `__main__`, which stays in its place for what runs at exit."""
    main = ModuleType("__main__")
    main.__file__ = path
    main.__spec__ = spec
    main.__loader__ = None if spec is None else spec.loader
    main.__package__ = None if spec is None else spec.parent
    main.__dict__["__builtins__"] = builtins
    if spec is not None:
        main.__dict__["__cached__"] = spec.cached
    sys.modules["__main__"] = main
    exec(code or "", main.__dict__)


def without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    """The program's own part of a traceback; all of it if there is no such part."""
    entry = trace
    while entry is not None and entry.tb_frame.f_code.co_filename != __file__:
        entry = entry.tb_next
    while entry is not None and entry.tb_frame.f_code.co_filename == __file__:
        entry = entry.tb_next
    return entry


def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Shows the program's own part of a traceback. A hook that the program sets comes in our place."""
    sys.__excepthook__(kind, error.with_traceback(without_our_frames(trace)), error.__traceback__)


def main(arguments: list[str]) -> int:
    match arguments:
        case ["-h" | "--help", *_] | ["run", "-h" | "--help", *_]:
            print(USAGE)
            return 0
        case ["run", "-m"]:
            return fail("-m needs the name of a module; try --help")
        case ["run", "-m", name, *rest]:
            sys.excepthook = excepthook
            return run_module(name, rest)
        case ["run", path, *rest] if not path.startswith("-"):
            sys.excepthook = excepthook
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
