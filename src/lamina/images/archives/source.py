"""The members of an archive by name, wherever it lies, read in place.

An archive is hostile input: names are normalised and cannot leave it, links are followed within it
only and a bounded number of times, small documents are read with a limit, and a tar is indexed by
seeking from header to header, so neither memory nor disk grows with what it claims to hold.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from lamina.digests import Digest
from lamina.errors import Corrupt, LaminaError
from lamina.images.archives.plan import invalid
from lamina.images.config import SIZE_LIMIT_BYTES
from lamina.linux import syscalls
from lamina.store.failures import translated
from lamina.tar.entry import Entry, Kind
from lamina.tar.header import BLOCK, build_entry, parse_block, parse_records

if TYPE_CHECKING:
    from lamina.store.operations import Operation

MEMBER_LIMIT = 200_000
_SPECIAL_LIMIT_BYTES = 1 << 20
_LINK_LIMIT = 8
_CHUNK_BYTES = 1 << 20
_MAGICS = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh")


class Archive(Protocol):
    """Members by name."""

    def has(self, name: str) -> bool:
        """Whether there is a readable member of this name."""

    def open(self, name: str) -> Section:
        """The member's bytes; InvalidInput where it is missing."""

    def close(self) -> None:
        """Let go of the archive."""


def read_member(archive: Archive, name: str, *, limit: int = SIZE_LIMIT_BYTES) -> bytes:
    """A small member as a whole; InvalidInput when it is larger than the limit."""
    section = archive.open(name)
    try:
        if section.size_bytes > limit:
            raise invalid(
                f"{name!r} has {section.size_bytes} bytes, more than the limit of {limit}"
            )
        data = bytearray()
        while chunk := section.read(_CHUNK_BYTES):
            data += chunk
        return bytes(data)
    finally:
        section.close()


