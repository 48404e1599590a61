"""A snapshot's mount point, and who needs it: true among processes, and only while mounted.

    <record>/           flock(2) on it: alone to mount, unmount, commit or remove the snapshot
    <record>/holders    one holder's name a line

Whether it is mounted is asked of the kernel, never remembered. A mount does not outlive the kernel
that made it, a file does: where the kernel has no mount, nothing that `holders` says is believed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lamina.errors import InvalidInput, NotFound
from lamina.linux import mounts as kernel

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class MountPoint:
    """The place `target` of the snapshot `id`, kept account of in the folder `record`."""

    def __init__(self, id: str, record: str, target: str) -> None:
        self._id = id
        self._record = record
        self._target = target

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the snapshot; NotFound if it is not there, or goes while we wait."""
        try:
            fd = os.open(self._record, _FOLDER)
        except FileNotFoundError:
            raise NotFound(f"no such snapshot: {self._id}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.fstat(fd), os.lstat(self._record))
            except FileNotFoundError:
                same = False
            if not same:
                raise NotFound(f"no such snapshot: {self._id}")
            yield
        finally:
            os.close(fd)

    def is_mounted(self) -> bool:
        """What the kernel says."""
        return kernel.mounted(self._target)

    def hold(self, holder: str, attach: Callable[[], None]) -> None:
        """Mount by `attach` unless it is mounted, and note the holder. Call while locked."""
        if not holder or "\n" in holder or len(holder) > 255:
            raise InvalidInput(f"invalid name of a mount's holder: {holder[:100]!r}")
        if self.is_mounted():
            holders = self._read()
        else:
            holders = []
            attach()
        if holder not in holders:
            self._write([*holders, holder])

    def release(self, holder: str) -> None:
        """Strike out the holder; the last one unmounts. Call while locked."""
        if not self.is_mounted():
            self.forget()
            return
        holders = self._read()
        remaining = [name for name in holders if name != holder]
        if remaining != holders:
            self._write(remaining)
        if not remaining:
            # Lazily: another mount namespace, or a program that still stands in it, must not
            # keep it here.
            kernel.unmount(self._target, lazy=True)

    def forget(self) -> None:
        """Strike out all holders."""
        self._write([])

    def _read(self) -> list[str]:
        try:
            with open(f"{self._record}/holders", encoding="utf-8") as file:
                return file.read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def _write(self, holders: list[str]) -> None:
        path = f"{self._record}/holders"
        if not holders:
            try:
                os.unlink(path)
            except FileNotFoundError:
                return
            return
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, "".join(f"{holder}\n" for holder in holders).encode())
        finally:
            os.close(fd)
