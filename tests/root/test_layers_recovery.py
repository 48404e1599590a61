"""Killed anywhere, cut off from power: a root opens clean and trusts only what it checked."""

from __future__ import annotations

import io
import os
import random
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from layer_builders import (
    check_clean,
    count,
    exported,
    layer_store,
    pin,
    shown,
    stored,
    tar,
    unpin,
)

from lamina.digests import ChainID
from lamina.errors import Corrupt
from lamina.layers.store import LayerStore

WORKER = str(Path(__file__).with_name("layer_worker.py"))
KILLS = 30


@pytest.fixture(params=["overlay2", "vfs"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _killed_worker(root: Path, driver: str, seed: int, after_s: float) -> None:
    command = [sys.executable, WORKER, str(root), driver, str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        # The moment is the point: what the worker is doing then is left to chance.
        select.select([worker.stdout], [], [], after_s)
        assert worker.poll() is None, "the worker failed by itself"
        worker.send_signal(signal.SIGKILL)


def _images_are_whole(layers: LayerStore) -> None:
    for row in layers.root.database.read("SELECT chain_id FROM images"):
        for layer in layers.stack(ChainID(row["chain_id"])):
            exported(layers, layer.chain_id)


def test_a_root_whose_user_was_killed_at_any_moment_opens_clean(
    engine_root: Path, driver: str
) -> None:
    chance = random.Random(7)
    for seed in range(KILLS):
        _killed_worker(engine_root, driver, seed, chance.uniform(0, 0.25))
        with layer_store(engine_root, driver) as layers:
            check_clean(layers)
            _images_are_whole(layers)
            assert count(layers, "snapshots") == 0
    with layer_store(engine_root, driver) as layers:
        for row in layers.root.database.read("SELECT id FROM images"):
            unpin(layers, row["id"])
        assert count(layers, "layers") == count(layers, "contents") == 0
        check_clean(layers)


def test_a_root_whose_users_were_killed_while_they_shared_it_opens_clean(
    engine_root: Path, driver: str
) -> None:
    chance = random.Random(13)
    for seed in range(0, 24, 4):
        threads = [
            threading.Thread(
                target=_killed_worker,
                args=(engine_root, driver, seed + number, chance.uniform(0, 0.5)),
            )
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with layer_store(engine_root, driver) as layers:
            check_clean(layers)
            assert count(layers, "snapshots") == 0


def test_a_living_user_is_not_disturbed_by_those_who_open_and_die(
    engine_root: Path, driver: str
) -> None:
    chance = random.Random(11)
    with layer_store(engine_root, driver) as layers, layers.root.operation("long") as op:
        chain = stored(layers, op, None, tar(a=b"1"), tar(b=b"2"))
        layers.prepare("mine", chain[-1], kind="build", op=op)
        for seed in range(5):
            _killed_worker(engine_root, driver, seed, chance.uniform(0, 0.2))
            with layer_store(engine_root, driver) as other:
                assert other.root.tmp.joinpath(op.id).exists()
        assert shown(layers, chain[-1]) == {"a": b"1", "b": b"2"}
        layers.mount("mine").joinpath("c").write_bytes(b"3")
        layers.unmount("mine")
        pin(layers, layers.commit(op, "mine").chain_id)
    with layer_store(engine_root, driver) as layers:
        check_clean(layers)


# After the machine stopped


def test_what_no_row_names_is_removed_at_the_first_opening_after_a_reboot(
    engine_root: Path, driver: str
) -> None:
    with layer_store(engine_root, driver, boot_id="boot 1") as layers:
        with layers.root.operation("t") as op:
            pin(layers, stored(layers, op, None, tar(a=b"1"))[-1])
        # What a database that lost its last transactions would not know of:
        layers.driver.prepare("f" * 64, [])
        layers.driver.begin_layer("e" * 64, []).commit()
        layers.root.layers.joinpath("d" * 64 + ".journal").write_bytes(b"?")
        layers.root.path.joinpath("blobs", "sha256", "c" * 64).write_bytes(b"?")
        layers.root.container_dir("c1").joinpath("bundle").mkdir(parents=True)
    with layer_store(engine_root, driver, boot_id="boot 1") as layers:
        assert len(layers.driver.list()) == 3
    with layer_store(engine_root, driver, boot_id="boot 2") as layers:
        assert len(layers.driver.list()) == 1
        assert os.listdir(layers.root.path / "blobs" / "sha256") == []
        assert os.listdir(layers.root.containers) == []
        check_clean(layers)


def test_a_row_of_a_build_s_snapshot_without_a_folder_is_forgotten(
    engine_root: Path, driver: str
) -> None:
    with layer_store(engine_root, driver, boot_id="boot 1") as layers:
        with layers.root.operation("t") as op:
            chain = stored(layers, op, None, tar(a=b"1"))[-1]
            layers.prepare("s1", chain)
        layers.driver.remove("s1")
    with layer_store(engine_root, driver, boot_id="boot 2") as layers:
        assert count(layers, "snapshots") == count(layers, "layers") == 0
        check_clean(layers)


def _uncovered(layers: LayerStore, *tars: bytes) -> ChainID:
    """A chain whose operation ended without the flush: the machine stopped before it."""
    with layers.root.operation("t") as op:
        chain = stored(layers, op, None, *tars)[-1]
        pin(layers, chain)
        op.wrote_layers = False
    return chain


def _truncate_newest(layers: LayerStore, chain: ChainID, name: str) -> None:
    path = layers.driver.layer_root(layers.get(chain).cache_id) / name
    os.truncate(path, 0)


def test_a_flush_covers_layers_at_the_end_of_their_operation(
    engine_root: Path, driver: str
) -> None:
    with layer_store(engine_root, driver, boot_id="boot 1") as layers:
        with layers.root.operation("t") as op:
            pin(layers, stored(layers, op, None, tar(a=b"1"))[-1])
            uncovered = layers.root.database.read("SELECT boot_id FROM contents")
            assert [row["boot_id"] for row in uncovered] == ["boot 1"]
        covered = layers.root.database.read("SELECT boot_id FROM contents")
        assert [row["boot_id"] for row in covered] == [None]


def test_an_uncovered_layer_is_checked_before_use_and_trusted_if_it_is_whole(
    engine_root: Path, driver: str
) -> None:
    with layer_store(engine_root, driver, boot_id="boot 1") as layers:
        chain = _uncovered(layers, tar(a=b"1"), tar(b=b"2"))
        assert count(layers, "contents WHERE boot_id='boot 1'") == 2
    with layer_store(engine_root, driver, boot_id="boot 2") as layers:
        if driver == "vfs":  # what an upper layer copied from its parent can't be checked
            with pytest.raises(Corrupt):
                shown(layers, chain)
            return
        assert shown(layers, chain) == {"a": b"1", "b": b"2"}
        assert count(layers, "contents WHERE boot_id IS NOT NULL") == 0


def test_a_torn_layer_is_refused_by_name_until_it_is_stored_again(
    engine_root: Path, driver: str
) -> None:
    tars = [tar(a=b"1"), tar(b=b"2")]
    with layer_store(engine_root, driver, boot_id="boot 1") as layers:
        chain = _uncovered(layers, *tars)
        _truncate_newest(layers, chain, "b")
        assert layers.get(chain)
    with layer_store(engine_root, driver, boot_id="boot 2") as layers:
        with pytest.raises(Corrupt, match="is damaged on disk"):
            layers.prepare("s1", chain)
        with pytest.raises(Corrupt, match="/b"):
            exported(layers, chain)
        with layers.root.operation("repair") as op:
            below = layers.get(chain).parent
            again = layers.apply(op, io.BytesIO(tars[1]), below, expected=layers.get(chain).diff_id)
            assert again.chain_id == chain
        assert shown(layers, chain) == {"a": b"1", "b": b"2"}
        check_clean(layers)


def test_a_torn_base_is_repaired_for_all_that_stands_on_it(engine_root: Path, driver: str) -> None:
    tars = [tar(a=b"1"), tar(b=b"2")]
    with layer_store(engine_root, driver, boot_id="boot 1") as layers:
        chain = _uncovered(layers, *tars)
        base = layers.get(chain).parent
        assert base is not None
        _truncate_newest(layers, base, "a")
        if driver == "vfs":  # a whole copy: the upper layer has its own
            _truncate_newest(layers, chain, "a")
    with layer_store(engine_root, driver, boot_id="boot 2") as layers:
        with layers.root.operation("repair") as op:
            stored(layers, op, None, *tars)
        assert shown(layers, chain) == {"a": b"1", "b": b"2"}
        assert count(layers, "contents") == 2
        check_clean(layers)


def test_storing_a_layer_again_repairs_what_was_found_damaged(
    engine_root: Path, driver: str
) -> None:
    data = tar(a=b"1", b=b"2")
    with layer_store(engine_root, driver) as layers:
        with layers.root.operation("t") as op:
            chain = stored(layers, op, None, data)[-1]
            pin(layers, chain)
        _truncate_newest(layers, chain, "b")
        with pytest.raises(Corrupt, match="/b"):
            exported(layers, chain)
        with pytest.raises(Corrupt, match="is damaged on disk"):
            layers.prepare("c1", chain)
        with layers.root.operation("repair") as op:
            layers.apply(op, io.BytesIO(data), None, expected=layers.get(chain).diff_id)
        assert shown(layers, chain) == {"a": b"1", "b": b"2"}
        check_clean(layers)


def test_storing_a_layer_again_repairs_a_lost_journal(engine_root: Path, driver: str) -> None:
    data = tar(a=b"1")
    with layer_store(engine_root, driver) as layers:
        with layers.root.operation("t") as op:
            chain = stored(layers, op, None, data)[-1]
            pin(layers, chain)
        for journal in layers.root.layers.iterdir():
            journal.unlink()
        with pytest.raises(Corrupt, match="journal is missing"):
            layers.tar_size_bytes(chain)
        with layers.root.operation("repair") as op:
            stored(layers, op, None, data)
        assert exported(layers, chain) == data
        check_clean(layers)


def test_storing_a_layer_again_repairs_what_is_missing(engine_root: Path, driver: str) -> None:
    data = tar(a=b"1")
    with layer_store(engine_root, driver) as layers:
        with layers.root.operation("t") as op:
            chain = stored(layers, op, None, data)[-1]
            pin(layers, chain)
        layers.driver.remove(layers.get(chain).cache_id)
        with pytest.raises(Corrupt, match="is missing on disk"):
            exported(layers, chain)
        with layers.root.operation("repair") as op:
            stored(layers, op, None, data)
        assert shown(layers, chain) == {"a": b"1"}
        check_clean(layers)


def test_a_damaged_layer_goes_when_the_last_snapshot_that_stands_on_it_has_gone(
    engine_root: Path,
) -> None:
    data = tar(a=b"1", b=b"2")
    with layer_store(engine_root, "overlay2") as layers:
        with layers.root.operation("t") as op:
            chain = stored(layers, op, None, data)[-1]
            pin(layers, chain)
        layers.prepare("c1", chain)
        _truncate_newest(layers, chain, "b")
        with pytest.raises(Corrupt):
            exported(layers, chain)
        with layers.root.operation("repair") as op:
            stored(layers, op, None, data)
        assert len(layers.driver.list()) == 3
        assert shown(layers, chain) == {"a": b"1", "b": b"2"}
        layers.prepare("c2", chain)  # a new one has the new content
        assert (layers.mount("c2") / "b").read_bytes() == b"2"
        layers.unmount("c2")
        for snapshot in ("c1", "c2"):
            layers.remove_snapshot(snapshot)
    with layer_store(engine_root, "overlay2") as layers:
        assert len(layers.driver.list()) == 1
        check_clean(layers)
