"""Operations under way: what is staged, who is alive, and what is undone when its owner died.

```
tmp/<operation>/      a folder of the operation's own, locked by its owner as long as it lives
tmp/<operation>/…     whatever it stages there
```

An operation is the folder (locked first), then a row. Before it creates anything on disk that a
crash would leave behind, it *stages* it: a row that says what is about to appear. When the thing
becomes visible, `keep` deletes that row **in the same transaction** that inserts the row which
names it. So at every instant each thing on disk is named either by a row that makes it visible, or
by the staged row of an operation.

The end, in this order: what is still staged is removed (after a failure, or a death) or stays
(after a success); scratch is removed either way; leases go, and what they alone held is collected;
the row goes; the folder goes. Each step can be repeated. A dead owner is one whose folder can be
locked: the kernel has dropped the lock. Its end is then done by whoever opens the root next, who
holds the lock meanwhile, so that of several openers one does it.

How a staged thing is removed is known by the room that made it: it registers a *remover* for its
kind and driver. What has no remover in this process (another driver's) waits for one that has.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lamina.errors import Conflict
from lamina.store.failures import translated
from lamina.store.locks import Lock, try_lock, try_lock_folder

if TYPE_CHECKING:
    from lamina.digests import ChainID
    from lamina.store.root import DataRoot

Remover = Callable[[str], None]
"""Removes the staged thing of this name; absent is fine; what a row names is left."""
Collector = Callable[[str, str], object]
"""Ends an operation's lease on a layer (chain id, operation); what only it held is collected."""


class Operation:
    """Work under way, as a context manager: `with root.operation("load") as op:`.

    Costs nothing until the first thing is staged or leased. May be used by several threads.
    """

    def __init__(self, root: DataRoot, kind: str) -> None:
        self.root = root
        self.kind = kind
        self.id = os.urandom(8).hex()
        self.wrote_layers = False
        """Set by who wrote what a flush should cover when the operation succeeds."""
        self._lock: Lock | None = None
        self._guard = threading.Lock()

    @property
    def folder(self) -> Path:
        """A private folder for files in the making; gone when the operation ends."""
        self.begin()
        return self.root.tmp / self.id

    def stage(self, kind: str, driver: str, name: str) -> None:
        """Say that this is about to be created: removed unless kept, or the operation succeeds."""
        self._stage(kind, driver, name, 0)

    def scratch(self, kind: str, driver: str, name: str) -> None:
        """Say that this is about to be created, and goes however the operation ends."""
        self._stage(kind, driver, name, 1)

    def keep(self, kind: str, driver: str, name: str) -> None:
        """It has become visible; call in the transaction that makes it so."""
        with self.root.database.transaction() as tx:
            tx.execute(
                "DELETE FROM staged WHERE operation=? AND kind=? AND driver=? AND name=?",
                (self.id, kind, driver, name),
            )

    def lease(self, driver: str, chain_id: ChainID) -> None:
        """Keep an existing layer from being collected until the operation ends."""
        self.begin()
        with self.root.database.transaction() as tx:
            tx.execute("INSERT OR IGNORE INTO leases VALUES (?, ?, ?)", (self.id, driver, chain_id))

    def remove(self, kind: str, driver: str, name: str) -> None:
        """Remove a thing that this operation staged, now."""
        remover = self.root.recovery.remover(kind, driver)
        if remover is None:
            raise LookupError(f"nobody registered how to remove a {kind} of {driver!r}")
        remover(name)
        self.keep(kind, driver, name)

    def __enter__(self) -> Operation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is None:
            return
        try:
            if error is None:
                if self.wrote_layers:
                    self.root.flush()
                self.root.recovery.finish(self.id, succeeded=True)
            else:
                self.root.make_way(error)
                try:
                    self.root.recovery.finish(self.id, succeeded=False)
                except Exception as second:  # the first error is the one to be told
                    error.add_note(f"clean-up is left to the next opening of the root: {second}")
        finally:
            self._lock.release()

    def _stage(self, kind: str, driver: str, name: str, scratch: int) -> None:
        self.begin()
        with self.root.database.transaction() as tx:
            tx.execute(
                "INSERT OR REPLACE INTO staged VALUES (?, ?, ?, ?, ?)",
                (self.id, kind, driver, name, scratch),
            )

    def begin(self) -> None:
        """Make the folder and the row now; several threads call it before their transactions."""
        if self._lock is not None:
            return
        with self._guard:
            if self._lock is not None:
                return
            lock = None
            with translated("starting an operation"):
                while lock is None:  # lost only to an opener that swept the folder unlocked
                    folder = self.root.tmp / self.id
                    lock = try_lock_folder(folder)
            try:
                with self.root.database.transaction() as tx:
                    tx.execute(
                        "INSERT INTO operations VALUES (?, ?, ?)",
                        (self.id, self.kind, time.time_ns()),
                    )
            except BaseException:
                folder.rmdir()
                lock.release()
                raise
            self._lock = lock


