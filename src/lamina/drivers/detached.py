"""Mounts that have no place: reached by a descriptor alone, gone when it is closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamina.linux import syscalls


def open_empty() -> int:
    """An empty read-only folder."""
    fs_fd = syscalls.fsopen("tmpfs")
    try:
        syscalls.fsconfig(fs_fd, syscalls.FSCONFIG_SET_STRING, "mode", "0755")
        syscalls.fsconfig(fs_fd, syscalls.FSCONFIG_CMD_CREATE, None, None)
        return syscalls.fsmount(fs_fd, syscalls.MOUNT_ATTR_RDONLY)
    finally:
        os.close(fs_fd)


def open_read_only(path: str) -> int:
    """This folder, read-only."""
    fd = syscalls.open_tree(path)
    try:
        syscalls.mount_setattr(fd, b"", set_attributes=syscalls.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def shown(fd: int) -> Iterator[Path]:
    """The path of such a mount, good for any process while the block runs; then it is closed."""
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{fd}")
    finally:
        os.close(fd)
