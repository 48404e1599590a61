"""The power goes at a random moment; what was never flushed is found, refused and replaced.

The cut is ext4's own: FS_IOC_SHUTDOWN without a flush of its journal leaves on the device what a
power cut would. Mounted again, the filesystem replays its journal, and files that were written but
not flushed are empty or missing.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from layer_builders import check_clean, count, exported, layer_store, shown, unpin

from lamina.digests import ChainID, Digest
from lamina.errors import Corrupt
from lamina.layers.store import LayerStore

WORKER = str(Path(__file__).with_name("layer_worker.py"))
CUTS = 6
FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2


@pytest.fixture(params=["overlay2", "vfs"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def disk(engine_root: Path) -> Path:
    """A disk of its own, to be cut off."""
    image = engine_root / "disk.img"
    with image.open("wb") as file:
        file.truncate(512 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    (engine_root / "mnt").mkdir()
    return image


@contextmanager
def _mounted(disk: Path) -> Iterator[Path]:
    mountpoint = disk.with_name("mnt")
    # It commits its journal each second, so that names reach the disk before contents do.
    subprocess.run(["mount", "-o", "loop,commit=1", disk, mountpoint], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", mountpoint], check=True)


def _cut(mountpoint: Path) -> None:
    descriptor = os.open(mountpoint, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


def _works_until_the_power_goes(
    mountpoint: Path, driver: str, seed: int, boot: str, after_s: float
) -> None:
    command = [sys.executable, WORKER, str(mountpoint / "root"), driver, str(seed), boot]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        # The moment is the point: what the worker is doing then is left to chance.
        select.select([worker.stdout], [], [], after_s)
        _cut(mountpoint)
        worker.kill()


def _images(layers: LayerStore) -> dict[str, ChainID]:
    rows = layers.root.database.read("SELECT id, chain_id FROM images")
    return {row["id"]: ChainID(row["chain_id"]) for row in rows}


def test_after_a_power_cut_every_image_is_whole_or_refused(disk: Path, driver: str) -> None:
    chance = random.Random(5)
    for number in range(CUTS):
        with _mounted(disk) as mountpoint:
            after_s = chance.uniform(0.1, 1.6)
            _works_until_the_power_goes(mountpoint, driver, number, f"boot {number}", after_s)
            _detach(mountpoint)
        with (
            _mounted(disk) as mountpoint,
            layer_store(mountpoint / "root", driver, boot_id=f"after cut {number}") as layers,
        ):
            for row in layers.root.database.read(
                "SELECT chain_id FROM layers JOIN contents USING (driver, cache_id)"
                " WHERE contents.boot_id IS NULL"
            ):
                exported(layers, ChainID(row["chain_id"]))  # what a flush covered is whole
            for image, chain in _images(layers).items():
                layers.root.blobs.read(Digest(image))
                try:
                    assert shown(layers, chain)
                except Corrupt:
                    unpin(layers, image)
            check_clean(layers)
            assert count(layers, "snapshots") == 0


def _detach(mountpoint: Path) -> None:
    """Unmount what the worker had mounted on the disk."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split()[4] for line in lines]
    for target in sorted(targets, key=len, reverse=True):
        if target.startswith(f"{mountpoint}/"):
            subprocess.run(["umount", "-l", target], check=True)
