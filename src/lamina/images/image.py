"""What the image store answers with: an image, and what a removal took away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from lamina.digests import ChainID, ImageID
from lamina.images.config import ImageConfig
from lamina.images.reference import Reference


@dataclass(frozen=True)
class Image:
    """One image of a data root. `config` is read from the content store when first asked for."""

    id: ImageID
    chain: ChainID | None
    size_bytes: int
    created_ns: int
    added_ns: int
    parent: ImageID | None
    tags: tuple[Reference, ...]
    digests: tuple[Reference, ...]
    tagged_ns: int
    """When a tag was last put on it here; 0: never."""
    read_config: Callable[[], bytes] = field(repr=False, compare=False)

    @cached_property
    def config(self) -> ImageConfig:
        """The configuration, whose bytes' digest is the image's id."""
        return ImageConfig.parse(self.read_config())

    @property
    def names(self) -> tuple[Reference, ...]:
        """Every reference to it: tags, then digests."""
        return self.tags + self.digests


@dataclass(frozen=True, slots=True)
class Untagged:
    """A reference that was taken off an image."""

    reference: Reference

    def __str__(self) -> str:
        return f"Untagged: {self.reference.familiar()}"


@dataclass(frozen=True, slots=True)
class Deleted:
    """An image (by its id) or a layer (by its chain id) that is no more, and the bytes it freed."""

    digest: ImageID | ChainID
    freed_bytes: int = 0

    def __str__(self) -> str:
        return f"Deleted: {self.digest}"


Removal = Untagged | Deleted
