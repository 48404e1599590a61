"""Real root filesystems from import to container: what is mounted is what GNU tar unpacks."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina import Engine
from tarkit import Facts, tree


@pytest.fixture(params=["overlay2", "vfs"])
def engine(request: pytest.FixtureRequest, engine_root: Path) -> Iterator[Engine]:
    with Engine(engine_root, storage_driver=str(request.param)) as engine:
        yield engine


def without(facts: dict[str, Facts], *, at: tuple[str, ...]) -> dict[str, Facts]:
    """A tree without what stands at these paths, nor the times of the folders that hold them."""
    kept = {}
    parents = {path.rpartition("/")[0] for path in at}
    for path, fact in facts.items():
        if path not in at:
            kept[path] = (*fact[:4], None, fact[5]) if path in parents else fact
    return kept


def test_an_imported_debian_is_mounted_as_gnu_tar_unpacks_it(engine: Engine, debian: Path) -> None:
    image = engine.import_image(debian / "debian.tar", "debian")
    with engine.layers.view(image.chain) as root:
        assert tree(root) == tree(debian / "gnu")


def test_an_imported_busybox_is_mounted_as_gnu_tar_unpacks_it(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "root/bin").mkdir(parents=True)
    shutil.copy2("/bin/busybox", tmp_path / "root/bin")
    subprocess.run(["/bin/busybox", "--install", "-s", tmp_path / "root/bin"], check=True)
    subprocess.run(["tar", "-C", "root", "-cf", "busybox.tar", "."], cwd=tmp_path, check=True)
    (tmp_path / "gnu").mkdir()
    subprocess.run(["tar", "-C", "gnu", "-xpf", "busybox.tar"], cwd=tmp_path, check=True)
    image = engine.import_image(tmp_path / "busybox.tar", "busybox")
    with engine.layers.view(image.chain) as root:
        assert tree(root) == tree(tmp_path / "gnu")


def test_images_and_containers_on_debian_change_only_what_was_changed(
    engine: Engine, debian: Path, tmp_path: Path
) -> None:
    before = tree(debian / "gnu")
    base = engine.import_image(debian / "debian.tar", "debian")
    (tmp_path / "Dockerfile").write_text(
        "FROM debian\nRUN dpkg-query -W > /packages && chown daemon /etc/hostname\n"
    )
    (tmp_path / "Dockerfile").chmod(0o644)
    built = engine.build(tmp_path, tags=["built"])
    with engine.layers.view(built.chain) as root:
        after = tree(root)
    assert str(after["packages"][2]).count("\\n") > 50
    changed = ("packages", "etc/hostname")
    assert without(after, at=changed) == without(before, at=changed)

    container = engine.run(
        built, ["sh", "-c", "rm -r /usr/share/doc; ln /packages /again; exec sleep 1000"],
        network="none",
    )  # fmt: skip
    try:
        said = container.execute(
            ["sh", "-c", "until test -e /again; do :; done; cat /etc/os-release"]
        )
        assert (said.exit_code, said.errors) == (0, b"")
        assert b"bookworm" in said.output
        listing = container.execute(["find", "/usr/share", "-maxdepth", "1", "-name", "doc"])
        assert listing.output == b""
    finally:
        container.remove(force=True)
    with engine.layers.view(built.chain) as root:
        assert tree(root) == after
    with engine.layers.view(base.chain) as root:
        assert tree(root) == before


def test_the_exact_tar_of_a_debian_is_written_again(engine: Engine, debian: Path) -> None:
    image = engine.import_image(debian / "debian.tar", "debian")
    assert image.chain is not None
    out = io.BytesIO()
    engine.layers.export(image.chain, out)
    assert out.getvalue() == (debian / "debian.tar").read_bytes()
