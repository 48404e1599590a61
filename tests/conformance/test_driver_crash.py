"""Killed anywhere: at every line of the driver's own code in turn.

After each death another process opens the home. What `exists` admits is whole; what it does not
admit is cleared by `remove`; nothing else of the home has changed.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from driver_builders import add_layer, edit, file, folder, layer_tar, names, symlink, with_snapshot
from driver_processes import Processes, die_at_line

from lamina.drivers.contract import StorageDriver
from lamina.linux.mounts import mounts_below, unmount
from lamina.tar.reader import TarReader

DriverFactory = Callable[[], StorageDriver]
DRIVER_CODE = "lamina/drivers/"
TOP = layer_tar(folder("d"), file("d/new", "new"), file(".wh.gone"), symlink("s", "d"))


def _make_layer(driver: StorageDriver) -> None:
    with driver.begin_layer("x", ["base"]) as writer:
        writer.apply(TarReader(io.BytesIO(TOP)))
        writer.commit()


def _mount(driver: StorageDriver) -> None:
    driver.mount("w")


def _unmount(driver: StorageDriver) -> None:
    driver.unmount("w")


MAKING = {
    "a layer": (lambda driver: None, _make_layer, ["d", "d/new", "d/old", "s"]),
    "a snapshot": (
        lambda driver: None,
        lambda driver: driver.prepare("x", ["base"]),
        ["d", "d/old", "gone"],
    ),
    "a commit": (
        lambda driver: with_snapshot(
            driver, "w", ["base"], lambda root: (root / "d/mine").write_text("mine")
        ),
        lambda driver: driver.commit("w", "x"),
        ["d", "d/mine", "d/old", "gone"],
    ),
}


@pytest.mark.parametrize("what", MAKING)
def test_what_was_being_made_is_whole_or_is_not_there(
    open_driver: DriverFactory, processes: Processes, what: str
) -> None:
    before, act, wanted = MAKING[what]
    driver = open_driver()
    home = Path(driver._path)  # type: ignore[attr-defined]
    add_layer(driver, "base", [], folder("d"), file("d/old", "old"), file("gone"))
    at_rest = _skeleton(home)
    for line in range(1, 10_000):
        before(driver)
        pid = processes.start(
            lambda line=line: die_at_line(line, DRIVER_CODE, _do(open_driver, act))
        )
        finished = processes.wait(pid) == 0
        after = open_driver()
        if after.exists("x"):
            assert _shown(after, "x", ["base"]) == wanted, f"killed at line {line}"
        assert finished <= after.exists("x")
        for id in {"x", "w", *after.leftovers()}:
            after.remove(id)
        assert after.list() == ["base"], f"killed at line {line}"
        assert after.leftovers() == [], f"killed at line {line}"
        assert _skeleton(home) == at_rest, f"killed at line {line}"
        _make_layer(after)  # and what was to be made can be made again
        after.remove("x")
        if finished:
            return
    raise AssertionError("it never finished")


@pytest.mark.parametrize("what", ["remove", "sweep"])
def test_what_was_being_removed_is_there_whole_or_is_removed_by_the_next(
    open_driver: DriverFactory, processes: Processes, what: str
) -> None:
    driver = open_driver()
    home = Path(driver._path)  # type: ignore[attr-defined]
    add_layer(driver, "base", [], folder("d"), file("d/old", "old"), file("gone"))
    at_rest = _skeleton(home)
    for line in range(1, 10_000):
        _make_layer(driver)
        if what == "sweep":
            driver.set_aside("x")

        def act(driver: StorageDriver) -> None:
            driver.remove("x") if what == "remove" else driver.sweep()

        pid = processes.start(
            lambda line=line, act=act: die_at_line(line, DRIVER_CODE, _do(open_driver, act))
        )
        finished = processes.wait(pid) == 0
        after = open_driver()
        if after.exists("x"):
            assert _shown(after, "x", ["base"]) == ["d", "d/new", "d/old", "s"]
        else:
            assert after.list() == ["base"]
            assert finished or after.leftovers() in ([], ["x"])
        after.remove("x")
        assert _skeleton(home) == at_rest, f"killed at line {line}"
        if finished:
            return
    raise AssertionError("it never finished")


@pytest.mark.parametrize("act", [_mount, _unmount], ids=["mount", "unmount"])
def test_a_snapshot_survives_a_death_while_it_is_mounted_or_unmounted(
    open_driver: DriverFactory, processes: Processes, act: Callable[[StorageDriver], object]
) -> None:
    driver = open_driver()
    home = Path(driver._path)  # type: ignore[attr-defined]
    add_layer(driver, "base", [], folder("d"), file("d/old", "old"))
    with_snapshot(driver, "w", ["base"], lambda root: (root / "mine").write_text("mine"))
    for line in range(1, 10_000):
        if act is _unmount:
            driver.mount("w")
        pid = processes.start(
            lambda line=line: die_at_line(line, DRIVER_CODE, _do(open_driver, act))
        )
        finished = processes.wait(pid) == 0
        after = open_driver()
        assert names(after.mount("w")) == ["d", "d/old", "mine"]
        after.unmount("w")
        assert mounts_below(home) == [], f"killed at line {line}"
        if finished:
            return
    raise AssertionError("it never finished")


def test_a_killed_reader_of_a_stream_leaves_no_layer(
    open_driver: DriverFactory, processes: Processes
) -> None:
    """The process dies while it waits for the rest of a download."""
    driver = open_driver()
    reading, writing = os.pipe()
    ready, tell = os.pipe()

    class Download:
        def read(self, size: int, /) -> bytes:
            data = os.read(reading, size)
            os.write(tell, b".")
            return data

    def act() -> None:
        with open_driver().begin_layer("x", []) as writer:
            writer.apply(TarReader(Download()))
            writer.commit()

    pid = processes.start(act)
    half = layer_tar(file("a", "x" * 20_000), file("b", "y"))[:12_000]
    os.write(writing, half)
    os.read(ready, 1)  # it has the first half, and waits for more
    assert not driver.exists("x")
    os.kill(pid, 9)
    assert processes.wait(pid) == -9
    for fd in (reading, writing, ready, tell):
        os.close(fd)
    assert driver.list() == []
    assert driver.leftovers() == ["x"]
    add_layer(driver, "x", [], file("whole"))
    with driver.view(["x"]) as root:
        assert names(root) == ["whole"]


def test_a_half_filled_disk_fails_cleanly_and_its_space_comes_back(
    driver_class: type[StorageDriver], tmp_path: Path
) -> None:
    from lamina.errors import LaminaError
    from lamina.linux.mounts import Mount, mount

    small = tmp_path / "small"
    small.mkdir()
    mount(Mount("tmpfs", "tmpfs", str(small), ("size=4m",)))
    try:
        driver = driver_class(small / driver_class.name, {})
        add_layer(driver, "base", [], file("a", "x" * 100_000))
        free = shutil.disk_usage(small).free
        with pytest.raises((LaminaError, OSError)):
            add_layer(driver, "x", ["base"], file("big", b"y" * (8 << 20)))
        assert driver.list() == ["base"]
        assert driver.leftovers() == []
        assert shutil.disk_usage(small).free == free
    finally:
        unmount(small, lazy=True)


def _do(open_driver: DriverFactory, act: Callable[[StorageDriver], object]) -> Callable[[], object]:
    return lambda: act(open_driver())


def _shown(driver: StorageDriver, id: str, parents: list[str]) -> list[str]:
    """What a layer or a snapshot shows, whichever it is."""
    found: list[str] = []
    try:
        edit(driver, id, lambda root: found.extend(names(root)))
    except Exception:
        with driver.view([*parents, id]) as root:
            found = names(root)
    return found


def _skeleton(home: Path) -> list[str]:
    return names(home)


def test_small_files_that_a_power_cut_emptied_are_written_again(
    open_driver: DriverFactory,
) -> None:
    """What was not flushed is there by name, and empty; or is not there."""
    driver = open_driver()
    add_layer(driver, "base", [], folder("d"), file("d/old", "old"))
    add_layer(driver, "top", ["base"], file("new"))
    chain = ["base", "top"]
    with_snapshot(driver, "w", chain, lambda root: (root / "mine").write_text("mine"))
    home = Path(driver._path)  # type: ignore[attr-defined]
    notes = [
        path
        for path in home.rglob("*")
        if not {"diff", "dir"} & set(path.relative_to(home).parts[:-1])
        and (path.is_symlink() or path.is_file())
    ]
    assert notes
    for damage in (lambda path: path.is_symlink() or os.truncate(path, 0), os.unlink):
        for note in notes:
            damage(note)
        after = open_driver()
        for id in chain:
            after.mend_layer(id)
        after.mend_snapshot("w", chain)
        assert names(after.mount("w")) == ["d", "d/old", "mine", "new"]
        after.unmount("w")
        assert [change.path for change in after.changes("w", chain)] == [b"/mine"]
        after.prepare("v", chain)
        assert names(after.mount("v")) == ["d", "d/old", "new"]
        after.unmount("v")
        after.remove("v")
        notes = [note for note in notes if note.exists() or note.is_symlink()]
    for id in ("w", "top", "base"):
        after.remove(id)
    assert after.list() == []
    assert not list((home / "l").iterdir()) if (home / "l").exists() else True
