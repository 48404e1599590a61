"""The data root, its operations and its blobs."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.digests import Digest
from lamina.errors import Conflict, Corrupt, InvalidInput, NotFound, PermissionDenied, Unsupported
from lamina.store import schema
from lamina.store.root import DataRoot


@pytest.fixture
def root(engine_root: Path) -> Iterator[DataRoot]:
    with DataRoot.open(engine_root / "root") as opened:
        yield opened


def _rows(root: DataRoot, table: str) -> int:
    (row,) = root.database.read(f"SELECT count(*) AS n FROM {table}")
    return int(row["n"])


# Opening


def test_opening_what_does_not_exist_makes_it_private(engine_root: Path) -> None:
    path = engine_root / "deep" / "root"
    DataRoot.open(path).close()
    modes = {name: stat.S_IMODE((path / name).stat().st_mode) for name in os.listdir(path)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o711
    assert modes["volumes"] == 0o711
    assert {modes[name] for name in ("blobs", "layers", "containers", "tmp")} == {0o700}
    assert modes["lamina.db"] == 0o600


def test_a_mount_point_with_lost_and_found_becomes_a_root(engine_root: Path) -> None:
    (engine_root / "lost+found").mkdir()
    DataRoot.open(engine_root).close()
    assert (engine_root / "lamina.db").exists()


def test_a_folder_of_somebody_else_is_refused_and_left_alone(engine_root: Path) -> None:
    (engine_root / "precious").write_text("x")
    with pytest.raises(Conflict, match="precious"):
        DataRoot.open(engine_root)
    assert os.listdir(engine_root) == ["precious"]


def test_a_file_is_no_root(engine_root: Path) -> None:
    (engine_root / "file").write_text("x")
    with pytest.raises(InvalidInput, match="not a folder"):
        DataRoot.open(engine_root / "file")
    with pytest.raises(InvalidInput, match="not a folder"):
        DataRoot.open(engine_root / "file" / "below")


def test_a_root_of_a_newer_version_is_refused(engine_root: Path) -> None:
    DataRoot.open(engine_root / "root").close()
    connection = sqlite3.connect(engine_root / "root" / "lamina.db")
    connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    connection.close()
    with pytest.raises(Unsupported, match="newer Lamina"):
        DataRoot.open(engine_root / "root")


def test_a_user_without_rights_is_told_the_remedy(engine_root: Path) -> None:
    program = (
        "import os, sys; os.setuid(65534)\n"
        "from lamina.store.root import DataRoot\n"
        "from lamina.errors import PermissionDenied\n"
        "try: DataRoot.open(sys.argv[1])\n"
        "except PermissionDenied as error: print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", f"from lamina.store import root\n{program}", str(engine_root)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "can be opened by root only: run this command as root" in told.stdout


def test_a_read_only_filesystem_is_told_with_its_remedy(engine_root: Path) -> None:
    mountpoint = engine_root / "ro"
    mountpoint.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", mountpoint], check=True)
    with pytest.raises(PermissionDenied, match="mount that filesystem writable"):
        DataRoot.open(mountpoint / "root")


def test_many_processes_that_open_a_new_root_at_once_make_one(engine_root: Path) -> None:
    program = (
        "import sys; from lamina.store.root import DataRoot\n"
        "root = DataRoot.open(sys.argv[1])\n"
        "with root.operation('t') as op: root.blobs.put(op, sys.argv[2].encode())\n"
    )
    command = [sys.executable, "-c", program, str(engine_root / "root")]
    openers = [subprocess.Popen([*command, str(number)]) for number in range(8)]
    assert [opener.wait() for opener in openers] == [0] * 8
    with DataRoot.open(engine_root / "root") as root:
        assert _rows(root, "blobs") == 8
        assert _rows(root, "operations") == 0
        assert os.listdir(root.tmp) == []


def test_a_root_that_died_while_it_was_made_is_made_again(engine_root: Path) -> None:
    (engine_root / "blobs").mkdir()
    (engine_root / ".lamina.db.new").write_bytes(b"half")
    DataRoot.open(engine_root).close()
    assert sorted(path.name for path in engine_root.glob(".*")) == []


def test_a_moved_root_opens(engine_root: Path) -> None:
    with (
        DataRoot.open(engine_root / "root") as root,
        root.operation("t") as op,
    ):
        digest = root.blobs.put(op, b"kept")
    shutil.move(engine_root / "root", engine_root / "moved")
    with DataRoot.open(engine_root / "moved") as root:
        assert root.blobs.read(digest) == b"kept"


def test_a_copy_that_lacks_the_empty_folders_opens(root: DataRoot) -> None:
    for name in ("tmp", "layers", "volumes"):
        (root.path / name).rmdir()
    root.recovery.run()
    assert (root.path / "volumes").is_dir()
    with root.operation("t") as op:
        root.blobs.put(op, b"works")


# Operations


def test_a_failed_operation_removes_what_it_staged(root: DataRoot) -> None:
    with pytest.raises(KeyError), root.operation("t") as op:
        op.stage("path", "", "containers/c1")
        root.container_dir("c1").mkdir()
        (root.container_dir("c1") / "file").write_text("x")
        (op.folder / "scratch").write_text("x")
        raise KeyError
    assert not root.container_dir("c1").exists()
    assert os.listdir(root.tmp) == []
    assert _rows(root, "operations") == _rows(root, "staged") == 0


def test_a_successful_operation_leaves_what_it_staged_but_not_its_scratch(root: DataRoot) -> None:
    with root.operation("t") as op:
        for name in ("kept", "scratch"):
            root.container_dir(name).mkdir()
        op.stage("path", "", "containers/kept")
        op.scratch("path", "", "containers/scratch")
    assert os.listdir(root.containers) == ["kept"]
    assert _rows(root, "operations") == _rows(root, "staged") == 0


def test_what_was_kept_survives_a_later_failure(root: DataRoot) -> None:
    with pytest.raises(KeyError), root.operation("t") as op:
        op.stage("path", "", "containers/c1")
        root.container_dir("c1").mkdir()
        op.keep("path", "", "containers/c1")
        raise KeyError
    assert root.container_dir("c1").is_dir()


def test_an_operation_that_creates_nothing_costs_nothing(root: DataRoot) -> None:
    with root.operation("t"):
        assert os.listdir(root.tmp) == []
        assert _rows(root, "operations") == 0


_OWNER = """
import sys
from lamina.store.root import DataRoot
root = DataRoot.open(sys.argv[1])
with root.operation("t") as op:
    op.stage("path", "", "containers/c1")
    root.container_dir("c1").mkdir()
    root.blobs.put(op, b"staged blob")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_the_dead_are_cleared_and_the_living_left_alone(root: DataRoot) -> None:
    command = [sys.executable, "-c", _OWNER, str(root.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "ready\n"
        root.recovery.run()
        assert root.container_dir("c1").is_dir()
        assert _rows(root, "blobs") == 1
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    root.recovery.run()
    assert not root.container_dir("c1").exists()
    assert os.listdir(root.tmp) == os.listdir(root.path / "blobs" / "sha256") == []
    assert _rows(root, "operations") == _rows(root, "blobs") == 0


def test_what_this_process_cannot_remove_waits_for_one_that_can(root: DataRoot) -> None:
    root.recovery.on_staged("thing", "tape", lambda name: None)
    with root.database.transaction() as tx:
        tx.execute("INSERT INTO operations VALUES ('dead', 't', 0)")
        tx.execute("INSERT INTO staged VALUES ('dead', 'thing', 'disk', 'x', 0)")
        tx.execute("INSERT INTO staged VALUES ('dead', 'thing', 'tape', 'y', 0)")
    root.recovery.run()
    assert [row["name"] for row in root.database.read("SELECT name FROM staged")] == ["x"]
    removed: list[str] = []
    root.recovery.on_staged("thing", "disk", removed.append)
    root.recovery.run()
    assert removed == ["x"]
    assert _rows(root, "operations") == 0
    assert os.listdir(root.tmp) == []


def test_rubbish_in_tmp_is_swept(root: DataRoot) -> None:
    (root.tmp / "folder" / "below").mkdir(parents=True)
    (root.tmp / "file").write_text("x")
    root.recovery.run()
    assert os.listdir(root.tmp) == []


# Blobs


def test_a_blob_reads_as_it_was_put(root: DataRoot) -> None:
    with root.operation("t") as op:
        digest = root.blobs.put(op, b"some bytes")
        streamed = root.blobs.put(op, io.BytesIO(b"x" * (3 << 20)))
    assert digest == Digest.of(b"some bytes")
    assert root.blobs.read(digest) == b"some bytes"
    with root.blobs.open(streamed) as reader:
        pieces = iter(lambda: reader.read(1000), b"")
        assert b"".join(pieces) == b"x" * (3 << 20)


def test_an_absent_blob_is_not_found(root: DataRoot) -> None:
    with pytest.raises(NotFound):
        root.blobs.read(Digest.of(b"?"))
    root.blobs.remove(Digest.of(b"?"))


@pytest.mark.parametrize("damage", [b"other bytes", b"some byte", b"some bytes!", b""])
def test_a_damaged_blob_is_never_handed_out_whole_and_putting_it_again_repairs(
    root: DataRoot, damage: bytes
) -> None:
    with root.operation("t") as op:
        digest = root.blobs.put(op, b"some bytes")
    root.blobs.path(digest).write_bytes(damage)
    with pytest.raises(Corrupt):
        root.blobs.read(digest)
    with pytest.raises(Corrupt), root.blobs.open(digest) as reader:
        while reader.read(4):
            pass
    with root.operation("t") as op:
        root.blobs.put(op, b"some bytes")
    assert root.blobs.read(digest) == b"some bytes"


def test_a_failed_operation_leaves_a_blob_that_another_relies_on(root: DataRoot) -> None:
    with root.operation("other") as other:
        digest = root.blobs.put(other, b"shared")
        with pytest.raises(KeyError), root.operation("t") as op:
            root.blobs.put(op, b"shared")
            raise KeyError
        assert root.blobs.read(digest) == b"shared"
    assert root.blobs.read(digest) == b"shared"


def test_threads_of_one_operation_may_stage_at_once(root: DataRoot) -> None:
    with root.operation("t") as op:
        threads = [
            threading.Thread(target=root.blobs.put, args=(op, f"{number}".encode()))
            for number in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert _rows(root, "blobs") == 12
