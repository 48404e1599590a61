"""Sparse members: GNU's old format and its PAX formats 0.0, 0.1 and 1.0.

Source: the GNU tar manual, "Storing Sparse Files". The archive stores only the pieces that are
not holes; `resolve` finds where they belong and gives the member its real name and size.
"""

from __future__ import annotations

from collections.abc import Callable

from lamina.errors import Corrupt
from lamina.tar.entry import Entry, Kind
from lamina.tar.header import BLOCK, Block, parse_number

_MAX_PIECES = 1 << 20


def resolve(
    entry: Entry,
    block: Block,
    records: list[tuple[bytes, bytes]],
    take: Callable[[int], bytes],
    take_header: Callable[[int], bytes],
) -> None:
    """Turn an entry that its headers call sparse into what it stands for; leave any other.

    `take` gives the next bytes of the payload, `take_header` those of blocks that precede it.
    """
    if entry.kind is not Kind.FILE:
        return
    stored = entry.size
    if block.flag == b"S":
        _resolve_old(entry, block.raw, stored, take_header)
        return
    about = [(key, value) for key, value in records if key.startswith(b"GNU.sparse.")]
    if not about:
        return
    fields = dict(about)
    numbers: list[int]
    if fields.get(b"GNU.sparse.major") == b"1" and fields.get(b"GNU.sparse.minor") == b"0":
        numbers, used = _map_in_payload(entry, take)
        stored -= used
    elif b"GNU.sparse.map" in fields:
        numbers = [_decimal(entry, n) for n in fields[b"GNU.sparse.map"].split(b",") if n]
    elif b"GNU.sparse.numblocks" in fields:
        wanted = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        numbers = [_decimal(entry, value) for key, value in about if key in wanted]
    else:
        return
    size = fields.get(b"GNU.sparse.realsize", fields.get(b"GNU.sparse.size"))
    if size is None:
        raise Corrupt(f"corrupt tar member {entry.shown}: a sparse file without its size")
    entry.name = fields.get(b"GNU.sparse.name", entry.name)
    entry.size = _decimal(entry, size)
    entry.sparse = _pieces(entry, numbers, stored)


def _resolve_old(
    entry: Entry, raw: bytes, stored: int, take_header: Callable[[int], bytes]
) -> None:
    """GNU's own format: four pieces in the header, 21 in each block that says it is followed."""
    numbers = _fields(raw[386:482])
    extended = raw[482]
    while extended:
        block = take_header(BLOCK)
        numbers += _fields(block[:504])
        extended = block[504]
        if len(numbers) > 2 * _MAX_PIECES:
            raise Corrupt(f"refused tar member {entry.shown}: more than {_MAX_PIECES} pieces")
    entry.size = parse_number(raw[483:495])
    if entry.size < 0:
        raise Corrupt(f"corrupt tar member {entry.shown}: its size is {entry.size}")
    entry.sparse = _pieces(entry, numbers, stored)


def _fields(raw: bytes) -> list[int]:
    """The offsets and lengths in these fields of 12 bytes, up to the first that is empty."""
    found: list[int] = []
    for at in range(0, len(raw), 24):
        if not raw[at] and not raw[at + 12]:
            break
        found += [parse_number(raw[at : at + 12]), parse_number(raw[at + 12 : at + 24])]
    return found


def _map_in_payload(entry: Entry, take: Callable[[int], bytes]) -> tuple[list[int], int]:
    """The map of format 1.0: decimal lines at the payload's start, padded to a block."""
    data = b""
    count = -1
    while True:
        data += take(BLOCK)
        lines = data.split(b"\n")
        if count < 0 and len(lines) > 1:
            count = _decimal(entry, lines[0])
            if count > _MAX_PIECES:
                raise Corrupt(f"refused tar member {entry.shown}: {count} pieces")
        if count >= 0 and len(lines) > 1 + 2 * count:
            return [_decimal(entry, n) for n in lines[1 : 1 + 2 * count]], len(data)


def _pieces(entry: Entry, numbers: list[int], stored: int) -> tuple[tuple[int, int], ...]:
    pieces = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    at = 0
    for offset, length in pieces:
        if offset < at or length < 0 or offset + length > entry.size:
            raise Corrupt(f"corrupt tar member {entry.shown}: its sparse map makes no sense")
        at = offset + length
    if len(numbers) % 2 or sum(length for _, length in pieces) != stored:
        raise Corrupt(f"corrupt tar member {entry.shown}: its sparse map makes no sense")
    return pieces


def _decimal(entry: Entry, text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise Corrupt(f"corrupt tar member {entry.shown}: its sparse map is not numbers")
    return int(text)
