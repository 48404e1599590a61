"""The database: the commit point of every operation."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from lamina.errors import Corrupt, Unsupported
from lamina.store import schema
from lamina.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.connect(tmp_path / "lamina.db")


def _facts(database: Database) -> dict[str, str]:
    return {row["key"]: row["value"] for row in database.read("SELECT key, value FROM meta")}


def test_a_new_database_has_every_table_and_the_schema_s_version(database: Database) -> None:
    tables = {row["name"] for row in database.read("SELECT name FROM sqlite_master")}
    assert {"operations", "layers", "contents", "images", "containers", "build_cache"} <= tables
    version = database.one("PRAGMA user_version")
    assert version is not None and version[0] == schema.VERSION


def test_a_database_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "lamina.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    connection.close()
    with pytest.raises(Unsupported, match=f"newer Lamina .schema {schema.VERSION + 1}"):
        Database.connect(path)


def test_a_file_that_is_no_database_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "lamina.db"
    path.write_bytes(b"no database at all " * 1000)
    with pytest.raises(Corrupt, match="is damaged"):
        Database.connect(path)


def test_an_error_in_a_transaction_takes_all_of_it_back(database: Database) -> None:
    with pytest.raises(KeyError), database.transaction() as tx:
        tx.execute("INSERT INTO meta VALUES ('a', '1')")
        raise KeyError
    assert _facts(database) == {}


def test_a_transaction_within_a_transaction_joins_it(database: Database) -> None:
    with pytest.raises(KeyError), database.transaction() as outer:
        with database.transaction() as inner:
            inner.execute("INSERT INTO meta VALUES ('a', '1')")
        outer.execute("INSERT INTO meta VALUES ('b', '2')")
        raise KeyError
    assert _facts(database) == {}


def test_what_a_transaction_wrote_is_seen_by_no_other_thread_before_its_end(
    database: Database,
) -> None:
    seen: list[dict[str, str]] = []
    with database.transaction() as tx:
        tx.execute("INSERT INTO meta VALUES ('a', '1')")
        reader = threading.Thread(target=lambda: seen.append(_facts(database)))
        reader.start()
        reader.join()
    assert seen == [{}]
    assert _facts(database) == {"a": "1"}


def test_writers_in_many_threads_wait_for_each_other(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("INSERT INTO meta VALUES ('n', '0')")

    def count() -> None:
        for _ in range(50):
            with database.transaction() as tx:
                (row,) = tx.read("SELECT value FROM meta WHERE key='n'")
                tx.execute("UPDATE meta SET value=? WHERE key='n'", (str(int(row["value"]) + 1),))

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _facts(database) == {"n": "300"}


def test_a_thread_that_ended_keeps_no_connection(database: Database) -> None:
    for _ in range(20):
        thread = threading.Thread(target=_facts, args=(database,))
        thread.start()
        thread.join()
    opened = [
        os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir() if entry.exists()
    ]
    assert opened.count(str(database.path)) < 5


def test_a_row_cannot_refer_to_what_is_not_there(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError), database.transaction() as tx:
        tx.execute("INSERT INTO leases VALUES ('no-such-operation', 'd', 'c')")
