"""vfs: no layering by the filesystem; every layer and snapshot is a whole copy.

    <home>/                     0710
        dir/<id>/               the tree of a layer or an active snapshot; see home.py
        active/<id>/            of active snapshots only
            parents             the chain it was copied from, base first, a cache id a line
            copied              when the copy was finished: nanoseconds, by the filesystem's clock;
                                it began when `parents` was written
            holders             who needs it mounted; see mountpoint.py

It works on any filesystem, and shares content where that can reflink. `mount` binds a snapshot's
tree onto itself, so that what is mounted is the kernel's knowledge, as with every other driver.

What changed is found by comparing the snapshot with the layer that it was copied from. A copy has
its original's mtime, so a file whose size, mtime and metadata are equal is the same, unless its
ctime lies outside the time of the copy; then its content is compared. (A data root that was itself
copied elsewhere has other ctimes throughout: slower, and still right.)

Write order. `active/<id>/parents` comes before the copy, so that the parent cannot be removed
meanwhile; the copy is made under its staged name and renamed into place. `commit` renames the tree
and then drops the record. A record without a tree, whole or staged, means nothing.

Locks: flock(2) on active/<id>/ by who mounts, unmounts, commits or removes it; on <home>/dir for
each change of names (home.py), taken after that of the record.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from lamina.drivers.contract import (
    DEFAULT_HOLDER,
    Capabilities,
    LayerWriter,
    Probe,
    StorageDriver,
    Usage,
)
from lamina.drivers.deletion import delete_tree
from lamina.drivers.detached import open_empty, open_read_only, shown
from lamina.drivers.home import Home, Staging
from lamina.drivers.mountpoint import MountPoint
from lamina.errors import Conflict, InvalidInput, NotFound, Unsupported
from lamina.linux import mounts as kernel
from lamina.linux import syscalls

if TYPE_CHECKING:
    from lamina.tar.diff import Change
    from lamina.tar.extract import Extracted
    from lamina.tar.reader import TarReader

# The same as overlay2's, so that what is built on one driver runs on the other.
_MAX_CHAIN = 500
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class VfsDriver(StorageDriver):
    """See the module."""

    name: ClassVar[str] = "vfs"
    capabilities: ClassVar[Capabilities] = Capabilities(
        layers_depend_on_parent=True,
        copies_on_prepare=True,
        quota=False,
        renames_lower_directories=True,
        hard_links_survive_copy_up=True,
        metadata_touch_is_change=False,
        max_chain=_MAX_CHAIN,
    )

    @classmethod
    def probe(cls, home: Path) -> Probe:
        from lamina.drivers.overlay_probe import backing_filesystem

        place = os.path.abspath(home)
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        facts = {"Backing Filesystem": backing_filesystem(place)}
        if os.geteuid() != 0:
            return Probe(False, "vfs keeps the owners of files, which only root may: run as root")
        if not os.access(place, os.W_OK):
            return Probe(False, f"cannot write in {place}: choose another data root", facts)
        return Probe(True, "whole copies work on any filesystem", facts)

    def __init__(self, home: Path, options: Mapping[str, str]) -> None:
        for key in options:
            raise InvalidInput(
                f"unknown storage option {key!r} of driver vfs", remedy="it has none"
            )
        self._path = os.path.abspath(home)
        self._home = Home(f"{self._path}/dir")
        with suppress(FileExistsError):
            os.mkdir(f"{self._path}/active", 0o710)

    # Layers

    def begin_layer(self, cache_id: str, parents: Sequence[str]) -> LayerWriter:
        self._check_parents(parents)
        staging = self._stage(cache_id)
        try:
            self._copy_chain(parents, staging)
        except BaseException as error:
            self._discard(staging)
            if isinstance(error, FileNotFoundError):
                self._check_parents(parents)  # no record protects it: one may have been removed
            raise
        return _VfsLayerWriter(self, staging)

    def commit(self, snapshot_id: str, cache_id: str) -> None:
        path, target = self._home.existing(snapshot_id), self._home.folder(cache_id)
        point = self._active(snapshot_id)
        with point.locked():
            if point.is_mounted():
                raise Conflict(
                    f"cannot commit snapshot {snapshot_id}: it is mounted", remedy="unmount it"
                )
            with self._home.locked():
                if self._home.exists(cache_id):
                    raise Conflict(f"layer or snapshot {cache_id} already exists")
                os.rename(path, target)
            delete_tree(f"{self._path}/active/{snapshot_id}")

    def layer_root(self, cache_id: str) -> Path:
        return Path(self._home.existing(cache_id))

    # Active snapshots

    def prepare(
        self, snapshot_id: str, parents: Sequence[str], *, size_limit_bytes: int | None = None
    ) -> None:
        if size_limit_bytes is not None:
            raise Unsupported(
                "the vfs driver cannot limit the size of a container",
                remedy="leave out --storage-opt size",
            )
        self._check_parents(parents)
        staging = self._stage(snapshot_id)
        record = f"{self._path}/active/{snapshot_id}"
        try:
            with self._home.locked():
                self._check_parents(parents)
                os.mkdir(record, 0o700)
                self._write_parents(record, parents)
            self._copy_chain(parents, staging)
            _write(f"{record}/copied", "")
            _write(f"{record}/copied", f"{os.stat(f'{record}/copied').st_ctime_ns}\n")
            self._publish(staging)
        except BaseException:
            delete_tree(record)
            self._discard(staging)
            raise

    def mounts(self, snapshot_id: str, *, read_only: bool = False) -> Sequence[kernel.Mount]:
        path = self._home.existing(snapshot_id)
        return [kernel.Mount("bind", path, path, ("bind", "ro" if read_only else "rw"))]

    def mount(self, snapshot_id: str, *, holder: str = DEFAULT_HOLDER) -> Path:
        path = self._home.existing(snapshot_id)
        point = self._active(snapshot_id)
        with point.locked():
            point.hold(holder, lambda: syscalls.mount(path, path, None, syscalls.MS_BIND))
        return Path(path)

    def unmount(self, snapshot_id: str, *, holder: str = DEFAULT_HOLDER) -> None:
        point = self._mount_point(snapshot_id)
        with suppress(NotFound), point.locked():
            point.release(holder)

    @contextmanager
    def view(self, parents: Sequence[str]) -> Iterator[Path]:
        self._check_parents(parents)
        fd = open_read_only(self._home.folder(parents[-1])) if parents else open_empty()
        with shown(fd) as path:
            yield path

    def changes(self, snapshot_id: str, parents: Sequence[str]) -> Iterator[Change]:
        from lamina.tar.diff import tree_changes

        with self._compared(snapshot_id, parents) as (below, tree, copied_ns):
            yield from tree_changes(below, tree, copied_ns=copied_ns)

    def diff(self, snapshot_id: str, parents: Sequence[str], out: BinaryIO) -> None:
        from lamina.tar.diff import write_tree_diff

        with self._compared(snapshot_id, parents) as (below, tree, copied_ns):
            write_tree_diff(below, tree, out, copied_ns=copied_ns)

    def usage(self, snapshot_id: str, parents: Sequence[str]) -> Usage:
        from lamina.drivers.usage import changed_usage
        from lamina.tar.diff import tree_changes

        with self._compared(snapshot_id, parents) as (below, tree, copied_ns):
            changes = tree_changes(below, tree, copied_ns=copied_ns)
            return changed_usage(self._home.folder(snapshot_id), changes)

    # Both

    def exists(self, id: str) -> bool:
        return self._home.exists(id)

    def list(self) -> Sequence[str]:
        return self._home.ids()

    def leftovers(self) -> Sequence[str]:
        orphans = {id for id in os.listdir(f"{self._path}/active") if not self._home.exists(id)}
        return sorted(orphans.union(self._home.leftovers()))

    def mend_layer(self, cache_id: str) -> None:
        self._home.existing(cache_id)
        delete_tree(f"{self._path}/active/{cache_id}")

    def mend_snapshot(self, snapshot_id: str, parents: Sequence[str]) -> None:
        self._home.existing(snapshot_id)
        if list(parents) == self._parents_of(snapshot_id):
            return
        record = f"{self._path}/active/{snapshot_id}"
        with suppress(FileExistsError):
            os.mkdir(record, 0o700)
        with suppress(FileNotFoundError):  # when it was copied is not known: all is compared
            os.unlink(f"{record}/copied")
        self._write_parents(record, parents)

    def set_aside(self, id: str) -> None:
        with ExitStack() as locks:
            with suppress(NotFound):
                locks.enter_context(self._mount_point(id).locked())
            self._home.set_aside(id, lambda path: self._refuse_removal(id))
            delete_tree(f"{self._path}/active/{id}")

    def sweep(self) -> None:
        for path in self._home.set_aside_paths():
            delete_tree(path)

    def remove(self, id: str) -> None:
        self.set_aside(id)
        for path in self._home.set_aside_paths(id):
            delete_tree(path)

    def metadata(self, id: str, parents: Sequence[str]) -> dict[str, str]:
        return {"Dir": self._home.existing(id)}

    def status(self) -> Sequence[tuple[str, str]]:
        from lamina.drivers.overlay_probe import backing_filesystem

        return [("Backing Filesystem", backing_filesystem(self._path))]

    # Parts

    @contextmanager
    def _compared(
        self, snapshot_id: str, parents: Sequence[str]
    ) -> Iterator[tuple[int, int, tuple[int, int]]]:
        """The trees below and of a snapshot, and when the one was copied from the other."""
        path = self._home.existing(snapshot_id)
        with ExitStack() as opened:
            place = opened.enter_context(self.view(parents))
            below = os.open(place, _FOLDER & ~os.O_NOFOLLOW)
            opened.callback(os.close, below)
            tree = os.open(path, _FOLDER)
            opened.callback(os.close, tree)
            yield below, tree, self._copied_ns(snapshot_id, parents)

    def _copied_ns(self, snapshot_id: str, parents: Sequence[str]) -> tuple[int, int]:
        """From when to when the snapshot was copied from this chain; (0, 0) if that is not known.

        `parents` was written before, so its own ctime is the start.
        """
        if list(parents) != self._parents_of(snapshot_id):
            return 0, 0
        record = f"{self._path}/active/{snapshot_id}"
        try:
            with open(f"{record}/copied", encoding="ascii") as file:
                return os.stat(f"{record}/parents").st_ctime_ns, int(file.read())
        except (FileNotFoundError, ValueError):
            return 0, 0

    def _stage(self, id: str) -> Staging:
        staging = self._home.stage(id)
        if staging.leftover is not None:
            delete_tree(staging.leftover)
        delete_tree(f"{self._path}/active/{id}")
        return staging

    def _copy_chain(self, parents: Sequence[str], staging: Staging) -> None:
        """Fill a staged folder with what the chain holds: its newest layer holds all of it."""
        from lamina.drivers.copying import TreeCopier

        if parents:
            TreeCopier().copy(self._home.existing(parents[-1]), staging.path)
        else:
            os.chmod(staging.path, 0o755)

    def _publish(self, staging: Staging) -> None:
        with self._home.locked():
            staging.publish()

    def _discard(self, staging: Staging) -> None:
        aside = staging.discard()
        if aside is not None:
            delete_tree(aside)

    def _refuse_removal(self, id: str) -> None:
        if self._mount_point(id).is_mounted():
            raise Conflict(
                f"cannot remove snapshot {id}: it is mounted",
                remedy="stop what uses it, unmount it",
            )
        for other in os.listdir(f"{self._path}/active"):
            if id in self._parents_of(other) and self._is_alive(other):
                raise Conflict(f"cannot remove layer {id}: snapshot {other} stands on it")

    def _is_alive(self, snapshot_id: str) -> bool:
        return self._home.exists(snapshot_id) or snapshot_id in self._home.leftovers()

    def _write_parents(self, record: str, parents: Sequence[str]) -> None:
        _write(f"{record}/parents", "".join(f"{parent}\n" for parent in parents))

    def _parents_of(self, snapshot_id: str) -> Sequence[str]:
        try:
            with open(f"{self._path}/active/{snapshot_id}/parents", encoding="ascii") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def _mount_point(self, id: str) -> MountPoint:
        return MountPoint(id, f"{self._path}/active/{id}", self._home.folder(id))

    def _active(self, id: str) -> MountPoint:
        """The mount point of an active snapshot; a layer has none."""
        if not os.path.isdir(f"{self._path}/active/{id}"):
            self._home.existing(id)
            raise Conflict(f"{id} is a layer, not an active snapshot: it never changes")
        return self._mount_point(id)

    def _check_parents(self, parents: Sequence[str]) -> None:
        if len(parents) > _MAX_CHAIN:
            raise Unsupported(
                f"max depth exceeded: {len(parents)} layers; at most {_MAX_CHAIN} are stacked",
                remedy="use fewer steps in the Dockerfile, or squash the image",
            )
        for parent in parents:
            self._home.existing(parent)
            if os.path.isdir(f"{self._path}/active/{parent}"):
                raise InvalidInput(
                    f"{parent} is an active snapshot, not a layer: nothing can stand on it",
                    remedy="commit it first",
                )


class _VfsLayerWriter(LayerWriter):
    def __init__(self, driver: VfsDriver, staging: Staging) -> None:
        self._driver = driver
        self._staging = staging

    def apply(self, reader: TarReader) -> Extracted:
        from lamina.tar.extract import Whiteouts, extract

        root = os.open(self._staging.path, _FOLDER)
        try:
            return extract(reader, root, style=Whiteouts.APPLY)
        finally:
            os.close(root)

    def commit(self) -> None:
        self._driver._publish(self._staging)

    def abort(self) -> None:
        self._driver._discard(self._staging)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
