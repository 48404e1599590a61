"""The data root: one folder that holds everything an engine keeps.

```
lamina.db                 metadata (database.py)                           0600
reserve                   room to work in on a full disk (reserve.py)      0600
blobs/sha256/<hex>        content store (blobs.py)                         0700
layers/<cache id>.journal the tar of a layer without its file contents     0700
<driver>/                 the driver's home, its own layout
containers/<id>/          configuration, hosts, log, bundle                0700
volumes/<name>/_data      volumes                                          0711
tmp/<operation>/          staging; what no live process locks is rubbish   0700
```

No absolute path of the root is stored in it: moved, copied or mounted elsewhere, it opens. Nothing
outside it is state, but for `/run/lamina/<name>/`, which a reboot may clear.

Lock rules: the root folder itself is locked while it is being made, and by nobody afterwards; each
operation's folder is locked by its owner (operations.py); everything else is ordered by the
database's transactions.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self

from lamina.errors import Conflict, InvalidInput, LaminaError, PermissionDenied
from lamina.store import locks
from lamina.store.blobs import ContentStore
from lamina.store.database import Database
from lamina.store.failures import is_full, translated
from lamina.store.operations import Operation, Recovery, remove_tree
from lamina.store.reserve import Reserve

DATABASE_NAME = "lamina.db"
RUN_FOLDER = Path("/run/lamina")
FLUSH_AHEAD_S = 0.1

_FOLDERS = {
    "blobs": 0o700,
    "blobs/sha256": 0o700,
    "layers": 0o700,
    "containers": 0o700,
    "volumes": 0o711,
    "tmp": 0o700,
}
_MAY_STAND_IN_A_NEW_ROOT = {*_FOLDERS, "lost+found"}


class DataRoot:
    """An open data root. Made by `DataRoot.open`."""

    def __init__(
        self, path: Path, database: Database, reserve: Reserve, boot_id: str | None
    ) -> None:
        self.path = path
        self.database = database
        self._reserve = reserve
        self.tmp = path / "tmp"
        self.layers = path / "layers"
        self.containers = path / "containers"
        self.volumes = path / "volumes"
        self._boot_id = boot_id
        self.recovery = Recovery(self)
        self.recovery.on_staged("path", "", self._remove_path)
        self.blobs = ContentStore(self)

    @classmethod
    def open(cls, path: Path | str, *, boot_id: str | None = None) -> Self:
        """Open the root at this folder, making it if it is missing or empty.

        `boot_id` stands for the kernel's own (tests pretend a reboot by it). What dead owners left
        is recovered when the storage driver is there to do it: see `recovery.run`.
        """
        path = Path(os.path.abspath(path))
        if os.geteuid() != 0:
            raise PermissionDenied(
                f"the data root {path} can be opened by root only",
                remedy="run this command as root, for instance with sudo",
            )
        with translated(f"opening the data root {path}"):
            try:
                if not os.path.exists(path / DATABASE_NAME):
                    _make(path)
                reserve = Reserve(path)
                reserve.make_room()
                return cls(path, Database.connect(path / DATABASE_NAME), reserve, boot_id)
            except (NotADirectoryError, FileExistsError):
                raise InvalidInput(
                    f"the data root {path} is not a folder", remedy="name a folder by --root"
                ) from None

    def operation(self, kind: str) -> Operation:
        """Begin an operation: `with root.operation("load") as op:`."""
        return Operation(self, kind)

    @cached_property
    def boot_id(self) -> str:
        """What names this boot of the machine."""
        return self._boot_id or Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    @cached_property
    def run(self) -> Path:
        """A folder for what need not outlive the boot; its path is short, as sockets want it."""
        name = hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:12]
        folder = RUN_FOLDER / name
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        return folder

    def driver_home(self, name: str) -> Path:
        """Where the driver of this name keeps its layers and snapshots."""
        return self.path / name

    def container_dir(self, container_id: str) -> Path:
        """The folder of a container."""
        return self.containers / container_id

    def volume_dir(self, name: str) -> Path:
        """The folder of a volume; its content is in `_data`."""
        return self.volumes / name

    def meta(self, key: str) -> str | None:
        """A fact about the root itself."""
        row = self.database.one("SELECT value FROM meta WHERE key=?", (key,))
        return None if row is None else str(row["value"])

    def set_meta(self, key: str, value: str) -> None:
        """Note a fact about the root itself."""
        with self.database.transaction() as tx:
            tx.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def flush(self) -> None:
        """One syncfs for all that was written so far; layers it covers need no check any more."""
        uncovered = self.database.read(
            "SELECT driver, cache_id FROM contents WHERE boot_id=?", (self.boot_id,)
        )
        self._sync()
        with self.database.transaction() as tx:
            tx.executemany(
                "UPDATE contents SET boot_id=NULL WHERE driver=? AND cache_id=?",
                [(row["driver"], row["cache_id"]) for row in uncovered],
            )

    @contextmanager
    def flushed_ahead(self) -> Iterator[None]:
        """Within the block, a disk writes what it is given at once, so that `flush` is short.

        For what takes its time: the first write-back comes after `FLUSH_AHEAD_S`.
        """
        import threading

        ended = threading.Event()

        def write_back() -> None:
            while not ended.wait(FLUSH_AHEAD_S):
                try:
                    self._sync()
                except (OSError, LaminaError):
                    return  # `flush` meets it too, where it can be told

        thread = threading.Thread(target=write_back, name="lamina-write-back", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def require_room(self) -> None:
        """OutOfSpace on a full disk; called before what grows the root."""
        self._reserve.require()

    def make_way(self, error: BaseException) -> None:
        """If this error tells of a full disk, have room to clean up after it."""
        if is_full(error):
            self._reserve.give_up()

    @contextmanager
    def room_to_undo(self) -> Iterator[None]:
        """`make_way` for an error that leaves the block: the innermost of those that clean up."""
        try:
            yield
        except BaseException as error:
            self.make_way(error)
            raise

    def lay_out(self) -> None:
        """Make the folders of the root that are missing."""
        _lay_out(self.path)

    def close(self) -> None:
        """Let the database go."""
        self.database.close()
        self._reserve.take_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sync(self) -> None:
        from lamina.linux.syscalls import syncfs

        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with translated("flushing the data root"):
                syncfs(descriptor)
        finally:
            os.close(descriptor)

    def _remove_path(self, name: str) -> None:
        remove_tree(self.path / name)


def _lay_out(path: Path) -> None:
    for name, mode in _FOLDERS.items():
        folder = path / name
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)


def _make(path: Path) -> None:
    """Lay out an empty folder as a root. Of several processes that come at once, one does it."""
    path.mkdir(mode=0o711, parents=True, exist_ok=True)
    with locks.lock(path):
        if (path / DATABASE_NAME).exists():
            return
        strange = sorted(set(os.listdir(path)) - _MAY_STAND_IN_A_NEW_ROOT)
        strange = [name for name in strange if not name.startswith(f".{DATABASE_NAME}")]
        if strange:
            raise Conflict(
                f"{path} holds {strange[0]!r} and is no data root of Lamina",
                remedy="name an empty folder by --root",
            )
        path.chmod(0o711)
        _lay_out(path)
        # Made beside its place and renamed in: a database that is there is whole.
        temporary = path / f".{DATABASE_NAME}.new"
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        Database.connect(temporary).close()
        temporary.rename(path / DATABASE_NAME)
