"""What a build is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.digests import ImageID
    from lamina.images.image import Image


@dataclass(frozen=True)
class BuildRequest:
    """What to build. Without a context, there is nothing to COPY from.

    `dockerfile` is the file's path (None: `Dockerfile` in the context), `definition` its content
    where it is not in a file.
    """

    context: Path | None = None
    dockerfile: Path | None = None
    definition: bytes | None = None
    tags: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    network: str = "default"
    use_cache: bool = True


@dataclass(frozen=True)
class BuildResult:
    """The image that was built, and what its maker should know."""

    image: Image
    warnings: tuple[str, ...]

    @property
    def image_id(self) -> ImageID:
        """The id of the image."""
        return self.image.id
