"""Which storage driver a data root uses.

In this order: the one that is asked for; the one whose home in this root is not empty (two such
homes: the caller must say which); the first of `PREFERRED` that says it can work here. An existing
home is never probed: that it holds layers is proof that it worked, and probing mounts filesystems.

Drivers of this package are known by name, so that no metadata of installed packages is read at
each start; others are found by their entry points in the group `lamina.storage_drivers`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.errors import Conflict, InvalidInput, Unsupported

if TYPE_CHECKING:
    from lamina.drivers.contract import StorageDriver

ENTRY_POINTS = "lamina.storage_drivers"
PREFERRED = ("overlay2", "vfs")

_BUILT_IN = {
    "overlay2": ("lamina.drivers.overlay2", "Overlay2Driver"),
    "vfs": ("lamina.drivers.vfs", "VfsDriver"),
}


@dataclass(frozen=True)
class Selection:
    """A driver, and why it was chosen, for `lamina info --debug` and the log."""

    driver: type[StorageDriver]
    reason: str


def select(root: Path, requested: str | None = None) -> Selection:
    """The driver for this data root. Unsupported says what to do where none can work."""
    if requested:
        return _requested(root, requested)
    prior = list(_with_homes(root))
    # vfs works everywhere, so it is what was fallen back on: another driver's home says more.
    weighty = [name for name in prior if name != "vfs"] or prior
    if len(weighty) > 1:
        raise Conflict(
            f"{root} holds layers of several storage drivers: {', '.join(weighty)}",
            remedy="choose one with --storage-driver",
        )
    if weighty:
        return Selection(load(weighty[0]), "this data root already uses it")
    refusals: list[str] = []
    for name in PREFERRED:
        driver = load(name)
        probe = driver.probe(root / name)
        if probe.ok:
            return Selection(driver, "; ".join([*refusals, f"{name}: {probe.reason}"]))
        refusals.append(f"{name}: {probe.reason}")
    raise Unsupported(f"no storage driver can work in {root}: {'; '.join(refusals)}")


def load(name: str) -> type[StorageDriver]:
    """The driver of this name; InvalidInput lists those there are."""
    from importlib import import_module

    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name]
        driver: type[StorageDriver] = getattr(import_module(module), attribute)
        return driver
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=name):
        loaded: type[StorageDriver] = point.load()
        return loaded
    raise InvalidInput(
        f"unknown storage driver {name!r}", remedy=f"choose one of: {', '.join(names())}"
    )


def names() -> list[str]:
    """The names of all drivers that are installed, the preferred ones first."""
    from importlib.metadata import entry_points

    others = {point.name for point in entry_points(group=ENTRY_POINTS)} - set(_BUILT_IN)
    return [*_BUILT_IN, *sorted(others)]


def _requested(root: Path, name: str) -> Selection:
    driver = load(name)
    prior = list(_with_homes(root))
    if name in prior:
        reason = "it was asked for, and this data root already uses it"
    else:
        probe = driver.probe(root / name)
        if not probe.ok:
            raise Unsupported(f"storage driver {name} cannot work in {root}: {probe.reason}")
        reason = f"it was asked for; {probe.reason}"
    hidden = [other for other in prior if other != name]
    if hidden:
        reason += f"; what {' and '.join(hidden)} holds here is not seen"
    return Selection(driver, reason)


def _with_homes(root: Path) -> Iterator[str]:
    """The drivers that have something in their home here."""
    try:
        present = os.listdir(root)
    except FileNotFoundError:
        return
    for name in PREFERRED:
        if name in present and _holds_something(root / name):
            yield name
    for name in sorted(set(present).difference(PREFERRED, _NOT_DRIVERS)):
        # A file is nobody's home; asking the installed packages costs more than a whole `ps`.
        if os.path.isdir(root / name) and _is_driver(name) and _holds_something(root / name):
            yield name


# Folders of a data root that no driver is called by: not worth asking the installed packages for.
_NOT_DRIVERS = frozenset(
    ("blobs", "containers", "layers", "lost+found", "networks", "tmp", "volumes")
)


def _is_driver(name: str) -> bool:
    if "." in name:
        return False
    from importlib.metadata import entry_points

    return bool(entry_points(group=ENTRY_POINTS, name=name))


# What an empty home consists of.
_FRAME = frozenset(("l", "dir", "active", "lost+found"))


def _holds_something(home: Path) -> bool:
    """Whether a home has a layer or snapshot: an empty frame of folders is none."""
    for folder, below, files in os.walk(home):
        if files or not _FRAME.issuperset(below):
            return True
        if folder != str(home) and below:
            return True
    return False
