"""Room kept back, so that a full disk can be emptied by the engine that filled it.

    reserve     2 MiB that nobody else can have         0600

Even to delete, rows are written, and to open the database SQLite maps a new file into memory: where
the disk cannot give its pages, the kernel ends the process (SIGBUS). So whoever opens a root makes
sure first that there is room for that, and on a full disk gives the reserve up for it; whoever
fills the disk gives it up to undo what it did. What would grow the root is refused from then on.
The reserve is taken back when that root is closed, or by any opener that finds it short and room.

No lock: to give it up or to take it twice is as good as once.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lamina.errors import OutOfSpace
from lamina.store.failures import FULL

RESERVE_NAME = "reserve"
RESERVE_BYTES = 2 << 20
_ROOM_BYTES = 512 << 10
_AMPLE_BYTES = 4 * RESERVE_BYTES
_PLENTY_BYTES = 64 << 20


class Reserve:
    """The reserve of the root in this folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._path = f"{folder}/{RESERVE_NAME}"
        self._given_up = False
        self._wanting = False

    def make_room(self) -> None:
        """Make sure that the database can be opened and rows deleted; OutOfSpace if not."""
        said_bytes = self._said_bytes()
        if said_bytes >= _AMPLE_BYTES:
            self._take()
        else:
            self._wanting = not self._is_whole()
        if said_bytes >= _PLENTY_BYTES or has_room(self._folder, _ROOM_BYTES):
            return
        self.give_up()
        if not has_room(self._folder, _ROOM_BYTES):
            raise self._full()

    def give_up(self) -> None:
        """Let the disk have it, for what leads to more room."""
        self._given_up = True
        with suppress(FileNotFoundError):
            os.truncate(self._path, 0)

    def require(self) -> None:
        """OutOfSpace while it is given up: what is about to grow the root must not use it up."""
        if self._given_up:
            if self._said_bytes() < _AMPLE_BYTES:
                raise self._full()
            self.take_back()

    def take_back(self) -> None:
        """Take again what was given up, or is wanting, as far as the disk lets us."""
        if self._given_up or self._wanting:
            self._given_up = self._wanting = False
            if not self._take():  # ext4 gives out again what was freed once its journal has it
                self._flush()
                self._take()

    def _said_bytes(self) -> int:
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def _full(self) -> OutOfSpace:
        return OutOfSpace(
            f"no space left on device: {self._folder}",
            remedy="remove images or containers, or other files there, then try again",
        )

    def _take(self) -> bool:
        """Have the blocks; False if the disk is full. Nothing here is worth failing for."""
        if self._is_whole():
            return True
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            return error.errno not in FULL
        return True

    def _is_whole(self) -> bool:
        try:
            return os.stat(self._path).st_blocks * 512 >= RESERVE_BYTES
        except FileNotFoundError:
            return False

    def _flush(self) -> None:
        from lamina.linux.syscalls import syncfs

        with suppress(OSError):
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                syncfs(descriptor)
            finally:
                os.close(descriptor)


def has_room(folder: str, size_bytes: int) -> bool:
    """Whether so many bytes can be written here.

    Tried, not asked: some filesystems count as free what they give to nobody.
    """
    try:
        descriptor = os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        try:
            return os.write(descriptor, bytes(size_bytes)) == size_bytes
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.errno not in FULL
