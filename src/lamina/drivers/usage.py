"""How much a tree holds: as `docker ps --size` counts it."""

from __future__ import annotations

import os
import stat

from lamina.drivers.contract import Usage


def tree_usage(path: str) -> Usage:
    """Bytes of the regular files below a folder, and its inodes; hard links count once."""
    size_bytes = inodes = 0
    linked: set[int] = set()
    folders = [path]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    folders.append(entry.path)
                elif status.st_nlink > 1:
                    if status.st_ino in linked:
                        continue
                    linked.add(status.st_ino)
                inodes += 1
                if stat.S_ISREG(status.st_mode):
                    size_bytes += status.st_size
    return Usage(size_bytes, inodes)
