"""Which sockets this process holds, read from the kernel. Nothing else."""

from __future__ import annotations

import os
import socket


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


def connected_to(port: int) -> socket.socket:
    """A second handle on this process's socket whose peer is `port`, for `getsockopt`."""
    for number in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                continue
            sock = socket.socket(fileno=os.dup(int(number)))
        except OSError:
            continue  # closed since it was listed
        try:
            if sock.getpeername()[1] == port:
                return sock
        except (OSError, IndexError):
            pass  # not connected, or no TCP
        sock.close()
    raise AssertionError(f"no socket of this process is connected to port {port}")
