"""What the database says of the layers of one driver: the rows, and who refers to them.

A *layer* is a row named by its chain id; the *content* it shows is another row, named by its cache
id, which several layers may share. A layer is *in use* while an image, a snapshot, a lease, a
build cache record or a layer above refers to it. Init layers (what start-up puts between an image
and its containers) are an appendage: they do not hold the layer below, and go with it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamina.digests import ChainID, DiffID, chain_id
from lamina.errors import NotFound

if TYPE_CHECKING:
    from lamina.store.database import Database


@dataclass(frozen=True, slots=True)
class Layer:
    """An immutable set of changes on top of its parents."""

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    cache_id: str
    size_bytes: int
    """Sum of the sizes of the regular files in its tar, as Docker counts."""
    depth: int
    """1 for a base layer."""
    hides_all_below: bool = False
    """It deletes everything that lies below it; nothing of its parents shows."""
    kind: str = "image"
    """`image`, or `init` for what start-up places below containers."""


@dataclass(frozen=True, slots=True)
class Content:
    """What the driver holds for one or more layers."""

    cache_id: str
    diff_id: DiffID
    size_bytes: int
    inodes: int
    implied: tuple[str, ...]
    """Folders that its tar leaves implied: their metadata comes from the layers below."""
    hides_all_below: bool
    boot_id: str | None
    """The boot under which it was written, until a flush has covered it; or SUSPECT."""


SUSPECT = "suspect"
"""In the place of a boot id: the content was found damaged."""

_LAYER = "chain_id, diff_id, parent, cache_id, size_bytes, depth, hides_all_below, kind"
_CONTENT = "cache_id, diff_id, size_bytes, inodes, implied, hides_all_below, boot_id"


class LayerRecords:
    """The rows of one driver's layers, contents and snapshots."""

    def __init__(self, database: Database, driver: str) -> None:
        self._database = database
        self._driver = driver

    def find(self, chain: ChainID) -> Layer | None:
        """The layer, if it is stored."""
        row = self._database.one(
            f"SELECT {_LAYER} FROM layers WHERE driver=? AND chain_id=?", (self._driver, chain)
        )
        return None if row is None else _layer(row)

    def with_digits(self, digits: str) -> list[Layer]:
        """One layer for each diff id of an image's layers whose diff or chain id begins so."""
        like = f"sha256:{digits}*"
        rows = self._database.read(
            f"SELECT {_LAYER} FROM layers WHERE driver=? AND kind='image'"
            " AND (diff_id GLOB ? OR chain_id GLOB ?) GROUP BY diff_id",
            (self._driver, like, like),
        )
        return [_layer(row) for row in rows]

    def get(self, chain: ChainID) -> Layer:
        """The layer; NotFound if it is not stored."""
        found = self.find(chain)
        if found is None:
            raise NotFound(
                f"layer {chain} is not stored by the storage driver {self._driver}",
                remedy="pull or load its image again",
            )
        return found

    def stack(self, chain: ChainID | None) -> tuple[Layer, ...]:
        """The layer with all below it, base first."""
        if chain is None:
            return ()
        columns = ", ".join(f"layers.{name.strip()}" for name in _LAYER.split(","))
        rows = self._database.read(
            f"WITH RECURSIVE stack({_LAYER}) AS ("
            f" SELECT {_LAYER} FROM layers WHERE driver=?1 AND chain_id=?2"
            f" UNION ALL SELECT {columns} FROM layers, stack"
            "  WHERE layers.driver=?1 AND layers.chain_id=stack.parent)"
            f" SELECT {_LAYER} FROM stack ORDER BY depth",
            (self._driver, chain),
        )
        if not rows:
            self.get(chain)
        return tuple(_layer(row) for row in rows)

    def uncovered(self, chain: ChainID | None, boot_id: str) -> list[Content]:
        """The contents of the stack that were written under another boot and never flushed."""
        if chain is None or not self._database.one(
            "SELECT 1 FROM contents WHERE boot_id IS NOT NULL AND boot_id<>? LIMIT 1", (boot_id,)
        ):
            return []
        found = (self.content(layer.cache_id) for layer in self.stack(chain))
        return [content for content in found if content.boot_id not in (None, boot_id)]

    def find_content(self, cache_id: str) -> Content | None:
        """The content of this cache id, if there is one."""
        row = self._database.one(
            f"SELECT {_CONTENT} FROM contents WHERE driver=? AND cache_id=?",
            (self._driver, cache_id),
        )
        return None if row is None else _content(row)

    def content(self, cache_id: str) -> Content:
        """The content of this cache id; NotFound if there is none."""
        found = self.find_content(cache_id)
        if found is None:
            raise NotFound(f"no layer content {cache_id} in the storage driver {self._driver}")
        return found

    def contents_of(self, diff_id: DiffID) -> list[Content]:
        """Everything stored for this diff id, in a stable order."""
        rows = self._database.read(
            f"SELECT {_CONTENT} FROM contents WHERE driver=? AND diff_id=? ORDER BY cache_id",
            (self._driver, diff_id),
        )
        return [_content(row) for row in rows]

    def add_content(self, content: Content) -> None:
        """Enter a content; call in the transaction that makes it visible."""
        with self._database.transaction() as tx:
            tx.execute(
                f"INSERT INTO contents(driver, {_CONTENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._driver,
                    content.cache_id,
                    content.diff_id,
                    content.size_bytes,
                    content.inodes,
                    json.dumps(content.implied),
                    content.hides_all_below,
                    content.boot_id,
                ),
            )

    def add_layer(self, parent: ChainID | None, content: Content, kind: str) -> Layer:
        """Enter a layer that shows this content on this parent."""
        depth = 1 if parent is None else self.get(parent).depth + 1
        layer = Layer(
            chain_id=chain_id(parent, content.diff_id),
            diff_id=content.diff_id,
            parent=parent,
            cache_id=content.cache_id,
            size_bytes=content.size_bytes,
            depth=depth,
            hides_all_below=content.hides_all_below,
            kind=kind,
        )
        with self._database.transaction() as tx:
            tx.execute(
                f"INSERT INTO layers(driver, {_LAYER}, created_ns)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._driver,
                    layer.chain_id,
                    layer.diff_id,
                    layer.parent,
                    layer.cache_id,
                    layer.size_bytes,
                    layer.depth,
                    layer.hides_all_below,
                    layer.kind,
                    time.time_ns(),
                ),
            )
        return layer

    def has_parent(self, content: Content) -> bool:
        """Whether a layer that shows the content stands on another."""
        return (
            self._database.one(
                "SELECT 1 FROM layers WHERE driver=? AND cache_id=? AND parent IS NOT NULL",
                (self._driver, content.cache_id),
            )
            is not None
        )

    def replace_content(self, old: str, new: str) -> None:
        """Let every layer that showed `old` show `new`."""
        with self._database.transaction() as tx:
            tx.execute(
                "UPDATE layers SET cache_id=? WHERE driver=? AND cache_id=?",
                (new, self._driver, old),
            )

    def mark_suspect(self, cache_id: str) -> None:
        """The content was found damaged: it must be checked before it is used again."""
        with self._database.transaction() as tx:
            tx.execute(
                "UPDATE contents SET boot_id=? WHERE driver=? AND cache_id=?",
                (SUSPECT, self._driver, cache_id),
            )

    def mark_covered(self, cache_id: str) -> None:
        """The content is known to be whole."""
        with self._database.transaction() as tx:
            tx.execute(
                "UPDATE contents SET boot_id=NULL WHERE driver=? AND cache_id=?",
                (self._driver, cache_id),
            )

    def init_layer(self, chain: ChainID | None) -> Layer | None:
        """The newest init layer on this layer."""
        row = self._database.one(
            f"SELECT {_LAYER} FROM layers WHERE driver=? AND parent IS ? AND kind='init'"
            " ORDER BY created_ns DESC LIMIT 1",
            (self._driver, chain),
        )
        return None if row is None else _layer(row)

    # Snapshots

    def snapshot(self, snapshot_id: str) -> tuple[str, ChainID | None]:
        """Kind and parent of an active snapshot."""
        row = self._database.one(
            "SELECT kind, parent FROM snapshots WHERE driver=? AND id=?",
            (self._driver, snapshot_id),
        )
        if row is None:
            raise NotFound(f"no such snapshot: {snapshot_id}")
        return str(row["kind"]), None if row["parent"] is None else ChainID(row["parent"])

    def has_snapshot(self, snapshot_id: str) -> bool:
        """Whether there is such an active snapshot."""
        return (
            self._database.one(
                "SELECT 1 FROM snapshots WHERE driver=? AND id=?", (self._driver, snapshot_id)
            )
            is not None
        )

    def add_snapshot(self, snapshot_id: str, kind: str, parent: ChainID | None) -> None:
        """Enter an active snapshot."""
        with self._database.transaction() as tx:
            tx.execute(
                "INSERT INTO snapshots(driver, id, kind, parent, created_ns)"
                " VALUES (?, ?, ?, ?, ?)",
                (self._driver, snapshot_id, kind, parent, time.time_ns()),
            )

    def drop_snapshot(self, snapshot_id: str) -> None:
        """Forget an active snapshot."""
        with self._database.transaction() as tx:
            tx.execute("DELETE FROM snapshots WHERE driver=? AND id=?", (self._driver, snapshot_id))

    def unclaimed_snapshots(self) -> list[str]:
        """Active snapshots that no container and no operation names."""
        rows = self._database.read(
            "SELECT id FROM snapshots WHERE driver=?1 AND id NOT IN"
            " (SELECT snapshot FROM containers WHERE snapshot IS NOT NULL"
            "  UNION SELECT name FROM staged WHERE driver=?1)",
            (self._driver,),
        )
        return [str(row["id"]) for row in rows]

    # Who needs what

    def release(self, chain: ChainID, operation: str) -> None:
        """Drop the lease that an operation has on a layer."""
        with self._database.transaction() as tx:
            tx.execute(
                "DELETE FROM leases WHERE operation=? AND driver=? AND chain_id=?",
                (operation, self._driver, chain),
            )

    def in_use(self, layer: Layer) -> bool:
        """Whether anything refers to the layer."""
        if self._referred(layer.chain_id):
            return True
        if layer.kind == "init":
            return layer.parent is not None and self.in_use(self.get(layer.parent))
        return any(
            self._referred(appendage.chain_id) for appendage in self._init_layers(layer.chain_id)
        )

    def drop(self, layer: Layer) -> list[Layer]:
        """Delete the rows of a layer that is not in use, and of its init layers; top first."""
        dropped = [*self._init_layers(layer.chain_id), layer]
        with self._database.transaction() as tx:
            for each in dropped:
                tx.execute(
                    "DELETE FROM leases WHERE driver=? AND chain_id=?",
                    (self._driver, each.chain_id),
                )
                tx.execute(
                    "DELETE FROM layers WHERE driver=? AND chain_id=?",
                    (self._driver, each.chain_id),
                )
        return dropped

    def unshown_contents(self) -> list[str]:
        """Cache ids that no layer shows any more."""
        rows = self._database.read(
            "SELECT cache_id FROM contents WHERE driver=?1 AND NOT EXISTS (SELECT 1 FROM layers"
            " WHERE layers.driver=?1 AND layers.cache_id=contents.cache_id)",
            (self._driver,),
        )
        return [str(row["cache_id"]) for row in rows]

    def drop_content(self, cache_id: str) -> None:
        """Forget a content that no layer shows."""
        with self._database.transaction() as tx:
            tx.execute(
                "DELETE FROM contents WHERE driver=? AND cache_id=?", (self._driver, cache_id)
            )

    def tops(self) -> list[Layer]:
        """The layers on which no other layer stands."""
        rows = self._database.read(
            f"SELECT {_LAYER} FROM layers WHERE driver=?1 AND NOT EXISTS (SELECT 1 FROM layers"
            " AS child WHERE child.driver=?1 AND child.parent=layers.chain_id)",
            (self._driver,),
        )
        return [_layer(row) for row in rows]

    def ids(self) -> set[str]:
        """Every id that a row of this driver names: contents, snapshots, staged ones."""
        rows = self._database.read(
            "SELECT cache_id AS id FROM contents WHERE driver=?1"
            " UNION SELECT id FROM snapshots WHERE driver=?1"
            " UNION SELECT name FROM staged WHERE driver=?1",
            (self._driver,),
        )
        return {str(row["id"]) for row in rows}

    def _init_layers(self, chain: ChainID) -> list[Layer]:
        rows = self._database.read(
            f"SELECT {_LAYER} FROM layers WHERE driver=? AND parent=? AND kind='init'",
            (self._driver, chain),
        )
        return [_layer(row) for row in rows]

    def _referred(self, chain: ChainID) -> bool:
        """Whether anything but an init layer refers to exactly this layer."""
        found = self._database.one(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM images WHERE chain_id=?2)"
            " OR EXISTS (SELECT 1 FROM snapshots WHERE driver=?1 AND parent=?2)"
            " OR EXISTS (SELECT 1 FROM leases WHERE driver=?1 AND chain_id=?2)"
            " OR EXISTS (SELECT 1 FROM build_cache WHERE driver=?1 AND chain_id=?2)"
            " OR EXISTS (SELECT 1 FROM layers"
            "            WHERE driver=?1 AND parent=?2 AND kind<>'init')",
            (self._driver, chain),
        )
        return found is not None


def _layer(row: Any) -> Layer:
    return Layer(
        chain_id=ChainID(row["chain_id"]),
        diff_id=DiffID(row["diff_id"]),
        parent=None if row["parent"] is None else ChainID(row["parent"]),
        cache_id=row["cache_id"],
        size_bytes=row["size_bytes"],
        depth=row["depth"],
        hides_all_below=bool(row["hides_all_below"]),
        kind=row["kind"],
    )


def _content(row: Any) -> Content:
    return Content(
        cache_id=row["cache_id"],
        diff_id=DiffID(row["diff_id"]),
        size_bytes=row["size_bytes"],
        inodes=row["inodes"],
        implied=tuple(json.loads(row["implied"])),
        hides_all_below=bool(row["hides_all_below"]),
        boot_id=row["boot_id"],
    )
