"""Mounting from data, and the system calls under it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lamina.linux import syscalls
from lamina.linux.mounts import Mount, mount, mounted, mountinfo, mounts_below, unmount


def options_of(path: Path) -> tuple[str, ...]:
    (info,) = [info for info in mountinfo() if info.target == str(path)]
    return info.options


def test_a_tmpfs_is_mounted_with_its_options_and_unmounted(engine_root: Path) -> None:
    target = engine_root / "with space"
    target.mkdir()
    options = ("nosuid", "nodev", "noexec", "size=64k", "mode=750")
    mount(Mount("tmpfs", "tmpfs", str(target), options))
    try:
        assert mounted(target)
        assert {"rw", "nosuid", "nodev", "noexec"} <= set(options_of(target))
        assert target.stat().st_mode & 0o7777 == 0o750
    finally:
        unmount(target)
    assert not mounted(target)
    unmount(target)


@pytest.mark.parametrize("options", [("ro",), ("ro", "nosuid", "lazytime")])
def test_read_only_means_it_by_the_new_calls_and_by_the_old(
    engine_root: Path, options: tuple[str, ...]
) -> None:
    (engine_root / "m").mkdir()
    mount(Mount("tmpfs", "tmpfs", str(engine_root / "m"), options))
    try:
        assert "ro" in options_of(engine_root / "m")
        with pytest.raises(OSError) as refused:
            (engine_root / "m/f").write_text("")
        assert refused.value.errno == errno.EROFS
    finally:
        unmount(engine_root / "m")


def test_a_read_only_bind_leaves_its_source_writable(engine_root: Path) -> None:
    (engine_root / "from").mkdir()
    (engine_root / "to").mkdir()
    source, target = str(engine_root / "from"), str(engine_root / "to")
    mount(Mount("bind", source, target, ("rbind", "ro", "nosuid", "private")))
    try:
        (engine_root / "from/f").write_text("seen")
        assert (engine_root / "to/f").read_text() == "seen"
        with pytest.raises(OSError):
            (engine_root / "to/g").write_text("")
        assert {"ro", "nosuid"} <= set(options_of(engine_root / "to"))
    finally:
        unmount(engine_root / "to")


def test_mounts_below_are_found_deepest_first(engine_root: Path) -> None:
    outer, inner = engine_root / "o", engine_root / "o/i"
    outer.mkdir()
    mount(Mount("tmpfs", "tmpfs", str(outer)))
    inner.mkdir()
    mount(Mount("tmpfs", "tmpfs", str(inner)))
    try:
        assert mounts_below(engine_root) == [str(inner), str(outer)]
    finally:
        for path in mounts_below(engine_root):
            unmount(path)
    assert mounts_below(engine_root) == []


def test_the_kernels_own_words_are_in_the_error(engine_root: Path) -> None:
    (engine_root / "m").mkdir()
    with pytest.raises(OSError, match="bogus"):
        mount(Mount("tmpfs", "tmpfs", str(engine_root / "m"), ("bogus=1",)))
    assert not mounted(engine_root / "m")


def test_a_busy_mount_is_left_and_can_be_detached(engine_root: Path) -> None:
    (engine_root / "m").mkdir()
    mount(Mount("tmpfs", "tmpfs", str(engine_root / "m")))
    with open(engine_root / "m/f", "w"):
        with pytest.raises(OSError) as refused:
            unmount(engine_root / "m")
        assert refused.value.errno == errno.EBUSY
        unmount(engine_root / "m", lazy=True)
    assert not mounted(engine_root / "m")


def test_openat2_cannot_be_led_out_of_its_folder(engine_root: Path) -> None:
    (engine_root / "in").mkdir()
    (engine_root / "out").write_text("out")
    (engine_root / "in/up").symlink_to("../out")
    (engine_root / "in/out").write_text("in")
    fd = os.open(engine_root / "in", os.O_PATH)
    try:
        for path in ("up", "../out", "/out", "../../out"):
            found = syscalls.openat2(fd, path, os.O_RDONLY)
            assert os.read(found, 10) == b"in"
            os.close(found)
        with pytest.raises(FileNotFoundError):
            syscalls.openat2(fd, "none", os.O_RDONLY)
    finally:
        os.close(fd)


def test_renameat2_exchanges_and_refuses_to_replace(engine_root: Path) -> None:
    for name in "ab":
        (engine_root / name).write_text(name)
    fd = os.open(engine_root, os.O_PATH)
    try:
        syscalls.renameat2(fd, "a", fd, "b", syscalls.RENAME_EXCHANGE)
        assert (engine_root / "a").read_text() == "b"
        with pytest.raises(FileExistsError):
            syscalls.renameat2(fd, "a", fd, "b", syscalls.RENAME_NOREPLACE)
    finally:
        os.close(fd)
