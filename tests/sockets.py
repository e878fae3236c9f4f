"""Which sockets this process holds, read from the kernel. Nothing else."""

from __future__ import annotations

import os


def held_towards(port: int) -> int:
    """The client's sockets: open descriptors of this process whose peer is `port` on IPv4."""
    inodes = set()
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            fields = line.split()
            if int(fields[2].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return sum(target in inodes for target in descriptors())


def descriptors() -> list[str]:
    """What each open descriptor of this process refers to."""
    targets = []
    for number in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue  # closed since it was listed, as is the listing's own
    return targets
