"""The folders beneath a root while an archive is unpacked there: each resolved once, held open.

No path of an archive is ever given to the kernel whole. A member's parent is walked from the root
one name at a time, and no step follows a link: a symbolic link that this archive made is read and
its target walked the same way, `/` and `..` ending at the root. What is then opened, made or
removed is a single name in a held folder. So nothing outside the root can be named.

Whatever stands in the way of a folder gives way to it, as the checklist of layers asks: a file of
this layer, a mark of deletion, and also a lower layer's symbolic link, so that a layer means the
same on every parent and by every driver.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from lamina.errors import Corrupt
from lamina.tar import xattrs

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_OPEN = 128
_MAX_SPELLINGS = 8192
_MAX_LINKS = 40  # as the kernel's
_MAX_PATH = 4095  # PATH_MAX: nobody could name what has a longer one
_BOOKKEEPING = b".wh..wh."

MAX_DEPTH = 400
"""Folders in one another that a layer may have: walkers recurse, and deeper ones are attacks."""


class Folder:
    """An open folder. Closed ones have fd -1."""

    __slots__ = ("fd", "inherits", "path")

    def __init__(self, fd: int, path: bytes, inherits: bool) -> None:
        self.fd = fd
        self.path = path
        self.inherits = inherits
        """Children take its group or access list over when made: their own must be set anew."""

    def child(self, name: bytes) -> bytes:
        """The path below the root of what bears this name here."""
        return self.path + b"/" + name if self.path else name


def components(name: bytes) -> list[bytes] | None:
    """The names in a member's path, `.` and `..` resolved as written; None: AUFS's bookkeeping."""
    found: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"" or part == b".":
            continue
        if part == b"..":
            if not found:
                shown = name[:200].decode(errors="replace")
                raise Corrupt(f"refused tar member {shown!r}: its name leads out of the layer")
            found.pop()
        elif part.startswith(_BOOKKEEPING):
            return None
        else:
            found.append(part)
    if len(name) > _MAX_PATH or len(found) > MAX_DEPTH + 1:
        raise Corrupt(
            f"refused tar member {name[:100].decode(errors='replace')!r}…: it lies too deep"
        )
    return found


class Folders:
    """Resolves parents. `make` is called to put a folder at a name where none is."""

    def __init__(
        self,
        root_fd: int,
        *,
        make: Callable[[Folder, bytes, os.stat_result | None], None],
        may_follow: Callable[[bytes], bool],
        entered: Callable[[bytes, os.stat_result], None],
    ) -> None:
        self._make = make
        self._may_follow = may_follow
        self._entered = entered
        self.root = self._hold(os.open(b".", _OPEN, dir_fd=root_fd), b"")
        self._open: dict[bytes, Folder] = {}
        self._spellings: dict[bytes, Folder] = {}

    def parent(self, spelling: bytes) -> Folder | None:
        """The folder that a member names as its parent; None if the member is to be ignored."""
        folder = self._spellings.get(spelling)
        if folder is not None and folder.fd >= 0:
            return folder
        names = components(spelling)
        if names is None:
            return None
        folder = self.walk(names)
        if len(self._spellings) >= _MAX_SPELLINGS:
            self._spellings.clear()
        self._spellings[spelling] = folder
        return folder

    def walk(self, names: list[bytes]) -> Folder:
        """The folder at these names below the root, made where it is missing."""
        whole = b"/".join(names)
        found = self._open.get(whole)
        if found is not None:
            return found
        at = self.root
        pending = names[::-1]
        links = 0
        while pending:
            name = pending.pop()
            if name == b"" or name == b".":
                continue
            if name == b"..":
                at = self.walk(at.path.split(b"/")[:-1]) if at.path else at
                continue
            path = at.child(name)
            found = self._open.get(path)
            if found is not None:
                at = found
                continue
            if path.count(b"/") >= MAX_DEPTH:  # by links: a name alone was checked
                raise Corrupt(f"refused tar: {path[:100]!r}… lies too deep")
            entered = self._enter(at, name, path)
            if isinstance(entered, Folder):
                at = entered
                continue
            links += 1
            if links > _MAX_LINKS:
                raise Corrupt(f"refused tar: too many links in {whole[:200]!r}")
            if entered.startswith(b"/"):
                at = self.root
            pending.extend(entered.split(b"/")[::-1])
        return at

    def _enter(self, at: Folder, name: bytes, path: bytes) -> Folder | bytes:
        """Open the folder of this name, making it if need be; or the target of the link there."""
        for _ in range(2):
            try:
                fd = os.open(name, _OPEN, dir_fd=at.fd)
            except FileNotFoundError:
                self._make(at, name, None)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                found = os.stat(name, dir_fd=at.fd, follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode) and self._may_follow(path):
                    return os.readlink(name, dir_fd=at.fd)
                self._make(at, name, found)
            else:
                folder = self._hold(fd, path)
                self._make_room()
                self._open[path] = folder
                return folder
        raise Corrupt(f"refused tar: {path[:200]!r} cannot be made a folder")

    def _hold(self, fd: int, path: bytes) -> Folder:
        found = os.fstat(fd)
        self._entered(path, found)
        return Folder(fd, path, bool(found.st_mode & stat.S_ISGID) or _has_default_acl(fd))

    def _make_room(self) -> None:
        while len(self._open) >= _MAX_OPEN:
            oldest = next(iter(self._open))
            self._close(self._open.pop(oldest))

    def forget(self, path: bytes) -> None:
        """A folder or link at this path has gone or changed: look again at it and all below."""
        below = path + b"/"
        for known in [k for k in self._open if k == path or k.startswith(below)]:
            self._close(self._open.pop(known))
        self._spellings.clear()

    def close(self) -> None:
        """Close every folder."""
        for folder in self._open.values():
            self._close(folder)
        self._open.clear()
        self._close(self.root)

    @staticmethod
    def _close(folder: Folder) -> None:
        if folder.fd >= 0:
            os.close(folder.fd)
            folder.fd = -1


def _has_default_acl(fd: int) -> bool:
    try:
        os.getxattr(fd, xattrs.ACLS[1])
    except OSError:
        return False
    return True
