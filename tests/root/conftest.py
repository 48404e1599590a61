"""The command on a data root that has an image, shared by the tests of commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commandkit import Lamina, Terminal, busybox_tar


@pytest.fixture(scope="session")
def shared(scratch_filesystem: Path) -> Iterator[Lamina]:
    """One data root with the image `busybox` for all tests of commands."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=scratch_filesystem))
    lamina = Lamina(folder / "root")
    (folder / "rootfs.tar").write_bytes(busybox_tar())
    change = 'CMD ["sh"]'
    lamina.ok("import", "--change", change, str(folder / "rootfs.tar"), "busybox")
    try:
        yield lamina
    finally:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        for line in reversed(mounts):
            if line.split()[4].startswith(f"{folder}/"):
                subprocess.run(["umount", "-l", line.split()[4]], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def debian(scratch_filesystem: Path) -> Iterator[Path]:
    """A folder with `debian.tar` of a minimal Debian and `gnu`, that tar as GNU tar unpacks it."""
    place = scratch_filesystem / "debian"
    (place / "gnu").mkdir(parents=True)
    made = place / "debian.tar"
    subprocess.run(
        # iputils-ping carries a file capability
        ["mmdebstrap", "--quiet", "--variant=minbase", "--include=iputils-ping", "bookworm", made],
        check=True,
    )
    names = ("--xattrs", "--xattrs-include=*", "--numeric-owner")
    subprocess.run(["tar", "-C", place / "gnu", *names, "-xpf", made], check=True)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def lamina(shared: Lamina) -> Iterator[Lamina]:
    """The command; after the test, containers and volumes of its root are gone."""
    yield shared
    if ids := shared("ps", "-aq").stdout.split():
        assert shared("rm", "-f", "-v", *ids).returncode == 0
    shared("volume", "prune", "-a", "-f")
    assert os.listdir(shared.root / "containers") == []


@pytest.fixture
def terminal(lamina: Lamina) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*args: str, **size: int) -> Terminal:
        opened.append(Terminal(lamina, *args, **size))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


@pytest.fixture
def sleeper(lamina: Lamina) -> str:
    """A running container called `one`."""
    return lamina.ok(
        "run", "-d", "--name", "one", "--network", "none", "-e", "A=image", "busybox",
        "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done",
    ).strip()  # fmt: skip


@pytest.fixture(params=("overlay2", "vfs"))
def own(request: pytest.FixtureRequest, engine_root: Path) -> Iterator[Lamina]:
    """The command on a root of its own with this driver, and the image `busybox`."""
    lamina = Lamina(engine_root)
    lamina.environment["LAMINA_DRIVER"] = request.param
    lamina.ok("import", "--change", 'CMD ["sh"]', "-", "busybox", stdin=busybox_tar())
    yield lamina
    if ids := lamina("ps", "-aq").stdout.split():
        lamina("rm", "-f", "-v", *ids)
