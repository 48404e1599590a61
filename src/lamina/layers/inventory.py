"""What lies in a data root and no row names, and rows that name what does not lie there.

Names on disk are read before the rows: what a living process makes has its row first, so it is
never taken for rubbish. Rows are read before the disk is asked whether what they name is there, and
asked for again where it is not: what a living process removes has lost its row first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.digests import ChainID, Digest
from lamina.errors import Conflict, Corrupt
from lamina.store.operations import remove_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.layers.store import LayerStore


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that has no row, one row that has no thing, or one counter that is wrong."""

    kind: str
    """`rubbish`, `missing` or `counter`."""
    name: str
    problem: str
    mended: bool = False


def take_inventory(store: LayerStore, *, repair: bool = False) -> list[Finding]:
    """Look the root over; with `repair`, remove rubbish and rows that nothing needs."""
    inventory = _Inventory(store, repair=repair)
    inventory.rubbish()
    inventory.missing()
    return inventory.found


def check_counters(
    store: LayerStore, sizes: Mapping[str, int], *, repair: bool = False
) -> list[Finding]:
    """Whether the size counters say what is so; `sizes` has the true ones by cache id."""
    found = []
    database, driver = store.root.database, store.driver.name
    with database.transaction() as tx:
        for table in ("contents", "layers"):
            key = "cache_id" if table == "contents" else "chain_id"
            rows = tx.read(f"SELECT {key} AS key, cache_id, size_bytes FROM {table} WHERE driver=?",
                           (driver,))  # fmt: skip
            for row in rows:
                true = sizes.get(row["cache_id"], row["size_bytes"])
                if true == row["size_bytes"]:
                    continue
                if repair:
                    tx.execute(
                        f"UPDATE {table} SET size_bytes=? WHERE driver=? AND {key}=?",
                        (true, driver, row["key"]),
                    )
                problem = f"is counted as {row['size_bytes']} bytes, has {true}"
                name = f"{table.removesuffix('s')} {row['key']}"
                found.append(Finding("counter", name, problem, repair))
    return found


class _Inventory:
    def __init__(self, store: LayerStore, *, repair: bool) -> None:
        self._store = store
        self._root = store.root
        self._driver = store.driver
        self._repair = repair
        self.found: list[Finding] = []

    # -- rubbish ---------------------------------------------------------------------------

    def rubbish(self) -> None:
        """What no row names."""
        root, driver = self._root, self._driver
        folders = {*driver.list(), *driver.leftovers()}
        journals = {name for name in os.listdir(root.layers) if name.endswith(".journal")}
        blobs = os.listdir(root.path / "blobs" / "sha256")
        containers = os.listdir(root.containers)
        volumes = os.listdir(root.volumes)
        named = self._store.records.ids()
        for id in sorted(folders - named):
            if not id.startswith("view."):  # a living process looks through it, or it is swept
                self._tell(f"{driver.name}/{id}", lambda id=id: self._remove_folder(id))  # type: ignore[misc]
        staged = self._names("SELECT name FROM staged")
        everywhere = staged | self._names("SELECT cache_id FROM contents")
        for name in sorted(journals):
            if name.removesuffix(".journal") not in everywhere:
                self._tell(f"layers/{name}", (root.layers / name).unlink)
        kept = {digest.removeprefix("sha256:") for digest in staged | self._names(
            "SELECT digest FROM blobs")}  # fmt: skip
        for name in sorted(blobs):
            if name not in kept:
                path = root.path / "blobs" / "sha256" / name
                self._tell(f"blobs/sha256/{name}", path.unlink)
        ids = staged | self._names("SELECT id FROM containers")
        for name in sorted(containers):
            if name not in ids and f"containers/{name}" not in staged:
                path = root.containers / name
                self._tell(f"containers/{name}", lambda path=path: remove_tree(path))  # type: ignore[misc]
        names = staged | self._names("SELECT name FROM volumes")
        for name in sorted(volumes):
            # Never removed: it may be the only copy of somebody's data.
            if name not in names and f"volumes/{name}" not in staged:
                self._tell(f"volumes/{name}", None)

    def _tell(self, name: str, remove: Callable[[], object] | None) -> None:
        mended = False
        if self._repair and remove is not None:
            with suppress(Conflict, FileNotFoundError):
                remove()
                mended = True
        self.found.append(Finding("rubbish", name, "is named by no row", mended))

    def _remove_folder(self, id: str) -> None:
        self._driver.unmount(id)
        self._driver.remove(id)

    # -- what is missing -------------------------------------------------------------------

    def missing(self) -> None:
        """Rows whose thing is not there."""
        root, driver = self._root, self._driver
        for row in root.database.read(
            "SELECT cache_id, diff_id FROM contents WHERE driver=?", (driver.name,)
        ):
            cache_id = row["cache_id"]
            there = driver.exists(cache_id) and self._store.journal(cache_id).exists()
            if not there and self._store.records.find_content(cache_id) is not None:
                # (`check_layers` says which, and mends it.)
                self._store.records.mark_suspect(cache_id)
        for row in root.database.read("SELECT id, kind FROM snapshots WHERE driver=?", (
            driver.name,)):  # fmt: skip
            if not driver.exists(row["id"]) and self._store.has_snapshot(row["id"]):
                unclaimed = row["id"] in self._store.records.unclaimed_snapshots()
                if unclaimed and self._repair:
                    self._store.records.drop_snapshot(row["id"])
                name = f"{row['kind']} snapshot {row['id']}"
                problem = "has a row, and no folder"
                self.found.append(Finding("missing", name, problem, unclaimed and self._repair))
        self._missing_blobs()
        self._missing_folders("containers", "id", self._names("SELECT id FROM containers"))
        self._missing_folders("volumes", "name", self._names("SELECT name FROM volumes"))
        self._missing_layers()

    def _missing_blobs(self) -> None:
        blobs = self._root.blobs
        for text in sorted(self._names("SELECT digest FROM blobs")):
            digest = Digest(text)
            try:
                with blobs.open(digest) as stream:
                    while stream.read(1 << 20):
                        pass
            except Corrupt:
                if blobs.exists(digest):
                    problem = "has a row, and no file"
                    if blobs.path(digest).exists():
                        problem = "is damaged on disk"
                    self.found.append(Finding("missing", f"blob {text}", problem))

    def _missing_folders(self, folder: str, key: str, names: Iterable[str]) -> None:
        for name in sorted(names):
            if (self._root.path / folder / name).is_dir():
                continue
            still = self._root.database.one(f"SELECT 1 FROM {folder} WHERE {key}=?", (name,))
            if still is not None:
                what = f"{folder.removesuffix('s')} {name}"
                self.found.append(Finding("missing", what, "has a row, and no folder"))

    def _missing_layers(self) -> None:
        """Images whose layers no driver has."""
        for row in self._root.database.read(
            "SELECT id, chain_id FROM images WHERE chain_id IS NOT NULL AND NOT EXISTS"
            " (SELECT 1 FROM layers WHERE layers.chain_id=images.chain_id)"
        ):
            problem = f"has a row, and its layer {ChainID(row['chain_id']).short} has none"
            self.found.append(Finding("missing", f"image {row['id']}", problem))

    def _names(self, sql: str) -> set[str]:
        return {str(row[0]) for row in self._root.database.read(sql)}
