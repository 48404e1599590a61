"""Writing archives: plain where it can be, always the same, readable by others."""

from __future__ import annotations

import io
import tarfile

import pytest

from lamina.errors import InvalidInput
from lamina.tar.entry import Entry, Kind
from lamina.tar.reader import TarReader
from lamina.tar.write import TarWriter, encode
from tarkit import archive, file, folder, hard_link, node, symlink

LONG = "/".join(["d" * 50] * 6)
MEMBERS = [
    folder("etc", 0o1777, uid=5, gid=6, mtime_ns=1_700_000_000_000_000_000),
    file("etc/plain", b"abc", 0o4755),
    file("fraction", b"", mtime_ns=1_700_000_000_123_456_789),
    file("before", b"", mtime_ns=-1_500_000_000),
    file("far", b"", mtime_ns=2**36 * 10**9),
    file("large-owner", b"", uid=2**31, gid=2**32 - 2),
    file("unicode-é", b"1"),
    file(b"not-utf8-\xff", b"2"),
    file(LONG, b"3"),
    file("p" * 100 + "/" + "n" * 100, b"4"),
    folder("f" * 120),
    symlink("link", "t" * 300),
    hard_link("hard", "etc/plain"),
    node("block", Kind.BLOCK_DEVICE, 259, 70000),
    node("fifo", Kind.FIFO),
    file("capable", b"5", xattrs={b"security.capability": b"\1\0\0\2\0=\n", b"user.empty": b""}),
]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda m: m[0].name[:20].decode(errors="replace"))
def test_what_is_written_is_read_back(member: tuple[Entry, bytes]) -> None:
    entry, data = member
    reader = TarReader(io.BytesIO(archive(member)))
    read = next(reader)
    assert reader.read() == data
    read.name = read.name.rstrip(b"/")
    assert read == entry
    assert list(reader) == []


def test_the_standard_library_reads_the_same() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(*MEMBERS)), errors="surrogateescape") as tar:
        infos = tar.getmembers()
    assert len(infos) == len(MEMBERS)
    for info, (entry, _) in zip(infos, MEMBERS, strict=True):
        assert info.name.encode(errors="surrogateescape") == entry.name
        assert (info.uid, info.gid, info.mode) == (entry.uid, entry.gid, entry.mode)
        assert info.linkname.encode() == entry.link
        assert float(info.mtime) == pytest.approx(entry.mtime_ns / 10**9)


def test_members_that_ustar_can_hold_get_no_extended_header() -> None:
    assert len(encode(file("a" * 100)[0])) == 512
    assert len(encode(file("p" * 100 + "/" + "n" * 100)[0])) == 512
    assert len(encode(folder("x", mtime_ns=10**9)[0])) == 512
    assert len(encode(file("a" * 101)[0])) == 1536


def test_a_record_counts_its_own_length() -> None:
    for size in range(80, 120):
        (entry,) = TarReader(io.BytesIO(archive(file("f", xattrs={b"user.x": b"v" * size}))))
        assert entry.xattrs[b"user.x"] == b"v" * size


def test_content_of_another_size_is_refused() -> None:
    writer = TarWriter(io.BytesIO())
    with pytest.raises(InvalidInput):
        writer.add(Entry(b"f", Kind.FILE, size=5), b"1234")
    with pytest.raises(InvalidInput, match="shorter"):
        writer.add(Entry(b"f", Kind.FILE, size=5), io.BytesIO(b"1234"))
