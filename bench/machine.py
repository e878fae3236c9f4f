"""The command, the machine and the versions: without them no figure means anything. Measures nothing."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTIONS = (
    *("httpcore-hyper", "httpx", "httpcore", "httpx2", "httpcore2", "httpx-aiohttp", "aiohttp", "pyreqwest"),
    *("pycurl", "urllib3", "requests", "curl_cffi", "niquests", "uvloop", "trio"),
)


def installed(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} missing"


def processor() -> str:
    with suppress(OSError, StopIteration), open("/proc/cpuinfo") as file:
        return next(line.partition(":")[2].strip() for line in file if line.startswith("model name")) + ", "
    return ""


def memory() -> str:
    with suppress(OSError, StopIteration), open("/proc/meminfo") as file:
        total = next(int(line.split()[1]) for line in file if line.startswith("MemTotal"))
        return f", {total / 1024 / 1024:.0f} GiB"
    return ""


def words(session: str) -> str:
    """`session` is nox's name for what runs."""
    command = shlex.join(["nox", "-s", session, *(["--", *sys.argv[1:]] if sys.argv[1:] else [])])
    system = f"{platform.system()} {platform.release()}, {processor()}{os.cpu_count()} cores{memory()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"From `{command}`. {system}; {python}; {', '.join(map(installed, DISTRIBUTIONS))}."
