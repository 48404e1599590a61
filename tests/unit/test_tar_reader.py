"""Reading headers of every dialect, and refusing what is none."""

from __future__ import annotations

import io
import tarfile

import pytest

from lamina.errors import Corrupt
from lamina.tar.entry import Entry, Kind
from lamina.tar.reader import Limits, TarReader
from lamina.tar.write import encode
from tarkit import Journal, Trickle, archive, file, folder, hard_link, node, symlink


def members(data: bytes, **options: object) -> list[Entry]:
    return list(TarReader(io.BytesIO(data), **options))  # type: ignore[arg-type]


def by_tarfile(format: int, *infos: tarfile.TarInfo, data: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_dialect_gives_the_same_member(format: int) -> None:
    info = tarfile.TarInfo("usr/share/" + "d" * 60 + "/" + "f" * 60)
    info.mode, info.uid, info.gid, info.mtime, info.size = 0o4755, 7, 8, 1_700_000_000, 3
    (entry,) = members(by_tarfile(format, info, data=b"abc"))
    assert entry.name == info.name.encode()
    assert (entry.kind, entry.mode, entry.uid, entry.gid) == (Kind.FILE, 0o4755, 7, 8)
    assert (entry.size, entry.mtime_ns) == (3, 1_700_000_000 * 10**9)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_links_and_large_numbers_are_whole(format: int) -> None:
    info = tarfile.TarInfo("n" * 300 + "/" + "é" * 200)
    info.type, info.linkname = tarfile.SYMTYPE, "t" * 500
    info.uid, info.gid, info.mtime = 2**31, 2**32 - 2, 2**34
    (entry,) = members(by_tarfile(format, info))
    assert entry.name == info.name.encode()
    assert entry.link == b"t" * 500
    assert (entry.uid, entry.gid) == (2**31, 2**32 - 2)
    assert entry.mtime_ns == 2**34 * 10**9


def test_a_time_before_the_epoch_and_a_fraction_of_any_length_are_read() -> None:
    def mtime(text: str) -> int:
        info = tarfile.TarInfo("f")
        info.pax_headers = {"mtime": text}
        return members(by_tarfile(tarfile.PAX_FORMAT, info))[0].mtime_ns

    assert mtime("1.000000001") == 1_000_000_001
    assert mtime("1.0000000019") == 1_000_000_001
    assert mtime("-1.5") == -1_500_000_000
    assert mtime("12") == 12_000_000_000


def test_extended_attributes_keep_any_bytes() -> None:
    value = b"\1\0\0\2\n=\xff"
    (entry,) = members(archive(file("f", xattrs={b"security.capability": value, b"user.e": b""})))
    assert entry.xattrs == {b"security.capability": value, b"user.e": b""}


def test_an_old_tar_marks_a_folder_by_its_slash() -> None:
    info = tarfile.TarInfo("old")
    raw = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    raw[0:4], raw[156:157], raw[257:265] = b"old/", b"\0", b"\0" * 8
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    (entry,) = members(bytes(raw) + bytes(1024))
    assert (entry.name, entry.kind) == (b"old/", Kind.FOLDER)


def test_a_global_header_changes_nothing() -> None:
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "x", "comment": "c"}
    ) as tar:
        tar.addfile(tarfile.TarInfo("real"))
    assert [entry.name for entry in members(out.getvalue())] == [b"real"]


def test_links_have_no_payload_whatever_their_size_says() -> None:
    info = tarfile.TarInfo("l")
    info.type, info.linkname, info.size = tarfile.LNKTYPE, "f", 600
    header = info.tobuf(tarfile.USTAR_FORMAT)
    assert [e.name for e in members(header + archive(file("after")))] == [b"l", b"after"]


def test_a_payload_is_read_in_pieces_and_the_rest_is_skipped() -> None:
    reader = TarReader(Trickle(archive(file("a", b"x" * 3000), file("b", b"yy"), file("c"))))
    names = []
    for entry in reader:
        names.append(entry.name)
        if entry.name == b"a":
            assert reader.read(10) == b"x" * 10
        if entry.name == b"b":
            assert reader.read() == b"yy"
            assert reader.read() == b""
    assert names == [b"a", b"b", b"c"]


