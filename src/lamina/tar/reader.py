"""Reading a tar once, member by member, and remembering of it what no file will hold.

`TarReader` takes the stream in large pieces and parses where they lie. A `Recorder` is told every
byte of the archive in order: either the byte itself (`raw`: headers, padding, trailers, payloads
that no file holds), or that a payload can be read back from a file (`payload`). So whoever keeps
what it was told can write the exact archive again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from isal.isal_zlib import crc32

from lamina.errors import Corrupt
from lamina.tar.entry import Entry
from lamina.tar.header import BLOCK, Block, build_entry, parse_block, parse_records

_CHUNK = 1 << 20
_ZERO_BLOCK = bytes(BLOCK)
_HOLE = 1 << 16
_ZERO_HOLE = bytes(_HOLE)


class Stream(Protocol):
    """What an archive is read from: fewer bytes than asked for are fine, none is the end."""

    def read(self, size: int, /) -> bytes: ...


class Recorder(Protocol):
    """Is told all that makes up an archive, in order."""

    def raw(self, data: bytes) -> None:
        """These bytes come next in the archive."""

    def payload(self, path: bytes, size: int, crc32: int) -> None:
        """The content of this file comes next: `path` is where it lies below the root."""

    def replaced(self, path: bytes, fd: int) -> None:
        """The file at `path` is about to go, as a later member takes its place.

        Each `payload` told of this path until now means the content that `fd` can be read for,
        from its start, until this call returns.
        """


@dataclass(frozen=True)
class Limits:
    """What an archive may ask of us before it counts as an attack."""

    total_bytes: int = 1 << 40
    members: int = 20_000_000
    special_bytes: int = 1 << 20  # a PAX header or a long name; as Go's archive/tar has it


class TarReader:
    """An iterator over the members of a tar stream; the payload is that of the latest member."""

    def __init__(
        self, stream: Stream, *, limits: Limits | None = None, recorder: Recorder | None = None
    ) -> None:
        self.recorder = recorder
        self._read = stream.read
        self._limits = limits or Limits()
        self._budget = self._limits.total_bytes
        self._members = 0
        self._buffer = b""
        self._at = 0  # what is before it in the buffer is consumed
        self._told = 0  # what is before it in the buffer has been told to the recorder
        self._left = 0  # bytes of payload not yet consumed
        self._padding = 0
        self._entry: Entry | None = None
        self._ended = False

    @property
    def total_bytes(self) -> int:
        """How much of the archive has been taken from the stream."""
        return self._limits.total_bytes - self._budget

    @property
    def offset(self) -> int:
        """Where in the archive the next byte lies; after a member was given: its payload."""
        return self.total_bytes - len(self._buffer) + self._at

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        if self._left or self._padding:
            self._skip(self._left)
            # Some writers (umoci's insert) leave out the last padding and the end mark.
            self._skip(self._padding, may_end=True)
            self._left = self._padding = 0
        if self._ended:
            raise StopIteration
        records: list[tuple[bytes, bytes]] = []
        long_name = long_link = b""
        special = False
        while True:
            at = self._at
            if at + BLOCK <= len(self._buffer):
                raw = self._buffer[at : at + BLOCK]
                self._at = at + BLOCK
            else:
                raw = self._take(BLOCK, may_end=not special)
            if raw == b"" or raw == _ZERO_BLOCK:
                if special:
                    raise Corrupt("corrupt tar: it ends after a header that announces a member")
                self._end(raw)
                raise StopIteration
            block = parse_block(raw)
            flag = block.flag
            if flag in b"xXLKg":
                special = special or flag != b"g"
                data = self._special(block)
                if flag in b"xX":
                    records = parse_records(data)
                elif flag == b"L":
                    long_name = data.partition(b"\0")[0]
                elif flag == b"K":
                    long_link = data.partition(b"\0")[0]
                continue
            break
        entry = build_entry(block, records, long_name, long_link)
        self._members += 1
        if self._members > self._limits.members:
            raise Corrupt(f"refused tar: it has more than {self._limits.members} members")
        self._left = entry.size
        self._padding = -entry.size % BLOCK
        self._entry = entry
        if flag == b"S" or records:
            from lamina.tar import sparse

            sparse.resolve(entry, block, records, self._sparse_data, self._take)
        return entry

    # -- payload ---------------------------------------------------------------------------

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of the payload as stored (for a sparse member: without its holes)."""
        wanted = self._left if size < 0 else min(size, self._left)
        if not wanted:
            return b""
        if self._at == len(self._buffer) and not self._fill():
            raise Corrupt(f"truncated tar: it ends within {self._name()}")
        if size < 0:
            data = self._take(wanted)
        else:
            data = self._buffer[self._at : self._at + wanted]
            self._at += len(data)
        self._left -= len(data)
        return data

    def copy_to(self, fd: int, path: bytes) -> None:
        """Write the whole payload to this new, empty file, which lies at `path` below the root."""
        entry = self._entry
        assert entry is not None
        if entry.sparse is not None:
            self._expand(fd, entry, entry.sparse)
            return
        left = self._left
        if not left:
            return
        if self.recorder is not None and self._told < self._at:
            self.recorder.raw(self._buffer[self._told : self._at])
        checksum = 0
        hole = False
        while True:
            buffer, at = self._buffer, self._at
            size = min(left, len(buffer) - at)
            if size >= _HOLE:
                hole = _write_with_holes(fd, buffer, at, size)
                checksum = crc32(memoryview(buffer)[at : at + size], checksum)
            elif size:
                data = buffer[at : at + size]
                checksum = crc32(data, checksum)
                _write(fd, data)
                hole = False
            self._at = self._told = at + size
            left -= size
            if not left:
                break
            if not self._fill():
                raise Corrupt(f"truncated tar: it ends within {self._name()}")
        if hole:
            os.ftruncate(fd, entry.size)
        self._left = 0
        if self.recorder is not None:
            self.recorder.payload(path, entry.size, checksum)

    def pass_over(self, path: bytes) -> None:
        """Take the whole payload in without writing it: the recorder is told it lies at `path`."""
        entry = self._entry
        assert entry is not None
        if self.recorder is None or entry.sparse is not None or not self._left:
            return
        if self._told < self._at:
            self.recorder.raw(self._buffer[self._told : self._at])
        checksum = 0
        while True:
            size = min(self._left, len(self._buffer) - self._at)
            checksum = crc32(memoryview(self._buffer)[self._at : self._at + size], checksum)
            self._at = self._told = self._at + size
            self._left -= size
            if not self._left:
                break
            if not self._fill():
                raise Corrupt(f"truncated tar: it ends within {self._name()}")
        self.recorder.payload(path, entry.size, checksum)

    def _expand(self, fd: int, entry: Entry, pieces: tuple[tuple[int, int], ...]) -> None:
        """Write a sparse member as it is meant; its stored form is kept whole by the recorder."""
        for offset, length in pieces:
            os.lseek(fd, offset, os.SEEK_SET)
            while length:
                data = self.read(min(length, _CHUNK))
                if not data:
                    raise Corrupt(f"corrupt tar: a piece is missing from {self._name()}")
                _write(fd, data)
                length -= len(data)
        os.ftruncate(fd, entry.size)

    def _sparse_data(self, size: int) -> bytes:
        """The next bytes of the payload: the map that a sparse member of PAX 1.0 begins with."""
        if size > self._left:
            raise Corrupt(f"corrupt tar: the map of the sparse file {self._name()} is cut off")
        data = self._take(size)
        self._left -= size
        return data

    # -- stream ----------------------------------------------------------------------------

    def _name(self) -> str:
        return repr(self._entry.name[:200].decode(errors="replace")) if self._entry else "a header"

    def _fill(self) -> bool:
        """Get more of the stream into the buffer; False at its end."""
        if self.recorder is not None and self._told < self._at:
            self.recorder.raw(self._buffer[self._told : self._at])
        data = self._read(_CHUNK)
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
        self._at = self._told = 0
        self._budget -= len(data)
        if self._budget < 0:
            raise Corrupt(f"refused tar: it is larger than {self._limits.total_bytes} bytes")
        return bool(data)

    def _take(self, size: int, *, may_end: bool = False) -> bytes:
        while len(self._buffer) - self._at < size:
            if not self._fill():
                if may_end and self._at == len(self._buffer):
                    return b""
                raise Corrupt(f"truncated tar: it ends within or after {self._name()}")
        data = self._buffer[self._at : self._at + size]
        self._at += size
        return data

    def _skip(self, size: int, *, may_end: bool = False) -> None:
        while True:
            step = min(size, len(self._buffer) - self._at)
            self._at += step
            size -= step
            if not size:
                return
            if not self._fill():
                if may_end:
                    return
                raise Corrupt(f"truncated tar: it ends within {self._name()}")

    def _special(self, block: Block) -> bytes:
        size = block.size
        if not 0 <= size <= self._limits.special_bytes:
            raise Corrupt(f"refused tar: a header of {size} bytes about one member")
        data = self._take(size)
        self._skip(-size % BLOCK)
        return data

    def _end(self, first: bytes) -> None:
        """Take in the end mark and whatever padding or garbage follows it."""
        if first:
            second = self._take(BLOCK, may_end=True)
            if second not in (b"", _ZERO_BLOCK):
                raise Corrupt("corrupt tar: a block of zeros between its members")
        self._at = len(self._buffer)
        while self._fill():
            self._at = len(self._buffer)
        self._ended = True


def _write(fd: int, data: bytes | memoryview) -> None:
    done = os.write(fd, data)
    while done < len(data):
        data = memoryview(data)[done:]
        done = os.write(fd, data)


def _write_with_holes(fd: int, buffer: bytes, at: int, size: int) -> bool:
    """Write a piece of the buffer, leaving long runs of zeros out; True if it ends in a hole."""
    view = memoryview(buffer)
    end = at + size
    start = at
    hole = False
    while at + _HOLE <= end:
        if buffer[at] == 0 and buffer.startswith(_ZERO_HOLE, at):
            if start < at:
                _write(fd, view[start:at])
            os.lseek(fd, _HOLE, os.SEEK_CUR)
            start = at + _HOLE
            hole = start == end
        at += _HOLE
    if start < end:
        _write(fd, view[start:end])
    return hole
