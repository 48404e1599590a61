"""overlay2: layers as folders that the kernel's overlayfs stacks, laid out as Docker's driver does.

    <home>/                                    0710
        <id>/                                  a layer or an active snapshot; see home.py
            diff/                              what this layer adds; the upper folder of a snapshot
            link, lower                        its short name, and those of the layers below
                                               it, newest first; see short_links.py
            work/                              overlayfs's own scratch
            merged/                            the mount point; empty when unmounted
            committed                          an empty file: this is a layer. Else: a snapshot
            opaque                             an empty file: the layer hides all below it. (The
                                               kernel heeds no such mark on a root, so a chain is
                                               only stacked down to the newest such layer.)
            holders                            who needs it mounted; see mountpoint.py
        l/<short name> -> ../<id>/diff

`lower` binds an active snapshot: that is what is mounted. In a layer it tells on which chain the
layer was first made, for people; the chain that counts is the one that the caller gives, so one
layer serves in many chains. Deletions are the kernel's own marks: a character device 0:0, and
`trusted.overlay.opaque=y` on a folder that hides what is below it.

Write order. A folder is filled under its staged name, its short link is made, and it is renamed
into place; a killed maker leaves a staged folder, and perhaps a link that leads nowhere. `commit`
renames the folder, lets its link follow, then marks it: stopped in between, the new id is a
snapshot and can be removed. Removal renames aside, unlinks the short link, then deletes.

Locks: flock(2) on <id>/ by who mounts, unmounts, commits or removes it; on <home> for each change
of names (home.py), taken after that of <id>/.
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
from lamina.drivers.detached import open_empty, shown
from lamina.drivers.home import Home, Staging
from lamina.drivers.mountpoint import MountPoint
from lamina.drivers.overlay_mount import MAX_LOWERS, Overlay
from lamina.drivers.short_links import ShortLinks, write_lowers, write_text
from lamina.errors import Conflict, Corrupt, InvalidInput, NotFound, Unsupported
from lamina.linux import mounts as kernel
from lamina.linux import syscalls

if TYPE_CHECKING:
    from lamina.tar.diff import Change
    from lamina.tar.extract import Extracted
    from lamina.tar.reader import TarReader

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Overlay2Driver(StorageDriver):
    """See the module."""

    name: ClassVar[str] = "overlay2"
    capabilities: ClassVar[Capabilities] = Capabilities(
        layers_depend_on_parent=False,
        copies_on_prepare=False,
        quota=False,
        renames_lower_directories=False,
        hard_links_survive_copy_up=False,
        metadata_touch_is_change=True,
        max_chain=MAX_LOWERS,
    )

    @classmethod
    def probe(cls, home: Path) -> Probe:
        from lamina.drivers.overlay_probe import probe_overlay

        return probe_overlay(home)

    def __init__(self, home: Path, options: Mapping[str, str]) -> None:
        for key in options:
            raise InvalidInput(
                f"unknown storage option {key!r} of driver overlay2", remedy="it has none"
            )
        self._path = os.path.abspath(home)
        self._home = Home(self._path, reserved=("l",))
        self._links = ShortLinks(self._home)

    # Layers

    def begin_layer(self, cache_id: str, parents: Sequence[str]) -> LayerWriter:
        self._check_depth(parents)
        with self._staged(cache_id, parents) as staging:
            return _Overlay2LayerWriter(self, staging, parents)

    def commit(self, snapshot_id: str, cache_id: str) -> None:
        path, target = self._home.existing(snapshot_id), self._home.folder(cache_id)
        point = self._mount_point(snapshot_id)
        with point.locked():
            self._check_active(snapshot_id)
            if point.is_mounted():
                raise Conflict(
                    f"cannot commit snapshot {snapshot_id}: it is mounted", remedy="unmount it"
                )
            point.forget()
            with self._home.locked():
                if self._home.exists(cache_id):
                    raise Conflict(f"layer or snapshot {cache_id} already exists")
                os.rename(path, target)
                self._links.follow(cache_id)
                write_text(f"{target}/committed", "")
        delete_tree(f"{target}/work/work")

    def layer_root(self, cache_id: str) -> Path:
        return Path(self._home.existing(cache_id), "diff")

    # Active snapshots

    def prepare(
        self, snapshot_id: str, parents: Sequence[str], *, size_limit_bytes: int | None = None
    ) -> None:
        if size_limit_bytes is not None:
            raise Unsupported(
                "the overlay2 driver cannot limit the size of a container here",
                remedy="leave out --storage-opt size",
            )
        self._check_depth(parents)
        with self._staged(snapshot_id, parents) as staging:
            self._publish(staging, parents)

    def mounts(self, snapshot_id: str, *, read_only: bool = False) -> Sequence[kernel.Mount]:
        target = f"{self._home.existing(snapshot_id)}/merged"
        overlay = self._overlay(snapshot_id, read_only=read_only)
        if overlay is not None:
            return [overlay.as_mount(target)]
        mode = "ro" if read_only else "rw"
        return [kernel.Mount("bind", f"{self._path}/{snapshot_id}/diff", target, ("bind", mode))]

    def mount(self, snapshot_id: str, *, holder: str = DEFAULT_HOLDER) -> Path:
        point = self._mount_point(snapshot_id)
        with point.locked():
            self._check_active(snapshot_id)
            point.hold(holder, lambda: self._attach(snapshot_id))
        return Path(f"{self._path}/{snapshot_id}/merged")

    def unmount(self, snapshot_id: str, *, holder: str = DEFAULT_HOLDER) -> None:
        point = self._mount_point(snapshot_id)
        with suppress(NotFound), point.locked():
            point.release(holder)

    @contextmanager
    def view(self, parents: Sequence[str]) -> Iterator[Path]:
        with shown(self._open_view(parents)) as path:
            yield path

    def changes(self, snapshot_id: str, parents: Sequence[str]) -> Iterator[Change]:
        from lamina.drivers.hidden import with_hidden
        from lamina.tar.diff import overlay_changes
        from lamina.tar.lower import TreeBelow

        with self._compared(snapshot_id, parents) as (upper, below):
            found = overlay_changes(upper, TreeBelow(below))
            yield from with_hidden(found, f"/proc/self/fd/{upper}", f"/proc/self/fd/{below}")

    def diff(self, snapshot_id: str, parents: Sequence[str], out: BinaryIO) -> None:
        from lamina.tar.diff import write_overlay_diff
        from lamina.tar.lower import TreeBelow

        with self._compared(snapshot_id, parents) as (upper, below):
            write_overlay_diff(upper, out, TreeBelow(below))

    def usage(self, snapshot_id: str, parents: Sequence[str]) -> Usage:
        from lamina.drivers.usage import tree_usage

        return tree_usage(f"{self._home.existing(snapshot_id)}/diff")

    # Both

    def exists(self, id: str) -> bool:
        return self._home.exists(id)

    def list(self) -> Sequence[str]:
        return self._home.ids()

    def leftovers(self) -> Sequence[str]:
        return self._home.leftovers()

    def mend_layer(self, cache_id: str) -> None:
        path = self._home.existing(cache_id)
        if not os.path.exists(f"{path}/committed"):
            write_text(f"{path}/committed", "")
        self._links.mend(cache_id)

    def mend_snapshot(self, snapshot_id: str, parents: Sequence[str]) -> None:
        path = self._home.existing(snapshot_id)
        with self._mount_point(snapshot_id).locked():
            self._check_active(snapshot_id)
            self._links.mend(snapshot_id)
            lowers = self._lowers(parents)
            try:
                known = self._links.lowers(path) == [f"l/{name}" for name in lowers]
            except Corrupt:
                known = False
            if not known:
                write_lowers(path, lowers)

    def set_aside(self, id: str) -> None:
        with ExitStack() as locks:
            with suppress(NotFound):
                locks.enter_context(self._mount_point(id).locked())
            self._home.set_aside(id, lambda path: self._refuse_removal(id, path))

    def sweep(self) -> None:
        for path in self._home.set_aside_paths():
            self._delete(path)
        with self._home.locked():
            self._links.sweep()

    def remove(self, id: str) -> None:
        self.set_aside(id)
        for path in self._home.set_aside_paths(id):
            self._delete(path)

    def metadata(self, id: str, parents: Sequence[str]) -> dict[str, str]:
        path = self._home.existing(id)
        found = {
            "MergedDir": f"{path}/merged",
            "UpperDir": f"{path}/diff",
            "WorkDir": f"{path}/work",
        }
        if parents:
            lowers = (f"{self._path}/{parent}/diff" for parent in reversed(parents))
            found = {"LowerDir": ":".join(lowers), **found}
        return found

    def status(self) -> Sequence[tuple[str, str]]:
        from lamina.drivers.overlay_probe import backing_filesystem, supports_d_type

        return [
            ("Backing Filesystem", backing_filesystem(self._path)),
            ("Supports d_type", str(supports_d_type(self._path)).lower()),
            ("Using metacopy", "false"),
            ("Native Overlay Diff", "true"),
            ("userxattr", "false"),
        ]

    # Making

    @contextmanager
    def _staged(self, id: str, parents: Sequence[str]) -> Iterator[Staging]:
        """A staged folder with all but the layer's content; discarded if the block fails."""
        staging = self._home.stage(id)
        try:
            if staging.leftover is not None:
                self._delete(staging.leftover)
            for parent in parents:
                self._check_committed(parent)
            path = staging.path
            os.mkdir(f"{path}/diff", 0o755)
            _copy_root(f"{self._path}/{parents[-1]}/diff" if parents else None, f"{path}/diff")
            os.mkdir(f"{path}/work", 0o700)
            os.mkdir(f"{path}/merged", 0o700)
            write_lowers(path, self._lowers(parents))
            self._links.give(path, id)
            yield staging
        except BaseException as error:
            self._discard(staging)
            if isinstance(error, FileNotFoundError):
                for parent in parents:  # one may have been removed meanwhile
                    self._check_committed(parent)
            raise

    def _lowers(self, parents: Sequence[str]) -> Sequence[str]:
        """The short names of what a snapshot on this chain stacks, newest first."""
        seen = parents[self._first_seen(parents) :]
        return [self._links.of(parent) for parent in reversed(seen)]

    def _publish(self, staging: Staging, parents: Sequence[str]) -> None:
        with self._home.locked():
            for parent in parents:  # again: one may have been removed since
                self._check_committed(parent)
            staging.publish()

    def _discard(self, staging: Staging) -> None:
        aside = staging.discard()
        if aside is not None:
            self._delete(aside)

    def _delete(self, path: str) -> None:
        """Delete a folder that is set aside, its short link first."""
        self._links.forget(path, os.path.basename(path).rpartition(".")[0])
        delete_tree(path)

    def _refuse_removal(self, id: str, path: str) -> None:
        if self._mount_point(id).is_mounted():
            raise Conflict(
                f"cannot remove snapshot {id}: it is mounted",
                remedy="stop what uses it, unmount it",
            )
        if not os.path.exists(f"{path}/committed"):
            return
        for other in self._home.ids():
            folder = f"{self._path}/{other}"
            if not os.path.exists(f"{folder}/committed") and self._links.stands_on(folder, id):
                raise Conflict(f"cannot remove layer {id}: snapshot {other} stands on it")

    # Mounting

    @contextmanager
    def _compared(self, snapshot_id: str, parents: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Descriptors of a snapshot's upper folder, and of the tree below it."""
        upper = os.open(f"{self._home.existing(snapshot_id)}/diff", _FOLDER)
        try:
            below = self._open_view(parents)
            try:
                yield upper, below
            finally:
                os.close(below)
        finally:
            os.close(upper)

    def _mount_point(self, id: str) -> MountPoint:
        path = self._home.folder(id)
        return MountPoint(id, path, f"{path}/merged")

    def _attach(self, snapshot_id: str) -> None:
        target = f"{self._path}/{snapshot_id}/merged"
        with suppress(FileExistsError):
            os.mkdir(target, 0o700)
        with suppress(FileExistsError):
            os.mkdir(f"{self._path}/{snapshot_id}/work", 0o700)
        overlay = self._overlay(snapshot_id, read_only=False)
        if overlay is not None:
            overlay.attach(target)
        else:
            syscalls.mount(f"{self._path}/{snapshot_id}/diff", target, None, syscalls.MS_BIND)

    def _overlay(self, snapshot_id: str, *, read_only: bool) -> Overlay | None:
        """What to stack for a snapshot; None if there is nothing to stack it on."""
        lowers = tuple(map(self._links.mended, self._links.lowers(f"{self._path}/{snapshot_id}")))
        if not lowers:
            return None
        if read_only:
            return Overlay(self._path, (f"{snapshot_id}/diff", *lowers))
        return Overlay(self._path, lowers, f"{snapshot_id}/diff", f"{snapshot_id}/work")

    def _open_view(self, parents: Sequence[str]) -> int:
        self._check_depth(parents)
        if not parents:
            return open_empty()
        for parent in parents:
            self._check_committed(parent)
        seen = parents[self._first_seen(parents) :]
        lowers = [f"{parent}/diff" for parent in reversed(seen)]
        if len(lowers) == 1:
            # Overlayfs stacks two at least; a layer's own mount point is an empty folder.
            with suppress(FileExistsError):
                os.mkdir(f"{self._path}/{seen[0]}/merged", 0o700)
            lowers.append(f"{seen[0]}/merged")
        scratch: list[Staging] = []

        def scratch_folder() -> str:
            scratch.append(self._home.stage(f"view.{os.urandom(8).hex()}"))
            return scratch[0].path

        try:
            return Overlay(self._path, tuple(lowers)).open(scratch_folder)
        finally:
            for staging in scratch:
                self._discard(staging)

    def _first_seen(self, parents: Sequence[str]) -> int:
        """The place in a chain of the newest layer that hides all below it; else 0."""
        for place in range(len(parents) - 1, 0, -1):
            if os.path.exists(f"{self._path}/{parents[place]}/opaque"):
                return place
        return 0

    # Checks

    def _check_depth(self, parents: Sequence[str]) -> None:
        if len(parents) > MAX_LOWERS:
            raise Unsupported(
                f"max depth exceeded: {len(parents)} layers; overlay2 stacks {MAX_LOWERS}",
                remedy="use fewer steps in the Dockerfile, or squash the image",
            )

    def _check_active(self, id: str) -> None:
        if os.path.exists(f"{self._path}/{id}/committed"):
            raise Conflict(f"{id} is a layer, not an active snapshot: it never changes")

    def _check_committed(self, id: str) -> None:
        if not os.path.exists(f"{self._home.folder(id)}/committed"):
            if not self._home.exists(id):
                raise NotFound(f"no such layer: {id}")
            raise InvalidInput(
                f"{id} is an active snapshot, not a layer: nothing can stand on it",
                remedy="commit it first",
            )


class _Overlay2LayerWriter(LayerWriter):
    def __init__(self, driver: Overlay2Driver, staging: Staging, parents: Sequence[str]) -> None:
        self._driver = driver
        self._staging = staging
        self._parents = parents[driver._first_seen(parents) :]

    def apply(self, reader: TarReader) -> Extracted:
        from lamina.tar.extract import Whiteouts, extract
        from lamina.tar.lower import StackBelow

        with ExitStack() as opened:
            lowers = []
            for parent in reversed(self._parents):
                lowers.append(os.open(self._driver.layer_root(parent), _FOLDER))
                opened.callback(os.close, lowers[-1])
            root = os.open(f"{self._staging.path}/diff", _FOLDER)
            opened.callback(os.close, root)
            extracted = extract(reader, root, style=Whiteouts.OVERLAY, lower=StackBelow(lowers))
        if extracted.opaque_root:
            write_text(f"{self._staging.path}/opaque", "")
        return extracted

    def commit(self) -> None:
        write_text(f"{self._staging.path}/committed", "")
        self._driver._publish(self._staging, self._parents)

    def abort(self) -> None:
        self._driver._discard(self._staging)


def _copy_root(source: str | None, target: str) -> None:
    """Give a layer's root what the root below it has: overlayfs shows the topmost one's."""
    os.chmod(target, 0o755)
    if source is None:
        return
    status = os.stat(source)
    if status.st_uid or status.st_gid:
        os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, status.st_mode & 0o7777)
    for name in os.listxattr(source):
        if not name.startswith("trusted.overlay."):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
