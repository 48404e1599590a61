"""What is vfs's own: true copies by every way of copying, and changes found by comparing."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from driver_builders import EPOCH, add_layer, changes, edit, file, names, tree

from lamina.drivers.copying import PLAIN, RANGE, REFLINK, TreeCopier
from lamina.drivers.vfs import VfsDriver
from lamina.linux.mounts import Mount, mount, unmount


@pytest.fixture
def original(engine_root: Path) -> Path:
    root = engine_root / "original"
    root.mkdir()
    (root / "d/e").mkdir(parents=True)
    (root / "d/big").write_bytes(os.urandom(3_000_001))
    (root / "empty").touch()
    (root / "d/e/small").write_text("small")
    os.link(root / "d/big", root / "linked")
    (root / "s").symlink_to("/etc/passwd")
    os.link(root / "s", root / "s2", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o604)
    os.mknod(root / "dev", 0o020640, os.makedev(5, 300))
    with open(root / "sparse", "wb") as out:
        out.truncate(50 << 20)
        out.seek(7 << 20)
        out.write(b"data")
    with open(root / "hole-at-both-ends", "wb") as out:
        out.seek(1 << 20)
        out.write(b"x" * 5000)
        out.truncate(3 << 20)
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(root)
        server.bind("sock")
        os.chdir(here)
    os.setxattr(root / "d", "user.k", b"\x00\xff")
    os.setxattr(root / "s", "trusted.k", b"on a link", follow_symlinks=False)
    os.chown(root / "d/e/small", 7, 8)
    os.chmod(root / "d/e/small", 0o6711)
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(root / "empty", "security.capability", capability)
    os.chmod(root / "d/e", 0o1000)
    for path in ("d/e/small", "d/e", "d", "s"):
        os.utime(
            root / path, ns=(EPOCH, EPOCH * 1_000_000_000 + 123_456_789), follow_symlinks=False
        )
    os.chmod(root, 0o2751)
    return root


@pytest.mark.parametrize("ways", [(REFLINK, RANGE, PLAIN), (RANGE, PLAIN), (PLAIN,)])
def test_a_copy_is_equal_in_all_but_its_inodes(
    original: Path, engine_root: Path, ways: tuple[str, ...]
) -> None:
    copy = engine_root / "copy"
    copy.mkdir()
    TreeCopier(ways).copy(str(original), str(copy))
    assert tree(copy) == tree(original)
    assert (copy / "d").stat().st_mtime_ns == (original / "d").stat().st_mtime_ns
    assert (copy / "d/big").stat().st_ino != (original / "d/big").stat().st_ino
    for name in ("sparse", "hole-at-both-ends"):
        assert (copy / name).stat().st_blocks <= (original / name).stat().st_blocks + 8


def test_content_is_shared_where_the_filesystem_can(tmp_path: Path) -> None:
    image, root = tmp_path / "image", tmp_path / "xfs"
    root.mkdir()
    with image.open("wb") as out:
        out.truncate(400 << 20)
    made = subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], capture_output=True)
    assert made.returncode == 0, made.stderr
    subprocess.run(["mount", "-o", "loop", image, root], check=True)
    try:
        driver = VfsDriver(root / "vfs", {})
        add_layer(driver, "base", [], file("big", os.urandom(60 << 20)))
        used = _used(root)
        for number in range(10):
            driver.prepare(f"w{number}", ["base"])
        assert _used(root) - used < 20 << 20
        edit(driver, "w3", lambda tree: (tree / "big").write_bytes(b"mine"))
        with driver.view(["base"]) as view:
            assert (view / "big").stat().st_size == 60 << 20
    finally:
        unmount(root, lazy=True)


def _used(path: Path) -> int:
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_a_home_that_was_copied_file_by_file_still_tells_the_right_changes(
    engine_root: Path,
) -> None:
    driver = VfsDriver(engine_root / "vfs", {})
    add_layer(driver, "base", [], file("a", "1"), file("b", "2"))
    driver.prepare("w", ["base"])

    def act(root: Path) -> None:
        before = (root / "a").stat()
        (root / "a").write_text("x")
        os.utime(root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))

    edit(driver, "w", act)
    subprocess.run(["cp", "-a", engine_root / "vfs", engine_root / "copied"], check=True)
    copied = VfsDriver(engine_root / "copied", {})
    assert changes(copied, "w", ["base"]) == ["C /a"]


def test_the_layout_is_dockers_with_a_record_of_active_snapshots(engine_root: Path) -> None:
    driver = VfsDriver(engine_root / "vfs", {})
    add_layer(driver, "base", [], file("a"))
    driver.prepare("w", ["base"])
    assert names(engine_root / "vfs") == [
        "active",
        "active/w",
        "active/w/copied",
        "active/w/parents",
        "dir",
        "dir/base",
        "dir/base/a",
        "dir/w",
        "dir/w/a",
    ]
    driver.commit("w", "layer")
    assert os.listdir(engine_root / "vfs/active") == []


def test_it_works_on_tmpfs(tmp_path: Path) -> None:
    mount(Mount("tmpfs", "tmpfs", str(tmp_path), ()))
    try:
        driver = VfsDriver(tmp_path / "vfs", {})
        assert VfsDriver.probe(tmp_path / "vfs").ok
        add_layer(driver, "base", [], file("a", "1"))
        driver.prepare("w", ["base"])
        edit(driver, "w", lambda root: (root / "a").write_text("2"))
        assert changes(driver, "w", ["base"]) == ["C /a"]
    finally:
        unmount(tmp_path, lazy=True)
