"""Tar archives that ADD extracts: recognised by content, unpacked beneath their destination."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lamina.errors import Corrupt, InvalidInput, LaminaError

if TYPE_CHECKING:
    from lamina.tar.entry import Entry
    from lamina.tar.reader import Stream, TarReader

_WHITEOUT = b".wh."


def is_archive(descriptor: int) -> bool:
    """Whether an open file is a tar archive, plain or compressed; its offset is as before."""
    from lamina.tar.compression import decompressed
    from lamina.tar.reader import TarReader

    size = os.fstat(descriptor).st_size
    if size == 0:
        return False
    with open(os.dup(descriptor), "rb") as file:
        try:
            next(TarReader(decompressed(file)))
        except StopIteration:
            # No member: an archive all the same where it holds the blocks that end one.
            return _is_empty_archive(descriptor)
        except (LaminaError, OSError, EOFError, ValueError):
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    return True


def unpack(descriptor: int, folder: int, owner: tuple[int, int] | None) -> None:
    """Extract an open archive into an open folder; `owner` is given to all of it, if any."""
    from lamina.tar.compression import decompressed
    from lamina.tar.extract import Whiteouts, extract
    from lamina.tar.reader import TarReader

    with open(os.dup(descriptor), "rb") as file:
        extract(_plain(TarReader, decompressed(file), owner), folder, style=Whiteouts.APPLY)


def _plain(reader: type[TarReader], stream: Stream, owner: tuple[int, int] | None) -> TarReader:
    """A reader of an archive that is no layer: a mark of deletion in it would be a file's name."""

    class Plain(reader):  # type: ignore[misc, valid-type]
        def __iter__(self) -> Iterator[Entry]:
            return self

        def __next__(self) -> Entry:
            entry: Entry = super().__next__()
            if entry.name.rpartition(b"/")[2].startswith(_WHITEOUT):
                raise InvalidInput(
                    f"cannot add {os.fsdecode(entry.name)!r}: names that begin with .wh. mean a "
                    "deletion in a layer"
                )
            if owner is not None:
                entry.uid, entry.gid = owner
            return entry

    made: TarReader = Plain(stream)
    return made


def _is_empty_archive(descriptor: int) -> bool:
    from lamina.tar.compression import decompressed

    with open(os.dup(descriptor), "rb") as file:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            head = decompressed(file).read(1024)
        except (Corrupt, OSError, EOFError, ValueError):
            return False
    return len(head) == 1024 and not head.strip(b"\0")
