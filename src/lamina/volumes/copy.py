"""Copying what an image has at a place into a volume: contents and all metadata.

The image's tree is hostile: the place is resolved beneath the root filesystem by the kernel
(openat2, RESOLVE_IN_ROOT), and the walk goes by folder descriptors and never follows a link.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

_SYS_OPENAT2 = 437
_RESOLVE_IN_ROOT = 0x10
_RESOLVE_NO_MAGICLINKS = 0x02


def open_beneath(root: str | os.PathLike[str], path: str) -> int | None:
    """A descriptor of the folder `path` of this root filesystem; None where there is no folder."""
    import struct

    libc = ctypes.CDLL(None, use_errno=True)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    how = struct.pack("QQQ", flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(top),
            os.fsencode(path.lstrip("/") or "."),
            how,
            ctypes.c_size_t(len(how)),
        )
    finally:
        os.close(top)
    if found >= 0:
        return int(found)
    code = ctypes.get_errno()
    if code in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return None
    raise OSError(code, os.strerror(code), path)


def copy_folder(source: int, destination: int) -> None:
    """Copies everything below one folder descriptor to another, and the folder's own metadata."""
    _Copy(destination).children(source, destination, "")
    _copy_metadata(source, destination)


class _Copy:
    """One copy under way: where the first of each set of hard links went, below `top`."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._links: dict[tuple[int, int], str] = {}

    def children(self, source: int, destination: int, prefix: str) -> None:
        """Everything in one folder; `prefix` is its path below the top."""
        for name in os.listdir(source):
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                key = (status.st_dev, status.st_ino)
                if key in self._links:
                    first = self._links[key]
                    at = {"src_dir_fd": self._top, "dst_dir_fd": destination}
                    os.link(first, name, follow_symlinks=False, **at)
                    continue
                self._links[key] = prefix + name
            if stat.S_ISDIR(status.st_mode):
                self._folder(name, source, destination, prefix)
            elif stat.S_ISREG(status.st_mode):
                _copy_file(name, source, destination)
            else:
                _copy_special(name, status, source, destination)

    def _folder(self, name: str, source: int, destination: int, prefix: str) -> None:
        os.mkdir(name, 0o700, dir_fd=destination)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        old = os.open(name, flags, dir_fd=source)
        try:
            new = os.open(name, flags, dir_fd=destination)
            try:
                self.children(old, new, f"{prefix}{name}/")
                _copy_metadata(old, new)
            finally:
                os.close(new)
        finally:
            os.close(old)


def _copy_file(name: str, source: int, destination: int) -> None:
    old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        create = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        new = os.open(name, create, 0o600, dir_fd=destination)
        try:
            _copy_data(old, new)
            _copy_metadata(old, new)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _copy_special(name: str, status: os.stat_result, source: int, destination: int) -> None:
    """A symbolic link, device, pipe or socket."""
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=destination)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=destination)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=destination, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=destination)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=destination, follow_symlinks=False)


def _copy_data(source: int, destination: int) -> None:
    while True:
        try:
            if not os.copy_file_range(source, destination, 1 << 30):
                return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            break
    while data := os.read(source, 1 << 20):
        view = memoryview(data)
        while view:
            view = view[os.write(destination, view) :]


def _copy_metadata(source: int, destination: int) -> None:
    status = os.fstat(source)
    os.fchown(destination, status.st_uid, status.st_gid)
    os.fchmod(destination, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        # The overlay's own marks describe its layers, not the file.
        if not name.startswith(("trusted.overlay.", "user.overlay.")):
            os.setxattr(destination, name, os.getxattr(source, name))
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))
