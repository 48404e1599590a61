"""A member of a tar, as every other module of this room speaks of it."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What a member is; the value is its type flag in a header."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    FOLDER = b"5"
    FIFO = b"6"

    @property
    def file_type(self) -> int:
        """The bits that st_mode has for such a file (a hard link's are those of its target)."""
        return _FILE_TYPES[self]


_FILE_TYPES = {
    Kind.FILE: stat.S_IFREG,
    Kind.HARD_LINK: 0,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FOLDER: stat.S_IFDIR,
    Kind.FIFO: stat.S_IFIFO,
}

NO_XATTRS: dict[bytes, bytes] = {}


@dataclass(slots=True)
class Entry:
    """One member: its header in plain values. Names are bytes, as the kernel's are."""

    name: bytes
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    sparse: tuple[tuple[int, int], ...] | None = None
    """(offset, length) of each piece that a sparse member stores; None: all of it is stored."""

    @property
    def shown(self) -> str:
        """Its name, for a message."""
        return repr(self.name[:200].decode(errors="replace"))
