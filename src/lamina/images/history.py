"""An image's history as Docker shows it: newest first, each step with the size of its layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lamina.digests import ImageID
from lamina.images.config import ImageConfig

MISSING = "<missing>"


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """One row of `image history`. `id` is None for a step that has no image of its own."""

    id: ImageID | None
    created_ns: int
    created_by: str
    size_bytes: int
    comment: str
    tags: tuple[str, ...] = ()


def history_steps(
    config: ImageConfig,
    layer_sizes: Sequence[int],
    *,
    image: ImageID,
    tags: Sequence[str] = (),
) -> list[HistoryStep]:
    """The steps, newest first; `layer_sizes` are the layers' sizes, base first.

    A history that names more layers than there are gives 0 for those without one; an image whose
    maker recorded no history has one step for itself.
    """
    if not config.history:
        total = sum(layer_sizes)
        return [HistoryStep(image, config.created_ns, "", total, config.comment, tuple(tags))]
    sizes = iter(layer_sizes)
    steps = [
        HistoryStep(
            id=None,
            created_ns=entry.created_ns,
            created_by=entry.created_by,
            size_bytes=0 if entry.empty_layer else next(sizes, 0),
            comment=entry.comment,
        )
        for entry in config.history
    ]
    newest = steps[-1]
    steps[-1] = HistoryStep(
        id=image,
        created_ns=newest.created_ns,
        created_by=newest.created_by,
        size_bytes=newest.size_bytes,
        comment=newest.comment,
        tags=tuple(tags),
    )
    return steps[::-1]
