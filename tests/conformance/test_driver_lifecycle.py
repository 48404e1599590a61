"""Making, finding and removing layers and snapshots."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from driver_builders import add_layer, build_layer, edit, file, folder, names, with_snapshot

from lamina.drivers.contract import StorageDriver
from lamina.errors import Conflict, InvalidInput, NotFound, Unsupported


def test_an_empty_snapshot_shows_an_empty_root_of_mode_0755(driver: StorageDriver) -> None:
    driver.prepare("empty", [])
    root = driver.mount("empty")
    status = root.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o755, 0, 0)
    assert os.listdir(root) == []
    driver.unmount("empty")


def test_an_empty_chain_is_viewed_as_an_empty_folder(driver: StorageDriver) -> None:
    with driver.view([]) as root:
        assert os.listdir(root) == []


def test_modes_and_owners_are_exact_whatever_the_umask(driver: StorageDriver) -> None:
    def act(root: Path) -> None:
        os.mkdir(root / "sticky")
        os.chown(root / "sticky", 1, 2)
        os.chmod(root / "sticky", 0o1705)
        (root / "setuid").touch()
        os.chmod(root / "setuid", 0o4222)

    for umask in (0, 0o077):
        before = os.umask(umask)
        try:
            build_layer(driver, f"base{umask}", [], act)
            driver.prepare(f"w{umask}", [f"base{umask}"])
            root = driver.mount(f"w{umask}")
            assert names(root) == ["setuid", "sticky"]
            found = (root / "sticky").stat()
            assert (oct(found.st_mode), found.st_uid, found.st_gid) == ("0o41705", 1, 2)
            assert oct((root / "setuid").stat().st_mode) == "0o104222"
            assert oct(root.stat().st_mode) == "0o40755"
            driver.unmount(f"w{umask}")
        finally:
            os.umask(before)


@pytest.mark.parametrize("taken", ["layer", "active"])
def test_a_taken_id_is_refused_and_what_has_it_is_unharmed(
    driver: StorageDriver, taken: str
) -> None:
    add_layer(driver, "layer", [], file("a", "1"))
    driver.prepare("active", ["layer"])
    edit(driver, "active", lambda root: (root / "b").write_text("2"))
    driver.prepare("other", [])
    with pytest.raises(Conflict):
        driver.prepare(taken, [])
    with pytest.raises(Conflict):
        driver.begin_layer(taken, [])
    with pytest.raises(Conflict):
        driver.commit("other", taken)
    assert driver.list() == ["active", "layer", "other"]
    root = driver.mount("active")
    assert names(root) == ["a", "b"]
    driver.unmount("active")


def test_an_unknown_parent_is_not_found_and_nothing_is_left(driver: StorageDriver) -> None:
    for make in (driver.prepare, driver.begin_layer):
        with pytest.raises(NotFound):
            make("child", ["missing"])
        assert not driver.exists("child")
        assert driver.list() == []
        driver.sweep()
        assert driver.leftovers() == []


def test_nothing_stands_on_an_active_snapshot(driver: StorageDriver) -> None:
    driver.prepare("active", [])
    for make in (driver.prepare, driver.begin_layer):
        with pytest.raises(InvalidInput):
            make("child", ["active"])
        assert not driver.exists("child")


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../x", ".hidden", "x-staged", "x" * 200])
def test_an_id_that_is_no_plain_name_is_refused(driver: StorageDriver, id: str) -> None:
    add_layer(driver, "keep", [], file("a"))
    for act in (driver.remove, driver.exists, lambda id: driver.prepare(id, [])):
        with pytest.raises(InvalidInput):
            act(id)
    assert driver.list() == ["keep"]


def test_a_removed_layer_leaves_nothing_in_the_home(driver: StorageDriver) -> None:
    before = names(_home(driver))
    add_layer(driver, "layer", [], folder("d"), file("d/f", "x"))
    with_snapshot(driver, "active", ["layer"], lambda root: (root / "new").write_text("y"))
    driver.remove("active")
    assert not driver.exists("active")
    driver.remove("layer")
    assert not driver.exists("layer")
    assert names(_home(driver)) == before


def test_removing_what_is_absent_succeeds_and_removes_nothing_else(driver: StorageDriver) -> None:
    add_layer(driver, "layer", [], file("a"))
    driver.remove("absent")
    driver.remove("layer")
    driver.remove("layer")
    assert driver.list() == []


def test_a_layer_on_which_a_snapshot_stands_is_not_removed(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], file("a"))
    add_layer(driver, "top", ["base"], file("b"))
    driver.prepare("active", ["base", "top"])
    for _ in range(2):
        for id in ("base", "top"):
            with pytest.raises(Conflict):
                driver.remove(id)
    assert driver.list() == ["active", "base", "top"]
    for id in ("active", "top", "base"):
        driver.remove(id)
    assert driver.list() == []


def test_a_removed_id_can_be_made_again_as_something_else(driver: StorageDriver) -> None:
    add_layer(driver, "x", [], file("old"))
    driver.remove("x")
    driver.prepare("x", [])
    root = driver.mount("x")
    assert names(root) == []
    driver.unmount("x")
    driver.remove("x")
    add_layer(driver, "x", [], file("new"))
    with driver.view(["x"]) as view:
        assert names(view) == ["new"]


def test_what_is_set_aside_does_not_exist_and_sweep_deletes_it(driver: StorageDriver) -> None:
    before = names(_home(driver))
    add_layer(driver, "a", [], file("f"))
    driver.set_aside("a")
    assert not driver.exists("a")
    assert driver.list() == []
    assert driver.leftovers() == ["a"]
    add_layer(driver, "a", [], file("g"))  # the id is free at once
    driver.sweep()
    assert driver.list() == ["a"]
    with driver.view(["a"]) as root:
        assert names(root) == ["g"]
    driver.remove("a")
    assert names(_home(driver)) == before


def test_an_aborted_layer_leaves_nothing(driver: StorageDriver) -> None:
    before = names(_home(driver))
    with driver.begin_layer("x", []) as writer:
        assert not driver.exists("x")
        assert driver.list() == []
        writer.abort()
        writer.abort()
    assert names(_home(driver)) == before


def test_a_layer_that_a_living_process_writes_is_not_taken_for_rubbish(
    driver: StorageDriver,
) -> None:
    with driver.begin_layer("x", []) as writer:
        for act in (driver.remove, driver.set_aside, lambda id: driver.prepare(id, [])):
            with pytest.raises(Conflict):
                act("x")
        driver.sweep()
        assert driver.leftovers() == ["x"]
        writer.commit()
    assert driver.list() == ["x"]
    assert driver.leftovers() == []


def test_a_deep_tree_is_removed(driver: StorageDriver) -> None:
    def act(root: Path) -> None:
        fd = os.open(root, os.O_RDONLY)
        for _ in range(5000):  # its path is longer than any that the kernel takes
            os.mkdir("deep", dir_fd=fd)
            below = os.open("deep", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)

    before = names(_home(driver))
    with_snapshot(driver, "deep", [], act)
    driver.remove("deep")
    assert names(_home(driver)) == before


def test_removal_never_enters_a_mount(driver: StorageDriver, tmp_path: Path) -> None:
    from lamina.linux.mounts import Mount, mount, unmount

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    with_snapshot(driver, "w", [], lambda root: (root / "mnt").mkdir())
    # Whatever leaves a mount in a driver's folder: a crash, another program.
    inside = next(
        Path(below, "mnt") for below, found, _ in os.walk(_home(driver)) if "mnt" in found
    )
    mount(Mount("bind", str(outside), str(inside), ("bind",)))
    try:
        with pytest.raises(Conflict):
            driver.remove("w")
    finally:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            target = line.split()[4]
            if target.startswith(f"{_home(driver)}/"):
                unmount(target)
    assert (outside / "precious").exists()
    driver.remove("w")
    assert driver.leftovers() == []


def test_a_limit_that_cannot_be_kept_is_refused_before_anything_is_made(
    driver: StorageDriver,
) -> None:
    assert not driver.capabilities.quota, "then the suite must write up to the limit and beyond"
    with pytest.raises(Unsupported):
        driver.prepare("x", [], size_limit_bytes=1 << 30)
    assert not driver.exists("x")


def test_an_unknown_option_is_named(driver_class: type[StorageDriver], engine_root: Path) -> None:
    with pytest.raises(InvalidInput, match="colour"):
        driver_class(engine_root / driver_class.name, {"colour": "blue"})


def test_a_home_that_was_moved_opens(driver_class: type[StorageDriver], engine_root: Path) -> None:
    driver = driver_class(engine_root / "here" / driver_class.name, {})
    add_layer(driver, "base", [], file("a", "1"))
    with_snapshot(driver, "w", ["base"], lambda root: (root / "b").write_text("2"))
    os.rename(engine_root / "here", engine_root / "there")
    moved = driver_class(engine_root / "there" / driver_class.name, {})
    assert names(moved.mount("w")) == ["a", "b"]
    moved.unmount("w")
    with moved.view(["base"]) as root:
        assert names(root) == ["a"]


def test_status_and_metadata_tell_the_truth(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], file("a"))
    assert ("Backing Filesystem", "extfs") in driver.status()
    for folder_name in driver.metadata("base", []).values():
        assert os.path.isdir(folder_name)


def test_what_is_not_the_drivers_own_is_neither_listed_nor_touched(
    driver: StorageDriver,
) -> None:
    """A home may be a filesystem of its own, and have what every such one has."""
    add_layer(driver, "base", [], file("a"))
    place = _home(driver)
    for strange in ("lost+found", ".snapshots"):
        for parent in {place, driver.layer_root("base").parent}:
            (parent / strange).mkdir(exist_ok=True)
    assert driver.list() == ["base"]
    driver.sweep()
    assert driver.leftovers() == []
    assert (place / "lost+found").is_dir()


def _home(driver: StorageDriver) -> Path:
    return Path(driver._path)  # type: ignore[attr-defined]
