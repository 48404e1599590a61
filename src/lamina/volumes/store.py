"""The volumes of a data root: a row and a folder each, outliving the containers that use them.

    volumes/<name>/_data       the volume's content
    volumes/<name>/_data.new   a first content being copied from an image; renamed over the empty
                               `_data` when it is whole, so that a crash leaves an empty volume

The row makes a volume exist. A folder without a row is taken in as it is when a volume of its name
is created: what is in it may be all that somebody has.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from lamina.store.root import DataRoot
    from lamina.volumes.specification import MountPoint
    from lamina.volumes.volume import Volume as Volume


class VolumeStore:
    """The volumes of one data root."""

    def __init__(self, root: DataRoot) -> None:
        self._root = root

    def create(
        self,
        name: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        driver: str = "local",
        anonymous: bool = False,
    ) -> Volume:
        """The volume of this name, made if there is none; without a name, a fresh one."""
        from lamina.volumes.specification import check_name
        from lamina.volumes.volume import Volume

        if driver != "local":
            raise NotFound(
                f"create {name}: error looking up volume plugin {driver}: "
                f'plugin "{driver}" not found'
            )
        if name:
            check_name(name)
        else:
            name = os.urandom(32).hex()
        import json

        with self._root.database.transaction() as tx:
            row = tx.one("SELECT * FROM volumes WHERE name = ?", (name,))
            if row is not None:
                return self._volume(row)
            self._data(name).mkdir(parents=True, exist_ok=True)
            self._data(name).parent.chmod(0o701)
            created_ns = time.time_ns()
            tx.execute(
                "INSERT INTO volumes (name, driver, created_ns, labels, anonymous)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, driver, created_ns, json.dumps(dict(labels or {})), int(anonymous)),
            )
        return Volume(name, self._data(name), created_ns, driver, dict(labels or {}), anonymous)

    def get(self, name: str) -> Volume:
        """The volume of this name."""
        row = self._root.database.one("SELECT * FROM volumes WHERE name = ?", (name,))
        if row is None:
            raise NotFound(f"get {name}: no such volume")
        return self._volume(row)

    def list(self) -> Sequence[Volume]:
        """Every volume, by name."""
        rows = self._root.database.read("SELECT * FROM volumes ORDER BY name")
        return [self._volume(row) for row in rows]

    def users(self, name: str) -> Sequence[str]:
        """The ids of the containers that have this volume."""
        rows = self._root.database.read(
            "SELECT container FROM volume_uses WHERE volume = ? ORDER BY container", (name,)
        )
        return [row["container"] for row in rows]

    def in_use(self) -> frozenset[str]:
        """The names of all volumes that a container has."""
        rows = self._root.database.read("SELECT DISTINCT volume FROM volume_uses")
        return frozenset(row["volume"] for row in rows)

    def remove(self, name: str) -> None:
        """Removes a volume and its content. Conflict: a container has it."""
        with self._root.database.transaction() as tx:
            self.get(name)
            users = self.users(name)
            if users:
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
            tx.execute("DELETE FROM volumes WHERE name = ?", (name,))
            trash = self._discard(name)
        _delete(trash)

    def prune(self, *, named: bool = False) -> tuple[Sequence[str], int]:
        """Removes anonymous volumes (and named ones) that no container has; names and bytes."""
        removed, freed = [], 0
        for volume in self.list():
            if (volume.anonymous or named) and not self.users(volume.name):
                size = self.size_bytes(volume.name)
                with contextlib.suppress(Conflict, NotFound):
                    self.remove(volume.name)
                    removed.append(volume.name)
                    freed += size
        return removed, freed

    def size_bytes(self, name: str) -> int:
        """The bytes of its files, hard links once."""
        total, seen = 0, set()
        for folder, _, files in os.walk(self._data(name)):
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    status = os.lstat(os.path.join(folder, file))
                    if (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        total += status.st_size
        return total

    def resolve(
        self,
        binds: Sequence[str],
        image_volumes: Sequence[str] = (),
        *,
        tmpfs: Sequence[str] = (),
    ) -> Sequence[MountPoint]:
        """The mounts of a new container; its volumes are made, and those without a name named.

        Folders of the host that do not exist are made, as Docker does for `-v`. At the places of
        `tmpfs`, memory is mounted: nothing else can be.
        """
        if not binds and not image_volumes:
            return []
        from dataclasses import replace

        from lamina.volumes.specification import parse_volume

        asked = [parse_volume(text) for text in dict.fromkeys(binds)]
        places = [mount.destination for mount in asked]
        taken = [*places, *map(os.path.normpath, tmpfs)]
        for place in places:
            if taken.count(place) > 1:
                raise InvalidInput(f"Duplicate mount point: {place}")
        asked += [
            mount for mount in map(parse_volume, image_volumes) if mount.destination not in places
        ]
        for mount in asked:
            if mount.source:
                _make_host_folder(mount.source)
        found = []
        for mount in asked:
            if not mount.source:
                volume = self.create(mount.name, anonymous=mount.anonymous)
                mount = replace(mount, name=volume.name)
            found.append(mount)
        return sorted(found, key=lambda mount: mount.destination.count("/"))

    @contextlib.contextmanager
    def resolved(
        self,
        binds: Sequence[str],
        image_volumes: Sequence[str] = (),
        *,
        tmpfs: Sequence[str] = (),
    ) -> Iterator[Sequence[MountPoint]]:
        """`resolve` for a block that makes the container; if it fails, anonymous volumes go."""
        mounts = self.resolve(binds, image_volumes, tmpfs=tmpfs)
        try:
            yield mounts
        except BaseException:
            for mount in mounts:
                if mount.anonymous:
                    with contextlib.suppress(Conflict, NotFound):
                        self.remove(mount.name)
            raise

    def use(self, container: str, mounts: Sequence[MountPoint]) -> None:
        """Records that this container (its row exists) has these volumes."""
        with self._root.database.transaction() as tx:
            for mount in mounts:
                if mount.name:
                    tx.execute(
                        "INSERT OR IGNORE INTO volume_uses (volume, container) VALUES (?, ?)",
                        (mount.name, container),
                    )

    def release(self, container: str, *, remove_anonymous: bool = False) -> None:
        """Forgets the container's uses; with `remove_anonymous`, its anonymous volumes too."""
        with self._root.database.transaction() as tx:
            rows = tx.read(
                "SELECT name FROM volumes JOIN volume_uses ON volume = name"
                " WHERE container = ? AND anonymous",
                (container,),
            )
            tx.execute("DELETE FROM volume_uses WHERE container = ?", (container,))
        if remove_anonymous:
            for row in rows:
                with contextlib.suppress(Conflict, NotFound):
                    self.remove(row["name"])

    def source(self, mount: MountPoint) -> Path:
        """The folder of this machine to bind at the mount's destination."""
        if mount.source:
            return Path(mount.source)
        data = self._data(mount.name)
        if not data.is_dir():
            raise NotFound(f"the content of volume {mount.name} is missing: {data}")
        return data

    def populate(self, mounts: Sequence[MountPoint], rootfs: str | os.PathLike[str]) -> None:
        """Gives each empty volume what the mounted root filesystem has at its destination."""
        for mount in mounts:
            if mount.name and mount.copy:
                self._populate(mount, rootfs)

    def _populate(self, mount: MountPoint, rootfs: str | os.PathLike[str]) -> None:
        import fcntl

        from lamina.volumes.copy import copy_folder, open_beneath

        data = self._data(mount.name)
        if os.listdir(data):
            return
        source = open_beneath(rootfs, mount.destination)
        if source is None:
            return
        folder = os.open(data.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if os.listdir(data):
                return
            staged = data.with_name("_data.new")
            _delete(staged)
            staged.mkdir(mode=0o700)
            destination = os.open(staged, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                copy_folder(source, destination)
            finally:
                os.close(destination)
            # A container that already has `_data` bound keeps the old folder: leave it be then.
            if self._only_user(mount.name):
                os.rename(staged, data)
            else:
                _move_children(staged, data)
        finally:
            os.close(source)
            os.close(folder)

    def _only_user(self, name: str) -> bool:
        return len(self.users(name)) <= 1

    def _data(self, name: str) -> Path:
        return Path(self._root.path) / "volumes" / name / "_data"

    def _volume(self, row: Any) -> Volume:
        import json

        from lamina.volumes.volume import Volume

        return Volume(
            row["name"],
            self._data(row["name"]),
            row["created_ns"],
            row["driver"],
            json.loads(row["labels"]),
            bool(row["anonymous"]),
        )

    def _discard(self, name: str) -> Path:
        """Moves the volume's folder out of sight, to be deleted after the commit."""
        trash = Path(self._root.path) / "tmp" / f"volume-{os.urandom(8).hex()}"
        trash.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._data(name).parent, trash)
        return trash


def _make_host_folder(path: str) -> None:
    if os.path.lexists(path):
        return
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInput(
            f"error while creating mount source path '{path}': mkdir {error.filename}: {reason}"
        ) from error


def _move_children(staged: Path, data: Path) -> None:
    import shutil

    for name in os.listdir(staged):
        os.rename(staged / name, data / name)
    status = staged.stat()
    os.chown(data, status.st_uid, status.st_gid)
    os.chmod(data, status.st_mode & 0o7777)
    shutil.rmtree(staged)


def _delete(path: Path) -> None:
    if os.path.lexists(path):
        import shutil

        shutil.rmtree(path)
