"""One suite for every storage driver: a driver is a class, and what it may differ in it says."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

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


class Processes:
    """Children that run a function of the test; each is waited for."""

    def __init__(self) -> None:
        self._running: list[int] = []

    def start(self, act: Callable[[], object]) -> int:
        """Run this in a child; what it raises is its failure."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                act()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        self._running.append(pid)
        return pid

    def wait(self, pid: int) -> int:
        """A child's exit code; negative: the signal that ended it."""
        self._running.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def wait_all(self) -> list[int]:
        """The exit codes of all children that run."""
        return [self.wait(pid) for pid in list(self._running)]

    def end(self) -> None:
        """Leave none behind."""
        for pid in list(self._running):
            os.kill(pid, signal.SIGKILL)
            self.wait(pid)


@pytest.fixture
def processes():  # type: ignore[no-untyped-def]
    children = Processes()
    yield children
    children.end()
