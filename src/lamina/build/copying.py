"""Copying into a mounted root filesystem, as BuildKit's COPY does.

The destination is found with the image's own links, none of which leads out of it; below it no link
is followed: a folder that would have to go where a file or link is, or a file where a folder is, is
refused. Nothing else runs in the filesystem meanwhile, so what was checked stays so.

Files keep their modification time. Folders that were there before keep theirs too, so that the same
files copied onto the same image make the same layer, byte for byte.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from lamina.build.tree import Member, Tree, resolve
from lamina.errors import InvalidInput, NotFound, OutOfSpace

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RANGE_BYTES = 1 << 30
_NO_RANGE = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ETXTBSY)


class Copier:
    """Writes into the filesystem mounted at `root`; a context manager that sets times at its end.

    `owner` and `mode` are given to everything that is copied, where they are not None.
    """

    def __init__(
        self,
        root: Path,
        *,
        owner: tuple[int, int] | None,
        mode: int | None,
    ) -> None:
        self._owner = owner
        self._mode = mode
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._times: dict[str, tuple[int, int]] = {}
        self._made: set[str] = set()
        self._newest_ns = 0
        self._links: dict[tuple[int, int], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._set_times()
        finally:
            os.close(self._root_fd)

    def destination(self, path: str) -> str:
        """Where a path leads in the filesystem; the last parts may be missing."""
        return resolve(self._root_fd, path)

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at this resolved path."""
        status = self._status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def make_folders(self, path: str) -> None:
        """Make the folder at this resolved path, and those above it, where they are missing."""
        so_far = ""
        for part in [part for part in path.split("/") if part]:
            above, so_far = so_far, f"{so_far}/{part}" if so_far else part
            status = self._status(so_far)
            if status is None:
                self._note(above)
                os.mkdir(so_far, 0o755, dir_fd=self._root_fd)
                os.chmod(so_far, 0o755, dir_fd=self._root_fd)
                if self._owner is not None:
                    os.chown(so_far, *self._owner, dir_fd=self._root_fd, follow_symlinks=False)
                self._made.add(so_far)
            elif not stat.S_ISDIR(status.st_mode):
                raise InvalidInput(f"cannot copy to non-directory: /{so_far}")

    def copy(self, tree: Tree, members: tuple[Member, ...], target: str) -> None:
        """Copy a thing with all that is in it to the resolved path `target`."""
        self._links = {}  # hard links are kept within one source, as BuildKit does
        if members[0].is_folder:
            self.make_folders(target)
            members = members[1:]
        else:
            self.make_folders(posixpath.dirname(target))
        for member in members:
            place = "/".join(part for part in (target, member.below) if part)
            try:
                self._place(tree, member, place)
            except OSError as error:
                raise _failed(error, place) from None

    def write(self, content: bytes, target: str) -> None:
        """Write a new file of this content to the resolved path `target`."""
        self.make_folders(posixpath.dirname(target))
        self._make_way(target)
        descriptor = os.open(target, _NEW, 0o600, dir_fd=self._root_fd)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            os.fchmod(descriptor, 0o644 if self._mode is None else self._mode)
            if self._owner is not None:
                os.fchown(descriptor, *self._owner)
        finally:
            os.close(descriptor)

    def open_folder(self, path: str) -> int:
        """A descriptor of the folder at this resolved path, its times kept at the end."""
        self._note(path)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path or ".", flags, dir_fd=self._root_fd)

    def _place(self, tree: Tree, member: Member, place: str) -> None:
        self._newest_ns = max(self._newest_ns, member.status.st_mtime_ns)
        kind = stat.S_IFMT(member.status.st_mode)
        if kind == stat.S_IFSOCK:
            return
        if kind == stat.S_IFDIR:
            self._place_folder(member, place)
            return
        self._make_way(place)
        if self._linked(member, place):
            return
        if kind == stat.S_IFREG:
            self._place_file(tree, member, place)
            return
        if kind == stat.S_IFLNK:
            os.symlink(member.link, place, dir_fd=self._root_fd)
        else:
            os.mknod(place, kind | 0o600, member.status.st_rdev, dir_fd=self._root_fd)
        os.chown(place, *self._owner_of(member), dir_fd=self._root_fd, follow_symlinks=False)
        if kind != stat.S_IFLNK:
            os.chmod(place, self._mode_of(member), dir_fd=self._root_fd)
        times = (member.status.st_mtime_ns, member.status.st_mtime_ns)
        os.utime(place, ns=times, dir_fd=self._root_fd, follow_symlinks=False)

    def _place_folder(self, member: Member, place: str) -> None:
        status = self._status(place)
        if status is None:
            self._note(posixpath.dirname(place))
            os.mkdir(place, 0o700, dir_fd=self._root_fd)
        elif not stat.S_ISDIR(status.st_mode):
            raise InvalidInput(f"cannot copy to non-directory: /{place}")
        self._dress_folder(member, place)

    def _dress_folder(self, member: Member, place: str) -> None:
        os.chown(place, *self._owner_of(member), dir_fd=self._root_fd, follow_symlinks=False)
        os.chmod(place, self._mode_of(member), dir_fd=self._root_fd)
        self._made.discard(place)
        self._times[place] = (member.status.st_mtime_ns, member.status.st_mtime_ns)

    def _place_file(self, tree: Tree, member: Member, place: str) -> None:
        source = tree.open(member.path)
        try:
            target = os.open(place, _NEW, 0o600, dir_fd=self._root_fd)
            try:
                copy_content(source, target)
                os.fchown(target, *self._owner_of(member))
                os.fchmod(target, self._mode_of(member))
                for name, value in tree.attributes(member.path).items():
                    os.setxattr(target, name, value)
                times = (member.status.st_mtime_ns, member.status.st_mtime_ns)
                os.utime(target, ns=times)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _linked(self, member: Member, place: str) -> bool:
        """Make another name of a file that this copy has made already, if it is one."""
        if member.status.st_nlink < 2:
            return False
        inode = (member.status.st_dev, member.status.st_ino)
        first = self._links.setdefault(inode, place)
        if first == place:
            return False
        os.link(
            first,
            place,
            src_dir_fd=self._root_fd,
            dst_dir_fd=self._root_fd,
            follow_symlinks=False,
        )
        return True

    def _make_way(self, place: str) -> None:
        self._note(posixpath.dirname(place))
        status = self._status(place)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            raise InvalidInput(f"cannot replace to directory /{place} with file")
        os.unlink(place, dir_fd=self._root_fd)

    def _owner_of(self, member: Member) -> tuple[int, int]:
        if self._owner is not None:
            return self._owner
        return member.status.st_uid, member.status.st_gid

    def _mode_of(self, member: Member) -> int:
        return stat.S_IMODE(member.status.st_mode) if self._mode is None else self._mode

    def _status(self, path: str) -> os.stat_result | None:
        try:
            return os.stat(path or ".", dir_fd=self._root_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise InvalidInput(f"cannot copy to non-directory: /{path}") from None

    def _note(self, folder: str) -> None:
        """Remember a folder's times before its content changes."""
        if folder in self._times or folder in self._made:
            return
        status = self._status(folder)
        assert status is not None
        self._times[folder] = (status.st_atime_ns, status.st_mtime_ns)

    def _set_times(self) -> None:
        # A folder that was made for what is in it is as old as the newest of that.
        newest_ns = self._newest_ns or time.time_ns()
        made = dict.fromkeys(self._made, (newest_ns, newest_ns))
        for folder, times in (made | self._times).items():
            os.utime(folder or ".", ns=times, dir_fd=self._root_fd, follow_symlinks=False)


def copy_content(source: int, target: int) -> None:
    """Copy a file's bytes, in the kernel and sharing blocks where the filesystems can."""
    try:
        while os.copy_file_range(source, target, _RANGE_BYTES):
            pass
        return
    except OSError as error:
        if error.errno not in _NO_RANGE:
            raise
    while os.sendfile(target, source, None, _RANGE_BYTES):
        pass


def _failed(error: OSError, place: str) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfSpace(f"no space left while copying /{place}")
    if error.errno == errno.ENOENT:
        return NotFound(f"/{place}: it vanished while it was copied")
    return InvalidInput(f"cannot copy to /{place}: {error.strerror}")
