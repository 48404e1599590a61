"""A process that stores, commits and collects layers until it is killed.

Run as: python layer_worker.py ROOT DRIVER SEED [BOOT]. Prints `ready` when it begins.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from layer_builders import Tar, layer_store, pin, stored, unpin

from lamina.layers.store import LayerStore


def work(layers: LayerStore, chance: random.Random) -> None:
    """One round: an image of a few layers, one of them built; sometimes an older image goes."""
    tars = [some_tar(chance) for _ in range(chance.randint(1, 3))]
    with layers.root.operation("worker") as op:
        top = stored(layers, op, None, *tars)[-1]
        snapshot = f"build-{chance.randrange(1 << 60):x}"
        layers.prepare(snapshot, top, kind="build", op=op)
        mounted = layers.mount(snapshot)
        (mounted / "made").write_bytes(chance.randbytes(30_000))
        layers.unmount(snapshot)
        chain = layers.commit(op, snapshot).chain_id
        pin(layers, chain, layers.root.blobs.put(op, chance.randbytes(2_000)))
    images = layers.root.database.read("SELECT id, chain_id FROM images ORDER BY id")
    if len(images) > 3:
        unpin(layers, chance.choice(images)["id"])


def some_tar(chance: random.Random) -> bytes:
    """One of few, so that content is shared and met again."""
    number = chance.randrange(6)
    built = Tar()
    for each in range(12):
        built.file(f"folder-{number}/{each}", bytes([number]) * 9_000 * each)
    return built.bytes


def main() -> None:
    root, driver, seed, *boot = sys.argv[1:]
    chance = random.Random(int(seed))
    with layer_store(Path(root), driver, boot_id=boot[0] if boot else None) as layers:
        print("ready", flush=True)
        while True:
            work(layers, chance)


if __name__ == "__main__":
    main()
