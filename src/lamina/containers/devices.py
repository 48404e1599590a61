"""The device files of this host, for containers that may use all of them."""

from __future__ import annotations

import os
import stat

from lamina.containers.spec import DeviceNode

# Terminals, shared memory and queues are the container's own; the rest of the default devices
# the runtime makes.
_OWN = frozenset(
    (
        *("pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "console", "ptmx"),
        *("null", "zero", "full", "random", "urandom", "tty"),
    )
)


def host_devices(folder: str = "/dev") -> tuple[DeviceNode, ...]:
    """Every block and character device below this folder."""
    return tuple(_found(folder, folder))


def _found(folder: str, top: str) -> list[DeviceNode]:
    nodes: list[DeviceNode] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if folder == top and entry.name in _OWN:
                continue
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                nodes.extend(_found(entry.path, top))
            elif stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
                nodes.append(
                    DeviceNode(
                        path="/dev" + entry.path.removeprefix(top),
                        kind="b" if stat.S_ISBLK(status.st_mode) else "c",
                        major=os.major(status.st_rdev),
                        minor=os.minor(status.st_rdev),
                        mode=stat.S_IMODE(status.st_mode),
                        uid=status.st_uid,
                        gid=status.st_gid,
                    )
                )
    return nodes
