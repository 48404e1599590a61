"""Layers that arrive as tars: whole or not at all, once, and exactly as they came."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from layer_builders import (
    Tar,
    check_clean,
    count,
    exported,
    layer_store,
    pin,
    shown,
    stored,
    tar,
)

from lamina.digests import ChainID, DiffID, Digest, chain_ids
from lamina.errors import Corrupt, LaminaError, NotFound, OutOfSpace, Unsupported
from lamina.layers.store import Layer, LayerStore


@pytest.fixture(params=["overlay2", "vfs"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def layers(engine_root: Path, driver: str) -> Iterator[LayerStore]:
    with layer_store(engine_root, driver) as store:
        yield store


BASE = tar(bin_sh=b"#!", etc_passwd=b"root")


def test_a_layer_is_named_sized_and_shown_as_its_tar_says(layers: LayerStore) -> None:
    upper = tar(etc_passwd=b"root:x", new=b"12345")
    with layers.root.operation("t") as op:
        chain = stored(layers, op, None, BASE, upper)
        diff_ids = [DiffID(Digest.of(data)) for data in (BASE, upper)]
        assert list(chain) == list(chain_ids(diff_ids))
        assert [layer.size_bytes for layer in layers.stack(chain[1])] == [6, 11]
        assert [layer.depth for layer in layers.stack(chain[1])] == [1, 2]
        assert shown(layers, chain[1]) == {
            "bin/sh": b"#!",
            "etc/passwd": b"root:x",
            "new": b"12345",
        }
        pin(layers, chain[1])
    check_clean(layers)


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress],
    ids=["plain", "gzip", "bzip2", "xz", "zstd"],
)
def test_the_form_of_the_stream_does_not_matter(layers: LayerStore, compress: object) -> None:
    assert callable(compress)
    with layers.root.operation("t") as op:
        layer = layers.apply(op, io.BytesIO(compress(BASE)), None)
        assert layer.diff_id == Digest.of(BASE)


def _odd_tars() -> dict[str, bytes]:
    long_name = "/".join(["a-long-folder-name"] * 20)
    repeated = Tar().file("f", b"first").file("f", b"second" * 1000).file("f", b"third")
    return {
        "empty": bytes(1024),
        "no bytes at all": b"",
        "nothing but the root": Tar().folder("./", mode=0o700).bytes,
        "trailing zeros": BASE + bytes(1 << 20),
        "trailing garbage": BASE + b"garbage" * 1000,
        "GNU long names": Tar(tarfile.GNU_FORMAT).file(long_name, b"x").bytes,
        "PAX long names": Tar(tarfile.PAX_FORMAT).file(long_name, b"x").bytes,
        "a member three times": repeated.bytes,
        "a file that a folder replaces": Tar().file("a", b"old").file("a/b", b"new").bytes,
        "a tree that a file replaces": Tar()
        .file("a/b/c", b"1")
        .file("a/d", b"2")
        .file("a", b"3")
        .bytes,
        "a linked file that is replaced": Tar()
        .file("a", b"old")
        .hard_link("b", "a")
        .file("a", b"new")
        .bytes,
        "links": Tar()
        .file("a", b"content")
        .hard_link("b", "a")
        .member("c", tarfile.SYMTYPE, linkname="../../etc/passwd")
        .bytes,
        "zeros and data": Tar().file("sparse", bytes(300_000) + b"x" + bytes(70_000)).bytes,
        "odd names": Tar().file("./x/../y", b"1").file("/z", b"2").file("é\udcff", b"3").bytes,
    }


@pytest.mark.parametrize("name", list(_odd_tars()))
def test_the_exact_tar_comes_back(layers: LayerStore, name: str) -> None:
    data = _odd_tars()[name]
    with layers.root.operation("t") as op:
        layer = layers.apply(op, io.BytesIO(data), None)
        assert exported(layers, layer.chain_id) == data
        pin(layers, layer.chain_id)
    check_clean(layers)


def test_the_journal_is_small(layers: LayerStore) -> None:
    data = Tar()
    for number in range(400):
        data.file(f"usr/share/doc/package-{number}/copyright", os.urandom(20_000))
    with layers.root.operation("t") as op:
        layer = layers.apply(op, io.BytesIO(data.bytes), None)
        (journal,) = layers.root.layers.iterdir()
        assert journal.stat().st_size < layer.size_bytes * 0.03


# Refusals: nothing is left


@pytest.mark.parametrize("broken", ["cut off", "garbage", "not gzip", "cut off gzip", "bad header"])
def test_a_broken_stream_is_corrupt_and_leaves_nothing(layers: LayerStore, broken: str) -> None:
    big = tar(a=os.urandom(100_000), b=b"x" * 100_000)
    stream = {
        "cut off": big[:150_000],
        "garbage": os.urandom(100_000),
        "not gzip": b"\x1f\x8b" + os.urandom(100_000),
        "cut off gzip": gzip.compress(big)[:-1000],
        "bad header": big[:512] + b"\xff" * 512 + big[1024:],
    }[broken]
    with layers.root.operation("t") as op:
        with pytest.raises(Corrupt):
            layers.apply(op, io.BytesIO(stream), None)
        assert layers.driver.list() == []
        assert list(layers.driver.leftovers()) == []
    check_clean(layers)


def test_another_diff_id_than_expected_is_corrupt_and_leaves_nothing(layers: LayerStore) -> None:
    with layers.root.operation("t") as op, pytest.raises(Corrupt, match="another content"):
        layers.apply(op, io.BytesIO(BASE), None, expected=DiffID(Digest.of(b"other")))
    check_clean(layers)
    assert count(layers, "layers") == 0


def test_a_parent_that_is_not_stored_is_not_found(layers: LayerStore) -> None:
    absent = ChainID(Digest.of(b"?"))
    with layers.root.operation("t") as op, pytest.raises(NotFound, match="not stored"):
        layers.apply(op, io.BytesIO(BASE), absent)
    check_clean(layers)


def test_a_stream_that_fails_leaves_nothing(layers: LayerStore) -> None:
    class Failing(io.RawIOBase):
        left = 3

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if not self.left:
                raise ConnectionResetError("peer")
            return BASE[:2048]

    with layers.root.operation("t") as op, pytest.raises(ConnectionResetError):
        layers.apply(op, Failing(), None)  # type: ignore[arg-type]
    check_clean(layers)


def test_a_chain_that_is_too_deep_is_refused_before_anything_is_written(
    layers: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shallow = replace(layers.driver.capabilities, max_chain=3)
    monkeypatch.setattr(type(layers.driver), "capabilities", shallow)
    with layers.root.operation("t") as op:
        (_, top) = stored(layers, op, None, tar(a=b"1"), tar(b=b"2"))
        before = layers.driver.list()
        with pytest.raises(Unsupported, match="max depth exceeded"):
            layers.apply(op, io.BytesIO(tar(c=b"3")), top)
        assert layers.driver.list() == before


def test_a_full_disk_is_told_and_nothing_is_left(engine_root: Path, driver: str) -> None:
    mountpoint = _small_disk(engine_root)
    with layer_store(mountpoint / "root", driver) as layers:
        with layers.root.operation("t") as op:
            pin(layers, stored(layers, op, None, BASE)[0])
        free = os.statvfs(mountpoint).f_bfree
        with layers.root.operation("t") as op, pytest.raises(OutOfSpace, match="space"):
            layers.apply(op, io.BytesIO(tar(big=os.urandom(30 << 20))), None)
        check_clean(layers)
        assert os.statvfs(mountpoint).f_bfree > free - 64
        with layers.root.operation("t") as op:  # and it works again
            layers.apply(op, io.BytesIO(tar(small=b"x")), None)


@pytest.mark.parametrize("left_bytes", [0, 16_384, 40_000, 100_000, 200_000])
def test_whatever_step_finds_the_disk_full_it_says_so_and_leaves_nothing(
    engine_root: Path, driver: str, left_bytes: int
) -> None:
    mountpoint = _small_disk(engine_root)
    with layer_store(mountpoint / "root", driver) as layers, layers.root.operation("t") as op:
        pin(layers, stored(layers, op, None, BASE)[-1])
    _fill(mountpoint / "filler", left_bytes)
    with (
        pytest.raises(OutOfSpace, match="space"),
        layer_store(mountpoint / "root", driver) as layers,
        layers.root.operation("t") as op,
    ):
        layers.apply(op, io.BytesIO(tar(big=os.urandom(300_000))), None)
    (mountpoint / "filler").unlink()
    with layer_store(mountpoint / "root", driver) as layers:
        check_clean(layers)


def _small_disk(folder: Path) -> Path:
    image, mountpoint = folder / "disk.img", folder / "mnt"
    mountpoint.mkdir()
    with image.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mountpoint], check=True)
    return mountpoint


def _fill(path: Path, left_bytes: int) -> None:
    """Take all the room on a disk but this."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(file.tell() - left_bytes)


