"""A layer's stream on its way in: inflated, hashed and counted as it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.digests import DiffID

if TYPE_CHECKING:
    from lamina.layers.store import Progress
    from lamina.tar.reader import Stream


class TarStream:
    """The uncompressed tar of a layer; knows its diff id when all of it has been read."""

    def __init__(self, stream: Stream, progress: Progress | None = None) -> None:
        from lamina.tar.compression import HashingReader, decompressed

        self._reader = HashingReader(decompressed(stream))
        self._progress = progress
        self._read_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of the tar; empty at the end."""
        data = self._reader.read(size)
        if data and self._progress is not None:
            self._read_bytes += len(data)
            self._progress(self._read_bytes)
        return data

    def finish(self) -> DiffID:
        """Read what is left of the stream, and name the whole."""
        while self.read():
            pass
        return DiffID(self._reader.digest)

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def __enter__(self) -> TarStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
