"""Volumes on a real filesystem: their life, their first content, their end."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.errors import Conflict, InvalidInput, NotFound
from lamina.store.root import DataRoot
from lamina.volumes.filters import chosen
from lamina.volumes.specification import parse_volume
from lamina.volumes.store import VolumeStore


@pytest.fixture
def root(engine_root: Path) -> Iterator[DataRoot]:
    with DataRoot.open(engine_root / "root") as opened:
        yield opened


@pytest.fixture
def volumes(root: DataRoot) -> VolumeStore:
    return VolumeStore(root)


def insert_container(root: DataRoot, name: str) -> str:
    identity = os.urandom(32).hex()
    with root.database.transaction() as tx:
        tx.execute(
            "INSERT INTO containers (id, name, driver, created_ns, status, document)"
            " VALUES (?, ?, 'vfs', 0, 'created', '{}')",
            (identity, name),
        )
    return identity


def test_a_volume_is_a_folder_and_a_record(volumes: VolumeStore, root: DataRoot) -> None:
    made = volumes.create("data", labels={"a": "b"})
    assert made.path == root.path / "volumes/data/_data"
    assert made.path.is_dir()
    assert volumes.get("data") == made
    assert [each.name for each in volumes.list()] == ["data"]


def test_creating_it_again_gives_the_same_volume(volumes: VolumeStore) -> None:
    first = volumes.create("data")
    (first.path / "file").write_text("kept")
    assert volumes.create("data") == first
    assert (first.path / "file").read_text() == "kept"


def test_a_folder_whose_record_was_lost_is_taken_in_with_its_content(
    volumes: VolumeStore, root: DataRoot
) -> None:
    folder = root.path / "volumes/data/_data"
    folder.mkdir(parents=True)
    (folder / "file").write_text("precious")
    assert (volumes.create("data").path / "file").read_text() == "precious"


def test_a_volume_without_a_name_gets_64_digits(volumes: VolumeStore) -> None:
    (mount,) = volumes.resolve(["/cache"])
    assert len(mount.name) == 64
    assert volumes.get(mount.name).anonymous


def test_a_removed_volume_leaves_nothing(volumes: VolumeStore, root: DataRoot) -> None:
    (volumes.create("data").path / "file").write_text("x")
    volumes.remove("data")
    with pytest.raises(NotFound, match="get data: no such volume"):
        volumes.get("data")
    assert os.listdir(root.path / "volumes") == []
    assert os.listdir(root.path / "tmp") == []


def test_a_volume_in_use_stays(volumes: VolumeStore, root: DataRoot) -> None:
    container = insert_container(root, "one")
    mounts = volumes.resolve(["data:/srv"])
    volumes.use(container, mounts)
    with pytest.raises(Conflict, match=f"remove data: volume is in use - .{container}"):
        volumes.remove("data")
    volumes.release(container, remove_anonymous=True)
    volumes.remove("data")


def test_release_takes_anonymous_volumes_along_and_no_others(
    volumes: VolumeStore, root: DataRoot
) -> None:
    first, second = insert_container(root, "one"), insert_container(root, "two")
    mounts = volumes.resolve(["data:/srv", "/cache"], image_volumes=["/image"])
    volumes.use(first, mounts)
    shared = [mount for mount in mounts if mount.destination == "/image"]
    volumes.use(second, shared)
    volumes.release(first, remove_anonymous=True)
    assert sorted(each.name for each in volumes.list()) == sorted(["data", shared[0].name])


def test_prune_spares_named_and_used_volumes(volumes: VolumeStore, root: DataRoot) -> None:
    volumes.create("data")
    (used, unused) = volumes.resolve(["/a", "/b"])
    volumes.use(insert_container(root, "one"), [used])
    (volumes.source(unused) / "file").write_bytes(b"12345")
    assert volumes.prune() == ([unused.name], 5)
    assert volumes.prune(named=True) == (["data"], 0)


def test_two_mounts_at_one_place_are_refused(volumes: VolumeStore) -> None:
    with pytest.raises(InvalidInput, match="Duplicate mount point: /srv"):
        volumes.resolve(["data:/srv", "/tmp:/srv/"])
    with pytest.raises(InvalidInput, match="Duplicate mount point: /srv"):
        volumes.resolve(["data:/srv"], tmpfs=["/srv/"])


def test_the_same_mount_given_twice_is_one(volumes: VolumeStore) -> None:
    (mount,) = volumes.resolve(["data:/srv", "data:/srv"])
    assert (mount.name, mount.destination) == ("data", "/srv")


def test_what_the_command_line_mounts_replaces_the_images_volume(volumes: VolumeStore) -> None:
    (mount,) = volumes.resolve(["data:/srv"], image_volumes=["/srv"])
    assert mount.name == "data"


def test_a_missing_folder_of_the_host_is_made(volumes: VolumeStore, tmp_path: Path) -> None:
    (mount,) = volumes.resolve([f"{tmp_path}/a/b:/srv"])
    assert volumes.source(mount) == tmp_path / "a/b"
    assert (tmp_path / "a/b").is_dir()


def test_a_folder_that_cannot_be_made_is_told_and_leaves_no_volume(volumes: VolumeStore) -> None:
    with pytest.raises(InvalidInput, match="error while creating mount source path '/proc/x/y'"):
        volumes.resolve(["/cache", "/proc/x/y:/srv"])
    assert volumes.list() == []


def make_image(root: Path) -> Path:
    folder = root / "image"
    (folder / "srv/sub").mkdir(parents=True)
    (folder / "srv/file").write_text("from the image")
    os.chown(folder / "srv/file", 1000, 1001)
    (folder / "srv/file").chmod(0o4640)
    os.link(folder / "srv/file", folder / "srv/sub/hard")
    os.symlink("../../etc", folder / "srv/link")
    os.mkfifo(folder / "srv/pipe")
    os.setxattr(folder / "srv/sub", "trusted.test", b"x")
    os.utime(folder / "srv/file", ns=(5, 1_000_000_007))
    os.utime(folder / "srv/sub", ns=(5, 1_000_000_009))
    os.chown(folder / "srv", 33, 34)
    (folder / "srv").chmod(0o2750)
    return folder


def test_an_empty_volume_takes_what_the_image_has(volumes: VolumeStore, engine_root: Path) -> None:
    mounts = volumes.resolve(["data:/srv"])
    volumes.populate(mounts, make_image(engine_root))
    data = volumes.source(mounts[0])
    status = (data / "file").stat()
    assert (data / "file").read_text() == "from the image"
    assert (status.st_uid, status.st_gid) == (1000, 1001)
    assert stat.S_IMODE(status.st_mode) == 0o4640
    assert status.st_mtime_ns == 1_000_000_007
    assert status.st_ino == (data / "sub/hard").stat().st_ino
    assert os.readlink(data / "link") == "../../etc"
    assert stat.S_ISFIFO((data / "pipe").lstat().st_mode)
    assert os.getxattr(data / "sub", "trusted.test") == b"x"
    assert (data / "sub").stat().st_mtime_ns == 1_000_000_009
    top = data.stat()
    assert (top.st_uid, top.st_gid, stat.S_IMODE(top.st_mode)) == (33, 34, 0o2750)
    assert os.listdir(data.parent) == ["_data"]


def test_a_volume_with_content_keeps_it(volumes: VolumeStore, engine_root: Path) -> None:
    (volumes.create("data").path / "mine").write_text("x")
    volumes.populate(volumes.resolve(["data:/srv"]), make_image(engine_root))
    assert os.listdir(volumes.get("data").path) == ["mine"]


def test_nocopy_leaves_the_volume_empty(volumes: VolumeStore, engine_root: Path) -> None:
    volumes.populate(volumes.resolve(["data:/srv:nocopy"]), make_image(engine_root))
    assert os.listdir(volumes.get("data").path) == []


def test_a_link_in_the_image_does_not_lead_out_of_it(
    volumes: VolumeStore, engine_root: Path
) -> None:
    image = engine_root / "image"
    image.mkdir()
    (engine_root / "secret").mkdir()
    (engine_root / "secret/key").write_text("host")
    os.symlink(engine_root / "secret", image / "absolute")
    os.symlink("../secret", image / "relative")
    for name in ("absolute", "relative"):
        mounts = volumes.resolve([f"vol-{name}:/{name}"])
        volumes.populate(mounts, image)
        assert os.listdir(volumes.source(mounts[0])) == []


def test_a_first_copy_cut_short_begins_again(volumes: VolumeStore, engine_root: Path) -> None:
    data = volumes.create("data").path
    (data.parent / "_data.new").mkdir()
    (data.parent / "_data.new/half").write_text("torn")
    volumes.populate(volumes.resolve(["data:/srv"]), make_image(engine_root))
    assert sorted(os.listdir(data)) == ["file", "link", "pipe", "sub"]


def test_many_at_once_make_one_volume_and_fill_it_once(
    volumes: VolumeStore, engine_root: Path
) -> None:
    image = make_image(engine_root)
    failures: list[BaseException] = []

    def use() -> None:
        try:
            volumes.populate(volumes.resolve(["data:/srv"]), image)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(os.listdir(volumes.get("data").path)) == ["file", "link", "pipe", "sub"]


def test_filters_choose_volumes(volumes: VolumeStore, root: DataRoot) -> None:
    volumes.create("first", labels={"tier": "db"})
    volumes.create("second")
    volumes.use(insert_container(root, "one"), [parse_volume("second:/x")])

    def names(**filters: list[str]) -> list[str]:
        return [each.name for each in chosen(volumes.list(), filters, volumes.in_use)]

    assert names(name=["fir"]) == ["first"]
    assert names(label=["tier"]) == names(label=["tier=db"]) == ["first"]
    assert names(label=["tier=web"]) == []
    assert names(dangling=["true"]) == ["first"]
    assert names(dangling=["false"]) == ["second"]
    with pytest.raises(InvalidInput, match="invalid filter 'colour'"):
        names(colour=["red"])
