"""`system check`: what is stored, held against what its rows and journals say.

Content that this data root does not have whole is taken from an archive of the same image, whose
layers are found by the diff ids of its images' configurations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.digests import DiffID
from lamina.errors import NotFound
from lamina.layers.check import Budget, LayersChecked, all_layers, check_layers, layers_named
from lamina.layers.inventory import Finding, check_counters, take_inventory

if TYPE_CHECKING:
    from lamina.images.archives.plan import LayerSource
    from lamina.images.archives.source import Archive
    from lamina.images.store import ImageStore
    from lamina.layers.mending import Source
    from lamina.layers.records import Layer
    from lamina.tar.reader import Stream

__all__ = ["Budget", "Checked", "check"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    layers: LayersChecked
    findings: Sequence[Finding]

    @property
    def left(self) -> int:
        """How much is wrong, and stays so."""
        outcomes = [each.mended for each in self.layers.damage]
        outcomes += [each.mended for each in self.findings]
        return outcomes.count(False)


def check(
    images: ImageStore,
    names: Sequence[str] = (),
    *,
    budget: Budget | None = None,
    repair: bool = False,
    archive: Path | None = None,
) -> Checked:
    """Check the layers of these images, or these layers, or (no name) everything.

    With `repair`, mend what can be mended, from `archive` where it is not at hand. NotFound: one
    of the names means nothing.
    """
    store = images.layers
    wanted = [layer for name in names for layer in _named(images, name)]
    if not names:
        wanted = all_layers(store)
    findings: list[Finding] = []
    if not names:
        findings += take_inventory(store, repair=repair)
    with _source(images, archive) as source:
        layers = check_layers(
            store, wanted, budget=budget or Budget(), repair=repair, source=source
        )
    findings += check_counters(store, layers.sizes, repair=repair)
    if not names:
        findings += _image_counters(images, repair=repair)
    return Checked(layers, findings)


def _named(images: ImageStore, name: str) -> Sequence[Layer]:
    try:
        chain = images.resolve(name).chain
    except NotFound as error:
        try:
            return layers_named(images.layers, name)
        except NotFound:
            raise error from None
    return () if chain is None else images.layers.stack(chain)


def _image_counters(images: ImageStore, *, repair: bool) -> list[Finding]:
    """The sizes of images are the sums of their layers' sizes."""
    found = []
    with images.root.database.transaction() as tx:
        for image in images.list(intermediate=True):
            stack = () if image.chain is None else images.layers.stack(image.chain)
            true = sum(layer.size_bytes for layer in stack)
            if true == image.size_bytes:
                continue
            if repair:
                tx.execute("UPDATE images SET size_bytes=? WHERE id=?", (true, image.id))
            problem = f"is counted as {image.size_bytes} bytes, has {true}"
            found.append(Finding("counter", f"image {image.id}", problem, repair))
    return found


@contextmanager
def _source(images: ImageStore, path: Path | None) -> Iterator[Source | None]:
    """What an archive has of layers, by diff id."""
    if path is None:
        yield None
        return
    from lamina.images.archives.load import plan_archive
    from lamina.images.archives.source import open_archive
    from lamina.images.platform import Platform

    with images.root.operation("check") as operation:
        archive = open_archive(operation, path)
        try:
            members: dict[DiffID, LayerSource] = {}
            for image in plan_archive(archive, Platform.host()):
                for layer, diff_id in zip(image.layers, image.diff_ids, strict=True):
                    if diff_id is not None:
                        members.setdefault(diff_id, layer)

            def opened(diff_id: DiffID) -> AbstractContextManager[Stream] | None:
                member = members.get(diff_id)
                return None if member is None else _member(archive, member.member)

            yield opened
        finally:
            archive.close()


@contextmanager
def _member(archive: Archive, name: str) -> Iterator[Stream]:
    section = archive.open(name)
    try:
        yield section
    finally:
        section.close()
