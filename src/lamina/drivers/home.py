"""The folder of a driver in which each id has a folder, and the three states these pass through.

    <folder>/<id>-staged               being made; its maker holds flock(2) on it. Without a lock
                                       it is what a dead maker left.
    <folder>/<id>                      whole: this, and nothing else, is what `exists` means
    <folder>/<id>.<8 hex>-removing     set aside, being deleted

Every step from one state to the next is one rename(2), made under an exclusive flock(2) on
<folder> itself, which is also held while a step's condition is looked at (is the id taken, does
the parent exist, is it in use). The kernel drops both locks at a process's death. The lock on
<folder> is never held while files are copied or deleted.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from lamina.drivers.contract import checked_id, is_id
from lamina.errors import Conflict, InvalidInput, NotFound

_STAGED = "-staged"
_REMOVING = "-removing"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Home:
    """A folder of folders, each named by an id; `reserved` names in it are not ids."""

    def __init__(self, path: str, *, reserved: Collection[str] = ()) -> None:
        self.path = path
        self._reserved = frozenset(reserved)
        if not os.path.isdir(path):
            os.makedirs(path, 0o710, exist_ok=True)

    def folder(self, id: str) -> str:
        """Where the id's folder is, or would be."""
        if id in self._reserved:
            raise InvalidInput(f"invalid layer id {id!r}: the driver's own folder is called so")
        return f"{self.path}/{checked_id(id)}"

    def existing(self, id: str) -> str:
        """The id's folder; NotFound if there is none."""
        path = self.folder(id)
        if not os.path.isdir(path):
            raise NotFound(f"no such layer or snapshot in {os.path.basename(self.path)}: {id}")
        return path

    def exists(self, id: str) -> bool:
        """Whether the id's folder is there, whole."""
        return os.path.isdir(self.folder(id))

    def ids(self) -> list[str]:
        """Every id whose folder is whole, sorted."""
        return sorted(
            name
            for name in os.listdir(self.path)
            if is_id(name) and name not in self._reserved  # what is none is not ours: lost+found
        )

    def leftovers(self) -> list[str]:
        """The ids of which something staged or set aside is there, sorted."""
        found = set()
        for name in os.listdir(self.path):
            if name.endswith(_STAGED):
                found.add(name.removesuffix(_STAGED))
            elif name.endswith(_REMOVING):
                found.add(name.rpartition(".")[0])
        return sorted(filter(is_id, found))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes to move an id from state to state."""
        fd = os.open(self.path, _FOLDER)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def stage(self, id: str) -> Staging:
        """Begin the id's folder. Conflict if it exists or a living process is making it."""
        path = self.folder(id) + _STAGED
        with self.locked():
            if self.exists(id):
                raise Conflict(f"layer or snapshot {id} already exists")
            leftover = self._discard_dead(id)
            os.mkdir(path, 0o710)
            lock = os.open(path, _FOLDER)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return Staging(self, id, path, lock, leftover)

    def set_aside(self, id: str, refuse: Callable[[str], None]) -> None:
        """Make the id not exist; `refuse` is shown its folder and raises to prevent it."""
        path = self.folder(id)
        with self.locked():
            if os.path.isdir(path):
                refuse(path)
                os.rename(path, self._aside(id))
            self._discard_dead(id)

    def set_aside_paths(self, id: str | None = None) -> list[str]:
        """What lies set aside, of one id or of all."""
        return [
            f"{self.path}/{name}"
            for name in os.listdir(self.path)
            if name.endswith(_REMOVING) and (id is None or name.rpartition(".")[0] == id)
        ]

    def _aside(self, id: str) -> str:
        return f"{self.path}/{id}.{os.urandom(4).hex()}{_REMOVING}"

    def _discard_dead(self, id: str) -> str | None:
        """Set aside what a dead maker staged, and say where; Conflict if its maker lives."""
        path = self.folder(id) + _STAGED
        try:
            fd = os.open(path, _FOLDER)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            aside = self._aside(id)
            os.rename(path, aside)
        except BlockingIOError:
            raise Conflict(f"layer or snapshot {id} is being made by another process") from None
        finally:
            os.close(fd)
        return aside


class Staging:
    """One id's folder while it is made: seen by nobody, locked against everybody."""

    def __init__(self, home: Home, id: str, path: str, lock: int, leftover: str | None) -> None:
        self.id = id
        self.path = path
        self.leftover = leftover
        """Where that lies which a dead maker left of this id: to be deleted."""
        self._home = home
        self._lock: int | None = lock

    def publish(self) -> None:
        """The folder becomes the id's, whole. Call under the home's lock."""
        os.rename(self.path, self._home.folder(self.id))
        self._release()

    def discard(self) -> str | None:
        """Set the folder aside; its new path, for deletion. None if it is published or gone."""
        if self._lock is None:
            return None
        aside = self._home._aside(self.id)
        try:
            os.rename(self.path, aside)
        finally:  # on a full disk it may stay where it is: then it is as a dead maker's
            self._release()
        return aside

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