class Section:
    """A stretch of a file as a stream of its own."""

    def __init__(self, descriptor: int, offset: int, size_bytes: int, *, owned: bool) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._end = offset + size_bytes
        self._owned = owned
        self.size_bytes = size_bytes

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size` (negative: all that are left); none at the end."""
        left = self._end - self._offset
        if not left or not size:
            return b""
        wanted = left if size < 0 else min(size, left)
        data = os.pread(self._descriptor, wanted, self._offset)
        if not data:
            raise Corrupt("invalid archive: it is truncated")
        self._offset += len(data)
        return data

    def close(self) -> None:
        """Close the file, if this section owns it."""
        if self._owned:
            os.close(self._descriptor)
            self._owned = False


class CheckedStream:
    """A stream whose bytes must have this digest; `finish` reads what is left and checks."""

    def __init__(self, section: Section, digest: Digest, size_bytes: int | None) -> None:
        self._section = section
        self._digest = digest
        self._hash = hashlib.sha256()
        self.started = False
        if size_bytes is not None and size_bytes != section.size_bytes:
            raise Corrupt(
                f"invalid archive: blob {digest.short} has {section.size_bytes} bytes, "
                f"its descriptor says {size_bytes}"
            )

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        data = self._section.read(size)
        self._hash.update(data)
        self.started = True
        return data

    def finish(self) -> None:
        """Read to the end; Corrupt when the bytes were not the promised ones."""
        while self.read(_CHUNK_BYTES):
            pass
        found = "sha256:" + self._hash.hexdigest()
        if found != self._digest:
            raise Corrupt(
                f"invalid archive: a blob's digest is {found}, its name says {self._digest}"
            )


@dataclass(frozen=True, slots=True)
class _Member:
    offset: int
    size_bytes: int
    target: str | None
    """Where a link points, as a name within the archive; None for a regular file."""


class TarArchive:
    """An uncompressed tar in a regular file; has a descriptor of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        try:
            self._members = _index(self._descriptor)
        except BaseException:
            os.close(self._descriptor)
            raise

    def has(self, name: str) -> bool:
        return self._find(name) is not None

    def open(self, name: str) -> Section:
        member = self._find(name)
        if member is None:
            raise invalid(f"{name!r} is missing")
        return Section(self._descriptor, member.offset, member.size_bytes, owned=False)

    def close(self) -> None:
        os.close(self._descriptor)

    @property
    def is_empty(self) -> bool:
        """Whether there is no member at all."""
        return not self._members

    def _find(self, name: str) -> _Member | None:
        wanted: str | None = clean_name(name)
        for _ in range(_LINK_LIMIT):
            member = self._members.get(wanted) if wanted is not None else None
            if member is None or member.target is None:
                return member
            wanted = member.target
        return None


class FolderArchive:
    """An archive that lies unpacked in a folder. No link in it leads out of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def has(self, name: str) -> bool:
        try:
            self.open(name).close()
        except LaminaError:
            return False
        return True

    def open(self, name: str) -> Section:
        cleaned = clean_name(name)
        if not cleaned:
            raise invalid(f"{name!r} is missing")
        try:
            # O_NONBLOCK: opening a pipe must not wait.
            descriptor = syscalls.openat2(
                self._folder, os.fsencode(cleaned), os.O_RDONLY | os.O_NONBLOCK
            )
        except OSError as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else str(error.strerror)
            raise invalid(f"{name!r}: {reason.lower()}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise invalid(f"{name!r} is no regular file")
        return Section(descriptor, 0, status.st_size, owned=True)

    def close(self) -> None:
        os.close(self._folder)


def open_archive(operation: Operation, source: BinaryIO | Path) -> Archive:
    """The archive in a folder, in a file (compressed or not), or coming through a pipe.

    What cannot be read at any place, a pipe or a compressed file, is spooled into the operation's
    folder; the spool has no name, so it is gone with this process whatever happens.
    """
    if isinstance(source, Path):
        if source.is_dir():
            return FolderArchive(source)
        with source.open("rb") as file:
            return _open_stream(operation, file)
    return _open_stream(operation, source)


def _open_stream(operation: Operation, source: BinaryIO) -> TarArchive:
    if _is_plain_file(source):
        archive = TarArchive(source.fileno())
    else:
        with translated("spooling the archive"), _spool(operation, source) as spool:
            archive = TarArchive(spool.fileno())
    if archive.is_empty:
        archive.close()
        raise invalid("it is empty")
    return archive


def clean_name(name: str) -> str | None:
    """A member's name without `.`, `..` and leading slashes; None if it would leave the archive."""
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _is_plain_file(source: BinaryIO) -> bool:
    try:
        descriptor = source.fileno()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or source.tell() != 0:
            return False
        return not os.pread(descriptor, 6, 0).startswith(_MAGICS)
    except (OSError, AttributeError):
        return False


def _spool(operation: Operation, source: BinaryIO) -> BinaryIO:
    from lamina.tar.compression import decompressed

    path = operation.folder / "archive.tar"
    spool = path.open("w+b")
    try:
        path.unlink()
        plain = decompressed(source)
        while chunk := plain.read(_CHUNK_BYTES):
            spool.write(chunk)
        spool.flush()
    except BaseException:
        spool.close()
        raise
    return spool


def _index(descriptor: int) -> dict[str, _Member]:
    """Every member, found by seeking from header to header; of equal names the last one counts."""
    length = os.fstat(descriptor).st_size
    members: dict[str, _Member] = {}
    offset = 0
    records: list[tuple[bytes, bytes]] = []
    long_name = long_link = b""
    for _ in range(MEMBER_LIMIT):
        raw = os.pread(descriptor, BLOCK, offset)
        if len(raw) < BLOCK or not any(raw):
            if 0 < len(raw) < BLOCK:
                raise invalid("it is truncated" if offset else "it is no tar archive")
            return members
        try:
            block = parse_block(raw)
            if block.flag in b"xXgLK":
                special = _special(descriptor, offset + BLOCK, block.size)
                if block.flag in b"xX":
                    records = parse_records(special)
                elif block.flag == b"L":
                    long_name = special.partition(b"\0")[0]
                elif block.flag == b"K":
                    long_link = special.partition(b"\0")[0]
                offset += BLOCK + _padded(block.size)
                continue
            entry = build_entry(block, records, long_name, long_link)
        except Corrupt as error:
            raise invalid(f"it is no tar archive: {error}" if not offset else str(error)) from None
        offset += BLOCK
        if offset + entry.size > length:
            raise Corrupt("invalid archive: it is truncated")
        name = clean_name(entry.name.decode("utf-8", "surrogateescape"))
        if name and entry.kind is not Kind.FOLDER:
            members[name] = _member(entry, name, offset)
        offset += _padded(entry.size)
        records, long_name, long_link = [], b"", b""
    raise invalid(f"it has more than {MEMBER_LIMIT} members")


def _member(entry: Entry, name: str, offset: int) -> _Member:
    link = entry.link.decode("utf-8", "surrogateescape")
    if entry.kind is Kind.SYMLINK:
        folder = name.rpartition("/")[0]
        return _Member(offset, 0, clean_name(f"{folder}/{link}") or "")
    if entry.kind is Kind.HARD_LINK:
        return _Member(offset, 0, clean_name(link) or "")
    if entry.kind is Kind.FILE and entry.sparse is None:
        return _Member(offset, entry.size, None)
    return _Member(offset, 0, "")


def _special(descriptor: int, offset: int, size: int) -> bytes:
    if not 0 <= size <= _SPECIAL_LIMIT_BYTES:
        raise Corrupt(f"a header of {size} bytes about one member")
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise Corrupt("it is truncated")
    return data


def _padded(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK
