"""Locks that the kernel drops when their owner dies.

All are flock(2) locks on an open file description: released by death, `close` or exec (the
descriptors are close-on-exec), never left behind. A folder can be locked as well as a file.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType


class Lock:
    """An exclusive lock held on a file or folder until `release`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the lock go; harmless when it is gone already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def names(self, path: Path) -> bool:
        """Whether `path` still leads to what is locked."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(path))
        except FileNotFoundError:
            return False

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def lock(path: Path) -> Lock:
    """Wait for the lock on an existing file or folder, and take it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except BaseException:
        os.close(descriptor)
        raise
    return Lock(descriptor)


def try_lock(path: Path) -> Lock | None:
    """Take the lock if nobody holds it; None if somebody does, or if `path` is gone.

    Who removes a locked thing holds its lock. So a lock got on something that was removed
    meanwhile is told from a good one by looking whether `path` still leads to it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held, named = os.fstat(descriptor), os.lstat(path)
        if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino):
            return Lock(descriptor)
    except OSError:
        pass
    os.close(descriptor)
    return None


def try_lock_folder(path: Path) -> Lock | None:
    """`try_lock` of a folder, which is made if it is missing; others may remove it meanwhile."""
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    return try_lock(path)
