"""The images of a data root: rows for what they are called, blobs for what they say.

    blobs/sha256/<image id>     the configuration, verbatim
    images, tags, repo_digests  rows; the transaction that writes them is the commit point

An image is rows that name a configuration and a chain of layers. Its layers exist before its row
does, kept by the lease of the operation that brought them; its configuration is written under the
database's write lock, in the same transaction as the row. When the row goes, an operation takes
over both in the same transaction, and its end clears them unless something else needs them, though
its owner be killed. So neither a row without its blob is ever seen, nor is a blob or a layer left.

An image is here as far as the storage driver holds its layers: what another driver holds is not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lamina.digests import ChainID, ImageID
from lamina.errors import Conflict, InvalidInput, NotFound
from lamina.images.config import ImageConfig
from lamina.images.image import Deleted, Image, Removal, Untagged
from lamina.images.records import ImageRecords
from lamina.images.reference import Reference

__all__ = ["Image", "ImageStore", "Pruned"]

if TYPE_CHECKING:
    from lamina.images.filters import ImageFilter
    from lamina.images.history import HistoryStep
    from lamina.layers.store import Layer, LayerStore
    from lamina.store.database import Transaction
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot

_HEX = frozenset("0123456789abcdef")

Removals = list[Removal]
Images = list[Image]
Steps: TypeAlias = "list[HistoryStep]"
TaggedImages = list[tuple[Reference, Image]]


@dataclass(frozen=True, slots=True)
class _Departing:
    """An image whose row is deleted, and the layers it has."""

    image: Image
    stack: Sequence[Layer]


Departures = list[_Departing]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune took away."""

    removals: tuple[Removal, ...]

    @property
    def freed_bytes(self) -> int:
        """The bytes of the layers that are gone."""
        return sum(each.freed_bytes for each in self.removals if isinstance(each, Deleted))


