"""The content store: bytes named by their digest.

```
blobs/sha256/<hex>    immutable, mode 0600; also the blobs folder of an OCI layout
```

A blob is written in its operation's folder, then renamed in and entered as a row by one
transaction; the write lock keeps it from being removed in between. File and name are flushed before
that transaction ends, so that no power cut leaves a row without its blob. Reading checks digest and
size: there is no other way to open a blob.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lamina.digests import Digest
from lamina.errors import Corrupt, InvalidInput, NotFound
from lamina.store.failures import translated

if TYPE_CHECKING:
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot

_CHUNK_BYTES = 1 << 20


class ContentStore:
    """The blobs of one data root."""

    def __init__(self, root: DataRoot) -> None:
        self._root = root
        self._folder = root.path / "blobs" / "sha256"
        root.recovery.on_staged("blob", "", self._remove_unreferenced)

    def put(self, op: Operation, data: bytes | BinaryIO) -> Digest:
        """Store these bytes; if the operation fails, they go unless something refers to them."""
        temporary = op.folder / f"blob-{os.urandom(8).hex()}"
        with translated("storing a blob"):
            try:
                digest, size_bytes = self._write(temporary, data)
                op.stage("blob", "", digest)
                with self._root.database.transaction() as tx:
                    temporary.replace(self.path(digest))
                    self._flush_folder()
                    tx.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (digest, size_bytes))
            finally:
                temporary.unlink(missing_ok=True)
        op.wrote_layers = True
        return digest

    def exists(self, digest: Digest) -> bool:
        """Whether these bytes are stored."""
        found = self._root.database.one("SELECT 1 FROM blobs WHERE digest=?", (digest,))
        return found is not None

    def size_bytes(self, digest: Digest) -> int:
        """How many bytes the blob has."""
        row = self._root.database.one("SELECT size_bytes FROM blobs WHERE digest=?", (digest,))
        if row is None:
            raise NotFound(f"no such blob: {digest}")
        return int(row["size_bytes"])

    def read(self, digest: Digest, limit: int = 64 << 20) -> bytes:
        """The whole blob, checked; Corrupt if it is not what its name says."""
        size_bytes = self.size_bytes(digest)
        if size_bytes > limit:
            raise InvalidInput(
                f"blob {digest} has {size_bytes} bytes; at most {limit} are read here"
            )
        with self._opened(digest) as file:
            data = file.read(size_bytes + 1)
        if Digest.of(data) != digest:
            raise _corrupt(digest)
        return data

    def open(self, digest: Digest) -> VerifiedReader:
        """A stream over the blob; raises Corrupt, at its end at the latest, if it is not whole."""
        return VerifiedReader(self._opened(digest), digest, self.size_bytes(digest))

    def remove(self, digest: Digest) -> None:
        """Delete the blob; absent is fine."""
        with self._root.database.transaction() as tx:
            tx.execute("DELETE FROM blobs WHERE digest=?", (digest,))
            self.path(digest).unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where the blob lies."""
        return self._folder / digest.hex

    def sweep(self) -> None:
        """Delete files that no row names: what was being written when the machine stopped."""
        with self._root.database.transaction() as tx:
            named = {Digest(row["digest"]).hex for row in tx.read("SELECT digest FROM blobs")}
            for name in os.listdir(self._folder):
                if name not in named:
                    (self._folder / name).unlink()

    def _flush_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _opened(self, digest: Digest) -> BinaryIO:
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            if self.exists(digest):
                raise _corrupt(digest) from None
            raise NotFound(f"no such blob: {digest}") from None

    def _remove_unreferenced(self, digest: str) -> None:
        with self._root.database.transaction() as tx:
            referred = tx.one(
                "SELECT 1 WHERE EXISTS (SELECT 1 FROM images WHERE id=:digest)"
                " OR EXISTS (SELECT 1 FROM repo_digests WHERE digest=:digest)"
                " OR (SELECT count(*) FROM staged WHERE kind='blob' AND name=:digest) > 1",
                {"digest": digest},  # type: ignore[arg-type]
            )
            if referred is None:
                self.remove(Digest(digest))

    @staticmethod
    def _write(path: Path, data: bytes | BinaryIO) -> tuple[Digest, int]:
        hasher = hashlib.sha256()
        size_bytes = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            for chunk in _chunks(data):
                hasher.update(chunk)
                size_bytes += len(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        return Digest("sha256:" + hasher.hexdigest()), size_bytes


class VerifiedReader:
    """A blob's bytes; the last of them are handed out only if all of them are right."""

    def __init__(self, file: BinaryIO, digest: Digest, size_bytes: int) -> None:
        self._file = file
        self._digest = digest
        self._left = size_bytes
        self._hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes (all that is left if negative); empty at the end."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._hasher.update(data)
        self._left -= len(data)
        if not data and self._left and size:
            raise _corrupt(self._digest)
        if not self._left and (
            "sha256:" + self._hasher.hexdigest() != self._digest or self._file.read(1)
        ):
            raise _corrupt(self._digest)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> VerifiedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _chunks(data: bytes | BinaryIO) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    while chunk := data.read(_CHUNK_BYTES):
        yield chunk


def _corrupt(digest: Digest) -> Corrupt:
    return Corrupt(
        f"blob {digest} is damaged on disk", remedy="pull or load the image again to repair it"
    )
