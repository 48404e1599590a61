"""What a layer takes away: marks of deletion, and members that others take the place of.

A mark is a member's name, `.wh.NAME` for a deletion or `.wh..wh..opq` for a folder that hides what
lower layers have in it. It never takes what its own layer wrote, wherever in the stream it stands.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from lamina.errors import Corrupt
from lamina.tar import xattrs
from lamina.tar.entry import Entry
from lamina.tar.folders import Folder, Folders, components

if TYPE_CHECKING:
    from lamina.tar.account import Account
    from lamina.tar.reader import Recorder

MARK = b".wh."
_OPAQUE_MARK = b".wh..wh..opq"
_BOOKKEEPING = b".wh..wh."
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Deletions:
    """Deletes beneath one root; `overlay`: leaves the kernel's marks of it for overlayfs."""

    def __init__(
        self, account: Account, folders: Folders, recorder: Recorder | None, *, overlay: bool
    ) -> None:
        self._account = account
        self._folders = folders
        self._recorder = recorder
        self._overlay = overlay
        self.opaque_root = False

    def mark(self, above: bytes, base: bytes, entry: Entry) -> None:
        """A member whose name says that something of the lower layers is gone."""
        name = base[len(MARK) :]
        names = components(above)
        if base.startswith(_BOOKKEEPING) and base != _OPAQUE_MARK:
            return
        if name in (b"", b".", b".."):
            raise Corrupt(f"corrupt tar member {entry.shown}: it deletes nothing that has a name")
        if names is None or self._account.is_hidden(b"/".join(names) + b"/"):
            return
        folder = self._folders.walk(names)
        if self._account.is_hidden(folder.path + b"/"):
            return
        if base == _OPAQUE_MARK:
            self.opaque_root = self.opaque_root or not folder.path
            self._set_opaque(folder.fd, folder.path)
        else:
            self._delete(folder, name, folder.child(name))

    def clear(self, folder: Folder, base: bytes, found: os.stat_result | None = None) -> None:
        """Make way for a member: remove what has its name."""
        if found is None:
            found = os.stat(base, dir_fd=folder.fd, follow_symlinks=False)
        self._remove(folder.fd, base, folder.child(base), found)

    def _delete(self, folder: Folder, name: bytes, path: bytes) -> None:
        """Delete what lower layers have at a name, by the kernel's mark or by removing it."""
        try:
            found = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            if not self._account.is_of_layer(path, found):
                self._remove(folder.fd, name, path, found)
            elif stat.S_ISDIR(found.st_mode):
                self._account.fresh.add(path)
                fd = os.open(name, _FOLDER, dir_fd=folder.fd)
                try:
                    self._set_opaque(fd, path)
                finally:
                    os.close(fd)
                return
            else:
                return
        self._account.gone.add(path)
        if self._overlay:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=folder.fd)
            os.setxattr(folder.fd, xattrs.ORIGIN, b"")
            self._account.inodes += 1

    def _set_opaque(self, fd: int, path: bytes) -> None:
        self._account.opaque.add(path)
        if self._overlay:
            os.setxattr(fd, xattrs.OPAQUE, b"y")
        self._empty(fd, path)

    def _empty(self, fd: int, path: bytes) -> None:
        """Delete what is not this layer's in a folder, at any depth."""
        for text in os.listdir(fd):
            name = os.fsencode(text)
            below = path + b"/" + name if path else name
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not self._account.is_of_layer(below, found):
                self._remove(fd, name, below, found)
            elif stat.S_ISDIR(found.st_mode):
                child_fd = os.open(name, _FOLDER, dir_fd=fd)
                try:
                    self._empty(child_fd, below)
                finally:
                    os.close(child_fd)

    def _remove(self, dir_fd: int, name: bytes, path: bytes, found: os.stat_result) -> None:
        """Delete a file or a whole tree; the recorder keeps the content of what was ours."""
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFDIR:
            fd = os.open(name, _FOLDER, dir_fd=dir_fd)
            try:
                for text in os.listdir(fd):
                    child = os.fsencode(text)
                    self._remove(
                        fd,
                        child,
                        path + b"/" + child,
                        os.stat(child, dir_fd=fd, follow_symlinks=False),
                    )
            finally:
                os.close(fd)
            os.rmdir(name, dir_fd=dir_fd)
            self._folders.forget(path)
        else:
            if kind == stat.S_IFREG and found.st_size and self._recorder is not None:
                if self._account.is_ours(path):
                    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
                    try:
                        self._recorder.replaced(path, fd)
                    finally:
                        os.close(fd)
            elif kind == stat.S_IFLNK:
                self._folders.forget(path)
            os.unlink(name, dir_fd=dir_fd)
        self._account.forget(path, folder=kind == stat.S_IFDIR)
