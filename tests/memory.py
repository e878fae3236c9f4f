"""How much memory this process has, read from the kernel. Nothing else."""

from __future__ import annotations

import os


def resident() -> int:
    """Bytes of it that are in memory now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Growth:
    """What was taken at most since this was made, whether or not it was given back meanwhile."""

    def __init__(self) -> None:
        # The kernel forgets the peak: proc(5), `clear_refs`.
        with open("/proc/self/clear_refs", "w", encoding="ascii") as forget:
            forget.write("5")
        self._before = _peak()

    def most(self) -> int:
        return _peak() - self._before


def _peak() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
