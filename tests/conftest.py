"""What every test may use: scratch data roots on real filesystems."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """What tests start can be interrupted, also where a script runs them in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in tests/root and tests/compat need root; where there is none, they say so."""
    if os.geteuid() == 0:
        return
    for item in items:
        if {"root", "compat", "conformance"} & set(Path(str(item.fspath)).parts):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def scratch_filesystem() -> Iterator[Path]:
    """A fresh ext4 in a loop file, so that the machine's own disk decides nothing."""
    folder = Path(tempfile.mkdtemp(prefix="lamina-test-"))
    image = folder / "disk.img"
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    with image.open("wb") as file:
        file.truncate(12 << 30)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mountpoint], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", "-R", "-l", mountpoint], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def engine_root(scratch_filesystem: Path) -> Iterator[Path]:
    """An empty folder for a data root; every mount below it is gone after the test."""
    root = Path(tempfile.mkdtemp(prefix="root-", dir=scratch_filesystem))
    try:
        yield root
    finally:
        mounts = [
            line.split()[4]
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if line.split()[4].startswith(f"{root}/")
        ]
        for target in sorted(mounts, key=len, reverse=True):
            subprocess.run(["umount", "-l", target], check=False)
        shutil.rmtree(root, ignore_errors=True)
        # What a root keeps until the next boot goes by the name that its path gives it.
        key = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        shutil.rmtree(Path("/run/lamina") / key, ignore_errors=True)
