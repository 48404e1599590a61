"""The metadata database: SQLite in WAL mode, shared by any number of processes and threads.

A transaction here is the commit point of every operation: what no committed row names does not
exist, whatever lies on disk. `synchronous=NORMAL` keeps the database consistent over a power cut
(it may lose the last commits, never tear one); files are covered by a flush of their own.

Each thread has its own connection. Transactions take the write lock at once (BEGIN IMMEDIATE), so
two writers queue instead of failing half-way; a transaction within a transaction joins it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lamina.errors import Corrupt, OutOfSpace, PermissionDenied, Unsupported
from lamina.store import schema
from lamina.store.reserve import has_room

BUSY_TIMEOUT_MS = 60_000
_BESIDE_BYTES = 64 << 10


class Transaction:
    """A write transaction under way; everything executed in it is seen at once or never."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._savepoint_depth = 0

    def execute(self, sql: str, args: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(sql, args)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> sqlite3.Cursor:
        """Run one statement for each row."""
        return self._connection.executemany(sql, rows)

    def read(self, sql: str, args: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows of a query."""
        return self._connection.execute(sql, args).fetchall()

    def one(self, sql: str, args: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        row: sqlite3.Row | None = self._connection.execute(sql, args).fetchone()
        return row


class Database:
    """The connections of this process to one database file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._connections: dict[threading.Thread, sqlite3.Connection] = {}
        self._guard = threading.Lock()

    @classmethod
    def connect(cls, path: Path) -> Database:
        """Open the database of a root; the tables are made where there are none yet."""
        database = cls(path)
        version = database.one("PRAGMA user_version")
        found = int(version[0]) if version else 0
        if found > schema.VERSION:
            database.close()
            raise Unsupported(
                f"{path.parent} was written by a newer Lamina (schema {found}; "
                f"this one knows {schema.VERSION})",
                remedy="use that version of Lamina, or another data root (--root)",
            )
        if found < schema.VERSION:
            database._upgrade()
        return database

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Hold the write lock; commit at the end, roll back if an error leaves the block."""
        outer: Transaction | None = getattr(self._local, "transaction", None)
        if outer is not None:
            yield outer
            return
        connection = self._connection()
        with _translated(self.path):
            connection.execute("BEGIN IMMEDIATE")
        transaction = Transaction(connection)
        self._local.transaction = transaction
        try:
            with _translated(self.path):
                yield transaction
                connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            self._local.transaction = None

    def read(self, sql: str, args: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows of a query (within this thread's transaction, if it is in one)."""
        with _translated(self.path):
            return self._connection().execute(sql, args).fetchall()

    def one(self, sql: str, args: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        with _translated(self.path):
            row: sqlite3.Row | None = self._connection().execute(sql, args).fetchone()
            return row

    def harden(self) -> None:
        """What was committed is on disk when this returns.

        Called before files are deleted that a lost transaction would name again. Commits lie in
        the write-ahead log until a checkpoint, which flushes. (The database file itself must never
        be opened here: closing it again would drop SQLite's locks on it.)
        """
        try:
            descriptor = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close every connection of every thread."""
        with self._guard:
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()
            self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is not None:
            return found
        with _translated(self.path):
            # Made and used by one thread; closed by whichever thread closes the root.
            connection = sqlite3.connect(
                self.path,
                isolation_level=None,
                check_same_thread=False,
                timeout=BUSY_TIMEOUT_MS / 1000,
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
        self._local.connection = connection
        with self._guard:
            for thread in [each for each in self._connections if not each.is_alive()]:
                self._connections.pop(thread).close()
            self._connections[threading.current_thread()] = connection
        return connection

    def _upgrade(self) -> None:
        """Make or migrate the tables; of several processes that come at once, one does it."""
        with _translated(self.path):
            self._connection().execute("PRAGMA journal_mode=WAL")
        with self.transaction() as tx:
            row = tx.one("PRAGMA user_version")
            version = int(row[0]) if row else 0
            if version == schema.VERSION:
                return
            if version == 0:
                script = schema.TABLES
                version = schema.VERSION
            else:
                script = schema.MIGRATIONS[version]
                version += 1
            for statement in script.split(";\n"):
                if statement.strip():
                    tx.execute(statement)
            tx.execute(f"PRAGMA user_version={version}")
        if version < schema.VERSION:
            self._upgrade()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors in the words of the one tree."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # a broken promise of ours, or a name taken: the caller knows which
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        full = code == sqlite3.SQLITE_FULL
        if code == sqlite3.SQLITE_IOERR:  # what it says of a full disk for the files beside its own
            full = not has_room(str(path.parent), _BESIDE_BYTES)
        if full:
            raise OutOfSpace(
                f"no space left on device: {path}", remedy="free some space, then try again"
            ) from error
        if code == sqlite3.SQLITE_IOERR:
            raise Corrupt(
                f"the database {path} cannot be read or written: {error}",
                remedy="see dmesg for what is wrong with the disk",
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise Corrupt(f"the database {path} is damaged: {error}") from error
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            raise PermissionDenied(
                f"cannot open the database {path}: {error}",
                remedy="run as root, on a filesystem that can be written",
            ) from error
        raise
