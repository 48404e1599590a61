"""How much a tree holds: as `docker ps --size` counts it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lamina.drivers.contract import Usage

if TYPE_CHECKING:
    from lamina.tar.diff import Change

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LONG = 2048


def tree_usage(path: str) -> Usage:
    """Bytes of the regular files below a folder, and its inodes; hard links count once.

    However deep the tree is, and while a container changes it: what goes meanwhile is passed over.
    """
    count = _Count()
    folders = [_Folder(None, path)]
    while folders:
        folder = folders.pop()
        try:
            entries = folder.entries()
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(folder.child(entry.name))
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


class _Descriptor:
    """A folder that is open as long as somebody walks from it."""

    number = -1

    def __init__(self, path: str, base: _Descriptor | None) -> None:
        self.number = os.open(path, _FOLDER, dir_fd=None if base is None else base.number)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


class _Folder:
    """A folder to walk: a path below an open one, short enough for the kernel at any depth."""

    def __init__(self, base: _Descriptor | None, path: str) -> None:
        self._base = base
        self._path = path
        self._own: _Descriptor | None = None

    def entries(self) -> list[os.DirEntry[str]]:
        """What is in it; the entries can be asked for their status until the next call."""
        self._own = _Descriptor(self._path, self._base)
        with os.scandir(self._own.number) as entries:
            return list(entries)

    def child(self, name: str) -> _Folder:
        """A folder in this one."""
        if len(self._path) < _LONG:
            return _Folder(self._base, f"{self._path}/{name}")
        return _Folder(self._own, name)


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
