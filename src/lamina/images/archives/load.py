"""Loading an archive: all of its images, or none.

One operation holds everything: layers arrive under its leases, and only when all of them are
stored does one transaction enter every image with its names. A bad archive, a full disk or a kill
at any moment leaves what was there before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from lamina.digests import ChainID, DiffID, ImageID
from lamina.errors import Corrupt
from lamina.images.archives.docker import MANIFEST, REPOSITORIES, plan_docker, plan_legacy
from lamina.images.archives.oci import INDEX, plan_oci
from lamina.images.archives.plan import LayerSource, LegacyImage, Plan, PlannedImage, invalid
from lamina.images.archives.source import Archive, CheckedStream, open_archive
from lamina.images.platform import Platform
from lamina.images.reference import Reference

if TYPE_CHECKING:
    from lamina.images.store import ImageStore
    from lamina.store.operations import Operation


@dataclass(frozen=True, slots=True)
class LayerProgress:
    """So much of a layer's tar has been taken in."""

    diff_id: DiffID | None
    done_bytes: int
    total_bytes: int
    """Of the member in the archive: compressed, where that is."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A name that meant another image, which has lost it."""

    reference: Reference
    image: ImageID

    def __str__(self) -> str:
        return (
            f"The image {self.reference.familiar()} already exists, renaming the old one with ID "
            f"{self.image} to empty string"
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image of the archive that is now stored, by one of its names or (None) by its id."""

    image: ImageID
    reference: Reference | None

    def __str__(self) -> str:
        if self.reference is None:
            return f"Loaded image ID: {self.image}"
        return f"Loaded image: {self.reference.familiar()}"


LoadEvent = LayerProgress | Replaced | Loaded
Report = Callable[[LoadEvent], None]


def load(
    images: ImageStore,
    source: BinaryIO | Path,
    *,
    platform: Platform | None = None,
    report: Report | None = None,
) -> Sequence[Loaded]:
    """Store every image of an archive: a folder, a file, or a stream, compressed or not.

    InvalidInput or Corrupt where it is not what it should be; then nothing of it is stored.
    """
    tell = report or _silently
    with images.root.operation("load") as operation:
        archive = open_archive(operation, source)
        try:
            plan = plan_archive(archive, platform or Platform.host())
            _refuse_too_deep(images, plan)
            stored = [_store_layers(images, operation, archive, image, tell) for image in plan]
        finally:
            archive.close()
        loaded: list[Loaded] = []
        with images.root.database.transaction():
            for image, diff_ids in zip(plan, stored, strict=True):
                loaded += _enter(images, operation, image, diff_ids, tell)
    for each in loaded:
        tell(each)
    return loaded


def plan_archive(archive: Archive, platform: Platform) -> Plan:
    """What the archive holds, by whichever table of contents it has."""
    if archive.has(MANIFEST):
        return plan_docker(archive)
    if archive.has(INDEX):
        return plan_oci(archive, platform)
    if archive.has(REPOSITORIES):
        return plan_legacy(archive)
    raise invalid(f"it has neither {MANIFEST} nor {INDEX}")


def _refuse_too_deep(images: ImageStore, plan: Plan) -> None:
    """An image that could never be started is refused before any of it is written."""
    images.layers.require_depth(max((len(image.layers) for image in plan), default=0))


def _store_layers(
    images: ImageStore,
    operation: Operation,
    archive: Archive,
    image: PlannedImage | LegacyImage,
    tell: Report,
) -> list[DiffID]:
    parent: ChainID | None = None
    found: list[DiffID] = []
    for source, expected in zip(image.layers, image.diff_ids, strict=True):
        layer = _store_layer(images, operation, archive, source, expected, parent, tell)
        parent = layer[0]
        found.append(layer[1])
    return found


def _store_layer(
    images: ImageStore,
    operation: Operation,
    archive: Archive,
    source: LayerSource,
    expected: DiffID | None,
    parent: ChainID | None,
    tell: Report,
) -> tuple[ChainID, DiffID]:
    section = archive.open(source.member)
    try:
        checked = None
        if source.digest is not None:
            checked = CheckedStream(section, source.digest, source.size_bytes)
        total = section.size_bytes
        # A plain tar's digest is its diff id, which is checked in any case: not hashed twice.
        stream = section if checked is None or source.digest == expected else checked
        try:
            layer = images.layers.apply(
                operation,
                cast(BinaryIO, stream),
                parent,
                expected=expected,
                progress=lambda done: tell(LayerProgress(expected, done, total)),
            )
        except Corrupt as error:
            if error.message.startswith("invalid archive"):
                raise
            raise Corrupt(f"invalid archive: {error.message}", remedy=error.remedy) from None
        if checked is not None and checked.started:
            checked.finish()
        return layer.chain_id, layer.diff_id
    finally:
        section.close()


def _enter(
    images: ImageStore,
    operation: Operation,
    planned: PlannedImage | LegacyImage,
    diff_ids: Sequence[DiffID],
    tell: Report,
) -> list[Loaded]:
    config = planned.encode_config(diff_ids)
    names = list(dict.fromkeys(planned.names))
    before = {name: images.named(name) for name in names}
    image = images.create(operation, config, tags=names)
    for name, old in before.items():
        if old is not None and old.id != image.id:
            tell(Replaced(name, old.id))
    if not names:
        return [Loaded(image.id, None)]
    return [Loaded(image.id, name) for name in names]


def _silently(event: LoadEvent) -> None:
    """Nobody asked."""
