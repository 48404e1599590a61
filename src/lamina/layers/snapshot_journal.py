"""The diff of an active snapshot as a stream; its journal, diff id and size.

Its diff tar is written by the driver in one thread and read by another through a pipe: hashed and
journalled as it passes, and stored nowhere.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from lamina.digests import DiffID
from lamina.layers.journal import JournalWriter
from lamina.layers.pipeline import TarStream
from lamina.tar.entry import Kind
from lamina.tar.reader import TarReader

if TYPE_CHECKING:
    from lamina.drivers.contract import StorageDriver
    from lamina.tar.reader import Stream

_PIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class DiffFacts:
    """What is known of a snapshot's diff once it has passed."""

    diff_id: DiffID
    size_bytes: int
    inodes: int
    implied: tuple[str, ...]
    """The root folder, where the diff has no entry for it. (All others it has.)"""


def journal_of_snapshot(
    driver: StorageDriver, snapshot_id: str, parents: Sequence[str], journal: Path
) -> DiffFacts:
    """Write the journal of what a snapshot changed; each file is named where the driver has it."""
    with diff_stream(driver, snapshot_id, parents) as stream, JournalWriter(journal) as record:
        return _consume(stream, record)


@contextmanager
def diff_stream(
    driver: StorageDriver, snapshot_id: str, parents: Sequence[str]
) -> Iterator[BinaryIO]:
    """The snapshot's diff tar, to be read to its end within the block."""
    source, target = os.pipe2(os.O_CLOEXEC)
    with suppress(PermissionError):  # beyond this user's share of pipe memory: slower
        fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    failures: list[BaseException] = []

    def produce() -> None:
        try:
            with open(target, "wb", buffering=1 << 18) as out:
                driver.diff(snapshot_id, parents, out)
        except BaseException as error:
            failures.append(error)

    producer = threading.Thread(target=produce, name=f"diff {snapshot_id}")
    producer.start()
    try:
        with open(source, "rb", buffering=0) as stream:
            yield cast(BinaryIO, stream)
    except BaseException as error:
        producer.join()  # the closed pipe ended it
        if failures and not isinstance(failures[0], BrokenPipeError):
            raise failures[0] from error
        raise
    producer.join()
    if failures:
        raise failures[0]


def _consume(stream: Stream, record: JournalWriter) -> DiffFacts:
    size_bytes = inodes = 0
    implied: tuple[str, ...] = ("",)
    with TarStream(stream) as tar:
        reader = TarReader(tar, recorder=record)
        for entry in reader:
            name = entry.name.strip(b"/")
            if entry.kind is Kind.FILE:
                size_bytes += entry.size
                reader.pass_over(name)
            elif name in (b"", b"."):
                implied = ()
            inodes += entry.kind is not Kind.HARD_LINK
        diff_id = tar.finish()
    record.finish()
    return DiffFacts(diff_id, size_bytes, inodes, implied)
