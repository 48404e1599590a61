"""Places in a root filesystem that a RUN's mounts need, and that its layer must not show.

Drivers whose layers stand alone get a *scaffold*: one layer below the whole chain that holds the
places, and shows only where the image has nothing of its own. Where that is not possible, or the
image hides it, what is missing is made before the command and taken away after it.
"""

from __future__ import annotations

import os
import posixpath
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lamina.build.tree import resolve

FOLDERS = ("proc", "sys", "dev")
FILES = ("etc/resolv.conf", "etc/hosts")


def fill_scaffold(root: Path) -> None:
    """Make every place in an empty filesystem; the same bytes each time."""
    for folder in (*FOLDERS, "etc"):
        os.mkdir(root / folder, 0o755)
        os.chmod(root / folder, 0o755)
    for file in FILES:
        with open(root / file, "xb") as opened:
            os.fchmod(opened.fileno(), 0o644)
    for path in (*FILES, *FOLDERS, "etc", "."):
        os.utime(root / path, ns=(0, 0))


class MissingPlaces:
    """Makes the places that are missing, and removes them again; a context manager."""

    def __init__(self, root: Path) -> None:
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._made: list[tuple[str, bool]] = []
        self._parents: dict[str, tuple[os.stat_result, os.stat_result]] = {}

    def __enter__(self) -> Self:
        for path in FOLDERS:
            self._make(resolve(self._root_fd, path), folder=True)
        for path in FILES:
            self._make(resolve(self._root_fd, path), folder=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for path, folder in reversed(self._made):
                self._take_away(path, folder)
        finally:
            os.close(self._root_fd)

    def _make(self, path: str, *, folder: bool) -> None:
        if not path or self._status(path) is not None:
            return
        parent = posixpath.dirname(path)
        self._make(parent, folder=True)
        before = self._status(parent)
        if before is None or not stat.S_ISDIR(before.st_mode):
            return  # the image has something else there; the runtime will say so
        if folder:
            os.mkdir(path, 0o755, dir_fd=self._root_fd)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(path, flags, 0o644, dir_fd=self._root_fd))
        after = self._status(parent)
        assert after is not None
        first = self._parents.get(parent, (before, after))[0]
        self._parents[parent] = (first, after)
        self._made.append((path, folder))

    def _take_away(self, path: str, folder: bool) -> None:
        parent = posixpath.dirname(path)
        now = self._status(parent)
        status = self._status(path)
        if now is None or status is None:
            return
        with suppress(OSError):  # not empty: the command used it, so it is the layer's
            if folder:
                os.rmdir(path, dir_fd=self._root_fd)
            elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
                os.unlink(path, dir_fd=self._root_fd)
        before, after = self._parents[parent]
        # Whoever looks sees the folder as the command left it: untouched, or touched then.
        touched = now.st_mtime_ns not in (after.st_mtime_ns, before.st_mtime_ns)
        times = now if touched else before
        os.utime(parent or ".", ns=(times.st_atime_ns, times.st_mtime_ns), dir_fd=self._root_fd)

    def _status(self, path: str) -> os.stat_result | None:
        try:
            return os.stat(path or ".", dir_fd=self._root_fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
