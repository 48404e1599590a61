"""Getting the plain tar out of a stream, and its digest on the way.

The form is told by content, never by a name. `decompressed` gives gzip (any number of members,
inflated by isal), zstd (any number of frames), xz, bzip2 or plain bytes as one plain stream.
`HashingReader` pulls such a stream through a thread of its own, where reading, inflating and
sha256 run while the consumer parses and writes: all of them release the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from lamina.digests import Digest
from lamina.errors import Corrupt
from lamina.tar.reader import Stream

_INPUT = 1 << 18
_OUTPUT = 1 << 20
_BITE = 1 << 10
_AHEAD = 8
_PATIENCE_S = 0.5
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
)


class _Decompressor(Protocol):
    """What isal, lzma and bz2 have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def detect(head: bytes) -> str:
    """The name of the compression that bytes beginning so are in; `plain` if of none known."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if len(head) >= 4 and 0x50 <= head[0] <= 0x5F and head[1:4] == b"\x2a\x4d\x18":
        return "zstd"  # a skippable frame comes first
    return "plain"


def decompressed(stream: Stream) -> Stream:
    """The plain bytes of a stream in whatever compression it is."""
    head = b""
    while len(head) < 8:
        more = stream.read(_INPUT)
        if not more:
            break
        head += more
    source = _Prefixed(head, stream)
    name = detect(head)
    if name == "plain":
        return source
    if name == "zstd":
        return _Zstd(source)
    return _Members(source, name, _decompressor(name))


def _decompressor(name: str) -> Callable[[], _Decompressor]:
    if name == "gzip":
        from isal import igzip_lib

        return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    if name == "xz":
        import lzma

        return lambda: lzma.LZMADecompressor(memlimit=1 << 30)
    import bz2

    return lambda: bz2.BZ2Decompressor()


class _Prefixed:
    """A stream of which the beginning has already been read."""

    def __init__(self, head: bytes, stream: Stream) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        if not self._head:
            return self._stream.read(size)
        if size < 0:
            size = len(self._head)
        data, self._head = self._head[:size], self._head[size:]
        return data


class _Members:
    """Compressed members one after another; zeros may follow the last (tape padding)."""

    def __init__(self, stream: Stream, name: str, make: Callable[[], _Decompressor]) -> None:
        self._stream = stream
        self._name = name
        self._make = make
        self._decompressor = make()
        self._input = b""

    def read(self, size: int = -1, /) -> bytes:
        wanted = _OUTPUT if size < 0 else size
        while wanted:
            if self._decompressor.eof:
                self._input = self._decompressor.unused_data
                if not self._next_member():
                    return b""
            if self._decompressor.needs_input and not self._input:
                self._input = self._stream.read(_INPUT)
                if not self._input:
                    raise Corrupt(f"truncated {self._name} stream")
            data, self._input = self._input, b""
            try:
                plain = self._decompressor.decompress(data, wanted)
            except Exception as error:  # each library has its own
                raise Corrupt(f"corrupt {self._name} stream: {error}") from error
            if plain:
                return plain
        return b""

    def _next_member(self) -> bool:
        while True:
            self._input = self._input.lstrip(b"\0")
            if self._input:
                break
            self._input = self._stream.read(_INPUT)
            if not self._input:
                return False
        while len(self._input) < 8:
            more = self._stream.read(_INPUT)
            if not more:
                break
            self._input += more
        if detect(self._input) != self._name:
            raise Corrupt(f"corrupt {self._name} stream: something else follows it")
        self._decompressor = self._make()
        return True


class _Zstd:
    """Frames one after another, fed in small bites: each may grow 32768-fold in memory."""

    def __init__(self, stream: Stream) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._stream = stream
        self._make = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj
        self._decompressor: Any = self._make()
        self._within_frame = False
        self._input = b""
        self._at = 0
        self._plain = b""

    def read(self, size: int = -1, /) -> bytes:
        while not self._plain:
            if self._at >= len(self._input):
                self._input, self._at = self._stream.read(_INPUT), 0
                if not self._input:
                    if self._within_frame:
                        raise Corrupt("truncated zstd stream")
                    return b""
            bite = self._input[self._at : self._at + _BITE]
            self._at += len(bite)
            try:
                self._plain = self._decompressor.decompress(bite)
            except self._error as error:
                raise Corrupt(f"corrupt zstd stream: {error}") from error
            self._within_frame = not self._decompressor.eof
            if self._decompressor.eof:
                self._at -= len(self._decompressor.unused_data)
                self._decompressor = self._make()
        if 0 <= size < len(self._plain):
            data, self._plain = self._plain[:size], self._plain[size:]
        else:
            data, self._plain = self._plain, b""
        return data


class HashingReader:
    """Reads a stream ahead in a thread, with the sha256 and the size of what went through.

    Use it as a context manager: leaving ends the thread, whether the stream was used up or not.
    `digest` and `size_bytes` are those of the whole stream once `read` has given b"".
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._ready: deque[bytes | BaseException] = deque()
        self._condition = threading.Condition()
        self._cancelled = False
        self._ended = False
        self._head = b""
        self.size_bytes = 0
        self._thread = threading.Thread(target=self._run, name="lamina-inflate", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            pieces: list[bytes] = []
            gathered = 0
            while not self._cancelled:
                data = self._stream.read(_OUTPUT)
                if data:
                    pieces.append(data)
                    gathered += len(data)
                    if gathered < _OUTPUT >> 1:
                        continue
                block = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                if block:
                    self._hash.update(block)
                    self.size_bytes += len(block)
                    self._put(block)
                    pieces, gathered = [], 0
                if not data:
                    self._put(b"")
                    return
        except BaseException as error:
            self._put(error)

    def _put(self, item: bytes | BaseException) -> None:
        with self._condition:
            while len(self._ready) >= _AHEAD and not self._cancelled:
                self._condition.wait()
            self._ready.append(item)
            self._condition.notify()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, as many as are at hand up to `size`; b"" at the end."""
        if not self._head:
            if self._ended:
                return b""
            with self._condition:
                while not self._ready:
                    self._condition.wait()
                item = self._ready.popleft()
                self._condition.notify()
            if isinstance(item, BaseException):
                self._ended = True
                raise item
            if not item:
                self._ended = True
                self._thread.join()
                return b""
            self._head = item
        if 0 <= size < len(self._head):
            data, self._head = self._head[:size], self._head[size:]
            return data
        data, self._head = self._head, b""
        return data

    @property
    def digest(self) -> Digest:
        """The sha256 of all that went through."""
        return Digest("sha256:" + self._hash.hexdigest())

    def close(self) -> None:
        """End the thread; what was not read is given up.

        A thread that waits for a pipe's writer cannot be called back: it is left to wait, and ends
        with the next bytes or the process. Otherwise Ctrl-C would wait for the writer too.
        """
        with self._condition:
            self._cancelled = True
            self._condition.notify_all()
        self._thread.join(_PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
