"""The tar of a layer out of what changed (see `changes`). The same tree gives the same bytes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from typing import BinaryIO

from lamina.errors import Conflict, InvalidInput
from lamina.tar.changes import (
    NEVER,
    Change,
    all_as_added,
    overlay_changes,
    root_changed,
    tree_changes,
    xattrs_at,
)
from lamina.tar.entry import Entry, Kind
from lamina.tar.lower import Lower
from lamina.tar.write import TarWriter

__all__ = [
    "Change",
    "overlay_changes",
    "tree_changes",
    "write_changes",
    "write_overlay_diff",
    "write_tree",
    "write_tree_diff",
]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}


def write_changes(
    root_fd: int,
    changes: Iterable[Change],
    out: BinaryIO,
    *,
    marks: bool = False,
    with_root: bool = False,
) -> None:
    """Write the layer that these changes to the tree at `root_fd` make.

    `marks`: the tree is an overlay's upper folder. `with_root`: the root folder itself changed.
    """
    writer = TarWriter(out)
    if with_root:
        writer.add(_entry(root_fd, b".", b"./", os.fstat(root_fd), marks=marks))
    seen: dict[tuple[int, int], bytes] = {}
    tree = _OpenPath(root_fd)
    try:
        for change in changes:
            path = change.path.lstrip(b"/")
            above, _, name = path.rpartition(b"/")
            if name.startswith(b".wh."):
                raise InvalidInput(
                    f"{os.fsdecode(path)!r} cannot be in a layer: names with .wh. mark deletions"
                )
            if change.kind == "D":
                marked = above + b"/.wh." + name if above else b".wh." + name
                writer.add(Entry(marked, Kind.FILE, 0))
                continue
            fd = tree.folder(above)
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            _add(writer, fd, name, path, found, seen, marks=marks)
            if change.opaque:
                writer.add(Entry(path + b"/.wh..wh..opq", Kind.FILE, 0))
    finally:
        tree.close()
    writer.close()


def write_overlay_diff(upper_fd: int, out: BinaryIO, lower: Lower | None = None) -> None:
    """Write the layer tar of an overlay's upper folder."""
    changed = lower is not None and root_changed(upper_fd, lower, marks=True)
    write_changes(upper_fd, overlay_changes(upper_fd, lower), out, marks=True, with_root=changed)


def write_tree_diff(
    lower_fd: int, upper_fd: int, out: BinaryIO, *, copied_ns: tuple[int, int] = NEVER
) -> None:
    """Write the layer tar of what makes the upper tree differ from the lower one."""
    from lamina.tar.lower import TreeBelow

    changes = tree_changes(lower_fd, upper_fd, copied_ns=copied_ns)
    changed = root_changed(upper_fd, TreeBelow(lower_fd), marks=False)
    write_changes(upper_fd, changes, out, with_root=changed)


def write_tree(root_fd: int, out: BinaryIO) -> None:
    """Write a whole tree, its root first, as the layer of an image that has no parent."""
    write_changes(root_fd, all_as_added(root_fd), out, with_root=True)


class _OpenPath:
    """The folders on the way to the latest path, each opened in the one before."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._names: list[bytes] = []
        self._fds: list[int] = []

    def folder(self, path: bytes) -> int:
        """An open folder at this path below the root; no link is followed."""
        names = path.split(b"/") if path else []
        same = 0
        while same < min(len(names), len(self._names)) and names[same] == self._names[same]:
            same += 1
        self._shorten(same)
        for name in names[same:]:
            above = self._fds[-1] if self._fds else self._root_fd
            self._fds.append(os.open(name, _FOLDER, dir_fd=above))
            self._names.append(name)
        return self._fds[-1] if self._fds else self._root_fd

    def _shorten(self, length: int) -> None:
        while len(self._fds) > length:
            os.close(self._fds.pop())
            self._names.pop()

    def close(self) -> None:
        """Close them all."""
        self._shorten(0)


def _entry(dir_fd: int, name: bytes, path: bytes, found: os.stat_result, *, marks: bool) -> Entry:
    kind = _KINDS[stat.S_IFMT(found.st_mode)]
    device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
    return Entry(
        path,
        kind,
        stat.S_IMODE(found.st_mode),
        found.st_uid,
        found.st_gid,
        found.st_size if kind is Kind.FILE else 0,
        found.st_mtime_ns,
        os.readlink(name, dir_fd=dir_fd) if kind is Kind.SYMLINK else b"",
        os.major(found.st_rdev) if device else 0,
        os.minor(found.st_rdev) if device else 0,
        xattrs_at(dir_fd, name, marks=marks),
    )


def _add(
    writer: TarWriter,
    dir_fd: int,
    name: bytes,
    path: bytes,
    found: os.stat_result,
    seen: dict[tuple[int, int], bytes],
    *,
    marks: bool,
) -> None:
    entry = _entry(dir_fd, name, path, found, marks=marks)
    if found.st_nlink > 1 and entry.kind is not Kind.FOLDER:
        first = seen.setdefault((found.st_dev, found.st_ino), path)
        if first is not path:
            entry.kind, entry.link, entry.size, entry.xattrs = Kind.HARD_LINK, first, 0, {}
            entry.major = entry.minor = 0
            writer.add(entry)
            return
    if entry.kind is not Kind.FILE or not entry.size:
        writer.add(entry)
        return
    try:
        fd = os.open(name, _FILE, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise Conflict(f"{os.fsdecode(path)!r} vanished while the layer was written") from error
        raise
    with open(fd, "rb", buffering=0) as file:
        writer.add(entry, file)
