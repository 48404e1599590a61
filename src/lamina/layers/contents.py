"""What the driver holds for layers: entered once, shared, checked, let go.

```
<driver>/…                    the files, under the cache id, in the driver's own layout
layers/<cache id>.journal     the tar without the files' contents (journal.py)
```

Both are written before the transaction that enters the content, and deleted after the one that
lets it go; in between, a staged row of an operation names them.

Content is trusted when a flush has covered it, or it was written since the machine started. All
other content, and content once found damaged, is checked against its diff id before it is used;
storing the layer again puts a new content in the place of a damaged one. The check reads every file
that has bytes. That is enough after a power cut: the filesystems we run on bring changes of names
to the disk in their order, so where the last rename of a layer is there, all its names are; what
they may lose, when nothing flushed it, is what is in the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.digests import ChainID, DiffID, chain_id
from lamina.errors import Corrupt, NotFound

if TYPE_CHECKING:
    from lamina.drivers.contract import StorageDriver
    from lamina.layers.journal import Sink
    from lamina.layers.records import Content, Layer, LayerRecords
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot


class Contents:
    """The contents of one driver."""

    def __init__(self, root: DataRoot, driver: StorageDriver, records: LayerRecords) -> None:
        self._root = root
        self._driver = driver
        self._records = records

    def journal(self, cache_id: str) -> Path:
        """Where the journal of a content lies."""
        return self._root.layers / f"{cache_id}.journal"

    def cache_ids(self, chain: ChainID | None) -> list[str]:
        """The driver's ids of what shows through a layer, base first.

        Content that stands twice in a chain is given once, at its upper place: everything it has,
        marks included, is there above all that lies between. (Overlayfs takes no folder twice.)
        """
        shown: list[str] = []
        for layer in self._records.stack(chain):
            if layer.hides_all_below:
                shown.clear()
            elif layer.cache_id in shown:
                shown.remove(layer.cache_id)
            shown.append(layer.cache_id)
        return shown

    # Coming

    def enter(self, op: Operation, parent: ChainID | None, content: Content, kind: str) -> Layer:
        """The commit point: content and layer become visible, unless others were faster."""
        with self._root.database.transaction():
            stored = self.adopt(op, parent, content.diff_id, kind=kind)
            if stored is not None:
                return stored
            self._records.add_content(content)
            damaged = self._records.find(chain_id(parent, content.diff_id))
            if damaged is None:
                layer = self._records.add_layer(parent, content, kind)
            else:  # or it would have been adopted
                layer = self._replace(op, damaged, content)
            op.lease(self._driver.name, layer.chain_id)
            op.keep("content", self._driver.name, content.cache_id)
        op.wrote_layers = True
        return layer

    def adopt(
        self, op: Operation, parent: ChainID | None, diff_id: DiffID, *, kind: str = "image"
    ) -> Layer | None:
        """The layer if it is stored, or can be by a row alone; leased. None if it must be made."""
        for content in self._fitting(parent, diff_id):
            with self._root.database.transaction():
                if self._records.find_content(content.cache_id) is None:
                    continue  # collected since we looked
                layer = self._records.find(chain_id(parent, diff_id))
                if layer is None:
                    layer = self._records.add_layer(parent, content, kind)
                elif layer.cache_id != content.cache_id:
                    shown = self._records.content(layer.cache_id)
                    if not self._is_whole(shown):
                        layer = self._replace(op, layer, content)
                op.lease(self._driver.name, layer.chain_id)
            return layer
        return None

    def _fitting(self, parent: ChainID | None, diff_id: DiffID) -> Iterator[Content]:
        """Whole contents of this diff id that are right on this parent; the layer's own first."""
        candidates = self._records.contents_of(diff_id)
        if not candidates:
            return
        own = self._records.find(chain_id(parent, diff_id))
        own_id = None if own is None else own.cache_id
        for content in sorted(candidates, key=lambda each: each.cache_id != own_id):
            if self._is_whole(content) and (
                content.cache_id == own_id or self._is_right_on(parent, content)
            ):
                yield content

    def _is_right_on(self, parent: ChainID | None, content: Content) -> bool:
        """Whether content that was made on another chain is what it would be on this parent."""
        if self._driver.capabilities.layers_depend_on_parent:
            return False
        if not content.implied:
            return True
        from lamina.layers.implied import agree

        below = [self._driver.layer_root(cache_id) for cache_id in self.cache_ids(parent)]
        return agree(self._driver.layer_root(content.cache_id), content.implied, below)

    def _replace(self, op: Operation, damaged: Layer, content: Content) -> Layer:
        """Let every layer that shows the damaged layer's content show this one."""
        self._records.replace_content(damaged.cache_id, content.cache_id)
        self.let_go(op, damaged.cache_id)
        return self._records.get(damaged.chain_id)

    # Trust

    def check(self, chain: ChainID) -> None:
        """Before use: what no flush covered before the machine stopped is checked."""
        for content in self._records.uncovered(chain, self._root.boot_id):
            if not self._is_whole(content):
                raise Corrupt(
                    f"layer {content.diff_id} is damaged on disk",
                    remedy="pull or load its image again, or build it again, to repair it",
                )

    def write_tar(self, content: Content, out: Sink) -> None:
        """Write the exact tar; content that does not give it is not trusted any more."""
        from lamina.layers.journal import write_tar

        with self._distrusted_if_damaged(content):
            root = self._driver.layer_root(content.cache_id)
            write_tar(self.journal(content.cache_id), root, content.diff_id, out)

    def tar_size_bytes(self, content: Content) -> int:
        """How long that tar is; a damaged journal is found out, and not trusted any more."""
        from lamina.layers.journal import tar_size_bytes

        with self._distrusted_if_damaged(content):
            return tar_size_bytes(self.journal(content.cache_id), content.diff_id)

    @contextmanager
    def _distrusted_if_damaged(self, content: Content) -> Iterator[None]:
        try:
            yield
        except (NotFound, FileNotFoundError):
            self._records.mark_suspect(content.cache_id)
            raise Corrupt(
                f"layer {content.diff_id} is missing on disk",
                remedy="pull or load its image again to repair it",
            ) from None
        except Corrupt:
            self._records.mark_suspect(content.cache_id)
            raise

    def _is_whole(self, content: Content) -> bool:
        """Whether the content is known to be on disk as it was written, or is found to be."""
        if not self._driver.exists(content.cache_id):
            return False
        if content.boot_id is None or content.boot_id == self._root.boot_id:
            return True
        if self._driver.capabilities.layers_depend_on_parent and self._records.has_parent(content):
            return False  # what was copied from the parent is in no journal
        try:
            self.write_tar(content, _Nowhere())
        except Corrupt:
            return False
        self._records.mark_covered(content.cache_id)
        return True

    # Going

    def let_go(self, op: Operation, cache_id: str) -> None:
        """Forget content that no layer shows; it is deleted when the operation ends.

        Should a snapshot still stand on it (it was damaged, and other content took its place), the
        operation's row stays, and each opening tries again.
        """
        self._records.drop_content(cache_id)
        op.scratch("content", self._driver.name, cache_id)

    def remove(self, cache_id: str) -> None:
        """Delete the files of a content that no row names."""
        self._driver.remove(cache_id)
        self.journal(cache_id).unlink(missing_ok=True)


class _Nowhere:
    def write(self, data: bytes, /) -> None:
        """Take it and forget it."""