def test_the_recorder_is_told_every_byte_in_order() -> None:
    data = archive(folder("d"), file("d/f", b"z" * 5000), symlink("l", "f")) + b"trailing" * 100
    for step in (1 << 20, 700, 512, 1):
        journal = Journal()
        reader = TarReader(Trickle(data, step), recorder=journal)
        for _ in reader:
            reader.read(100)
        assert b"".join(part for part in journal.parts if isinstance(part, bytes)) == data


def test_an_archive_may_end_without_its_mark_or_be_empty() -> None:
    assert members(b"") == []
    assert [e.name for e in members(archive(file("f", b"1"))[:-1024])] == [b"f"]


@pytest.mark.parametrize("format", ["old", "0.0", "0.1", "1.0"])
def test_sparse_members_get_their_real_name_and_size(format: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = {"old": _sparse_old, "0.0": _sparse_0_0, "0.1": _sparse_0_1, "1.0": _sparse_1_0}[
        format
    ]()
    journal = Journal()
    reader = TarReader(Trickle(data), recorder=journal)
    entry = next(reader)
    assert (entry.name, entry.size) == (b"real", 5000)
    with open(tmp_path / "f", "wb") as out:
        reader.copy_to(out.fileno(), b"real")
    assert (tmp_path / "f").read_bytes() == bytes(1000) + b"abc" + bytes(2997) + b"de" + bytes(998)
    assert list(reader) == []
    assert b"".join(part for part in journal.parts if isinstance(part, bytes)) == data


def _sparse(records: list[tuple[str, str]], payload: bytes) -> bytes:
    from lamina.tar.write import _block, _record

    data = b"".join(_record(key.encode(), value.encode()) for key, value in records)
    header = _block(b"x", 0, 0, 0, len(data), 0, b"x") + data + bytes(-len(data) % 512)
    body = _block(b"GNUSparseFile.0/real", 0o644, 0, 0, len(payload), 0, b"0") + payload
    return header + body + bytes(-len(payload) % 512) + bytes(1024)


def _sparse_old() -> bytes:
    def pair(offset: int, size: int) -> bytes:
        return b"%011o\0%011o\0" % (offset, size)

    raw = encode(file("real", b"abcde")[0])
    magic = b"ustar  \0"
    pieces = pair(1000, 1) + pair(1001, 1) + pair(1002, 1) + pair(4000, 1)
    raw = _with(_with(raw, 156, b"S"), 257, magic)
    raw = _with(raw, 386, pieces + b"\1" + b"%011o\0" % 5000)
    more = (pair(4001, 1) + pair(5000, 0)).ljust(512, b"\0")
    return raw + more + b"abcde".ljust(512, b"\0") + bytes(1024)


def _sparse_0_0() -> bytes:
    records = [("GNU.sparse.size", "5000"), ("GNU.sparse.numblocks", "2"), ("path", "real")]
    for offset, size in ((1000, 3), (4000, 2)):
        records += [("GNU.sparse.offset", str(offset)), ("GNU.sparse.numbytes", str(size))]
    return _sparse(records, b"abcde")


def _sparse_0_1() -> bytes:
    records = [("GNU.sparse.size", "5000"), ("GNU.sparse.map", "1000,3,4000,2")]
    return _sparse([*records, ("GNU.sparse.name", "real")], b"abcde")


def _sparse_1_0() -> bytes:
    records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "real")]
    payload = b"2\n1000\n3\n4000\n2\n".ljust(512, b"\0") + b"abcde"
    return _sparse([*records, ("GNU.sparse.realsize", "5000")], payload)


def _with(raw: bytes, at: int, field: bytes) -> bytes:
    """A header with a field replaced and its checksum made right again."""
    raw = raw[:at] + field + raw[at + len(field) :]
    raw = raw[:148] + b" " * 8 + raw[156:]
    return raw[:148] + b"%06o\0 " % sum(raw[:512]) + raw[156:]


