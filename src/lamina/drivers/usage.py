"""How much a tree holds: as `docker ps --size` counts it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lamina.drivers.contract import Usage

if TYPE_CHECKING:
    from lamina.tar.diff import Change


def tree_usage(path: str) -> Usage:
    """Bytes of the regular files below a folder, and its inodes; hard links count once."""
    count = _Count()
    folders = [path]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    folders.append(entry.path)
                count.add(status)
    return Usage(count.size_bytes, count.inodes)


def changed_usage(path: str, changes: Iterable[Change]) -> Usage:
    """The same of what was added to or changed in a tree."""
    count = _Count()
    root = os.fsencode(path)
    for change in changes:
        if change.kind != "D":
            count.add(os.lstat(root + change.path))
    return Usage(count.size_bytes, count.inodes)


class _Count:
    def __init__(self) -> None:
        self.size_bytes = self.inodes = 0
        self._linked: set[tuple[int, int]] = set()

    def add(self, status: os.stat_result) -> None:
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
            inode = (status.st_dev, status.st_ino)
            if inode in self._linked:
                return
            self._linked.add(inode)
        self.inodes += 1
        if stat.S_ISREG(status.st_mode):
            self.size_bytes += status.st_size
