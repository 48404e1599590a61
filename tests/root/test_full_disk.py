"""A data root on a disk that is full to the last byte: nothing breaks, and it can be emptied.

Commands are processes of their own here, since what goes wrong on a full disk ends a process.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lamina.store.reserve import RESERVE_BYTES, RESERVE_NAME

COMMAND = Path(sys.executable).with_name("lamina")


@pytest.fixture(params=["ext4 of small blocks", "ext4", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 64 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if request.param == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place]
    else:
        image = tmp_path / "disk.img"
        with image.open("wb") as file:
            file.truncate(64 << 20)
        block_bytes = "1024" if "small" in request.param else "4096"
        subprocess.run(["mkfs.ext4", "-q", "-F", "-b", block_bytes, image], check=True)
        mount = ["mount", "-o", "loop", image, place]
    subprocess.run(mount, check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-R", "-l", place], check=False)


def lamina(disk: Path, *arguments: str, tar: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [COMMAND, "--root", disk / "root", *arguments], input=tar, capture_output=True, check=False
    )


def tar_of(size_bytes: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("blob")
        member.size = size_bytes
        tar.addfile(member, io.BytesIO(os.urandom(size_bytes)))
    return out.getvalue()


def fill(disk: Path, *, leaving_bytes: int = 0) -> None:
    descriptor = os.open(disk / "filling", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while append_all(descriptor):  # what others freed comes back when the journal has it
            os.fsync(descriptor)
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - leaving_bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_all(descriptor: int) -> int:
    """Write to a file until the disk takes no byte more; how many it took."""
    written = 0
    for size in (1 << 20, 4096, 1):
        with suppress(OSError):
            while True:
                written += os.write(descriptor, bytes(size))
    return written


def reserve_bytes(disk: Path) -> int:
    return (disk / "root" / RESERVE_NAME).stat().st_blocks * 512


def layers_in(disk: Path) -> list[str]:
    return sorted(set(os.listdir(disk / "root/overlay2")) - {"l"})


def test_an_image_can_be_listed_and_removed_on_a_full_disk(disk: Path) -> None:
    lamina(disk, "import", "-", "big", tar=tar_of(8 << 20))
    fill(disk)
    listed = lamina(disk, "image", "ls")
    assert (listed.returncode, b"big" in listed.stdout) == (0, True), listed.stderr
    removed = lamina(disk, "rmi", "big")
    assert (removed.returncode, removed.stderr) == (0, b"")
    assert layers_in(disk) == []
    assert reserve_bytes(disk) >= RESERVE_BYTES


def test_what_grows_a_root_on_a_full_disk_is_refused_and_uses_nothing_up(disk: Path) -> None:
    lamina(disk, "import", "-", "big", tar=tar_of(8 << 20))
    held = layers_in(disk)
    fill(disk)
    for command in (("import", "-", "more"), ("create", "big", "true")):
        refused = lamina(disk, *command, tar=tar_of(1 << 20))
        assert refused.returncode == 1, refused.stderr
        assert b"no space left on device" in refused.stderr
    assert layers_in(disk) == held
    assert lamina(disk, "rmi", "big").returncode == 0


def test_an_import_that_fills_the_disk_leaves_nothing(disk: Path) -> None:
    lamina(disk, "import", "-", "small", tar=tar_of(4096))
    held = layers_in(disk)
    fill(disk, leaving_bytes=6 << 20)
    refused = lamina(disk, "import", "-", "big", tar=tar_of(16 << 20))
    assert refused.returncode == 1, refused.stderr
    assert b"no space left" in refused.stderr
    assert layers_in(disk) == held
    assert os.listdir(disk / "root/tmp") == []
    assert reserve_bytes(disk) >= RESERVE_BYTES
    assert lamina(disk, "import", "-", "more", tar=tar_of(4096)).returncode == 0
