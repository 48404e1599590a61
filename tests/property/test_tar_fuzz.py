"""Whatever the bytes, reading a tar ends in members or in `Corrupt`, never in anything else."""

from __future__ import annotations

import io
import random

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import Corrupt
from lamina.tar.compression import decompressed
from lamina.tar.entry import Kind
from lamina.tar.reader import Limits, TarReader
from tarkit import archive, file, folder, hard_link, node, symlink

GOOD = archive(
    folder("usr", 0o755, mtime_ns=1_500_000_000),
    file("usr/" + "long" * 40, b"content" * 100, xattrs={b"user.note": b"1"}),
    symlink("link", "t" * 150, uid=2**31),
    hard_link("hard", "usr/" + "long" * 40),
    node("dev", Kind.BLOCK_DEVICE, 8, 1),
)
LIMITS = Limits(total_bytes=1 << 20)


def consume(data: bytes) -> None:
    try:
        reader = TarReader(decompressed(io.BytesIO(data)), limits=LIMITS)
        for entry in reader:
            assert b"\0" not in entry.name
            assert entry.size >= 0
            reader.read()
    except Corrupt:
        pass


def signed(block: bytearray) -> None:
    """Make a header's checksum right, so that what comes after its check is reached."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)


@given(st.binary(max_size=2000))
@settings(max_examples=300)
def test_any_bytes(data: bytes) -> None:
    consume(data)


@given(st.integers(0, 2**32))
@settings(max_examples=1000, deadline=None)
def test_mutated_archives_with_right_checksums(seed: int) -> None:
    choice = random.Random(seed)
    data = bytearray(GOOD)
    for _ in range(choice.randrange(1, 4)):
        at = choice.randrange(len(data) // 512) * 512
        block = data[at : at + 512]
        for _ in range(choice.randrange(1, 6)):
            place = choice.choice([choice.randrange(512), choice.randrange(100, 160), 156])
            block[place] = choice.choice(
                [0, 0xFF, 0x80, 0x20, *b"019xLKgSV=-/.", choice.randrange(256)]
            )
        if choice.random() < 0.8:
            signed(block)
        data[at : at + 512] = block
    if choice.random() < 0.2:
        del data[choice.randrange(len(data)) :]
    consume(bytes(data))


@given(st.integers(0, 2**32), st.sampled_from(["gzip", "zstd", "xz", "bzip2"]))
@settings(max_examples=300, deadline=None)
def test_mutated_compressed_streams(seed: int, name: str) -> None:
    import bz2
    import gzip
    import lzma

    choice = random.Random(seed)
    make = {"gzip": gzip, "zstd": zstandard, "xz": lzma, "bzip2": bz2}[name]
    data = bytearray(make.compress(GOOD))
    for _ in range(choice.randrange(1, 5)):
        data[choice.randrange(len(data))] = choice.randrange(256)
    consume(bytes(data))
