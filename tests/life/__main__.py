"""Runs each program of the lab many times on this Python, and prints what came of it.

python tests/life [--runs 200] [--jobs 2] [NAME ...]
"""

from __future__ import annotations

import argparse
import functools
import platform
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import lab
from programs import PROGRAMS

KINDS = ("crash", "hang", "noise", "late")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/life")
    parser.add_argument("--runs", type=int, default=200, help="of each program")
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time")
    parser.add_argument("names", nargs="*", help=f"programs: {', '.join(PROGRAMS)}")
    arguments = parser.parse_args()
    names = arguments.names or list(PROGRAMS)
    began = time.monotonic()
    total: Counter[str] = Counter()
    longest = 0.0
    print(f"CPython {platform.python_version()}, {arguments.runs} runs of each program")
    print(f"{'':28}{'runs':>6}" + "".join(f"{kind:>7}" for kind in KINDS) + f"{'longest end':>14}")
    with ThreadPoolExecutor(arguments.jobs) as threads:
        for name in names:
            with lab.place() as place:
                run = functools.partial(lab.run, name, place)
                outcomes = list(threads.map(lambda _, run=run: run(), range(arguments.runs)))
            wrong = [outcome.wrong for outcome in outcomes if outcome.wrong is not None]
            counts = Counter(one.partition(":")[0] for one in wrong)
            late = max(outcome.leaving for outcome in outcomes)
            row = "".join(f"{counts[kind]:>7}" for kind in KINDS)
            print(f"{name:28}{len(outcomes):>6}{row}{late:>12.3f} s", flush=True)
            for one in wrong[:3]:
                print("    " + one.replace("\n", "\n    "))
            total += counts
            longest = max(longest, late)
    row = "".join(f"{total[kind]:>7}" for kind in KINDS)
    print(f"{'all':28}{arguments.runs * len(names):>6}{row}{longest:>12.3f} s")
    if not arguments.names:
        environment = lab.environment_of_programs()
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name("latency.py"))], env=environment, check=True
        )
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
