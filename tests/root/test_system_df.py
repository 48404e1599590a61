"""`system df`: true sizes, in Docker's columns."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandkit import Lamina, busybox_tar

BLOCK = 4096


@pytest.fixture
def lamina(engine_root: Path) -> Iterator[Lamina]:
    """A root of its own on overlay2, with images that share a layer, and build cache."""
    lamina = Lamina(engine_root / "root")
    lamina.environment["LAMINA_DRIVER"] = "overlay2"
    (engine_root / "rootfs.tar").write_bytes(busybox_tar())
    lamina.ok("import", str(engine_root / "rootfs.tar"), "base")
    for number in (1, 2):
        context = engine_root / f"context{number}"
        context.mkdir()
        (context / "big").write_bytes(os.urandom(100_000 * number))
        (context / "Dockerfile").write_text("FROM base\nCOPY big /app/big\n")
        done = lamina("build", "-t", f"app{number}", str(context))
        assert done.returncode == 0, done
    yield lamina
    if ids := lamina("ps", "-aq").stdout.split():
        lamina("rm", "-f", "-v", *ids)


def columns(lamina: Lamina) -> dict[str, list[str]]:
    out = lamina.ok(
        "system",
        "df",
        "--format",
        "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}",
    )
    rows = [line.split("|") for line in out.splitlines()]
    return {row[0]: row[1:] for row in rows}


def on_disk(*folders: Path) -> tuple[int, int]:
    """Bytes of the regular files below, and the blocks that `du` counts for these."""
    size = blocks = 0
    for folder in folders:
        for above, _, files in os.walk(folder):
            for name in files:
                found = os.lstat(os.path.join(above, name))
                if stat.S_ISREG(found.st_mode):
                    size += found.st_size
                    blocks += found.st_blocks * 512
    return size, blocks


def test_the_table_is_dockers(lamina: Lamina) -> None:
    header, *rows = lamina.ok("system", "df").splitlines()
    assert header == "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE"
    assert [row[:15].rstrip() for row in rows] == [
        "Images",
        "Containers",
        "Local Volumes",
        "Build Cache",
    ]


def test_images_are_as_large_as_their_folders_and_what_is_shared_counts_once(
    lamina: Lamina,
) -> None:
    from lamina.cli.units import human_size

    size, blocks = on_disk(*(lamina.root / "overlay2").glob("*/diff"))
    assert columns(lamina)["Images"] == ["3", "0", human_size(size), f"{human_size(size)} (100%)"]
    found = subprocess.check_output(["find", lamina.root / "overlay2", "-type", "f"])
    files = found.count(b"\n")
    assert size <= blocks <= size + files * BLOCK
    assert columns(lamina)["Build Cache"][2] == "0B"  # its layers are the images'


def test_what_nothing_uses_is_reclaimable(lamina: Lamina) -> None:
    lamina.ok("create", "--name", "one", "app1", "true")
    images = columns(lamina)["Images"]
    assert images[:2] == ["3", "1"]
    assert images[3].startswith("200kB (")
    lamina.ok("rm", "one")
    lamina.ok("rmi", "app2")
    cache = columns(lamina)["Build Cache"]
    assert cache == ["2", "0", "200kB", "200kB"]
    before = columns(lamina)["Images"][2]
    lamina.ok("builder", "prune", "-f")
    assert columns(lamina)["Build Cache"][2:] == ["0B", "0B"]
    assert columns(lamina)["Images"][2] == before


def test_containers_and_volumes_count_what_they_hold(lamina: Lamina) -> None:
    write = ["sh", "-c", "head -c 5000 /dev/zero > /x; head -c 7000 /dev/zero > /v/y; sleep 1000"]
    lamina.ok("run", "-d", "--name", "one", "--network", "none", "-v", "kept:/v", "base", *write)
    wait = "until [ -s /v/y ]; do :; done"
    lamina.ok("exec", "one", "sh", "-c", wait)
    shown = columns(lamina)
    assert shown["Containers"] == ["1", "1", "5kB", "0B (0%)"]
    assert shown["Local Volumes"] == ["1", "1", "7kB", "0B (0%)"]
    lamina.ok("rm", "-f", "one")
    shown = columns(lamina)
    assert shown["Containers"] == ["0", "0", "0B", "0B"]
    assert shown["Local Volumes"] == ["1", "0", "7kB", "7kB (100%)"]


def test_verbose_lists_everything(lamina: Lamina) -> None:
    lamina.ok("create", "--name", "one", "app1", "true")
    out = lamina.ok("system", "df", "-v")
    for title in (
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage: 0B",
    ):
        assert title in out
    (row,) = [line for line in out.splitlines() if line.startswith("app2")]
    assert row.split()[-2:] == ["200kB", "0"]
    assert lamina.ok("system", "df", "-v", "--format", "{{len .Images}}") == "3\n"
