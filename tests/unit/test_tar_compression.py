"""Plain bytes out of any compression, told by content; digests by the way."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma

import pytest
import zstandard

from lamina.errors import Corrupt
from lamina.tar.compression import HashingReader, decompressed, detect
from lamina.tar.reader import Stream
from tarkit import Trickle

PLAIN = b"".join(hashlib.sha256(b"%d" % n).digest() * 3 for n in range(40_000))
COMPRESSED = {
    "plain": PLAIN,
    "gzip": gzip.compress(PLAIN, 1),
    "zstd": zstandard.compress(PLAIN),
    "xz": lzma.compress(PLAIN, preset=0),
    "bzip2": bz2.compress(PLAIN, 1),
}
ALL = pytest.mark.parametrize("name", COMPRESSED)
REAL = pytest.mark.parametrize("name", [name for name in COMPRESSED if name != "plain"])


def everything(stream: Stream, size: int = 1 << 20) -> bytes:
    found = []
    while data := stream.read(size):
        assert len(data) <= size
        found.append(data)
    return b"".join(found)


@ALL
def test_the_plain_bytes_come_out(name: str) -> None:
    assert detect(COMPRESSED[name]) == name
    assert everything(decompressed(io.BytesIO(COMPRESSED[name]))) == PLAIN
    assert everything(decompressed(Trickle(COMPRESSED[name], 9999)), 4097) == PLAIN


@REAL
def test_members_follow_one_another(name: str) -> None:
    twice = decompressed(Trickle(COMPRESSED[name] * 2, 50_000))
    assert hashlib.sha256(everything(twice)).digest() == hashlib.sha256(PLAIN * 2).digest()


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2"])
def test_zeros_may_pad_the_end(name: str) -> None:
    assert everything(decompressed(io.BytesIO(COMPRESSED[name] + bytes(5000)))) == PLAIN


@REAL
@pytest.mark.parametrize("cut", [20, 1000, -1])
def test_a_truncated_stream_is_an_error_and_no_end(name: str, cut: int) -> None:
    with pytest.raises(Corrupt):
        everything(decompressed(io.BytesIO(COMPRESSED[name][:cut])))


@REAL
def test_garbage_after_the_end_is_an_error(name: str) -> None:
    with pytest.raises(Corrupt):
        everything(decompressed(io.BytesIO(COMPRESSED[name] + b"garbage" * 10)))


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2"])
def test_a_flipped_bit_is_an_error(name: str) -> None:
    data = bytearray(COMPRESSED[name])
    data[len(data) // 2] ^= 0x10
    with pytest.raises(Corrupt):
        everything(decompressed(io.BytesIO(bytes(data))))


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "bzip2"])
def test_a_bomb_is_given_out_in_bounded_pieces_and_stopped_by_the_limit(name: str) -> None:
    import tracemalloc

    from lamina.tar.entry import Entry, Kind
    from lamina.tar.reader import Limits, TarReader
    from lamina.tar.write import encode

    zeros = encode(Entry(b"zeros", Kind.FILE, size=1 << 27)) + bytes(1 << 27)
    make = {"gzip": gzip, "zstd": zstandard, "xz": lzma, "bzip2": bz2}[name]
    bomb = make.compress(zeros)
    del zeros
    tracemalloc.start()
    try:
        reader = TarReader(decompressed(io.BytesIO(bomb)), limits=Limits(total_bytes=90 << 20))
        with pytest.raises(Corrupt, match="larger than"):
            for _ in reader:
                pass
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()


def test_an_empty_stream_is_empty() -> None:
    assert everything(decompressed(io.BytesIO())) == b""
    assert everything(decompressed(io.BytesIO(gzip.compress(b"")))) == b""


@ALL
def test_the_digest_is_that_of_the_plain_bytes(name: str) -> None:
    with HashingReader(decompressed(io.BytesIO(COMPRESSED[name]))) as stream:
        assert everything(stream, 10_000) == PLAIN
        assert stream.read(1) == b""
        assert stream.digest == "sha256:" + hashlib.sha256(PLAIN).hexdigest()
        assert stream.size_bytes == len(PLAIN)


def test_the_reader_raises_what_its_thread_met() -> None:
    with (
        HashingReader(decompressed(io.BytesIO(COMPRESSED["gzip"][:-9]))) as stream,
        pytest.raises(Corrupt, match="truncated"),
    ):
        everything(stream)


def test_leaving_early_ends_the_thread() -> None:
    class Endless:
        def read(self, size: int, /) -> bytes:
            return bytes(size)

    with HashingReader(Endless()) as stream:
        assert stream.read(10) == bytes(10)
    assert not stream._thread.is_alive()
