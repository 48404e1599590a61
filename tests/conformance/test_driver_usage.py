"""Sizes: as `docker ps --size` and `docker image ls` count them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from driver_builders import add_layer, build_layer, file, folder, hard_link, with_snapshot

from lamina.drivers.contract import StorageDriver


@pytest.fixture
def chain(driver: StorageDriver) -> list[str]:
    add_layer(driver, "base", [], folder("d"), file("d/a", "x" * 1000), file("b", "y" * 500))
    return ["base"]


def _size(driver: StorageDriver, chain: list[str], act: object) -> int:
    with_snapshot(driver, "w", chain, act)  # type: ignore[arg-type]
    return driver.usage("w", chain).size_bytes


def test_five_bytes_written_are_five_bytes(driver: StorageDriver, chain: list[str]) -> None:
    assert _size(driver, chain, lambda root: (root / "out.txt").write_text("hello")) == 5


def test_deletions_and_folders_count_nothing(driver: StorageDriver, chain: list[str]) -> None:
    def act(root: Path) -> None:
        shutil.rmtree(root / "d")
        (root / "b").unlink()
        (root / "new").mkdir()

    assert _size(driver, chain, act) == 0


def test_a_changed_file_counts_whole_even_if_only_its_mode_changed(
    driver: StorageDriver, chain: list[str]
) -> None:
    assert _size(driver, chain, lambda root: os.chmod(root / "d/a", 0o600)) == 1000


def test_each_inode_counts_once(driver: StorageDriver, chain: list[str]) -> None:
    def act(root: Path) -> None:
        for number in range(100):
            (root / f"f{number}").write_bytes(b"z" * 10)
            os.link(root / f"f{number}", root / f"g{number}")

    assert _size(driver, chain, act) == 1000
    assert driver.usage("w", chain).inodes >= 100


def test_the_size_of_a_layer_is_that_of_the_files_in_its_tar(driver: StorageDriver) -> None:
    base = add_layer(driver, "base", [], file("a", "x" * 100), hard_link("b", "a"))
    top = add_layer(driver, "top", ["base"], file("c", "y" * 7), file(".wh.a"), folder("d"))
    assert (base.size_bytes, top.size_bytes) == (100, 7)


def test_usage_is_of_the_snapshot_alone(driver: StorageDriver, chain: list[str]) -> None:
    build_layer(driver, "two", chain, lambda root: (root / "c").write_bytes(b"c" * 50))
    driver.prepare("w", [*chain, "two"])
    assert driver.usage("w", [*chain, "two"]).size_bytes == 0
    driver.prepare("v", [*chain, "two"])
    root = driver.mount("w")
    (root / "c").write_bytes(b"d" * 60)
    assert driver.usage("w", [*chain, "two"]).size_bytes == 60
    assert driver.usage("v", [*chain, "two"]).size_bytes == 0
    driver.unmount("w")
