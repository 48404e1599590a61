"""Importing: the tar of a filesystem becomes an image with one layer and no past."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from lamina.images.config import HistoryEntry, ImageConfig, RunConfig, created_now
from lamina.images.image import Image
from lamina.images.platform import Platform
from lamina.images.reference import Reference

if TYPE_CHECKING:
    from lamina.images.store import ImageStore
    from lamina.layers.store import Progress


def import_tar(
    images: ImageStore,
    stream: BinaryIO,
    reference: Reference | None = None,
    *,
    run: RunConfig | None = None,
    message: str = "",
    origin: str = "-",
    platform: Platform | None = None,
    progress: Progress | None = None,
) -> Image:
    """Make an image of a tar (plain or compressed); `run` is what its containers start with.

    Without a `message` the history says where it came from: `Imported from -`.
    """
    platform = platform or Platform.host()
    message = message or f"Imported from {origin}"
    with images.root.operation("import") as operation:
        layer = images.layers.apply(operation, stream, None, progress=progress)
        now = created_now()
        config = ImageConfig(
            architecture=platform.architecture,
            os=platform.os,
            variant=platform.variant,
            diff_ids=(layer.diff_id,),
            run=run or RunConfig(),
            history=(HistoryEntry(created=now, comment=message),),
            created=now,
            comment=message,
        )
        tags = () if reference is None else (reference,)
        return images.create(operation, config.encode(), tags=tags)
