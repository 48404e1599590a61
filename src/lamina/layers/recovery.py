"""Looking a driver's home over, once after each start of the machine.

What dead owners left is known by rows and ended at every opening (lamina.store.operations). This is
for the rest: a power cut may take back the database's last transactions while the folders they
spoke of stay, or the other way round. A folder that no row names is rubbish, by construction; a
row of a snapshot that has no folder, and that no container names, is too.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from lamina.errors import Conflict, NotFound
from lamina.store.operations import remove_tree

if TYPE_CHECKING:
    from lamina.layers.store import LayerStore
    from lamina.store.root import DataRoot


def look_over(layers: LayerStore) -> None:
    """Remove what no row names, and note that this was done under this boot."""
    root, driver, records = layers.root, layers.driver, layers.records
    driver.sweep()
    # Listed first, rows read second: what a living operation makes is staged before it exists.
    found = {*driver.list(), *driver.leftovers()}
    journals = {name for name in os.listdir(root.layers) if name.endswith(".journal")}
    named = records.ids()
    for id in sorted(found - named):
        driver.unmount(id)
        with suppress(Conflict):  # a living process is making it: a view of its own, say
            driver.remove(id)
    everywhere = {
        row["id"]
        for row in root.database.read(
            "SELECT cache_id AS id FROM contents UNION SELECT name FROM staged"
        )
    }
    for name in journals:
        if name.removesuffix(".journal") not in everywhere:
            (root.layers / name).unlink(missing_ok=True)
    root.blobs.sweep()
    _remove_folders_of_no_container(root)
    for snapshot_id in records.unclaimed_snapshots():
        if not driver.exists(snapshot_id):
            records.drop_snapshot(snapshot_id)
    for layer in records.tops():
        layers.collect(layer.chain_id)
    _mend(layers)
    root.set_meta(f"looked over:{driver.name}", root.boot_id)


def _mend(layers: LayerStore) -> None:
    """Have the driver write again what the rows know of its layers, then of its snapshots."""
    driver, read = layers.driver, layers.root.database.read
    present = set(driver.list())
    for row in read("SELECT cache_id AS id FROM contents WHERE driver=?", (driver.name,)):
        if row["id"] in present:
            driver.mend_layer(row["id"])
    for row in read("SELECT id FROM snapshots WHERE driver=?", (driver.name,)):
        with suppress(NotFound):  # removed by a living process since we read
            below = layers.below(row["id"])
            if row["id"] in present and present.issuperset(below):
                driver.mend_snapshot(row["id"], below)


def _remove_folders_of_no_container(root: DataRoot) -> None:
    found = os.listdir(root.containers)
    named = {
        row["name"]
        for row in root.database.read(
            "SELECT id AS name FROM containers UNION SELECT name FROM staged WHERE kind='path'"
        )
    }
    for name in found:
        if name not in named and f"containers/{name}" not in named:
            remove_tree(root.containers / name)
