"""`python -m bench.instructions`: instructions per request, counted by valgrind. No clock is read here.

The count of a variant hardly changes from run to run, whatever else the machine does, so that it shows what a
change to the code costs or saves. It says nothing of the kernel, of waiting, nor of caches.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import ROOT
from .servers import SMALL_BODY, Nginx, ServerMissing
from .variants import BY_NAME, ROWS, Row, Variant
from .worker import check_length

ROW_NAMES = (
    *("GET, pool, asyncio, c=1", "GET, pool, asyncio, c=64", "GET, pool, sync, 1 threads"),
    *("GET, under httpx, asyncio, c=1", "GET, under httpx, asyncio, c=64"),
    "GET, under httpx, sync, 1 threads",
)
# The difference of two runs is what these many requests cost, without the start and the end of the process.
FEW, MANY = 320, 1280


async def send_async(row: Row, variant: Variant, url: str, count: int) -> None:
    import anyio

    from . import async_clients

    left = count
    async with async_clients.make(row, variant, "") as client:

        async def loop() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                check_length(await client.get(url), SMALL_BODY)

        async with anyio.create_task_group() as group:
            for _ in range(1 if variant.canned else row.concurrency):
                group.start_soon(loop)


def send_sync(row: Row, variant: Variant, url: str, count: int) -> None:
    from . import sync_clients

    with sync_clients.make(row, variant, "") as client:
        for _ in range(count):
            check_length(client.get(url), SMALL_BODY)


def send(row: Row, variant: Variant, url: str, count: int) -> None:
    if row.door == "sync":
        send_sync(row, variant, url, count)
    else:
        import asyncio

        asyncio.run(send_async(row, variant, url, count))


class NotCounted(Exception):
    """The process did not run to its end. The message is its last line."""


def counted(row: Row, variant: Variant, url: str, count: int, profile: Path) -> int:
    """The instructions of a process that sends so many requests."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", sys.executable]
    command += ["-m", "bench.instructions", "--send", variant.name, row.name, url, str(count)]
    # Hashes that differ from run to run would make dictionaries differ, and with them the count.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", ran.stderr)
    if ran.returncode != 0 or found is None:
        raise NotCounted(ran.stderr.strip().rpartition("\n")[2][:100])
    return int(found[1])


def measure(row: Row, variant: Variant, url: str, keep: Path | None) -> float:
    with tempfile.TemporaryDirectory() as folder:
        few = counted(row, variant, url, FEW, Path(folder) / "few")
        profile = Path(folder) / "many" if keep is None else keep / f"callgrind.{row.name}.{variant.name}"
        many = counted(row, variant, url, MANY, profile)
    return (many - few) / (MANY - FEW)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions")
    parser.add_argument("--rows", metavar="PATTERN", default="", help="only rows whose name contains PATTERN")
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="only variants with PATTERN in the name"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="callgrind's profiles, to look into")
    parser.add_argument("--send", nargs=4, help=argparse.SUPPRESS)  # the measured process
    chosen = parser.parse_args()
    if chosen.send:
        name, row_name, url, count = chosen.send
        row = next(row for row in ROWS if row.name == row_name)
        send(row, BY_NAME[name], url, int(count))
        return 0
    if shutil.which("valgrind") is None:
        print("cannot count: valgrind is not installed; on Debian: apt-get install valgrind", file=sys.stderr)
        return 2
    rows = [row for row in ROWS if row.name in ROW_NAMES and chosen.rows.lower() in row.name.lower()]
    try:
        with Nginx() as nginx:
            for row in rows:
                print(f"{row.name}: instructions per request")
                for variant in row.variants():
                    if chosen.only.lower() not in variant.name.lower():
                        continue
                    try:
                        figure = f"{measure(row, variant, nginx.url + '/small', chosen.keep):>12,.0f}"
                    except NotCounted as error:
                        figure = f"not counted: {error}"
                    print(f"  {variant.name:28} {figure}", flush=True)
    except ServerMissing as error:
        print(f"cannot count: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
