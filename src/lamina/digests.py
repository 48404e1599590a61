"""Digests, and the chain ids that are computed from them.

Source: OCI image-spec, descriptor.md (digests) and config.md (DiffID, ChainID).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Self

from lamina.errors import InvalidInput

_HEX = frozenset("0123456789abcdef")


class Digest(str):
    """`sha256:` and 64 lowercase hexadecimal digits: the name of some bytes."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if len(text) != 71 or not text.startswith("sha256:") or not _HEX.issuperset(text[7:]):
            raise InvalidInput(f"invalid digest {text[:100]!r}: want sha256:<64 hex digits>")
        return super().__new__(cls, text)

    @property
    def hex(self) -> str:
        """The 64 digits after the algorithm's name."""
        return self[7:]

    @property
    def short(self) -> str:
        """The first 12 digits, as Docker prints ids."""
        return self[7:19]

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The digest of these bytes."""
        return cls("sha256:" + hashlib.sha256(data).hexdigest())


class DiffID(Digest):
    """The digest of a layer's uncompressed tar."""

    __slots__ = ()


class ChainID(Digest):
    """The name of a layer applied on top of its parents."""

    __slots__ = ()


class ImageID(Digest):
    """The digest of an image's configuration: what Docker calls the image's id."""

    __slots__ = ()


def chain_id(parent: ChainID | None, diff_id: DiffID) -> ChainID:
    """The chain id of a layer with this diff id on this parent (None: it is a base layer)."""
    if parent is None:
        return ChainID(diff_id)
    return ChainID(Digest.of(f"{parent} {diff_id}".encode()))


def chain_ids(diff_ids: Iterable[DiffID]) -> Sequence[ChainID]:
    """The chain id of every layer of an image, base first."""
    found: list[ChainID] = []
    for diff_id in diff_ids:
        found.append(chain_id(found[-1] if found else None, diff_id))
    return found
