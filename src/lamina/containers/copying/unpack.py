"""Members of a tar put into a folder, as `docker cp` does: into what is there, and over files.

A folder joins a folder; a file replaces a file; neither replaces the other. Every file is made anew
under its name, never written through what is there. Names of deletions mean nothing here.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from lamina.containers.copying.pack import CAPABILITY
from lamina.containers.copying.side import Side
from lamina.errors import Conflict, InvalidInput
from lamina.tar.entry import Entry, Kind

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

Owner = tuple[int, int]


@dataclass(frozen=True)
class Owners:
    """Who shall own what is made: one user, or (None) whoever makes it."""

    one: Owner | None = None
    kept: bool = False
    """As the tar says."""

    def of(self, entry: Entry) -> Owner | None:
        """Who shall own this member; None: leave it with its maker."""
        return (entry.uid, entry.gid) if self.kept else self.one


KEPT = Owners(kept=True)
CALLERS = Owners()


class Members(Protocol):
    """A tar: what a `TarReader` and a `Packed` are."""

    def __iter__(self) -> Iterator[Entry]: ...

    def copy_to(self, fd: int, path: bytes) -> None:
        """Write the latest member's payload to a new, empty file."""


class Target:
    """The folder to unpack into, and who shall own what is made."""

    def __init__(self, side: Side, path: str, owners: Owners) -> None:
        self._side = side
        self._path = path.rstrip("/") or "/"
        self._owners = owners
        try:
            self._top = side.open_folder(path)
        except NotADirectoryError:
            raise Conflict("extraction point is not a directory") from None
        self._above = b""
        self._folder = os.dup(self._top)
        self._times: dict[bytes, int] = {}

    def close(self) -> None:
        """Let the descriptors go."""
        os.close(self._top)
        os.close(self._folder)

    def unpack(self, members: Members) -> None:
        """Put all members in their places."""
        for entry in members:
            name = self._name(entry.name)
            if name != b".":
                self._put(name, entry, members)
        for name, mtime_ns in reversed(self._times.items()):
            self._set_folder_time(name, mtime_ns)

    def _name(self, written: bytes) -> bytes:
        name = posixpath.normpath(written.lstrip(b"/") or b".")
        if name == b".." or name.startswith(b"../"):
            raise InvalidInput(f"{_shown(written)} is outside of {_quoted(self._path)}")
        return name

    def _put(self, name: bytes, entry: Entry, members: Members) -> None:
        above, _, base = name.rpartition(b"/")
        folder = self._enter(above)
        try:
            found = os.stat(base, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            found = None
        if found is not None:
            is_folder = stat.S_ISDIR(found.st_mode)
            if is_folder != (entry.kind is Kind.FOLDER):
                raise self._mismatch(name, is_folder)
            if not is_folder:
                os.unlink(base, dir_fd=folder)
        if entry.kind is Kind.FILE:
            self._put_file(folder, base, entry, members)
        elif entry.kind is Kind.FOLDER:
            if found is None:
                os.mkdir(base, 0o700, dir_fd=folder)
            self._dress_folder(folder, base, entry)
            self._times[name] = entry.mtime_ns
        elif entry.kind is Kind.HARD_LINK:
            self._link(base, above, entry)
        else:
            self._put_special(folder, base, entry)

    def _mismatch(self, name: bytes, is_folder: bool) -> Conflict:
        there, new = ("directory", "non-directory") if is_folder else ("non-directory", "directory")
        path = posixpath.join(self._path, os.fsdecode(name))
        return Conflict(
            f"cannot overwrite {there} {_quoted(path)} with {new} {_quoted(self._path)}"
        )

    def _put_file(self, folder: int, base: bytes, entry: Entry, members: Members) -> None:
        fd = os.open(base, _NEW, 0o600, dir_fd=folder)
        try:
            if entry.size:
                members.copy_to(fd, base)
            self._dress(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _dress_folder(self, folder: int, base: bytes, entry: Entry) -> None:
        fd = os.open(base, _FOLDER, dir_fd=folder)
        try:
            self._dress(fd, entry)
        finally:
            os.close(fd)

    def _dress(self, fd: int, entry: Entry) -> None:
        """Owner, then mode, then attributes: each would undo those after it."""
        owner = self._owners.of(entry)
        if owner is not None:
            os.fchown(fd, *owner)
        os.fchmod(fd, entry.mode)
        if CAPABILITY in entry.xattrs:
            try:
                os.setxattr(fd, CAPABILITY, entry.xattrs[CAPABILITY])
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise

    def _put_special(self, folder: int, base: bytes, entry: Entry) -> None:
        if entry.kind is Kind.SYMLINK:
            os.symlink(entry.link, base, dir_fd=folder)
        else:
            device = os.makedev(entry.major, entry.minor)
            if entry.kind is Kind.CHARACTER_DEVICE and device == 0:
                raise InvalidInput(f"{_shown(entry.name)}: the device 0:0 marks a deletion")
            os.mknod(base, entry.kind.file_type | 0o600, device, dir_fd=folder)
        owner = self._owners.of(entry)
        if owner is not None:
            os.chown(base, *owner, dir_fd=folder, follow_symlinks=False)
        if entry.kind is not Kind.SYMLINK:
            self._set_mode(folder, base, entry)
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _set_mode(self, folder: int, base: bytes, entry: Entry) -> None:
        fd = os.open(base, _LOOK, dir_fd=folder)
        try:
            if stat.S_IFMT(os.fstat(fd).st_mode) == entry.kind.file_type:
                os.chmod(f"/proc/self/fd/{fd}", entry.mode)
        finally:
            os.close(fd)

    def _link(self, base: bytes, above: bytes, entry: Entry) -> None:
        target_above, _, target = self._name(entry.link).rpartition(b"/")
        source = os.dup(self._enter(target_above))
        try:
            os.link(
                target,
                base,
                src_dir_fd=source,
                dst_dir_fd=self._enter(above),
                follow_symlinks=False,
            )
        finally:
            os.close(source)

    # Folders on the way

    def _enter(self, above: bytes) -> int:
        """A descriptor of the folder of this name, good until the next call; made if missing."""
        if above == self._above:
            return self._folder
        try:
            fd = self._open(above)
        except FileNotFoundError:
            fd = self._made(above)
        os.close(self._folder)
        self._folder, self._above = fd, above
        return fd

    def _made(self, above: bytes) -> int:
        way = b""
        folder = os.dup(self._top)
        for name in above.split(b"/"):
            way = posixpath.join(way, name)
            try:
                fd = self._open(way)
            except FileNotFoundError:
                try:
                    os.mkdir(name, 0o755, dir_fd=folder)
                    fd = self._open(way)
                except BaseException:
                    os.close(folder)
                    raise
            os.close(folder)
            folder = fd
        return folder

    def _open(self, name: bytes) -> int:
        if not name:
            return os.dup(self._top)
        return self._side.open_below(self._top, self._path, os.fsdecode(name))

    def _set_folder_time(self, name: bytes, mtime_ns: int) -> None:
        fd = self._open(name)
        try:
            os.utime(f"/proc/self/fd/{fd}", ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)


def _quoted(path: str) -> str:
    return f'"{path}"'


def _shown(name: bytes) -> str:
    return _quoted(name[:200].decode(errors="replace"))
