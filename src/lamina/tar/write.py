"""Writing a tar, always the same bytes for the same members.

Plain ustar headers where they can hold a member, and before it a PAX header with just what they
cannot: long or non-ASCII names, large numbers, times with a fraction, extended attributes
(SCHILY.xattr). No access or change times and no owner names: they would differ between equal
trees.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from lamina.errors import InvalidInput
from lamina.tar.entry import Entry, Kind
from lamina.tar.header import BLOCK
from lamina.tar.reader import Stream

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_CHUNK = 1 << 20
_NANO = 1_000_000_000


class TarWriter:
    """Members in, archive out. `close` writes the end mark; it does not close `out`."""

    def __init__(self, out: BinaryIO) -> None:
        self._write = out.write

    def add(self, entry: Entry, data: bytes | Stream = b"") -> None:
        """Append a member; `data` is its content, of exactly `entry.size` bytes."""
        self._write(encode(entry))
        if entry.kind is not Kind.FILE or not entry.size:
            return
        if isinstance(data, bytes):
            if len(data) != entry.size:
                raise InvalidInput(f"{entry.name!r} has {len(data)} bytes, not {entry.size}")
            self._write(data)
        else:
            left = entry.size
            while left:
                piece = data.read(min(left, _CHUNK))
                if not piece:
                    raise InvalidInput(f"{entry.name!r} became shorter while it was read")
                self._write(piece)
                left -= len(piece)
        if entry.size % BLOCK:
            self._write(bytes(-entry.size % BLOCK))

    def close(self) -> None:
        """Write the two blocks of zeros that end an archive."""
        self._write(bytes(2 * BLOCK))


def encode(entry: Entry) -> bytes:
    """The header blocks of a member."""
    name = entry.name
    if entry.kind is Kind.FOLDER and not name.endswith(b"/"):
        name += b"/"
    records: dict[bytes, bytes] = {}
    prefix, short = _split(name)
    if short is None:
        records[b"path"] = name
        prefix, short = b"", _ascii(name)[:100]
        if entry.kind is Kind.FOLDER:
            short = short[:99].rstrip(b"/") + b"/"
    link = entry.link
    if len(link) > 100 or not link.isascii():
        records[b"linkpath"] = link
        link = _ascii(link)[:100]
    size = entry.size if entry.kind is Kind.FILE else 0
    numbers = {b"uid": entry.uid, b"gid": entry.gid, b"size": size}
    for key, value in numbers.items():
        if value >= (8**11 if key == b"size" else 8**7):
            records[key] = b"%d" % value
            numbers[key] = 0
    seconds, fraction = divmod(entry.mtime_ns, _NANO)
    if fraction or not 0 <= seconds < 8**11:
        records[b"mtime"] = _time(entry.mtime_ns)
        seconds = seconds if 0 <= seconds < 8**11 else 0
    for key, attribute in entry.xattrs.items():
        if b"=" in key:
            raise InvalidInput(f"{entry.name!r}: a tar cannot hold the attribute name {key!r}")
        records[b"SCHILY.xattr." + key] = attribute
    header = _block(
        short,
        entry.mode & 0o7777,
        numbers[b"uid"],
        numbers[b"gid"],
        numbers[b"size"],
        seconds,
        entry.kind.value,
        link,
        entry.major,
        entry.minor,
        prefix,
    )
    if not records:
        return header
    data = b"".join(_record(key, value) for key, value in sorted(records.items()))
    folder, _, base = name.rstrip(b"/").rpartition(b"/")
    about = b"/".join(part for part in (folder, b"PaxHeaders.0", base) if part)
    extended = _block(_ascii(about)[:100].rstrip(b"/"), 0, 0, 0, len(data), 0, b"x")
    return extended + data + bytes(-len(data) % BLOCK) + header


def _block(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    flag: bytes,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    prefix: bytes = b"",
) -> bytes:
    raw = _HEADER.pack(
        name,
        b"%07o" % mode,
        b"%07o" % uid,
        b"%07o" % gid,
        b"%011o" % size,
        b"%011o" % mtime,
        b" " * 8,
        flag,
        link,
        b"ustar\00000",
        b"",
        b"",
        b"%07o" % major,
        b"%07o" % minor,
        prefix,
    )
    return raw[:148] + b"%06o\0 " % sum(raw) + raw[156:]


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """A name as ustar holds it, prefix and rest; (b"", None) if it cannot."""
    if not name.isascii():
        return b"", None
    if len(name) <= 100:
        return b"", name
    if len(name) > 256:
        return b"", None
    at = name.rfind(b"/", 0, min(156, len(name) - 1))
    if at <= 0 or len(name) - at - 1 > 100:
        return b"", None
    return name[:at], name[at + 1 :]


def _ascii(name: bytes) -> bytes:
    return bytes(byte for byte in name if byte < 128)


def _time(time_ns: int) -> bytes:
    sign = b"-" if time_ns < 0 else b""
    seconds, fraction = divmod(abs(time_ns), _NANO)
    text = b"%s%d" % (sign, seconds)
    return text + (b".%09d" % fraction).rstrip(b"0") if fraction else text


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" %s=%s\n" % (key, value)
    size = len(rest)
    length = size + len(str(size))
    if len(str(length)) != len(str(size)):
        length = size + len(str(length))
    return b"%d%s" % (length, rest)
