"""The layers of a data root on one storage driver: what faces the rest of the engine.

**A layer arrives** as a tar stream, compressed or not, on top of a parent. It is read once:
inflate, hash, parse, unpack, and the journal (what of the tar no file holds) beside it. The id of
its content is random and staged before anything is created; one transaction enters content and
layer, takes a lease, and lets the staged row go. Killed before: recovery removes what was staged.
Killed after: the layer is there, whole.

**Once.** Where the driver's layers don't depend on their parent, content is stored once per diff
id, at whatever depth it stands. What a tar leaves implied (a file's parent folders without entries
of their own) takes its metadata from the layers below, so content is shared only where those agree.

**A build step becomes a layer** by `commit`: the snapshot's diff is streamed through hash and
journal, never stored, and the driver renames the snapshot into a layer.

**A layer goes** when nothing refers to it (`collect`): one transaction deletes the rows and stages
the content for removal, which follows; a death in between is recovered.

Write order for content: driver folder, journal (renamed in), then the transaction.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lamina.digests import ChainID, DiffID
from lamina.errors import Conflict, Corrupt, Unsupported
from lamina.layers.contents import Contents
from lamina.layers.records import Content, Layer, LayerRecords
from lamina.store.failures import translated

if TYPE_CHECKING:
    from lamina.drivers.contract import StorageDriver, Usage
    from lamina.layers.journal import Sink
    from lamina.layers.pipeline import TarStream
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot
    from lamina.tar.diff import Change

__all__ = ["Layer", "LayerStore", "Progress"]

_VISITOR = "visitor"

Progress = Callable[[int], None]
"""Told how many bytes of a layer's uncompressed tar have been taken in so far."""


