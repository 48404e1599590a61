"""The build cache: which layer a step gave on a filesystem, keyed by content.

A key is the digest of everything that decides what a step makes: the chain it stands on, what it
does, and the digest of the files it copies. A record names the layer, and when it was made, so that
a build that finds every step gives the same image, id and all. A record holds its layer: it is not
collected while the record is there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from lamina.build.steps import CopyStep, RunStep, Step, WorkdirStep
from lamina.digests import ChainID

if TYPE_CHECKING:
    from lamina.layers.store import LayerStore
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot

_FORMAT = 1


@dataclass(frozen=True)
class Record:
    """One entry of the cache."""

    key: str
    chain: ChainID
    created_ns: int
    used_ns: int
    size_bytes: int
    description: str


@dataclass(frozen=True)
class Made:
    """What a step gave: a layer, and when."""

    chain: ChainID
    created_ns: int


@dataclass(frozen=True)
class Pruned:
    """What a prune took away."""

    records: tuple[Record, ...]
    freed_bytes: int


def step_key(step: Step, parent: ChainID | None, files: str) -> str:
    """The cache key of a step on this filesystem; `files` is the digest of what it copies."""
    facts: dict[str, object] = {"format": _FORMAT, "parent": parent}
    if isinstance(step, RunStep):
        facts |= {
            "kind": "run",
            "args": step.args,
            "env": sorted(step.env),
            "cwd": step.cwd,
            "user": step.user,
            "network": step.network,
            "script": step.script.content if step.script else None,
        }
    elif isinstance(step, CopyStep):
        facts |= {
            "kind": step.keyword,
            "files": files,
            "inline": [[name, content.hex()] for name, content in step.inline],
            "destination": step.destination,
            "owner": step.owner,
            "mode": step.mode,
            "unpack": step.unpack,
        }
    elif isinstance(step, WorkdirStep):
        facts |= {"kind": "workdir", "path": step.path, "user": step.user}
    else:
        raise TypeError(f"no cache key for {type(step).__name__}")
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class BuildCache:
    """The records of one data root and driver."""

    def __init__(self, root: DataRoot, layers: LayerStore) -> None:
        self._root = root
        self._database = root.database
        self._layers = layers
        self._driver = layers.driver.name

    def find(self, operation: Operation, key: str) -> Made | None:
        """What this step gave before; its layer is leased to the operation."""
        from lamina.errors import Corrupt, NotFound

        row = self._database.one(
            "SELECT chain_id, value FROM build_cache WHERE key=? AND driver=?",
            (key, self._driver),
        )
        if row is None or row["chain_id"] is None:
            return None
        chain = ChainID(row["chain_id"])
        try:
            self._layers.lease(operation, chain)
        except (NotFound, Corrupt):
            return None  # gone meanwhile, or damaged by a crash: it is made again
        with self._database.transaction() as tx:
            tx.execute(
                "UPDATE build_cache SET used_ns=? WHERE key=? AND driver=?",
                (time.time_ns(), key, self._driver),
            )
        return Made(chain, int(json.loads(row["value"])["created_ns"]))

    def store(self, key: str, made: Made, description: str) -> None:
        """Remember what a step gave."""
        size = self._layers.get(made.chain).size_bytes
        with self._database.transaction() as tx:
            tx.execute(
                "INSERT OR REPLACE INTO build_cache"
                " (key, driver, chain_id, value, size_bytes, created_ns, used_ns, description)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    self._driver,
                    made.chain,
                    json.dumps({"created_ns": made.created_ns}),
                    size,
                    made.created_ns,
                    time.time_ns(),
                    description,
                ),
            )

    def records(self) -> Sequence[Record]:
        """Every record, the longest unused first."""
        rows = self._database.read(
            "SELECT key, chain_id, size_bytes, created_ns, used_ns, description FROM build_cache"
            " WHERE driver=? AND chain_id IS NOT NULL ORDER BY used_ns, key",
            (self._driver,),
        )
        return [
            Record(
                row["key"],
                ChainID(row["chain_id"]),
                row["created_ns"],
                row["used_ns"],
                row["size_bytes"],
                row["description"],
            )
            for row in rows
        ]

    def prune(self, *, everything: bool = False, unused_since_ns: int | None = None) -> Pruned:
        """Drop records and the layers that only they hold.

        Without `everything`, records whose layer is part of an image stay: dropping them would
        free nothing. With `unused_since_ns`, those used after it stay.
        """
        held = set() if everything else self._held_by_images()
        gone = [
            record
            for record in self.records()
            if record.chain not in held
            and (unused_since_ns is None or record.used_ns < unused_since_ns)
        ]
        sizes = {
            layer.chain_id: layer.size_bytes
            for record in gone
            for layer in self._layers.stack(record.chain)
        }
        freed = 0
        with self._root.operation("prune build cache") as op:
            op.begin()
            with self._database.transaction() as tx:
                for record in gone:
                    op.lease(self._driver, record.chain)
                    tx.execute(
                        "DELETE FROM build_cache WHERE key=? AND driver=?",
                        (record.key, self._driver),
                    )
            for record in gone:
                chains = self._layers.collect(record.chain, op)
                freed += sum(sizes.get(chain, 0) for chain in chains)
        return Pruned(tuple(gone), freed)

    def _held_by_images(self) -> set[ChainID]:
        rows = self._database.read(
            "WITH RECURSIVE held(chain_id) AS ("
            " SELECT chain_id FROM images WHERE chain_id IS NOT NULL"
            " UNION SELECT layers.parent FROM layers, held"
            "  WHERE layers.driver=? AND layers.chain_id=held.chain_id"
            "  AND layers.parent IS NOT NULL)"
            " SELECT chain_id FROM held",
            (self._driver,),
        )
        return {ChainID(row["chain_id"]) for row in rows}
