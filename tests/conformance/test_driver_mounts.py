"""Mounting: as data, by holders, among processes, against removal and commit."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from driver_builders import add_layer, edit, file, folder, names, with_snapshot
from driver_processes import Processes

from lamina.drivers.contract import StorageDriver
from lamina.errors import Conflict, InvalidInput, NotFound
from lamina.linux.mounts import Mount, mount, mounted, unmount

DriverFactory = Callable[[], StorageDriver]


@pytest.fixture
def active(driver: StorageDriver) -> str:
    add_layer(driver, "base", [], folder("d"), file("d/a", "1"))
    driver.prepare("w", ["base"])
    return "w"


def test_mounting_twice_gives_one_mount_at_one_path(driver: StorageDriver, active: str) -> None:
    root = driver.mount(active)
    assert driver.mount(active) == root
    assert _mounts_at(root) == 1
    driver.unmount(active)
    assert not mounted(root)


def test_the_last_holder_unmounts(driver: StorageDriver, active: str) -> None:
    root = driver.mount(active)
    driver.mount(active, holder="cp")
    driver.mount(active, holder="cp")
    driver.unmount(active)
    assert mounted(root)
    driver.unmount(active, holder="a stranger")
    assert mounted(root)
    driver.unmount(active, holder="cp")
    assert not mounted(root)
    driver.unmount(active, holder="cp")


def test_holders_are_known_to_other_processes(
    open_driver: DriverFactory, active: str, processes: Processes
) -> None:
    driver = open_driver()
    root = driver.mount(active)
    processes.start(lambda: open_driver().mount(active, holder="other"))
    assert processes.wait_all() == [0]
    driver.unmount(active)
    assert mounted(root)
    processes.start(lambda: open_driver().unmount(active, holder="other"))
    assert processes.wait_all() == [0]
    assert not mounted(root)


def test_holders_are_forgotten_with_the_mount_that_a_reboot_took(
    driver: StorageDriver, active: str
) -> None:
    root = driver.mount(active)
    driver.mount(active, holder="of the last boot")
    unmount(root, lazy=True)
    driver.mount(active)
    driver.unmount(active)
    assert not mounted(root)


def test_data_survives_unmounting_and_mounting(driver: StorageDriver, active: str) -> None:
    edit(driver, active, lambda root: ((root / "new").write_text("n"), (root / "d/a").unlink()))
    root = driver.mount(active)
    assert names(root) == ["d", "new"]
    driver.unmount(active)


def test_a_mounted_snapshot_is_neither_removed_nor_committed(
    driver: StorageDriver, active: str
) -> None:
    root = driver.mount(active)
    (root / "new").touch()
    for act in (
        lambda: driver.remove(active),
        lambda: driver.set_aside(active),
        lambda: driver.commit(active, "layer"),
    ):
        with pytest.raises(Conflict):
            act()
    assert names(root) == ["d", "d/a", "new"]
    assert not driver.exists("layer")
    driver.unmount(active)
    driver.remove(active)
    assert not driver.exists(active)


def test_a_mount_that_outlived_its_process_is_released_by_another(
    open_driver: DriverFactory, active: str, processes: Processes
) -> None:
    processes.start(lambda: open_driver().mount(active))
    assert processes.wait_all() == [0]
    driver = open_driver()
    driver.unmount(active)
    driver.remove(active)
    assert driver.list() == ["base"]


def test_a_snapshot_that_a_program_stands_in_is_released_and_removed(
    driver: StorageDriver, active: str
) -> None:
    root = driver.mount(active)
    standing = os.open(root / "d", os.O_RDONLY)
    try:
        driver.unmount(active)
        driver.remove(active)
    finally:
        os.close(standing)
    assert driver.list() == ["base"]


def test_a_layer_cannot_be_mounted_writable(driver: StorageDriver, active: str) -> None:
    with pytest.raises(Conflict):
        driver.mount("base")


def test_mounting_what_is_not_there_is_not_found_and_unmounting_it_is_nothing(
    driver: StorageDriver,
) -> None:
    with pytest.raises(NotFound):
        driver.mount("absent")
    driver.unmount("absent")


@pytest.mark.parametrize("holder", ["", "two\nlines"])
def test_a_holder_has_a_name_of_one_line(driver: StorageDriver, active: str, holder: str) -> None:
    with pytest.raises(InvalidInput):
        driver.mount(active, holder=holder)


def test_the_mounts_as_data_make_the_same_tree_elsewhere(
    driver: StorageDriver, active: str, engine_root: Path
) -> None:
    edit(driver, active, lambda root: (root / "new").write_text("n"))
    target = engine_root / "elsewhere"
    target.mkdir()
    for read_only in (False, True):
        for plan in driver.mounts(active, read_only=read_only):
            mount(Mount(plan.type, plan.source, str(target), plan.options))
        try:
            assert names(target) == ["d", "d/a", "new"]
            if read_only:
                with pytest.raises(OSError) as caught:
                    (target / "x").touch()
                assert caught.value.errno == errno.EROFS
            else:
                (target / "x").touch()
                (target / "x").unlink()
        finally:
            unmount(target)


def test_a_view_is_read_only_and_leaves_no_mount(
    driver: StorageDriver, active: str, engine_root: Path
) -> None:
    add_layer(driver, "top", ["base"], file("b"))
    for chain in ([], ["base"], ["base", "top"]):
        with driver.view(chain) as root:
            with pytest.raises(OSError) as caught:
                (root / "x").touch()
            assert caught.value.errno == errno.EROFS
            assert os.listdir(root) == [name for name in os.listdir(root) if name != "x"]
    assert not any(line for line in _mountinfo() if str(engine_root) in line)


def test_a_view_is_good_for_other_processes_while_it_lasts(
    driver: StorageDriver, active: str, processes: Processes
) -> None:
    with driver.view(["base"]) as root:
        processes.start(lambda: (root / "d/a").read_text())
        assert processes.wait_all() == [0]


def test_a_view_of_what_is_not_there_is_not_found(driver: StorageDriver) -> None:
    with pytest.raises(NotFound), driver.view(["absent"]):
        pass


def test_a_view_of_a_snapshot_that_is_not_committed_is_refused(
    driver: StorageDriver, active: str
) -> None:
    with pytest.raises(InvalidInput), driver.view([active]):
        pass


def test_a_commit_frees_the_name_and_copies_nothing(driver: StorageDriver, active: str) -> None:
    with_snapshot(driver, "x", ["base"], lambda root: (root / "big").write_bytes(b"x" * 100_000))
    root = driver.mount("x")
    inode = (root / "big").stat().st_ino
    driver.unmount("x")
    driver.commit("x", "layer")
    assert driver.list() == ["base", "layer", active]
    assert (driver.layer_root("layer") / "big").stat().st_ino == inode
    driver.prepare("x", ["base", "layer"])
    assert "big" in names(driver.mount("x"))
    driver.unmount("x")


def test_a_layer_is_not_committed_again(driver: StorageDriver, active: str) -> None:
    with pytest.raises(Conflict):
        driver.commit("base", "other")
    assert driver.list() == ["base", active]


def _mountinfo() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _mounts_at(path: Path) -> int:
    return sum(line.split()[4] == str(path) for line in _mountinfo())


def test_a_mount_that_another_namespace_holds_keeps_nobody_from_removing(
    driver: StorageDriver, active: str, processes: Processes
) -> None:
    """As when a service manager gave a process a mount namespace of its own: a copy of all."""
    root = driver.mount(active)
    ready, tell = os.pipe()
    hold, release = os.pipe()

    def other_namespace() -> None:
        from lamina.linux import syscalls

        syscalls.unshare(0x20000)  # CLONE_NEWNS
        mount(Mount("none", "none", "/", ("rprivate", "bind", "remount")))
        os.close(release)
        os.write(tell, b".")
        os.read(hold, 1)  # until the other end is closed

    processes.start(other_namespace)
    assert os.read(ready, 1) == b"."
    driver.unmount(active)
    assert not mounted(root)
    driver.mount(active)
    driver.unmount(active)
    driver.remove(active)
    assert driver.list() == ["base"]
    assert driver.leftovers() == []
    os.close(release)
    os.close(hold)
    assert processes.wait_all() == [0]


def test_the_working_folder_and_open_folders_stay_good_over_copy_up(
    driver: StorageDriver, active: str
) -> None:
    root = driver.mount(active)
    here = os.getcwd()
    os.chdir(root / "d")
    try:
        before = os.stat(".").st_ino
        (root / "d/a").write_text("copied up")
        assert os.getcwd() == str(root / "d")
        assert os.stat(".").st_ino == before
    finally:
        os.chdir(here)
    driver.unmount(active)


def test_a_mapping_made_before_a_change_reads_on(driver: StorageDriver, active: str) -> None:
    import mmap

    root = driver.mount(active)
    with (
        open(root / "d/a", "rb") as opened,
        mmap.mmap(opened.fileno(), 1, prot=mmap.PROT_READ) as mapped,
    ):
        with open(root / "d/a", "r+b") as other:
            other.write(b"2")
        assert mapped[0:1] in (b"1", b"2")
    assert (root / "d/a").read_text() == "2"
    driver.unmount(active)