class LayerStore:
    """Layers and snapshots of one driver. Making it ends what dead owners left of them."""

    def __init__(self, root: DataRoot, driver: StorageDriver) -> None:
        self.root = root
        self.driver = driver
        self._name = driver.name
        self.records = LayerRecords(root.database, driver.name)
        self._contents = Contents(root, driver, self.records)
        root.recovery.on_staged("content", self._name, self._contents.remove)
        root.recovery.on_staged("snapshot", self._name, self._remove_staged_snapshot)
        root.recovery.on_staged("mount", self._name, self._end_visit)
        root.recovery.on_lease(self._name, self._release)
        root.recovery.run()
        if root.meta(f"looked over:{self._name}") != root.boot_id:
            from lamina.layers.recovery import look_over

            look_over(self)

    # Layers

    def apply(
        self,
        op: Operation,
        stream: BinaryIO,
        parent: ChainID | None,
        *,
        expected: DiffID | None = None,
        progress: Progress | None = None,
    ) -> Layer:
        """Store the layer whose tar (plain, gzip, zstd, xz, bzip2) is `stream`, on `parent`.

        Leased to `op`: an image or something else must refer to it before the operation ends.
        With `expected`, a layer that is stored already is returned without reading the stream, and
        a tar that is another raises Corrupt. Nothing is left of what fails.
        """
        from lamina.layers.pipeline import TarStream

        parents = self._begin_on(op, parent)
        if expected is not None:
            stored = self._contents.adopt(op, parent, expected)
            if stored is not None:
                return stored
        self.root.require_room()
        self.require_depth(len(parents) + 1)
        with (
            translated("storing a layer"),
            self.root.flushed_ahead(),
            TarStream(stream, progress) as tar,
        ):
            return self._receive(op, tar, parent, parents, expected)

    def commit(self, op: Operation, snapshot_id: str) -> Layer:
        """Turn an unmounted active snapshot into a layer on its parent; the snapshot is gone.

        Copies nothing. Leased to `op` as by `apply`. A snapshot of kind `init` gives an init layer.
        """
        from lamina.layers.snapshot_journal import journal_of_snapshot

        kind, parent = self.records.snapshot(snapshot_id)
        parents = self._begin_on(op, parent)
        if kind != "init":
            self.require_depth(len(parents) + 1)
        journal = op.folder / f"{snapshot_id}.journal"
        with translated(f"committing snapshot {snapshot_id}"):
            facts = journal_of_snapshot(self.driver, snapshot_id, parents, journal)
            layer_kind = "init" if kind == "init" else "image"
            stored = self._contents.adopt(op, parent, facts.diff_id, kind=layer_kind)
            if stored is not None:
                journal.unlink()
                self.remove_snapshot(snapshot_id)
                return stored
            content = Content(
                cache_id=_new_cache_id(),
                diff_id=facts.diff_id,
                size_bytes=facts.size_bytes,
                inodes=facts.inodes,
                implied=facts.implied,
                hides_all_below=False,
                boot_id=self.root.boot_id,
            )
            with self._staged_content(op, content.cache_id), self.root.room_to_undo():
                self.driver.commit(snapshot_id, content.cache_id)
                journal.rename(self._contents.journal(content.cache_id))
                with self.root.database.transaction():
                    layer = self._contents.enter(op, parent, content, layer_kind)
                    self.records.drop_snapshot(snapshot_id)
                    op.keep("snapshot", self._name, snapshot_id)
        return layer

    def copied(self, op: Operation, snapshot_id: str, parent: ChainID | None) -> Layer:
        """What a snapshot holds, as a layer on `parent`; the snapshot stays as it is, in use.

        `parent` is what it stands on but for init layers. Leased to `op` as by `apply`.
        """
        from lamina.layers.snapshot_journal import diff_stream

        with diff_stream(self.driver, snapshot_id, self.below(snapshot_id)) as stream:
            return self.apply(op, stream, parent)

    def require_depth(self, layers: int) -> None:
        """Unsupported if an image of so many layers could not be run: init layers stand above."""
        most = self.driver.capabilities.max_chain - 1
        if layers > most:
            raise Unsupported(
                f"max depth exceeded: {layers} layers; the storage driver {self._name} takes images"
                f" of at most {most}",
                remedy="use fewer steps in the Dockerfile, or squash the image",
            )

    def find(self, chain: ChainID) -> Layer | None:
        """The layer, if it is stored."""
        return self.records.find(chain)

    def get(self, chain: ChainID) -> Layer:
        """The layer; NotFound if it is not stored."""
        return self.records.get(chain)

    def stack(self, chain: ChainID | None) -> tuple[Layer, ...]:
        """The layer with all below it, base first; empty for None."""
        return self.records.stack(chain)

    def journal_size_bytes(self, chain: ChainID) -> int:
        """What the journal takes on disk that lets `export` write the layer's exact tar."""
        return self._contents.journal(self.get(chain).cache_id).stat().st_size

    def init_layer(self, parent: ChainID | None) -> Layer | None:
        """The newest init layer on this layer, if there is one."""
        return self.records.init_layer(parent)

    def lease(self, op: Operation, chain: ChainID) -> Layer:
        """Keep a stored layer, with all below it, until the operation ends."""
        self._begin_on(op, chain)
        return self.get(chain)

    def journal(self, cache_id: str) -> Path:
        """Where the journal of a content lies."""
        return self._contents.journal(cache_id)

    def cache_ids(self, chain: ChainID | None) -> list[str]:
        """The driver's ids of what shows through a layer, base first."""
        return self._contents.cache_ids(chain)

    def export(self, chain: ChainID, out: Sink) -> None:
        """Write the layer's exact tar; Corrupt, naming the path, where the layer has changed.

        The digest is checked as the tar is written: what came before an error must not be used.
        """
        layer = self.get(chain)
        self._contents.write_tar(self.records.content(layer.cache_id), out)

    def with_digits(self, digits: str) -> Sequence[Layer]:
        """One layer for each diff id of an image's layers whose diff or chain id begins so."""
        return self.records.with_digits(digits)

    def tar_size_bytes(self, chain: ChainID) -> int:
        """How long the tar is that `export` writes."""
        return self._contents.tar_size_bytes(self.records.content(self.get(chain).cache_id))

    @contextmanager
    def view(self, chain: ChainID | None) -> Iterator[Path]:
        """The filesystem of a layer with all below it, read-only, within the block."""
        with self.root.operation("view") as op, self.driver.view(self._begin_on(op, chain)) as path:
            yield path

    def collect(self, chain: ChainID, op: Operation | None = None) -> list[ChainID]:
        """Drop this layer, then its parents, while nothing refers to them; top first.

        Who deletes the last row that refers to a layer leases it (`op.lease`) in the same
        transaction and passes `op` here, which ends that lease: a death in between loses nothing.
        """
        return self._collect(chain, "" if op is None else op.id)

    def layer_metadata(self, chain: ChainID) -> dict[str, str]:
        """`GraphDriver.Data` of an image whose top layer this is."""
        *parents, top = self._contents.cache_ids(chain)
        return self.driver.metadata(top, parents)

    # Active snapshots

    def prepare(
        self,
        snapshot_id: str,
        parent: ChainID | None,
        *,
        kind: str = "container",
        size_limit_bytes: int | None = None,
        op: Operation | None = None,
        beneath: ChainID | None = None,
    ) -> None:
        """Make an active snapshot on a layer.

        `kind` is `container`, `init` or `build`. Within `op` it is undone if that fails, unless a
        row of a container names it by then; a build's goes with its operation in any case. Without
        `op` it stands when this returns. `beneath` names a layer to put below the whole chain: it
        shows where nothing else does and is no part of what the snapshot becomes. Only drivers
        whose layers do not depend on their parent can do that.
        """
        if beneath is not None and self.driver.capabilities.layers_depend_on_parent:
            raise Unsupported(f"the storage driver {self._name} cannot put a layer beneath others")
        if op is None:
            with self.root.operation("prepare") as own:
                self._prepare(own, snapshot_id, parent, kind, size_limit_bytes, beneath)
        else:
            self._prepare(op, snapshot_id, parent, kind, size_limit_bytes, beneath)

    def mount(self, snapshot_id: str, *, holder: str = "engine") -> Path:
        """Mount an active snapshot for `holder` (see the drivers' contract)."""
        return self.driver.mount(snapshot_id, holder=holder)

    def unmount(self, snapshot_id: str, *, holder: str = "engine") -> None:
        """`holder` no longer needs the mount."""
        self.driver.unmount(snapshot_id, holder=holder)

    @contextmanager
    def visited(self, snapshot_id: str) -> Iterator[Path]:
        """An active snapshot, mounted within the block; one at a time for each snapshot.

        A visitor that dies is noticed at the next opening, which ends its mount.
        """
        with self.root.operation("visit") as op:
            op.scratch("mount", self._name, snapshot_id)
            yield self.driver.mount(snapshot_id, holder=_VISITOR)

    def remove_snapshot(self, snapshot_id: str) -> None:
        """Delete an active snapshot, and the layers that nothing but it needed; absent is fine."""
        if not self.records.has_snapshot(snapshot_id):
            return
        _, parent = self.records.snapshot(snapshot_id)
        self.driver.remove(snapshot_id)  # refused while mounted: then nothing has changed
        with self.root.operation("remove snapshot") as op, self.root.database.transaction():
            self.records.drop_snapshot(snapshot_id)
            if parent is not None and not self.records.in_use(self.records.get(parent)):
                op.lease(self._name, parent)  # it goes with this operation

    def has_snapshot(self, snapshot_id: str) -> bool:
        """Whether there is such an active snapshot."""
        return self.records.has_snapshot(snapshot_id)

    def snapshot_parent(self, snapshot_id: str) -> ChainID | None:
        """The layer on which an active snapshot stands."""
        return self.records.snapshot(snapshot_id)[1]

    def below(self, snapshot_id: str) -> list[str]:
        """The driver's ids of what an active snapshot stands on, base first."""
        return self._contents.cache_ids(self.snapshot_parent(snapshot_id))

    def changes(self, snapshot_id: str) -> Iterator[Change]:
        """What an active snapshot changed, as `diff` shows it."""
        return self.driver.changes(snapshot_id, self.below(snapshot_id))

    def usage(self, snapshot_id: str) -> Usage:
        """What an active snapshot holds, as `ps --size` shows it."""
        return self.driver.usage(snapshot_id, self.below(snapshot_id))

    def diff(self, snapshot_id: str, out: BinaryIO) -> None:
        """Write what an active snapshot changed as a layer tar."""
        self.driver.diff(snapshot_id, self.below(snapshot_id), out)

    def metadata(self, snapshot_id: str) -> dict[str, str]:
        """`GraphDriver.Data` of an active snapshot."""
        return self.driver.metadata(snapshot_id, self.below(snapshot_id))

    # Arriving

    def _begin_on(self, op: Operation, parent: ChainID | None) -> list[str]:
        """Lease the parent for the operation and make sure it can be built on; its cache ids."""
        if parent is None:
            op.begin()
            return []
        op.begin()
        with self.root.database.transaction():
            self.records.get(parent)
            op.lease(self._name, parent)
        self._contents.check(parent)
        return self._contents.cache_ids(parent)

    def _receive(
        self,
        op: Operation,
        tar: TarStream,
        parent: ChainID | None,
        parents: list[str],
        expected: DiffID | None,
    ) -> Layer:
        from lamina.layers.journal import JournalWriter
        from lamina.tar.reader import TarReader

        cache_id = _new_cache_id()
        journal = op.folder / f"{cache_id}.journal"
        with self._staged_content(op, cache_id):
            with self.driver.begin_layer(cache_id, parents) as writer, self.root.room_to_undo():
                with JournalWriter(journal) as record:
                    extracted = writer.apply(TarReader(tar, recorder=record))
                    diff_id = tar.finish()
                    record.finish()
                if expected is not None and diff_id != expected:
                    raise Corrupt(
                        f"layer {expected} has another content: {diff_id}",
                        remedy="the archive is damaged; get it again",
                    )
                stored = self._contents.adopt(op, parent, diff_id)
                if stored is not None:  # others were faster, or it was not asked for by name
                    journal.unlink()
                    return stored
                writer.commit()
            journal.rename(self._contents.journal(cache_id))
            content = Content(
                cache_id=cache_id,
                diff_id=diff_id,
                size_bytes=extracted.size_bytes,
                inodes=extracted.inodes,
                implied=tuple(os.fsdecode(path) for path in extracted.implied),
                hides_all_below=extracted.opaque_root,
                boot_id=self.root.boot_id,
            )
            return self._contents.enter(op, parent, content, "image")

    @contextmanager
    def _staged_content(self, op: Operation, cache_id: str) -> Iterator[None]:
        """Within the block the content is made; if no row names it then, it is removed."""
        op.stage("content", self._name, cache_id)
        try:
            yield
        finally:
            if self.records.find_content(cache_id) is None:
                op.remove("content", self._name, cache_id)

    # Snapshots

    def _prepare(
        self,
        op: Operation,
        snapshot_id: str,
        parent: ChainID | None,
        kind: str,
        size_limit_bytes: int | None,
        beneath: ChainID | None,
    ) -> None:
        self.root.require_room()
        op.begin()
        if parent is not None:
            self._contents.check(parent)
        with self.root.database.transaction():
            if self.records.has_snapshot(snapshot_id):
                raise Conflict(f"snapshot {snapshot_id} already exists")
            parents = self._contents.cache_ids(parent)
            if kind == "build":
                self.require_depth(len(parents) + 1)
                op.scratch("snapshot", self._name, snapshot_id)
            else:
                op.stage("snapshot", self._name, snapshot_id)
            self.records.add_snapshot(snapshot_id, kind, parent)
            parents = self._contents.cache_ids(beneath) + parents
        try:
            with translated(f"preparing snapshot {snapshot_id}"), self.root.room_to_undo():
                self.driver.prepare(snapshot_id, parents, size_limit_bytes=size_limit_bytes)
        except BaseException:
            op.remove("snapshot", self._name, snapshot_id)
            raise

    # Going

    def _collect(self, chain: ChainID, releasing: str) -> list[ChainID]:
        if not releasing:
            layer = self.records.find(chain)
            if layer is None or self.records.in_use(layer):
                return []
        gone: list[ChainID] = []
        with self.root.operation("collect") as op, self.root.database.transaction():
            if releasing:
                # In the transaction that looks: of two that release, one sees the other gone.
                self.records.release(chain, releasing)
            layer = self.records.find(chain)
            while layer is not None and not self.records.in_use(layer):
                if layer.kind == "init" and layer.parent is not None:
                    # Not in use means that what it stands on is not either; both go.
                    layer = self.records.get(layer.parent)
                gone += [dropped.chain_id for dropped in self.records.drop(layer)]
                layer = None if layer.parent is None else self.records.find(layer.parent)
            if gone:
                for cache_id in self.records.unshown_contents():
                    self._contents.let_go(op, cache_id)
        return gone

    def _release(self, chain: str, operation: str) -> None:
        self._collect(ChainID(chain), operation)

    def _end_visit(self, snapshot_id: str) -> None:
        self.driver.unmount(snapshot_id, holder=_VISITOR)

    def _remove_staged_snapshot(self, snapshot_id: str) -> None:
        named = self.root.database.one(
            "SELECT 1 FROM containers WHERE snapshot=? AND driver=?", (snapshot_id, self._name)
        )
        if named is not None:
            return
        self.driver.unmount(snapshot_id)
        if self.records.has_snapshot(snapshot_id):
            self.remove_snapshot(snapshot_id)
        else:
            self.driver.remove(snapshot_id)


def _new_cache_id() -> str:
    return os.urandom(32).hex()
