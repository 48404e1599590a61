"""Giving a new file its owner, mode, extended attributes and time."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NoReturn

from lamina.errors import Corrupt, Unsupported
from lamina.tar import xattrs
from lamina.tar.entry import Entry, Kind

if TYPE_CHECKING:
    from lamina.tar.folders import Folder

_NAMESPACES = (b"user.", b"trusted.", b"security.", b"system.")
_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


class Metadata:
    """Knows what a file has as it is made, so that only what differs costs a system call.

    `marks`: overlayfs will read the files' attributes. `inherits` (of a folder, for its children):
    what they got when made depends on the folder, so everything is set anew.
    """

    def __init__(self, *, marks: bool) -> None:
        self._marks = marks
        self._umask = _umask()
        self._owner = (os.geteuid(), os.getegid())

    def is_as_made(self, entry: Entry) -> bool:
        """Whether a file made with this entry's permissions needs nothing more."""
        return (
            (entry.uid, entry.gid) == self._owner
            and not entry.mode & (self._umask | _SPECIAL)
            and not entry.xattrs
        )

    def set(self, fd: int, entry: Entry, inherits: bool) -> None:
        """Owner, then mode, then attributes: each would undo those after it."""
        mode = entry.mode
        if inherits:
            _strip_acls(fd)
        chowned = inherits or (entry.uid, entry.gid) != self._owner
        if chowned:
            os.fchown(fd, entry.uid, entry.gid)
        if inherits or mode & self._umask or mode & _SPECIAL:
            os.fchmod(fd, mode)
        if entry.xattrs:
            self._set_xattrs(fd, entry)

    def set_by_name(self, folder: Folder, base: bytes, entry: Entry) -> None:
        """The same for a file that should not be opened."""
        if folder.inherits or (entry.uid, entry.gid) != self._owner:
            os.chown(base, entry.uid, entry.gid, dir_fd=folder.fd, follow_symlinks=False)
        if entry.kind is not Kind.SYMLINK:
            if folder.inherits:
                _strip_acls(b"/proc/self/fd/%d/%s" % (folder.fd, base))
            if folder.inherits or entry.mode & self._umask or entry.mode & _SPECIAL:
                os.chmod(base, entry.mode, dir_fd=folder.fd)
        if entry.xattrs:
            self._set_xattrs(b"/proc/self/fd/%d/%s" % (folder.fd, base), entry)
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder.fd, follow_symlinks=False)

    def _set_xattrs(self, file: int | bytes, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if not xattrs.travels(name):
                continue
            try:
                os.setxattr(
                    file,
                    xattrs.stored_name(name, marks=self._marks),
                    value,
                    follow_symlinks=isinstance(file, int),
                )
            except OSError as error:
                _refuse(error, name, entry)


def _refuse(error: OSError, name: bytes, entry: Entry) -> NoReturn:
    """Say whose fault it is that an extended attribute cannot be set: xattr(7)."""
    called = name.decode(errors="replace")
    if error.errno == errno.EPERM and name.startswith(b"user."):
        raise Corrupt(
            f"corrupt tar member {entry.shown}: only files and folders can have the extended"
            f" attribute {called}"
        ) from error
    if error.errno != errno.ENOTSUP:
        raise error
    if not name.startswith(_NAMESPACES):
        raise Corrupt(
            f"corrupt tar member {entry.shown}: no extended attribute can be called {called}"
        ) from error
    raise Unsupported(
        f"the filesystem cannot hold the extended attribute {called} of {entry.shown}",
        remedy="keep the data root on ext4, xfs or btrfs",
    ) from error


def _strip_acls(file: int | bytes) -> None:
    """Take off the access lists that a new file took over from its folder."""
    for name in xattrs.ACLS:
        try:
            os.removexattr(file, name, follow_symlinks=isinstance(file, int))
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise


def _umask() -> int:
    """This process's umask, read without the moment of changing it that os.umask needs."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"Umask:"):
                return int(line[6:], 8)
    return 0o777  # so each mode is set
