"""A file or folder as members of a tar, read from descriptors alone.

A name is looked up once: what is opened is what was looked at, whatever a process puts in its place
meanwhile, and nothing but a regular file is ever opened for reading.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from lamina.errors import Conflict, Unsupported
from lamina.tar.entry import Entry, Kind
from lamina.tar.folders import MAX_DEPTH
from lamina.tar.header import BLOCK
from lamina.tar.write import TarWriter, encode

CAPABILITY = b"security.capability"
"""The one extended attribute that a copy takes along, as Docker's does."""

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}
_PIECE_BYTES = 1 << 20


class Packed:
    """An iterator over the members; the payload is that of the latest member."""

    def __init__(self, fd: int, name: str) -> None:
        self._top = fd
        self._name = os.fsencode(name)
        self._file = -1
        self._seen: dict[tuple[int, int], bytes] = {}
        self.size_bytes = 2 * BLOCK
        """What the members passed so far take as a tar."""

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._walk(self._top, self._name, 0):
            self.size_bytes += len(encode(entry)) + -(-entry.size // BLOCK) * BLOCK
            yield entry

    def write(self, out: TarWriter) -> None:
        """Write it all as a tar."""
        for entry in self:
            out.add(entry, self)
        out.close()

    def read(self, size: int, /) -> bytes:
        """The next bytes of the payload."""
        return os.read(self._file, size)

    def copy_to(self, fd: int, path: bytes) -> None:
        """Write the whole payload to this new, empty file; holes stay holes."""
        size = os.fstat(self._file).st_size
        end = 0
        while end < size:
            try:
                start = os.lseek(self._file, end, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole is left
                break
            end = os.lseek(self._file, start, os.SEEK_HOLE)
            self._copy_piece(fd, start, end)
        os.ftruncate(fd, size)

    def _copy_piece(self, fd: int, start: int, end: int) -> None:
        while start < end:
            piece = os.pread(self._file, min(end - start, _PIECE_BYTES), start)
            if not piece:
                return
            start += os.pwrite(fd, piece, start)

    def _walk(self, fd: int, name: bytes, depth: int) -> Iterator[Entry]:
        found = os.fstat(fd)
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        if kind is None:  # a socket is of the process that listens to it
            return
        entry = _entry(fd, name, kind, found)
        if found.st_nlink > 1 and kind is not Kind.FOLDER:
            first = self._seen.setdefault((found.st_dev, found.st_ino), name)
            if first is not name:
                entry.kind, entry.link, entry.size, entry.xattrs = Kind.HARD_LINK, first, 0, {}
                entry.major = entry.minor = 0
                yield entry
                return
        if kind is Kind.FILE and entry.size:
            yield from self._with_payload(fd, entry)
            return
        yield entry
        if kind is not Kind.FOLDER:
            return
        if depth >= MAX_DEPTH:
            raise Unsupported(f"{os.fsdecode(name[:100])!r}… lies too deep to be copied")
        folder = os.open(".", _LIST, dir_fd=fd)
        try:
            for child in sorted(os.fsencode(text) for text in os.listdir(folder)):
                yield from self._child(folder, name, child, depth + 1)
        finally:
            os.close(folder)

    def _child(self, folder: int, above: bytes, child: bytes, depth: int) -> Iterator[Entry]:
        try:
            fd = os.open(child, _LOOK, dir_fd=folder)
        except FileNotFoundError:  # a process has removed it since it was listed
            return
        try:
            yield from self._walk(fd, above.rstrip(b"/") + b"/" + child, depth)
        finally:
            os.close(fd)

    def _with_payload(self, fd: int, entry: Entry) -> Iterator[Entry]:
        self._file = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield entry
            if os.fstat(self._file).st_size < entry.size:
                raise Conflict(f"{os.fsdecode(entry.name)!r} became shorter while it was copied")
        finally:
            os.close(self._file)
            self._file = -1


def _entry(fd: int, name: bytes, kind: Kind, found: os.stat_result) -> Entry:
    device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
    return Entry(
        name,
        kind,
        stat.S_IMODE(found.st_mode),
        found.st_uid,
        found.st_gid,
        found.st_size if kind is Kind.FILE else 0,
        found.st_mtime_ns,
        os.readlink(b"", dir_fd=fd) if kind is Kind.SYMLINK else b"",
        os.major(found.st_rdev) if device else 0,
        os.minor(found.st_rdev) if device else 0,
        _capability(fd) if kind is Kind.FILE else {},
    )


def _capability(fd: int) -> dict[bytes, bytes]:
    try:
        return {CAPABILITY: os.getxattr(f"/proc/self/fd/{fd}", CAPABILITY)}
    except OSError:  # none, or a filesystem that knows of none
        return {}