# Once


def test_a_layer_that_is_expected_and_stored_is_not_read_again(layers: LayerStore) -> None:
    class Unread:
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("read")

    with layers.root.operation("t") as op:
        first = layers.apply(op, io.BytesIO(BASE), None)
        again = layers.apply(op, Unread(), None, expected=first.diff_id)  # type: ignore[arg-type]
        assert again == first
        assert layers.apply(op, io.BytesIO(BASE), None) == first
        assert count(layers, "contents") == 1


def test_content_is_stored_once_at_whatever_depth_it_stands(layers: LayerStore) -> None:
    tool = tar(opt_tool=b"big")
    with layers.root.operation("t") as op:
        stored(layers, op, None, tool)
        stored(layers, op, None, BASE, tool)
        (*_, top) = stored(layers, op, None, tar(a=b"1"), tar(b=b"2"), tool, tar(c=b"3"), tool)
        assert shown(layers, top) == {"a": b"1", "b": b"2", "c": b"3", "opt/tool": b"big"}
        copies = 4 if layers.driver.capabilities.layers_depend_on_parent else 1
        assert _contents(layers).count(Digest.of(tool)) == copies


def _contents(layers: LayerStore) -> list[str]:
    return [row["diff_id"] for row in layers.root.database.read("SELECT diff_id FROM contents")]


