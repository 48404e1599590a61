"""Builders for tests of the tar room: archives from a few words, trees as comparable values."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamina.tar.entry import Entry, Kind
from lamina.tar.extract import Extracted, Whiteouts, extract
from lamina.tar.lower import Lower
from lamina.tar.reader import TarReader
from lamina.tar.write import TarWriter

OVERLAY, APPLY = Whiteouts.OVERLAY, Whiteouts.APPLY
Member = tuple[Entry, bytes]


def file(name: str | bytes, data: bytes = b"", mode: int = 0o644, **facts: object) -> Member:
    return Entry(os.fsencode(name), Kind.FILE, mode, size=len(data), **facts), data  # type: ignore[arg-type]


def folder(name: str | bytes, mode: int = 0o755, **facts: object) -> Member:
    return Entry(os.fsencode(name), Kind.FOLDER, mode, **facts), b""  # type: ignore[arg-type]


def symlink(name: str | bytes, target: str | bytes, **facts: object) -> Member:
    link = os.fsencode(target)
    return Entry(os.fsencode(name), Kind.SYMLINK, 0o777, link=link, **facts), b""  # type: ignore[arg-type]


def hard_link(name: str | bytes, target: str | bytes) -> Member:
    return Entry(os.fsencode(name), Kind.HARD_LINK, link=os.fsencode(target)), b""


def node(name: str, kind: Kind, major: int = 0, minor: int = 0, **facts: object) -> Member:
    return Entry(os.fsencode(name), kind, 0o600, major=major, minor=minor, **facts), b""  # type: ignore[arg-type]


def archive(*members: Member) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry, data in members:
        writer.add(entry, data)
    writer.close()
    return out.getvalue()


class Journal:
    """A recorder that can write the exact archive again from what it was told and the files."""

    def __init__(self) -> None:
        self.parts: list[bytes | tuple[bytes, int, int]] = []

    def raw(self, data: bytes) -> None:
        self.parts.append(data)

    def payload(self, path: bytes, size: int, crc32: int) -> None:
        self.parts.append((path, size, crc32))

    def replaced(self, path: bytes, fd: int) -> None:
        with open(os.dup(fd), "rb") as kept:
            data = kept.read()
        self.parts = [
            data if isinstance(part, tuple) and part[0] == path else part for part in self.parts
        ]

    def rebuilt(self, root: Path) -> bytes:
        """The archive, with the content of each file read from below this root."""
        import zlib

        written = []
        for part in self.parts:
            if isinstance(part, tuple):
                path, size, checksum = part
                part = (root / os.fsdecode(path)).read_bytes()
                assert len(part) == size
                assert zlib.crc32(part) == checksum
            written.append(part)
        return b"".join(written)


class Trickle(io.BytesIO):
    """A stream that gives few bytes at a time, so that everything lies across reads."""

    def __init__(self, data: bytes, step: int = 700) -> None:
        super().__init__(data)
        self._step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._step if size is None or size < 0 else min(size, self._step))


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def unpack(
    data: bytes,
    path: Path,
    style: Whiteouts = OVERLAY,
    *,
    lower: Lower | None = None,
    journal: Journal | None = None,
) -> Extracted:
    path.mkdir(exist_ok=True)
    with opened(path) as fd:
        reader = TarReader(io.BytesIO(data), recorder=journal)
        return extract(reader, fd, style=style, lower=lower)


Facts = tuple[object, ...]


def tree(root: Path, *, times: bool = True) -> dict[str, Facts]:
    """All that matters of a tree: by path, type and mode, owner, content, time, attributes."""
    found: dict[str, Facts] = {}
    links: dict[int, str] = {}
    top = os.fsencode(root)
    pending = [top]
    while pending:
        path = pending.pop()
        follow = path == top  # a view's top may be named by a link in /proc
        status = os.stat(path, follow_symlinks=follow)
        name = os.fsdecode(path[len(top) + 1 :])
        content: object = None
        if stat.S_ISDIR(status.st_mode):
            pending += sorted((e.path for e in os.scandir(path)), reverse=True)
        elif stat.S_ISLNK(status.st_mode):
            content = os.fsdecode(os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            with open(path, "rb") as opened_file:
                content = opened_file.read()
        else:
            content = status.st_rdev
        first = name
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
            first = links.setdefault(status.st_ino, name)
        attributes = {
            attribute: os.getxattr(path, attribute, follow_symlinks=follow)
            for attribute in os.listxattr(path, follow_symlinks=follow)
        }
        found[name] = (
            stat.filemode(status.st_mode),
            f"{status.st_uid}:{status.st_gid}",
            content,
            first,
            status.st_mtime_ns if times else None,
            attributes,
        )
    return found
