"""Writes `httpcore_hyper/_sync` from `httpcore_hyper/_async`, by renaming alone.

    python scripts/sync.py            writes the files
    python scripts/sync.py --check    fails if they are not what would be written

A rule that nothing uses fails as well: the list below stays as short as it can be.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "httpcore_hyper"
HEADING = "# Generated from {source} by scripts/sync.py. Not edited by hand.\n"

# Applied in this order. Each begins at the start of a word.
RULES = {
    r"async (?=def|for|with)": "",
    r"await ": "",
    r"__a(?=iter__|next__)": "__",
    r"StopAsyncIteration\b": "StopIteration",
    r"aclose\b": "close",
    r"aread\b": "read",
    r"aiter_(?=bytes|raw)": "iter_",
    r"asynccontextmanager\b": "contextmanager",
    r"handle_async_request\b": "handle_request",
    # httpx has a name for both doors, and one for each.
    r"(Bound|)Async(?=(?:Byte)?Stream\b)": r"\1Sync",
    r"(_?)Async(?=[A-Z])": r"\1",
}
PATTERNS = [(re.compile(rf"(?<!\w){rule}"), new) for rule, new in RULES.items()]


def main() -> int:
    check = "--check" in sys.argv[1:]
    used = [0] * len(PATTERNS)
    wrong = []
    sources = sorted((PACKAGE / "_async").glob("*.py"))
    for source in sources:
        text = source.read_text()
        for index, (pattern, new) in enumerate(PATTERNS):
            text, count = pattern.subn(new, text)
            used[index] += count
        text = HEADING.format(source=f"_async/{source.name}") + text
        target = PACKAGE / "_sync" / source.name
        if target.exists() and target.read_text() == text:
            continue
        if check:
            wrong.append(f"{target.name} is not what _async/{source.name} gives: run `nox -s sync`")
        else:
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
    names = {source.name for source in sources}
    for stray in (PACKAGE / "_sync").glob("*.py"):
        if stray.name not in names:
            wrong.append(f"_sync/{stray.name} has no source in _async")
    for (pattern, _), count in zip(PATTERNS, used, strict=True):
        if not count:
            wrong.append(f"the rule {pattern.pattern!r} is used by nothing: remove it")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