def test_content_is_shared_only_where_implied_folders_agree(layers: LayerStore) -> None:
    implying = Tar().file("srv/private/file", b"x").bytes
    strict = Tar().folder("./").folder("srv", mode=0o700, uid=7).bytes
    lax = Tar().folder("./").folder("srv", mode=0o755).file("other", b"y").bytes
    with layers.root.operation("t") as op:
        alone = stored(layers, op, None, implying)[-1]
        on_strict = stored(layers, op, None, strict, implying)[-1]
        on_lax = stored(layers, op, None, lax, implying)[-1]
        modes = {}
        for chain in (alone, on_strict, on_lax):
            with layers.view(chain) as view:
                found = (view / "srv").stat()
                modes[chain] = (stat.S_IMODE(found.st_mode), found.st_uid)
            assert exported(layers, chain) == implying
        assert modes == {alone: (0o755, 0), on_strict: (0o700, 7), on_lax: (0o755, 0)}
        if layers.driver.name == "overlay2":
            assert layers.get(alone).cache_id == layers.get(on_lax).cache_id
            assert layers.get(alone).cache_id != layers.get(on_strict).cache_id


def test_a_layer_that_hides_its_root_hides_all_below(layers: LayerStore) -> None:
    fresh = Tar().folder("./").file(".wh..wh..opq").file("only", b"me").bytes
    with layers.root.operation("t") as op:
        (*_, top) = stored(layers, op, None, BASE, tar(a=b"1"), fresh, tar(b=b"2"))
        assert shown(layers, top) == {"only": b"me", "b": b"2"}
        layers.prepare("s1", top, op=op, kind="build")
        try:
            assert sorted(os.listdir(layers.mount("s1"))) == ["b", "only"]
        finally:
            layers.unmount("s1")


def test_threads_that_store_one_layer_at_once_store_it_once(layers: LayerStore) -> None:
    data = tar(a=os.urandom(200_000), b=b"x" * 200_000)
    start = threading.Barrier(6)
    found: list[Layer] = []
    with layers.root.operation("t") as op:
        op.begin()

        def apply() -> None:
            start.wait()
            found.append(layers.apply(op, io.BytesIO(data), None))

        threads = [threading.Thread(target=apply) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 6 and len(set(found)) == 1
        assert len(layers.driver.list()) == count(layers, "contents") == 1
        pin(layers, found[0].chain_id)
    check_clean(layers)


_APPLY = """
import sys, io
sys.path.insert(0, sys.argv[3])
from layer_builders import layer_store, pin, stored
from pathlib import Path
with layer_store(Path(sys.argv[1]), sys.argv[2]) as layers, layers.root.operation("t") as op:
    data = [Path(path).read_bytes() for path in sys.argv[4:]]
    pin(layers, stored(layers, op, None, *data)[-1])
"""


def test_processes_that_store_one_chain_at_once_store_it_once(
    engine_root: Path, driver: str
) -> None:
    tars = [tar(a=os.urandom(100_000)), tar(b=os.urandom(100_000)), tar(c=b"x")]
    paths = []
    for number, data in enumerate(tars):
        paths.append(engine_root / f"{number}.tar")
        paths[-1].write_bytes(data)
    root = engine_root / "root"
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", _APPLY, str(root), driver, here, *map(str, paths)]
    running = [subprocess.Popen(command) for _ in range(5)]
    assert [process.wait() for process in running] == [0] * 5
    with layer_store(root, driver) as layers:
        assert count(layers, "layers") == count(layers, "contents") == 3
        check_clean(layers)


def test_progress_tells_the_bytes_of_the_tar(layers: LayerStore) -> None:
    told: list[int] = []
    with layers.root.operation("t") as op:
        layers.apply(op, io.BytesIO(gzip.compress(BASE)), None, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == len(BASE)


def test_errors_are_of_the_one_tree(layers: LayerStore) -> None:
    with layers.root.operation("t") as op, pytest.raises(LaminaError) as caught:
        layers.apply(op, io.BytesIO(os.urandom(4096)), None)
    assert "\n" not in str(caught.value)
