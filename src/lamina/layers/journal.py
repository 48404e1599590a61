"""A layer's tar without the file contents that the driver holds: enough to write it again.

```
<cache id>.journal
    magic            8 bytes, `LAMJRNL1`
    index offset     8 bytes, big-endian; 0: nothing was replaced
    records          one zstd frame
    replaced files   one zstd frame each: what a later member of the same tar took the place of
    index            one zstd frame: a line of JSON for each replaced file
```

A record is a byte that tells its kind, then big-endian lengths, then bytes:

```
R  u32 length, bytes                          these bytes come next in the tar
F  u16 length, path, u64 size, u32 crc-32     the content of this file of the layer comes next
E                                             the tar ends here
```

A file that a later member replaced can't be read back from the driver, so the journal holds it: its
index line `[path, before, size, offset]` says that references to `path` among the first `before`
references mean the frame at `offset` (of several, the one with the smallest `before`: they stand in
its order).

Writing the tar checks every file's size and crc-32, so a damaged file is named, and the digest of
the whole, so nothing else can be wrong unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from isal.isal_zlib import crc32

from lamina.digests import DiffID
from lamina.errors import Corrupt
from lamina.linux import syscalls

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"LAMJRNL1"
_HEADER = struct.Struct(">8sQ")
_RAW = struct.Struct(">cI")
_FILE = struct.Struct(">cH")
_FILE_FACTS = struct.Struct(">QI")
_LEVEL = 3
_CHUNK_BYTES = 1 << 20
_ZEROS = bytes(_CHUNK_BYTES)
_BATCH_BYTES = 1 << 17
_RAW_LIMIT = 1 << 30
_INSIDE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS


class Sink(Protocol):
    """What a tar is written to."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """A file of the layer whose content is not what the journal says."""

    path: bytes
    problem: str


class JournalWriter:
    """Told what makes up a tar (it is the reader's `Recorder`), writes the journal as it comes."""

    def __init__(self, path: Path) -> None:
        import zstandard

        self._path = path
        self._file = _create(path)
        self._file.write(_HEADER.pack(_MAGIC, 0))
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._records = compressor.stream_writer(self._file, closefd=False)
        # A compressor makes one frame at a time.
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._raw: list[bytes] = []
        self._raw_bytes = 0
        self._pending: list[bytes] = []  # records: each is too short to be worth a call
        self._pending_bytes = 0
        self._references = 0
        self._replaced: BinaryIO | None = None
        self._index: list[tuple[str, int, int, int]] = []

    def raw(self, data: bytes) -> None:
        """These bytes come next in the tar."""
        self._raw.append(bytes(data))
        self._raw_bytes += len(data)
        if self._raw_bytes >= _CHUNK_BYTES:
            self._end_raw()

    def payload(self, path: bytes, size: int, crc32: int) -> None:
        """The content of this file comes next; it can be read back."""
        self._end_raw()
        self._pending += (_FILE.pack(b"F", len(path)), path, _FILE_FACTS.pack(size, crc32))
        self._references += 1

    def replaced(self, path: bytes, fd: int) -> None:
        """The file at `path` is about to go; keep what `fd` reads."""
        if self._replaced is None:
            self._replaced = _create(self._path.with_suffix(".replaced"))
        offset = self._replaced.tell()
        size = 0
        with self._compressor.stream_writer(self._replaced, closefd=False) as frame:
            while data := os.pread(fd, _CHUNK_BYTES, size):
                frame.write(data)
                size += len(data)
        self._index.append((os.fsdecode(path), self._references, size, offset))

    def finish(self) -> None:
        """Complete the file."""
        import zstandard

        self._end_raw()
        self._records.write(b"".join((*self._pending, b"E")))
        self._records.flush(zstandard.FLUSH_FRAME)
        if self._replaced is not None:
            start = self._file.tell()
            self._replaced.seek(0)
            while data := self._replaced.read(_CHUNK_BYTES):
                self._file.write(data)
            index_offset = self._file.tell()
            lines = [
                json.dumps([path, before, size, start + offset])
                for path, before, size, offset in self._index
            ]
            self._file.write(self._compressor.compress("\n".join(lines).encode()))
            self._file.seek(0)
            self._file.write(_HEADER.pack(_MAGIC, index_offset))
        self.close()

    def close(self) -> None:
        """Close the files, finished or not."""
        self._file.close()
        if self._replaced is not None:
            self._replaced.close()
            self._path.with_suffix(".replaced").unlink(missing_ok=True)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end_raw(self) -> None:
        if not self._raw:
            return
        self._pending += (_RAW.pack(b"R", self._raw_bytes), *self._raw)
        self._pending_bytes += self._raw_bytes
        self._raw.clear()
        self._raw_bytes = 0
        if self._pending_bytes >= _BATCH_BYTES:
            self._records.write(b"".join(self._pending))
            self._pending.clear()
            self._pending_bytes = 0


def write_tar(journal: Path, layer_root: Path, diff_id: DiffID, out: Sink) -> None:
    """Write the exact tar; Corrupt, naming the path, where the layer is not what it was."""
    hasher = hashlib.sha256()
    what = f"layer {diff_id}"
    root = os.open(layer_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for data in _tar(journal, root, what):
            hasher.update(data)
            out.write(data)
    finally:
        os.close(root)
    if "sha256:" + hasher.hexdigest() != diff_id:
        raise _corrupt(f"{what}: its journal does not give its tar")


def differences(journal: Path, layer_root: Path, diff_id: DiffID) -> Iterator[Difference | None]:
    """Read all that the tar refers to: each file that differs, and None for each that does not.

    Corrupt: it is the journal itself that is damaged.
    """
    hasher: Any = hashlib.sha256()
    what = f"layer {diff_id}"
    root = os.open(layer_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _opened(journal, what) as file:
            replaced = _Replaced(file, what)
            references = 0
            for record in _records(file, what):
                if isinstance(record, bytes):
                    if hasher is not None:
                        hasher.update(record)
                    continue
                path, size, checksum = record
                pieces = replaced.content(path, references)
                own = pieces is not None
                references += 1
                try:
                    found = length = 0
                    for data in pieces or _file_content(root, path, size, what):
                        found = crc32(data, found)
                        length += len(data)
                        if hasher is not None:
                            hasher.update(data)
                except Corrupt as error:
                    if own:
                        raise
                    hasher = None
                    yield Difference(path, error.message.rpartition(": ")[2].lower())
                    continue
                if (length, found) == (size, checksum):
                    yield None
                elif own:
                    raise _corrupt(f"{what}: its journal is damaged")
                else:
                    hasher = None
                    yield Difference(path, "its content has changed")
    finally:
        os.close(root)
    if hasher is not None and "sha256:" + hasher.hexdigest() != diff_id:
        raise _corrupt(f"{what}: its journal does not give its tar")


class JournalStream:
    """The tar of a journal as a stream in which the contents of the layer's files are zeros.

    For reading the headers. `reference_at` tells, for a payload that begins at this offset, where
    the file lies and what its content must be.
    """

    def __init__(self, journal: Path, diff_id: DiffID) -> None:
        what = f"layer {diff_id}"
        self._file = _opened(journal, what)
        _Replaced(self._file, what)  # looks at the header and the index
        self._records = _records(self._file, what)
        self._references: dict[int, tuple[bytes, int, int]] = {}
        self._zeros_left = 0
        self._at = 0
        self._next: bytes | tuple[bytes, int, int] | None = next(self._records, None)

    def read(self, size: int, /) -> bytes:
        """The next bytes, up to `size`."""
        if not self._zeros_left:
            record = self._next
            if record is None:
                return b""
            if isinstance(record, bytes):
                data, rest = record[:size], record[size:]
                self._at += len(data)
                self._next = rest or next(self._records, None)
                if not rest and isinstance(self._next, tuple):
                    self._references[self._at] = self._next
                return data
            self._references[self._at] = record
            self._zeros_left = record[1]
            self._next = next(self._records, None)
        step = min(size, self._zeros_left, _CHUNK_BYTES)
        self._zeros_left -= step
        self._at += step
        if not self._zeros_left and isinstance(self._next, tuple):
            self._references[self._at] = self._next
        return _ZEROS if step == _CHUNK_BYTES else _ZEROS[:step]

    def reference_at(self, offset: int) -> tuple[bytes, int, int] | None:
        """Path, size and crc-32 of the file whose content begins here; asked once."""
        return self._references.pop(offset, None)

    def close(self) -> None:
        """Close the journal."""
        self._file.close()


def tar_size_bytes(journal: Path, diff_id: DiffID) -> int:
    """How long the tar is, from the journal alone."""
    what = f"layer {diff_id}"
    try:
        with journal.open("rb") as file:
            records = _records(file, what)
            return sum(len(each) if isinstance(each, bytes) else each[1] for each in records)
    except FileNotFoundError:
        raise _corrupt(f"{what}: its journal is missing") from None


def _tar(journal: Path, root: int, what: str) -> Iterator[bytes]:
    with _opened(journal, what) as file:
        replaced = _Replaced(file, what)
        references = 0
        for record in _records(file, what):
            if isinstance(record, bytes):
                yield record
                continue
            path, size, checksum = record
            pieces = replaced.content(path, references)
            if pieces is None:
                pieces = _file_content(root, path, size, what)
            found = length = 0
            for data in pieces:
                found = crc32(data, found)
                length += len(data)
                yield data
            if (length, found) != (size, checksum):
                raise _corrupt(f"{what}: the content of {_shown(path)} has changed")
            references += 1


def _opened(journal: Path, what: str) -> BinaryIO:
    try:
        return journal.open("rb")
    except FileNotFoundError:
        raise _corrupt(f"{what}: its journal is missing") from None


def _records(file: BinaryIO, what: str) -> Iterator[bytes | tuple[bytes, int, int]]:
    import zstandard

    file.seek(_HEADER.size)
    stream = zstandard.ZstdDecompressor().stream_reader(file, read_size=1 << 17, closefd=False)

    def take(size: int) -> bytes:
        pieces = []
        while size:
            data = stream.read(size)
            if not data:
                raise _corrupt(f"{what}: its journal is cut off")
            pieces.append(data)
            size -= len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    try:
        while (kind := take(1)) != b"E":
            if kind == b"R":
                (length,) = struct.unpack(">I", take(4))
                if length > _RAW_LIMIT:
                    raise _corrupt(f"{what}: its journal is damaged")
                yield take(length)
            elif kind == b"F":
                (length,) = struct.unpack(">H", take(2))
                path = take(length)
                size, checksum = _FILE_FACTS.unpack(take(_FILE_FACTS.size))
                yield path, size, checksum
            else:
                raise _corrupt(f"{what}: its journal is damaged")
    except zstandard.ZstdError as error:
        raise _corrupt(f"{what}: its journal is damaged ({error})") from None


class _Replaced:
    """The contents that the journal holds itself."""

    def __init__(self, file: BinaryIO, what: str) -> None:
        self._file = file
        self._what = what
        self._by_path: dict[bytes, list[tuple[int, int, int]]] = {}
        header = file.read(_HEADER.size)
        if len(header) != _HEADER.size or header[:8] != _MAGIC:
            raise _corrupt(f"{what}: its journal is damaged")
        (_, index_offset) = _HEADER.unpack(header)
        if index_offset:
            self._read_index(index_offset)

    def content(self, path: bytes, reference: int) -> Iterator[bytes] | None:
        """What this reference to the path means; None: the driver's file."""
        frames = self._by_path.get(path, ())
        place = bisect_right(frames, reference, key=lambda frame: frame[0])
        if place == len(frames):
            return None
        _, size, offset = frames[place]
        return self._frame(size, offset)

    def _read_index(self, offset: int) -> None:
        import zstandard

        length = os.fstat(self._file.fileno()).st_size
        try:
            if offset >= length:
                raise ValueError("its index lies beyond its end")
            self._file.seek(offset)
            text = zstandard.ZstdDecompressor().stream_reader(self._file, closefd=False).read()
            for line in text.decode().splitlines():
                path, before, size, start = json.loads(line)
                if not 0 <= int(start) < length:
                    raise ValueError("its index leads beyond its end")
                found = self._by_path.setdefault(os.fsencode(path), [])
                found.append((int(before), int(size), int(start)))
        except (zstandard.ZstdError, ValueError, TypeError, MemoryError) as error:
            raise _corrupt(f"{self._what}: its journal is damaged ({error})") from None

    def _frame(self, size: int, offset: int) -> Iterator[bytes]:
        import zstandard

        # A descriptor of its own: the records are read from the other one meanwhile.
        with open(self._file.name, "rb") as file:
            file.seek(offset)
            stream = zstandard.ZstdDecompressor().stream_reader(file, closefd=False)
            try:
                while size and (data := stream.read(min(size, _CHUNK_BYTES))):
                    size -= len(data)
                    yield data
            except zstandard.ZstdError as error:
                raise _corrupt(f"{self._what}: its journal is damaged ({error})") from None


def _file_content(root: int, path: bytes, size: int, what: str) -> Iterator[bytes]:
    """The bytes of a file of the layer, at most one more than it should have."""
    if not size:
        return
    try:
        # O_NONBLOCK: should a pipe have taken the file's place, opening it must not wait.
        descriptor = syscalls.openat2(
            root,
            path,
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
            resolve=_INSIDE,
        )
    except OSError as error:
        raise _corrupt(f"{what}: cannot read {_shown(path)}: {error.strerror}") from None
    try:
        left = size + 1
        while left and (data := os.read(descriptor, min(left, _CHUNK_BYTES))):
            left -= len(data)
            yield data
    except OSError as error:
        raise _corrupt(f"{what}: cannot read {_shown(path)}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _create(path: Path) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "w+b")


def _shown(path: bytes) -> str:
    return repr("/" + path.decode("utf-8", "backslashreplace"))


def _corrupt(message: str) -> Corrupt:
    return Corrupt(message, remedy="pull or load its image again to repair it")
