"""Which driver a data root gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from driver_builders import add_layer, file

from lamina.drivers import selection
from lamina.drivers.contract import Probe, StorageDriver
from lamina.drivers.overlay2 import Overlay2Driver
from lamina.drivers.vfs import VfsDriver
from lamina.errors import Conflict, InvalidInput, Unsupported


def _fill(root: Path, driver_class: type[StorageDriver]) -> None:
    add_layer(driver_class(root / driver_class.name, {}), "base", [], file("a"))


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(home: Path) -> Probe:
        raise AssertionError("it probed a home that proves by its content that it works")

    monkeypatch.setattr(Overlay2Driver, "probe", refuse)
    monkeypatch.setattr(VfsDriver, "probe", refuse)


def test_a_new_root_gets_overlay2_where_that_works(engine_root: Path) -> None:
    chosen = selection.select(engine_root)
    assert chosen.driver is Overlay2Driver
    assert "works here" in chosen.reason
    assert os.listdir(engine_root) == []


def test_a_root_that_does_not_exist_yet_gets_one_too(engine_root: Path) -> None:
    assert selection.select(engine_root / "a" / "b").driver is Overlay2Driver


def test_vfs_is_fallen_back_on_and_the_reason_says_why(
    engine_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Overlay2Driver, "probe", lambda home: Probe(False, "no overlayfs"))
    chosen = selection.select(engine_root)
    assert chosen.driver is VfsDriver
    assert "overlay2: no overlayfs" in chosen.reason


def test_where_nothing_works_every_reason_is_told(
    engine_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Overlay2Driver, "probe", lambda home: Probe(False, "no overlayfs"))
    monkeypatch.setattr(VfsDriver, "probe", lambda home: Probe(False, "read-only"))
    with pytest.raises(Unsupported, match="overlay2: no overlayfs; vfs: read-only"):
        selection.select(engine_root)


@pytest.mark.parametrize("driver_class", [Overlay2Driver, VfsDriver])
def test_a_root_keeps_its_driver_without_being_probed_again(
    engine_root: Path, driver_class: type[StorageDriver], no_probe: None
) -> None:
    _fill(engine_root, driver_class)
    assert selection.select(engine_root).driver is driver_class
    assert selection.select(engine_root, driver_class.name).driver is driver_class


def test_an_empty_home_decides_nothing(engine_root: Path) -> None:
    VfsDriver(engine_root / "vfs", {})
    Overlay2Driver(engine_root / "overlay2", {})
    (engine_root / "overlay2" / "l").rmdir()
    assert "already" not in selection.select(engine_root).reason


def test_a_home_of_vfs_beside_another_does_not_make_it_doubtful(
    engine_root: Path, no_probe: None
) -> None:
    _fill(engine_root, VfsDriver)
    _fill(engine_root, Overlay2Driver)
    assert selection.select(engine_root).driver is Overlay2Driver
    assert selection.select(engine_root, "vfs").driver is VfsDriver


def test_what_is_asked_for_is_used_or_refused_with_its_reason(
    engine_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert selection.select(engine_root, "vfs").driver is VfsDriver
    monkeypatch.setattr(Overlay2Driver, "probe", lambda home: Probe(False, "no overlayfs"))
    with pytest.raises(Unsupported, match="no overlayfs"):
        selection.select(engine_root, "overlay2")


def test_an_unknown_driver_is_refused_with_those_there_are(engine_root: Path) -> None:
    with pytest.raises(InvalidInput, match="choose one of: overlay2, vfs"):
        selection.select(engine_root, "zebra")


def test_two_weighty_homes_are_refused_until_one_is_named(
    engine_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "_is_driver", lambda name: name == "zebra")
    _fill(engine_root, Overlay2Driver)
    (engine_root / "zebra" / "layer").mkdir(parents=True)
    with pytest.raises(Conflict, match="--storage-driver"):
        selection.select(engine_root)
    assert selection.select(engine_root, "overlay2").driver is Overlay2Driver


def test_the_built_in_drivers_are_also_entry_points() -> None:
    from importlib.metadata import entry_points

    found = {point.name: point.load() for point in entry_points(group=selection.ENTRY_POINTS)}
    assert {name: selection.load(name) for name in found} == found
    assert selection.names()[:2] == ["overlay2", "vfs"]
