"""The blocks and records that describe a member, without any I/O.

Dialects: V7, ustar (POSIX.1-1988), star, GNU (base-256 numbers, L and K records, sparse files)
and PAX (POSIX.1-2001) with SCHILY.xattr. Where writers and readers in the field disagree, Go's
archive/tar is followed, since it made nearly every layer there is: a global PAX header changes
nothing, links and devices have no payload whatever their size field says.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from lamina.errors import Corrupt
from lamina.tar.entry import NO_XATTRS, Entry, Kind

BLOCK = 512
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12s")
_KINDS = {kind.value: kind for kind in Kind} | {b"\0": Kind.FILE, b"7": Kind.FILE, b"S": Kind.FILE}
_MAX_ID = 2**32 - 2  # (uid_t) -1 means "leave as it is" to chown(2)
_MAX_SIZE = 2**63 - 1
_MAX_SECONDS = 2**55
_NANO = 1_000_000_000


class Block(NamedTuple):
    """A header block, still in its own terms: one of several that may make up a member."""

    flag: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    major: int
    minor: int
    raw: bytes


def parse_number(text: bytes) -> int:
    """A numeric field: octal digits between blanks and NULs, or base-256 (GNU)."""
    if text[0] & 0x80:
        value = int.from_bytes(text, "big") & ((1 << (8 * len(text) - 1)) - 1)
        if text[0] & 0x40:  # two's complement
            value -= 1 << (8 * len(text) - 1)
        return value
    digits = text.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise Corrupt(f"corrupt tar header: {text!r} is not a number")
    try:
        return int(digits, 8)
    except ValueError:
        raise Corrupt(f"corrupt tar header: {text!r} is not an octal number") from None


_small = lru_cache(4096)(parse_number)  # modes, owners and device numbers repeat


def parse_block(raw: bytes) -> Block:
    """Parse one header block and check its checksum."""
    (
        name, mode, uid, gid, size, mtime, checksum, flag, link, magic, _version, _user, _group,
        major, minor, prefix, trailer,
    ) = _HEADER.unpack(raw)  # fmt: skip
    wanted = parse_number(checksum)
    if sum(raw) - sum(checksum) + 256 != wanted and _signed_sum(raw) != wanted:
        raise Corrupt("corrupt tar header: its checksum does not match")
    name = name.partition(b"\0")[0]
    if magic == b"ustar\0":
        if trailer[8:] == b"tar\0":  # star keeps access and change times in the prefix's end
            prefix = prefix[:131]
        if prefix[0]:
            name = prefix.partition(b"\0")[0] + b"/" + name
    devices = magic[:5] == b"ustar" and flag in b"34"
    return Block(
        flag,
        name,
        link.partition(b"\0")[0],
        _small(mode),
        _small(uid),
        _small(gid),
        parse_number(size),
        parse_number(mtime),
        _small(major) if devices else 0,
        _small(minor) if devices else 0,
        raw,
    )


def _signed_sum(raw: bytes) -> int:
    """Checksum as old writers with a signed char type made it."""
    field = raw[:148] + b" " * 8 + raw[156:]
    return sum(byte - 256 if byte > 127 else byte for byte in field)


def parse_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a PAX header: `length key=value\\n` each (pax(1))."""
    records: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 12)
        digits = data[at:blank] if blank > 0 else b""
        if not digits.isdigit():
            if not data[at:].strip(b"\0"):
                break
            raise Corrupt("corrupt PAX header: a record does not begin with its length")
        end = at + int(digits)
        record = data[blank + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if end > len(data) or record[-1:] != b"\n" or not equals or not key:
            raise Corrupt("corrupt PAX header: a record does not end where its length says")
        if b"\0" in key:
            raise Corrupt("corrupt PAX header: a NUL in a key")
        records.append((key, value))
        at = end
    return records


def _decimal(key: bytes, value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise Corrupt(f"corrupt PAX header: {key.decode(errors='replace')} is not a number")
    return int(value)


def _time_ns(value: bytes) -> int:
    """A PAX time: seconds with a fraction of any length, truncated towards the past."""
    sign = -1 if value[:1] == b"-" else 1
    whole, _, fraction = value.lstrip(b"-").partition(b".")
    if not whole.isdigit() or (fraction and not fraction.isdigit()) or len(whole) > 17:
        raise Corrupt(f"corrupt PAX header: {value[:40]!r} is not a time")
    return sign * (int(whole) * _NANO + int(fraction[:9].ljust(9, b"0") or b"0"))


_XATTR = b"SCHILY.xattr."
_NOWHERE = Block(b"0", b"", b"", 0, 0, 0, 0, 0, 0, 0, b"")


def build_entry(
    block: Block, records: list[tuple[bytes, bytes]], long_name: bytes, long_link: bytes
) -> Entry:
    """Join what the blocks of one member say; its size is that of the payload in the archive."""
    kind = _KINDS.get(block.flag)
    name, link, size, uid, gid = block.name, block.link, block.size, block.uid, block.gid
    mtime_ns = block.mtime * _NANO
    xattrs = NO_XATTRS
    if records:
        xattrs = {}
        for key, value in records:
            if key.startswith(_XATTR):
                xattrs[key[len(_XATTR) :]] = value
            elif not value:  # takes back what a global header said: the block's own value holds
                continue
            elif key == b"path":
                name = value
            elif key == b"linkpath":
                link = value
            elif key == b"size":
                size = _decimal(key, value)
            elif key == b"uid":
                uid = _decimal(key, value)
            elif key == b"gid":
                gid = _decimal(key, value)
            elif key == b"mtime":
                mtime_ns = _time_ns(value)
    if long_name:
        name = long_name
    if long_link:
        link = long_link
    shown = name[:200].decode(errors="replace")
    if kind is None:
        flag = block.flag.decode(errors="replace")
        raise Corrupt(f"unsupported tar member {shown!r}: unknown type {flag!r}")
    if b"\0" in name or b"\0" in link or any(b"\0" in key for key in xattrs):
        raise Corrupt(f"corrupt tar member {shown!r}: a NUL in a name")
    if kind is Kind.FILE:
        if block.flag == b"\0" and name.endswith(b"/"):  # V7 had no type for folders
            kind, size = Kind.FOLDER, 0
    else:
        size = 0
    if not 0 <= size <= _MAX_SIZE:
        raise Corrupt(f"corrupt tar member {shown!r}: its size is {size}")
    if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID):
        raise Corrupt(f"corrupt tar member {shown!r}: its owner is {uid}:{gid}")
    if not -_MAX_SECONDS < mtime_ns // _NANO < _MAX_SECONDS:
        raise Corrupt(f"corrupt tar member {shown!r}: its time is out of range")
    if not (0 <= block.major < 1 << 12 and 0 <= block.minor < 1 << 20):
        raise Corrupt(f"corrupt tar member {shown!r}: no such device number")
    return Entry(
        name,
        kind,
        block.mode & 0o7777,
        uid,
        gid,
        size,
        mtime_ns,
        link,
        block.major,
        block.minor,
        xattrs,
        None,
    )