_PLAIN = encode(file("f")[0])
BAD = {
    "text": b"This is no tar at all, but a page of text.\n" * 30,
    "a stub": b"short",
    "a flipped bit": _PLAIN[:10] + b"!" + _PLAIN[11:] + bytes(1024),
    "a negative size": _with(_PLAIN, 124, b"\xff" * 12) + bytes(1024),
    "a size with a sign": _with(_PLAIN, 124, b"-0000000001\0") + bytes(1024),
    "a size with an underscore": _with(_PLAIN, 124, b"0000000_001\0") + bytes(1024),
    "a size that is not octal": _with(_PLAIN, 124, b"00000000009\0") + bytes(1024),
    "a size beyond 63 bits": _with(_PLAIN, 124, b"\x80\0\0\0" + b"\xff" * 8) + bytes(1024),
    "an owner beyond 32 bits": _with(_PLAIN, 108, b"\x80\0\0\xff\xff\xff\xff\xff") + bytes(1024),
    "the owner -1": _with(_PLAIN, 108, b"\xff" * 8) + bytes(1024),
    "an unknown type": _with(_PLAIN, 156, b"Q") + bytes(1024),
    "a time out of range": _with(_PLAIN, 136, b"\x80" + b"\x7f" * 11) + bytes(1024),
    "a device number out of range": _with(
        encode(node("n", Kind.BLOCK_DEVICE)[0]), 329, b"7777777\0"
    )
    + bytes(1024),
    "a truncated payload": archive(file("f", b"x" * 600))[:900],
    "a truncated header": archive(file("f"))[:300],
    "a header announced and missing": archive(file("n" * 300))[:1024] + bytes(1024),
    "a single block of zeros": bytes(512) + archive(file("f")),
}


@pytest.mark.parametrize("name", BAD)
def test_rejects(name: str) -> None:
    with pytest.raises(Corrupt):
        for _ in TarReader(io.BytesIO(BAD[name])):
            pass


def _pax(data: bytes, size: int | None = None) -> bytes:
    from lamina.tar.write import _block

    header = _block(b"x", 0, 0, 0, len(data) if size is None else size, 0, b"x")
    return header + data + bytes(-len(data) % 512) + archive(file("f"))


@pytest.mark.parametrize(
    "data",
    [
        b"8 path=x\n",
        b"99 path=x\n",
        b"10 path=xx",
        b"path=x\n",
        b"-9 path=x\n",
        b"9 path x\n",
        b"6 =xx\n",
        b"13 path=a\0bc\n",
        b"11 size=-5\n",
        b"11 size=5x\n",
        b"13 mtime=1e9\n",
        b"15 mtime=1.2.3\n",
        b"999999999999999999999 path=x\n",
    ],
)
def test_rejects_the_extended_header(data: bytes) -> None:
    with pytest.raises(Corrupt):
        members(_pax(data))


def test_a_giant_extended_header_is_refused_before_it_is_read() -> None:
    with pytest.raises(Corrupt, match="a header of"):
        members(_pax(b"x" * 100, size=2 << 20))


def test_a_giant_long_name_is_refused_before_it_is_read() -> None:
    from lamina.tar.write import _block

    with pytest.raises(Corrupt, match="a header of"):
        members(_block(b"././@LongLink", 0, 0, 0, 8 << 30, 0, b"L") + bytes(4096))


def test_limits_end_what_would_go_on() -> None:
    many = archive(*(file(f"f{n}") for n in range(20)))
    with pytest.raises(Corrupt, match="more than 10 members"):
        members(many, limits=Limits(members=10))
    with pytest.raises(Corrupt, match="larger than"):
        members(archive(file("f", b"x" * 5000)), limits=Limits(total_bytes=4096))


def test_hard_links_and_devices_are_read() -> None:
    data = archive(hard_link("h", "f"), node("c", Kind.CHARACTER_DEVICE, 300, 70000))
    link, device = members(data)
    assert (link.kind, link.link) == (Kind.HARD_LINK, b"f")
    assert (device.major, device.minor) == (300, 70000)
