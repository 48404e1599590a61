"""Copying a whole tree: content by reflink where the filesystem can, and all else as it is.

Kept: type, mode, owner, times to the nanosecond, extended attributes, hard links, holes, device
numbers; sockets and fifos are made anew. The source must be at rest: a committed layer is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from lamina.linux import syscalls
from lamina.tar import xattrs

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CANNOT_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)
_CANNOT_RANGE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS)
_NO_XATTRS = (errno.ENOTSUP, errno.ENODATA)
_CHUNK = 1 << 20
_RANGE = 1 << 30

REFLINK, RANGE, PLAIN = "reflink", "copy_file_range", "read and write"


class TreeCopier:
    """Copies trees; `ways` are those to try for content, best first, found out once."""

    def __init__(self, ways: Sequence[str] = (REFLINK, RANGE, PLAIN)) -> None:
        self._ways = list(ways)
        self._linked: dict[tuple[int, int], bytes] = {}

    def copy(self, source: str, target: str) -> None:
        """Copy a folder onto an existing empty one."""
        top, top_copy = os.fsencode(source), os.fsencode(target)
        # Folders get their own metadata last, deepest first: children disturb their times.
        folders = [(top, top_copy)]
        for folder, copy in folders:  # grows while it is walked
            folders += self._copy_children(folder, copy)
        for folder, copy in reversed(folders):
            status = os.lstat(folder)
            _copy_metadata(folder, copy, status)

    def _copy_children(self, folder: bytes, copy: bytes) -> list[tuple[bytes, bytes]]:
        """Copy what lies in one folder; its folders are made, and returned to be filled."""
        below = []
        target_fd = os.open(copy, _FOLDER)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        os.mkdir(entry.name, 0o700, dir_fd=target_fd)
                        below.append((entry.path, b"%s/%s" % (copy, entry.name)))
                    else:
                        self._copy_file(entry.path, copy, entry.name, target_fd, status)
        finally:
            os.close(target_fd)
        return below

    def _copy_file(
        self, source: bytes, folder: bytes, name: bytes, target_fd: int, status: os.stat_result
    ) -> None:
        if status.st_nlink > 1:
            inode = (status.st_dev, status.st_ino)
            first = self._linked.get(inode)
            if first is not None:
                os.link(first, name, dst_dir_fd=target_fd, follow_symlinks=False)
                return
            self._linked[inode] = b"%s/%s" % (folder, name)
        if stat.S_ISREG(status.st_mode):
            self._copy_regular(source, name, target_fd, status)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), name, dir_fd=target_fd)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target_fd)
        _copy_metadata(source, b"%s/%s" % (folder, name), status)

    def _copy_regular(
        self, source: bytes, name: bytes, target_fd: int, status: os.stat_result
    ) -> None:
        source_fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=target_fd)
            try:
                if status.st_size:
                    self._copy_content(source_fd, fd, status)
                # The owner first: chown(2) clears set-id bits and capabilities.
                os.fchown(fd, status.st_uid, status.st_gid)
                os.fchmod(fd, stat.S_IMODE(status.st_mode))
                for attribute, value in _xattrs(source_fd).items():
                    os.setxattr(fd, attribute, value)
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(fd)
        finally:
            os.close(source_fd)

    def _copy_content(self, source_fd: int, fd: int, status: os.stat_result) -> None:
        if REFLINK in self._ways:
            try:
                syscalls.ficlone(fd, source_fd)
                return
            except OSError as error:
                if error.errno not in _CANNOT_CLONE:
                    raise
                self._ways.remove(REFLINK)
        if status.st_blocks * 512 >= status.st_size:
            self._copy_range(source_fd, fd, 0, status.st_size)
            return
        # Fewer blocks than bytes: it has holes, which stay holes.
        os.ftruncate(fd, status.st_size)
        start = 0
        while start < status.st_size:
            try:
                start = os.lseek(source_fd, start, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but hole up to the end
                    return
                raise
            end = os.lseek(source_fd, start, os.SEEK_HOLE)
            self._copy_range(source_fd, fd, start, end - start)
            start = end

    def _copy_range(self, source_fd: int, fd: int, start: int, length: int) -> None:
        while length and RANGE in self._ways:
            try:
                copied = os.copy_file_range(source_fd, fd, min(length, _RANGE), start, start)
            except OSError as error:
                if error.errno not in _CANNOT_RANGE:
                    raise
                self._ways.remove(RANGE)
                break
            if not copied:
                return
            start += copied
            length -= copied
        while length:
            data = os.pread(source_fd, min(length, _CHUNK), start)
            if not data:
                return
            view = memoryview(data)
            while view:
                written = os.pwrite(fd, view, start)
                view = view[written:]
                start += written
                length -= written


def _copy_metadata(source: bytes, target: bytes, status: os.stat_result) -> None:
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for attribute, value in _xattrs(source).items():
        os.setxattr(target, attribute, value, follow_symlinks=False)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _xattrs(file: bytes | int) -> dict[str, bytes]:
    follow = isinstance(file, int)
    try:
        names = os.listxattr(file, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return {}
        raise
    return {
        name: os.getxattr(file, name, follow_symlinks=follow)
        for name in names
        if xattrs.travels(os.fsencode(name))
    }
