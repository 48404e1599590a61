"""One suite for every storage driver: a driver is a class, and what it may differ in it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from driver_processes import Processes

from lamina.drivers.contract import StorageDriver
from lamina.drivers.selection import load

DRIVERS = ("overlay2", "vfs")

DriverFactory = Callable[[], StorageDriver]


@pytest.fixture(params=DRIVERS)
def driver_class(request: pytest.FixtureRequest) -> type[StorageDriver]:
    return load(request.param)


@pytest.fixture
def open_driver(driver_class: type[StorageDriver], engine_root: Path) -> DriverFactory:
    """Opens one home on ext4; each call is as a new process would open it."""
    return lambda: driver_class(engine_root / driver_class.name, {})


@pytest.fixture
def driver(open_driver: DriverFactory) -> StorageDriver:
    return open_driver()


@pytest.fixture
def processes() -> Iterator[Processes]:
    children = Processes()
    yield children
    children.end()
