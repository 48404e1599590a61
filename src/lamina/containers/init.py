"""What start-up needs to find in a root filesystem: mount points, and the files bound from outside.

They go in a layer of their own between the image and the writable layer, made once an image, so
that a fresh container has an empty diff and a size of 0B. As Docker's, it also holds `/.dockerenv`,
by which programs tell that they run in a container.

Everything is made beneath the root by the kernel's own resolution: a link in an image leads
nowhere else, and a link that dangles where a folder is needed gives way to a folder.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

FOLDERS = ("dev", "dev/pts", "dev/shm", "etc", "proc", "sys")
FILES = {
    ".dockerenv": 0o755,
    "dev/console": 0o755,
    "etc/hostname": 0o644,
    "etc/hosts": 0o644,
    "etc/resolv.conf": 0o644,
}
LINKS = {"etc/mtab": "/proc/mounts"}


def fill_init_layer(root: Path) -> None:
    """Make whatever of these is missing in the filesystem mounted at `root`."""
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in FOLDERS:
            os.close(_folder(root_fd, path))
        for path, mode in FILES.items():
            _file(root_fd, path, mode)
        for path, target in LINKS.items():
            _link(root_fd, path, target)
    finally:
        os.close(root_fd)


def _folder(root_fd: int, path: str) -> int:
    """A descriptor of this folder, made where it is missing, beneath the root in every case."""
    from lamina.linux.syscalls import openat2

    try:
        return openat2(root_fd, path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
    parent, _, name = path.rpartition("/")
    parent_fd = _folder(root_fd, parent) if parent else os.dup(root_fd)
    try:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent_fd)  # a dangling link, or a file in the place
        os.mkdir(name, 0o755, dir_fd=parent_fd)
        os.chmod(name, 0o755, dir_fd=parent_fd)
        return os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd
        )
    finally:
        os.close(parent_fd)


def _file(root_fd: int, path: str, mode: int) -> None:
    parent, _, name = path.rpartition("/")
    parent_fd = _folder(root_fd, parent) if parent else os.dup(root_fd)
    try:
        found = _mode(parent_fd, name)
        if found is not None and not stat.S_ISLNK(found):
            return
        if found is not None:
            # The runtime would make the link's target in the writable layer.
            os.unlink(name, dir_fd=parent_fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(name, flags, mode, dir_fd=parent_fd)
        os.fchmod(descriptor, mode)
        os.close(descriptor)
    finally:
        os.close(parent_fd)


def _link(root_fd: int, path: str, target: str) -> None:
    parent, _, name = path.rpartition("/")
    parent_fd = _folder(root_fd, parent)
    try:
        if _mode(parent_fd, name) is None:
            os.symlink(target, name, dir_fd=parent_fd)
    finally:
        os.close(parent_fd)


def _mode(parent_fd: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
