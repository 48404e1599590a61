"""What the database says of containers: one row each, with Docker's configuration as a document.

The columns are what is asked often and changes (status, pid, exit code, times); the document is
what does not: `Config`, `HostConfig`, the mounts, and the words of the last failure.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lamina.containers.config import ContainerConfig, HostConfig
from lamina.containers.state import CREATED, EXITED, RUNNING, ContainerState
from lamina.digests import ImageID
from lamina.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from lamina.store.database import Database, Transaction

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Record:
    """One container's row."""

    id: str
    name: str
    image_id: ImageID
    driver: str
    created_ns: int
    status: str
    pid: int
    pid_start: int | None
    exit_code: int
    started_ns: int | None
    finished_ns: int | None
    boot_id: str | None
    auto_remove: bool
    raw_document: str

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The parsed document."""
        found: Mapping[str, Any] = json.loads(self.raw_document)
        return found

    @cached_property
    def config(self) -> ContainerConfig:
        """What runs in the container."""
        return ContainerConfig.from_json(self.document["Config"])

    @cached_property
    def host_config(self) -> HostConfig:
        """How this host runs it."""
        return HostConfig.from_json(self.document["HostConfig"])

    @property
    def mount_points(self) -> Sequence[Mapping[str, Any]]:
        """The volumes and host folders, as volumes/ wrote them."""
        found: Sequence[Mapping[str, Any]] = self.document.get("MountPoints", ())
        return found

    @property
    def state(self) -> ContainerState:
        """The state as recorded."""
        return ContainerState(
            status=self.status,
            pid=self.pid,
            exit_code=self.exit_code,
            started_ns=self.started_ns,
            finished_ns=self.finished_ns,
            error=self.document.get("Error", ""),
            oom_killed=bool(self.document.get("OOMKilled")),
        )


class ContainerRecords:
    """The rows of the containers of one storage driver."""

    def __init__(self, database: Database, driver: str) -> None:
        self._database = database
        self._driver = driver

    def get(self, container_id: str) -> Record:
        """The row of this id; NotFound when it is gone."""
        found = self.find(container_id)
        if found is None:
            raise no_such_container(container_id)
        return found

    def find(self, container_id: str) -> Record | None:
        """The row of this id, if there is one."""
        rows = self._rows("id = ?", (container_id,))
        return rows[0] if rows else None

    def resolve(self, reference: str) -> Record:
        """The row that a person means: an id, a name, or an unambiguous prefix of an id."""
        name = reference.removeprefix("/")
        if len(name) == 64 and _HEX.issuperset(name):
            found = self.find(name)
            if found is not None:
                return found
        rows = self._rows("name = ?", (name,))
        if not rows and name and _HEX.issuperset(name):
            rows = self._rows("id >= ? AND id < ?", (name, f"{name}g"))
        if not rows:
            raise self._unknown(reference, name)
        if len(rows) > 1:
            raise InvalidInput(
                f"multiple IDs found with provided prefix: {reference}", remedy="give more digits"
            )
        return rows[0]

    def all(self, *, running: bool = False) -> list[Record]:
        """Every row, newest first; or those that were running when last recorded."""
        return self._rows("status = ?", (RUNNING,)) if running else self._rows("1", ())

    def name_taken(self, name: str) -> bool:
        """Whether a container, of whichever driver, has this name."""
        return self._database.one("SELECT 1 FROM containers WHERE name = ?", (name,)) is not None

    def insert(self, tx: Transaction, record: Record) -> None:
        """Enter a new container; Conflict, in Docker's words, where its name is taken."""
        holder = tx.one("SELECT id FROM containers WHERE name = ?", (record.name,))
        if holder is not None:
            raise _name_conflict(record.name, holder["id"])
        tx.execute(
            "INSERT INTO containers (id, name, image, snapshot, driver, created_ns, status,"
            " auto_remove, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.id,
                record.name,
                record.image_id,
                record.id,
                record.driver,
                record.created_ns,
                record.status,
                int(record.auto_remove),
                record.raw_document,
            ),
        )

    def rename(self, container_id: str, name: str) -> None:
        """Give it another name; Conflict where that is taken."""
        with self._database.transaction() as tx:
            holder = tx.one("SELECT id FROM containers WHERE name = ?", (name,))
            if holder is not None and holder["id"] != container_id:
                raise _name_conflict(name, holder["id"])
            try:
                tx.execute("UPDATE containers SET name = ? WHERE id = ?", (name, container_id))
            except sqlite3.IntegrityError:
                raise _name_conflict(name, "") from None

    def set_running(self, record: Record, pid: int, pid_start: int | None, boot_id: str) -> None:
        """It has been started."""
        with self._database.transaction() as tx:
            tx.execute(
                "UPDATE containers SET status = ?, pid = ?, pid_start = ?, exit_code = 0,"
                " started_ns = ?, finished_ns = NULL, boot_id = ? WHERE id = ?",
                (RUNNING, pid, pid_start, time.time_ns(), boot_id, record.id),
            )
            if "Error" in record.document or "OOMKilled" in record.document:
                self._amend(tx, record, Error=None, OOMKilled=None)

    def set_ended(
        self, record: Record, exit_code: int, finished_ns: int, *, oom_killed: bool
    ) -> None:
        """It ran, and has ended."""
        with self._database.transaction() as tx:
            tx.execute(
                "UPDATE containers SET status = ?, pid = 0, pid_start = NULL, exit_code = ?,"
                " finished_ns = ? WHERE id = ?",
                (EXITED, exit_code, finished_ns, record.id),
            )
            if oom_killed:
                self._amend(tx, record, OOMKilled=True)

    def set_failed(self, record: Record, exit_code: int, error: str) -> None:
        """It could not be started: it is what it was, with the reason."""
        status = CREATED if record.started_ns is None else EXITED
        with self._database.transaction() as tx:
            tx.execute(
                "UPDATE containers SET status = ?, pid = 0, pid_start = NULL, exit_code = ?"
                " WHERE id = ?",
                (status, exit_code, record.id),
            )
            self._amend(tx, record, Error=error)

    def _amend(self, tx: Transaction, record: Record, **changes: object) -> None:
        document = {key: value for key, value in {**record.document, **changes}.items() if value}
        tx.execute(
            "UPDATE containers SET document = ? WHERE id = ?",
            (json.dumps(document, separators=(",", ":")), record.id),
        )

    def _unknown(self, reference: str, name: str) -> NotFound:
        """No such container; or it is another storage driver's, and the error says whose."""
        elsewhere = self._database.one(
            "SELECT driver FROM containers WHERE name = ? OR id = ?", (name, name)
        )
        error = no_such_container(reference)
        if elsewhere is not None:
            driver = elsewhere["driver"]
            error.remedy = (
                f"it is held by the storage driver {driver}: use --storage-driver {driver}"
            )
        return error

    def _rows(self, condition: str, args: Sequence[str]) -> list[Record]:
        rows = self._database.read(
            "SELECT id, name, image, driver, created_ns, status, pid, pid_start, exit_code,"
            " started_ns, finished_ns, boot_id, auto_remove, document FROM containers"
            f" WHERE driver = ? AND {condition} ORDER BY created_ns DESC, id",
            (self._driver, *args),
        )
        return [
            Record(
                id=row["id"],
                name=row["name"],
                image_id=ImageID(row["image"]),
                driver=row["driver"],
                created_ns=row["created_ns"],
                status=row["status"],
                pid=row["pid"] or 0,
                pid_start=row["pid_start"],
                exit_code=row["exit_code"] or 0,
                started_ns=row["started_ns"],
                finished_ns=row["finished_ns"],
                boot_id=row["boot_id"],
                auto_remove=bool(row["auto_remove"]),
                raw_document=row["document"],
            )
            for row in rows
        ]


def no_such_container(reference: str) -> NotFound:
    """Docker's words for a container that is not there."""
    return NotFound(f"No such container: {reference}")


def _name_conflict(name: str, holder: str) -> Conflict:
    return Conflict(
        f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