class Recovery:
    """Ends operations: one's own, and those whose owners died."""

    def __init__(self, root: DataRoot) -> None:
        self._root = root
        self._removers: dict[tuple[str, str], Remover] = {}
        self._collectors: dict[str, Collector] = {}

    def on_staged(self, kind: str, driver: str, remover: Remover) -> None:
        """Register how staged things of this kind and driver are removed."""
        self._removers[kind, driver] = remover

    def on_lease(self, driver: str, collector: Collector) -> None:
        """Register what collects a layer of this driver whose lease has ended."""
        self._collectors[driver] = collector

    def remover(self, kind: str, driver: str) -> Remover | None:
        """What removes staged things of this kind and driver, if anybody registered it."""
        return self._removers.get((kind, driver))

    def run(self) -> None:
        """End what dead owners left. Two cheap looks when there is nothing."""
        found = {str(row["id"]) for row in self._root.database.read("SELECT id FROM operations")}
        try:
            found.update(os.listdir(self._root.tmp))
        except FileNotFoundError:  # a copy may lack what was empty
            self._root.lay_out()
        dead = [name for name in sorted(found) if self._recover(self._root.tmp / name)]
        if dead:
            self._root.blobs.sweep()

    def finish(self, operation: str, *, succeeded: bool) -> None:
        """End an operation whose lock the caller holds."""
        database = self._root.database
        over = "scratch=1" if succeeded else "1"
        complete = True
        staged = database.read(
            f"SELECT kind, driver, name FROM staged WHERE operation=? AND {over}", (operation,)
        )
        if staged:
            database.harden()
        for row in staged:
            remover = self.remover(row["kind"], row["driver"])
            if remover is None:
                complete = False
                continue
            try:
                remover(row["name"])
            except Conflict:  # in use yet: tried again at the next opening
                complete = False
                continue
            with database.transaction() as tx:
                tx.execute(
                    "DELETE FROM staged WHERE operation=? AND kind=? AND driver=? AND name=?",
                    (operation, row["kind"], row["driver"], row["name"]),
                )
        leases = database.read(
            "SELECT driver, chain_id FROM leases WHERE operation=?", (operation,)
        )
        complete = complete and all(row["driver"] in self._collectors for row in leases)
        if not complete:
            return
        for row in leases:
            self._collectors[row["driver"]](row["chain_id"], operation)
        with database.transaction() as tx:
            tx.execute("DELETE FROM operations WHERE id=?", (operation,))
        remove_tree(self._root.tmp / operation)

    def _recover(self, path: Path) -> bool:
        """End this operation if its owner is dead; whether it was."""
        lock = try_lock_folder(path) if self._row(path.name) else try_lock(path)
        if lock is None:
            return False  # alive, or ended by another opener meanwhile
        with lock:
            if self._row(path.name):
                self.finish(path.name, succeeded=False)
            else:
                remove_tree(path)
        return True

    def _row(self, operation: str) -> bool:
        return (
            self._root.database.one("SELECT 1 FROM operations WHERE id=?", (operation,)) is not None
        )


def remove_tree(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; absent is fine."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if not _remove_flat_folder(path):
            import shutil

            shutil.rmtree(path, ignore_errors=False)


def _remove_flat_folder(path: Path) -> bool:
    """Delete a folder without folders in it, as most are; False, and untouched, for another."""
    with os.scandir(path) as entries:
        names = [entry.path for entry in entries if not entry.is_dir(follow_symlinks=False)]
        entries.close()
    if len(names) != len(os.listdir(path)):
        return False
    for name in names:
        os.unlink(name)
    os.rmdir(path)
    return True