class ImageStore:
    """The images of one data root, as far as its storage driver holds their layers."""

    def __init__(self, root: DataRoot, layers: LayerStore) -> None:
        self.root = root
        self.layers = layers
        self._database = root.database
        self._records = ImageRecords(root, layers.driver.name)

    # Making and naming

    def create(
        self,
        operation: Operation,
        config: bytes,
        *,
        tags: Sequence[Reference] = (),
        parent: ImageID | None = None,
    ) -> Image:
        """Make an image of a configuration whose layers exist (leased by the operation).

        The same configuration is the same image: making it again adds the tags and changes
        nothing else.
        """
        parsed = ImageConfig.parse(config)
        for tag in tags:
            _require_tag(tag)
        size = sum(layer.size_bytes for layer in self._stack(parsed.chain))
        now = time.time_ns()
        with self._database.transaction() as tx:
            self.root.blobs.put(operation, config)
            self._records.add(tx, parsed, size_bytes=size, added_ns=now, parent=parent)
            operation.keep("blob", "", parsed.id)
            for tag in tags:
                self._records.put_name(tx, parsed.id, tag, now_ns=now)
        return self.get(parsed.id)

    def tag(self, image: ImageID, reference: Reference) -> None:
        """Make a name mean this image; whatever it meant before loses it."""
        _require_tag(reference)
        self._name(image, reference)

    def add_digest(self, image: ImageID, reference: Reference) -> None:
        """Remember by which manifest digest a repository knows this image."""
        if reference.digest is None:
            raise InvalidInput(f"{reference.familiar()} has no digest")
        self._name(image, reference)

    # Finding

    def get(self, image: ImageID) -> Image:
        """The image with this id; NotFound where there is none."""
        found = self._records.find(image)
        if found is None:
            raise _no_such_image(image)
        return found

    def resolve(self, text: str) -> Image:
        """The image that a person means: a name, a digest, an id, or an unambiguous id prefix."""
        image, _ = self.resolve_named(text)
        return image

    def resolve_named(self, text: str) -> tuple[Image, Reference | None]:
        """The image, and the reference by which it was found (None: by id)."""
        from_id = self._by_full_id(text)
        if from_id is not None:
            return from_id, None
        reference = _reference_or_none(text)
        if reference is not None:
            named = self._records.named(reference)
            if named is not None:
                return named, reference.pinned(reference.digest) if reference.digest else reference
        prefixed = self._by_id_prefix(text)
        if prefixed is not None:
            return prefixed, None
        if reference is None:
            Reference.parse(text)  # says what is wrong with it
        raise self._no_such_image(text, reference)

    def named(self, reference: Reference) -> Image | None:
        """The image of exactly this name, if there is one."""
        return self._records.named(reference)

    def tagged(self, repository: str) -> TaggedImages:
        """Every tag of a repository (by its full name) with its image, by tag."""
        return self._records.tagged(repository)

    def list(self, wanted: ImageFilter | None = None, *, intermediate: bool = False) -> Images:
        """Images, newest first; `intermediate` includes untagged parents of others.

        With `reference=` filters an image keeps only the tags and digests that match.
        """
        from lamina.images.filters import ImageFilter

        wanted = wanted or ImageFilter()
        before = self.resolve(wanted.before).created_ns if wanted.before else None
        since = self.resolve(wanted.since).created_ns if wanted.since else None
        parents = self._records.parents()
        found = []
        for image in self._records.all():
            if before is not None and image.created_ns >= before:
                continue
            if since is not None and image.created_ns <= since:
                continue
            if wanted.until_ns is not None and image.created_ns >= wanted.until_ns:
                continue
            if not image.names and image.id in parents and not intermediate:
                continue
            if wanted.dangling is not None and wanted.dangling == bool(image.tags):
                continue
            has_label_filter = wanted.labels or wanted.without_labels
            if has_label_filter and not wanted.admits_labels(image.config.run.labels):
                continue
            if wanted.references:
                image = _only_matching(image, wanted)
                if not image.names:
                    continue
            found.append(image)
        return found

    def history(self, image: Image) -> Steps:
        """The steps that made the image, newest first."""
        from lamina.images.history import history_steps

        sizes = [layer.size_bytes for layer in self._stack(image.chain)]
        tags = [tag.familiar() for tag in image.tags]
        return history_steps(image.config, sizes, image=image.id, tags=tags)

    def graph_driver(self, image: Image) -> dict[str, Any]:
        """Docker's `GraphDriver` of an image: the driver's name, and its folders."""
        data = {} if image.chain is None else self.layers.layer_metadata(image.chain)
        return {"Data": data or None, "Name": self.layers.driver.name}

    def inspect(self, image: Image) -> dict[str, Any]:
        """The image with Docker's field names, in Docker's order."""
        from lamina.images.inspection import inspection

        return inspection(image, self.graph_driver(image))

    # Removing

    def remove(self, text: str, *, force: bool = False, prune_parents: bool = True) -> Removals:
        """Take a name off an image, and remove the image with its last one; or remove it by id.

        Conflict (with Docker's words) where containers or other names forbid it.
        """
        from lamina.images.removal import plan_removal

        removals: Removals = []
        departing: Departures = []
        with self.root.operation("remove") as operation:
            operation.begin()
            with self._database.transaction() as tx:
                image, named = self.resolve_named(text)
                plan = plan_removal(self._records.situation(image), named, force=force)
                for reference in plan.untag:
                    self._records.drop_name(tx, reference)
                    removals.append(Untagged(reference))
                if plan.delete:
                    departing = self._delete_rows(operation, tx, image, prune_parents=prune_parents)
        return removals + self._departed(departing)

    def prune(self, wanted: ImageFilter | None = None, *, everything: bool = False) -> Pruned:
        """Remove dangling images, or with `everything` all that no container uses."""
        from lamina.images.filters import ImageFilter

        wanted = wanted or ImageFilter()
        removals: Removals = []
        for image in self.list(
            ImageFilter(
                labels=wanted.labels,
                without_labels=wanted.without_labels,
                until_ns=wanted.until_ns,
            )
        ):
            if image.tags and not everything:
                continue
            for name in [str(name) for name in image.names] or [str(image.id)]:
                try:
                    removals += self.remove(name)
                except (Conflict, NotFound):
                    # In use, or gone meanwhile: a prune takes what it can.
                    continue
        return Pruned(tuple(removals))

    # Below

    def _stack(self, chain: ChainID | None) -> Sequence[Layer]:
        return () if chain is None else self.layers.stack(chain)

    def _name(self, image: ImageID, reference: Reference) -> None:
        with self._database.transaction() as tx:
            if tx.one("SELECT 1 FROM images WHERE id = ?", (image,)) is None:
                raise _no_such_image(image)
            self._records.put_name(tx, image, reference, now_ns=time.time_ns())

    def _delete_rows(
        self, operation: Operation, tx: Transaction, image: Image, *, prune_parents: bool
    ) -> Departures:
        """Delete the image's row, and those of its parents that nothing needs any more.

        The operation takes over what the row kept: its lease on the layers, and the configuration
        as scratch. When it ends, or is ended for its dead owner, what nothing else needs goes.
        """
        departing = [_Departing(image, self._stack(image.chain))]
        if image.chain is not None:
            operation.lease(self.layers.driver.name, image.chain)
        operation.scratch("blob", "", image.id)
        self._records.drop(tx, image.id)
        parent = self._records.find(image.parent) if prune_parents and image.parent else None
        if parent is not None:
            situation = self._records.situation(parent)
            if not (situation.names or situation.uses or situation.has_children):
                departing += self._delete_rows(operation, tx, parent, prune_parents=True)
        return departing

    def _departed(self, departing: Departures) -> Removals:
        """What the end of the operation took away: images, and layers from the top."""
        removals: Removals = []
        told: set[ChainID] = set()
        for each in departing:
            removals.append(Deleted(each.image.id))
            for layer in reversed(each.stack):
                if layer.chain_id not in told and self.layers.find(layer.chain_id) is None:
                    told.add(layer.chain_id)
                    removals.append(Deleted(layer.chain_id, layer.size_bytes))
        return removals

    def _by_full_id(self, text: str) -> Image | None:
        digits = text.removeprefix("sha256:")
        if len(digits) != 64 or not _HEX.issuperset(digits):
            return None
        found = self._records.find(f"sha256:{digits}")
        if found is None:
            raise self._no_such_image(text, None)
        return found

    def _by_id_prefix(self, text: str) -> Image | None:
        digits = text.removeprefix("sha256:")
        if not digits or len(digits) > 64 or not _HEX.issuperset(digits):
            return None
        found = self._records.with_prefix(digits)
        if len(found) > 1:
            raise InvalidInput(
                f"image id prefix {text!r} is ambiguous: {len(found)} images begin so",
                remedy="give more digits",
            )
        return found[0] if found else None

    def _no_such_image(self, text: str, reference: Reference | None) -> NotFound:
        digits = text.removeprefix("sha256:")
        driver = self._records.driver_of(reference, digits if _HEX.issuperset(digits) else "")
        if driver is None:
            return _no_such_image(text)
        return NotFound(
            f"No such image: {text}",
            remedy=f"it is held by the storage driver {driver}: use --storage-driver {driver}",
        )


def _only_matching(image: Image, wanted: ImageFilter) -> Image:
    from dataclasses import replace

    return replace(
        image,
        tags=tuple(tag for tag in image.tags if wanted.admits_reference(tag)),
        digests=tuple(each for each in image.digests if wanted.admits_reference(each)),
    )


def _reference_or_none(text: str) -> Reference | None:
    try:
        return Reference.parse(text)
    except InvalidInput:
        return None


def _require_tag(reference: Reference) -> None:
    if reference.tag is None or reference.digest is not None:
        raise InvalidInput("refusing to create a tag with a digest reference")
    if reference.familiar_name == "sha256":
        raise InvalidInput("refusing to create an ambiguous tag using digest algorithm as name")


def _no_such_image(text: str) -> NotFound:
    return NotFound(f"No such image: {text}")
