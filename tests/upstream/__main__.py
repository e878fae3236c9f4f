"""`nox -s upstream`: other people's suites, stock and over our pools, compared test by test.

A test that passes stock and does not pass over `install()` is an error, unless `differences.toml` lists it
with its reason; a listed difference that is none is an error as well. The suites come from the source
distributions on PyPI, as they are; nothing of them is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from compare import Difference, Outcomes, compare, read_differences
from suites import SUITES, Suite

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# A suite takes seconds; one that hangs is ended and counted as it stands.
SUITE_SECONDS = 300


def fetch(suite: Suite, folder: Path) -> Path:
    """The unpacked source distribution."""
    download = [*("-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", suite.distribution)]
    wanted = f"{suite.distribution}=={suite.version}"
    subprocess.run([sys.executable, *download, wanted, "--dest", str(folder)], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()
    (unpacked,) = folder.iterdir()
    return unpacked


def run(suite: Suite, source: Path, *, ours: bool) -> Outcomes:
    """Runs the suite in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "outcomes.json"
        plugins = ["record", *(["alias"] if suite.aliased else []), *(["installed"] if ours else [])]
        command = [*("-m", "pytest", "-q", "-p", "no:cacheprovider"), *suite.arguments]
        for plugin in plugins:
            command += ["-p", f"upstream_{plugin}"]
        environment = {**os.environ, "PYTHONPATH": str(HERE / "plugins"), "UPSTREAM_REPORT": str(report)}
        log = source.parent / ("ours.log" if ours else "stock.log")
        with open(log, "w") as output:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=source, stdout=output, stderr=output, env=environment
            )
            try:
                process.wait(SUITE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if not report.exists():
            raise SystemExit(f"{suite.name} said nothing:\n{log.read_text()[-3000:]}")
        outcomes: Outcomes = json.loads(report.read_text())
        return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s upstream --")
    parser.add_argument("names", nargs="*", help="only these suites: " + ", ".join(s.name for s in SUITES))
    parser.add_argument("--keep", type=Path, help="leave sources and logs in this folder")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - {suite.name for suite in SUITES}
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    listed = read_differences(HERE / "differences.toml")
    failed = False
    for suite in SUITES:
        if chosen.names and suite.name not in chosen.names:
            continue
        if suite.since > sys.version_info[:2]:
            print(f"{suite.name}: needs Python {suite.since[0]}.{suite.since[1]}, left out")
            continue
        failed |= not judge(suite, listed.get(suite.name, []), chosen.keep)
    return int(failed)


def judge(suite: Suite, listed: list[Difference], keep: Path | None) -> bool:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep / suite.name if keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        source = fetch(suite, folder / "source")
        stock, ours = run(suite, source, ours=False), run(suite, source, ours=True)
    verdict = compare(stock, ours, listed)
    print(
        f"{suite.name} {suite.version}: {verdict.passed_stock} of {len(stock)} pass stock, "
        f"{verdict.passed_ours} over ours; {len(verdict.excused)} listed differences, "
        f"{len(verdict.lost)} unlisted; {time.monotonic() - began:.0f} s"
    )
    for node in verdict.lost:
        print(f"  passes stock, not ours: {node}: {ours.get(node, 'did not run')}")
    for node, reason in verdict.excused:
        print(f"  listed: {node}: {reason}")
    for pattern in verdict.unused:
        print(f"  listed in differences.toml, but no difference: {pattern}")
    too_few = verdict.passed_stock < suite.at_least
    if too_few:
        print(
            f"  only {verdict.passed_stock} pass stock, at least {suite.at_least} should: the set-up is broken"
        )
    return not (verdict.lost or verdict.unused or too_few)


if __name__ == "__main__":
    sys.exit(main())
