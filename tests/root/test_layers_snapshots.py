"""Active snapshots: prepared, written, measured, committed, removed."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
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

from lamina.digests import ChainID, Digest
from lamina.errors import Conflict, Corrupt, NotFound, Unsupported
from lamina.layers.store import LayerStore

BASE = tar(bin_sh=b"#!", etc_passwd=b"root")


@pytest.fixture(params=["overlay2", "vfs"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def layers(engine_root: Path, driver: str) -> Iterator[LayerStore]:
    with layer_store(engine_root, driver) as store:
        yield store


@pytest.fixture
def base(layers: LayerStore) -> ChainID:
    """A stored layer that an image holds."""
    with layers.root.operation("t") as op:
        chain = stored(layers, op, None, BASE)[-1]
        pin(layers, chain)
    return chain


def _written(layers: LayerStore, snapshot: str, **files: bytes) -> None:
    root = layers.mount(snapshot)
    for name, content in files.items():
        path = root / name.replace("_", "/")
        path.write_bytes(content)
        os.utime(path, ns=(10**18, 10**18))
    layers.unmount(snapshot)


def test_a_fresh_snapshot_is_empty_and_what_is_written_counts(
    layers: LayerStore, base: ChainID
) -> None:
    layers.prepare("c1", base)
    assert layers.usage("c1").size_bytes == 0
    assert list(layers.changes("c1")) == []
    _written(layers, "c1", out=b"hello", etc_passwd=b"changed")
    assert layers.usage("c1").size_bytes == 12
    assert [(change.kind, change.path) for change in layers.changes("c1")] == [
        ("C", b"/etc"),
        ("C", b"/etc/passwd"),
        ("A", b"/out"),
    ]
    assert shown(layers, base) == {"bin/sh": b"#!", "etc/passwd": b"root"}
    layers.remove_snapshot("c1")
    layers.remove_snapshot("c1")
    check_clean(layers)


def test_a_snapshot_on_nothing_is_an_empty_tree(layers: LayerStore) -> None:
    layers.prepare("c1", None)
    _written(layers, "c1", file=b"x")
    assert layers.usage("c1").size_bytes == 1
    layers.remove_snapshot("c1")
    check_clean(layers)


def test_an_id_is_prepared_once(layers: LayerStore, base: ChainID) -> None:
    layers.prepare("c1", base)
    _written(layers, "c1", out=b"hello")
    with pytest.raises(Conflict, match="already exists"):
        layers.prepare("c1", base)
    assert layers.usage("c1").size_bytes == 5


def test_a_snapshot_on_an_absent_layer_is_not_found(layers: LayerStore) -> None:
    with pytest.raises(NotFound):
        layers.prepare("c1", ChainID(Digest.of(b"?")))
    with pytest.raises(NotFound, match="no such snapshot"):
        layers.usage("c1")
    check_clean(layers)


def test_a_mounted_snapshot_is_not_removed_and_nothing_is_lost(
    layers: LayerStore, base: ChainID
) -> None:
    layers.prepare("c1", base)
    (layers.mount("c1") / "out").write_bytes(b"hello")
    with pytest.raises(Conflict, match="mounted"):
        layers.remove_snapshot("c1")
    assert layers.usage("c1").size_bytes == 5
    layers.unmount("c1")
    layers.remove_snapshot("c1")
    check_clean(layers)


def test_a_failed_operation_takes_its_snapshots_back_even_mounted(
    layers: LayerStore, base: ChainID
) -> None:
    with pytest.raises(KeyError), layers.root.operation("t") as op:
        layers.prepare("c1", base, op=op)
        layers.mount("c1")
        raise KeyError
    check_clean(layers)
    assert not layers.has_snapshot("c1")


def test_a_snapshot_that_a_container_names_outlives_its_failed_operation(
    layers: LayerStore, base: ChainID
) -> None:
    with pytest.raises(KeyError), layers.root.operation("t") as op:
        layers.prepare("c1", base, op=op)
        with layers.root.database.transaction() as tx:
            tx.execute(
                "INSERT INTO containers(id, name, snapshot, driver, created_ns, status, document)"
                " VALUES ('c1', 'name', 'c1', ?, 0, 'created', '{}')",
                (layers.driver.name,),
            )
        raise KeyError
    assert layers.has_snapshot("c1")
    check_clean(layers)


def test_a_snapshot_holds_the_layers_below_it(layers: LayerStore, base: ChainID) -> None:
    layers.prepare("c1", base)
    with layers.root.database.transaction() as tx:
        tx.execute("DELETE FROM images")
    assert layers.collect(base) == []
    layers.remove_snapshot("c1")
    assert layers.find(base) is None
    assert layers.driver.list() == []
    check_clean(layers)


# Commit


def test_a_committed_snapshot_is_the_layer_that_its_diff_would_be(
    layers: LayerStore, base: ChainID
) -> None:
    with layers.root.operation("t") as op:
        layers.prepare("s1", base, kind="build", op=op)
        root = layers.mount("s1")
        (root / "bin" / "sh").unlink()
        (root / "deep" / "er").mkdir(parents=True)
        (root / "deep" / "er" / "file").write_bytes(b"made" * 1000)
        os.link(root / "deep" / "er" / "file", root / "linked")
        (root / "to-sh").symlink_to("bin/sh")
        layers.unmount("s1")
        diff = io.BytesIO()
        layers.diff("s1", diff)
        layer = layers.commit(op, "s1")
        pin(layers, layer.chain_id)
        assert layer.diff_id == Digest.of(diff.getvalue())
        assert layer.size_bytes == 4000
        assert exported(layers, layer.chain_id) == diff.getvalue()
        assert shown(layers, layer.chain_id) == {
            "etc/passwd": b"root",
            "deep/er/file": b"made" * 1000,
            "linked": b"made" * 1000,
            "to-sh": b"bin/sh",
        }
        assert not layers.has_snapshot("s1")
    check_clean(layers)
    assert count(layers, "layers") == 2


def test_equal_trees_commit_to_one_layer(layers: LayerStore, base: ChainID) -> None:
    with layers.root.operation("t") as op:
        chains = set()
        for name in ("s1", "s2"):
            layers.prepare(name, base, kind="build", op=op)
            _written(layers, name, out=b"same")
            chains.add(layers.commit(op, name).chain_id)
        assert len(chains) == 1
        pin(layers, chains.pop())
    assert count(layers, "contents") == 2
    check_clean(layers)


def test_a_commit_of_nothing_is_an_empty_layer(layers: LayerStore, base: ChainID) -> None:
    with layers.root.operation("t") as op:
        layers.prepare("s1", base, kind="build", op=op)
        layer = layers.commit(op, "s1")
        assert layer.size_bytes == 0
        assert shown(layers, layer.chain_id) == shown(layers, base)
        pin(layers, layer.chain_id)
    check_clean(layers)


def test_a_committed_layer_applies_elsewhere_to_the_same_tree(
    engine_root: Path, driver: str
) -> None:
    with layer_store(engine_root / "one", driver) as layers, layers.root.operation("t") as op:
        chain = stored(layers, op, None, BASE)[-1]
        layers.prepare("s1", chain, kind="build", op=op)
        root = layers.mount("s1")
        (root / "etc" / "passwd").unlink()
        (root / "etc" / "new").write_bytes(b"n")
        layers.unmount("s1")
        committed = layers.commit(op, "s1")
        data = exported(layers, committed.chain_id)
        seen = shown(layers, committed.chain_id)
    other = "vfs" if driver == "overlay2" else "overlay2"
    with layer_store(engine_root / "two", other) as layers, layers.root.operation("t") as op:
        chain = stored(layers, op, None, BASE, data)[-1]
        assert chain == committed.chain_id
        assert shown(layers, chain) == seen == {"bin/sh": b"#!", "etc/new": b"n"}


def test_a_mounted_snapshot_is_not_committed(layers: LayerStore, base: ChainID) -> None:
    with layers.root.operation("t") as op:
        layers.prepare("s1", base, kind="build", op=op)
        layers.mount("s1")
        with pytest.raises(Conflict, match="mounted"):
            layers.commit(op, "s1")
        layers.unmount("s1")
    check_clean(layers)


# Init layers


def test_an_init_layer_goes_with_the_layer_below_and_not_before(
    layers: LayerStore, base: ChainID
) -> None:
    with layers.root.operation("t") as op:
        layers.prepare("i1", base, kind="init", op=op)
        _written(layers, "i1", hosts=b"")
        init = layers.commit(op, "i1")
        assert init.kind == "init"
        layers.prepare("c1", init.chain_id, op=op)
    assert layers.init_layer(base) == init
    assert list(layers.changes("c1")) == []
    layers.remove_snapshot("c1")
    assert layers.init_layer(base) == init  # for the next container
    layers.prepare("c2", init.chain_id)
    with layers.root.database.transaction() as tx:
        tx.execute("DELETE FROM images")
    assert layers.collect(base) == []  # the container needs it
    layers.remove_snapshot("c2")
    assert count(layers, "layers") == 0
    assert layers.driver.list() == []
    check_clean(layers)


def test_an_image_that_goes_takes_its_unused_init_layer_along(
    layers: LayerStore, base: ChainID
) -> None:
    with layers.root.operation("t") as op:
        layers.prepare("i1", base, kind="init", op=op)
        _written(layers, "i1", hosts=b"")
        init = layers.commit(op, "i1").chain_id
    with layers.root.database.transaction() as tx:
        tx.execute("DELETE FROM images")
    assert layers.collect(base) == [init, base]
    check_clean(layers)


# Going


def test_layers_go_from_the_top_while_nothing_refers_to_them(layers: LayerStore) -> None:
    with layers.root.operation("t") as op:
        one, two = stored(layers, op, None, tar(a=b"1"), tar(b=b"2"))
        (left,) = stored(layers, op, two, tar(c=b"3"))
        (right,) = stored(layers, op, two, tar(d=b"4"))
        pins = {chain: pin(layers, chain) for chain in (left, right)}

    def drop(chain: ChainID) -> list[ChainID]:
        with layers.root.database.transaction() as tx:
            tx.execute("DELETE FROM images WHERE id=?", (pins[chain],))
        return layers.collect(chain)

    assert layers.collect(one) == layers.collect(two) == layers.collect(left) == []
    assert drop(right) == [right]
    assert shown(layers, left) == {"a": b"1", "b": b"2", "c": b"3"}
    check_clean(layers)
    assert drop(left) == [left, two, one]
    assert layers.collect(left) == []
    assert layers.driver.list() == []
    check_clean(layers)


def test_shared_content_goes_with_the_last_layer_that_shows_it(layers: LayerStore) -> None:
    tool = tar(tool=b"big")
    with layers.root.operation("t") as op:
        alone = stored(layers, op, None, tool)[-1]
        upper = stored(layers, op, None, BASE, tool)[-1]
        first, second = pin(layers, alone), pin(layers, upper)
    with layers.root.database.transaction() as tx:
        tx.execute("DELETE FROM images WHERE id=?", (first,))
    assert layers.collect(alone) == [alone]
    assert shown(layers, upper)["tool"] == b"big"
    check_clean(layers)
    with layers.root.database.transaction() as tx:
        tx.execute("DELETE FROM images WHERE id=?", (second,))
    assert len(layers.collect(upper)) == 2
    check_clean(layers)


def test_a_lease_keeps_a_layer_until_its_operation_ends(layers: LayerStore) -> None:
    with layers.root.operation("t") as op:
        chain = stored(layers, op, None, BASE)[-1]
        with layers.root.operation("other") as other:
            layers.lease(other, chain)
        assert layers.collect(chain) == []
        assert layers.find(chain) is not None
    assert layers.find(chain) is None
    check_clean(layers)


def test_a_build_cache_record_keeps_a_layer(layers: LayerStore) -> None:
    with layers.root.operation("t") as op:
        chain = stored(layers, op, None, BASE)[-1]
        with layers.root.database.transaction() as tx:
            tx.execute(
                "INSERT INTO build_cache(key, driver, chain_id, value, size_bytes, created_ns,"
                " used_ns) VALUES ('k', ?, ?, '', 0, 0, 0)",
                (layers.driver.name, chain),
            )
    assert layers.find(chain) is not None
    with layers.root.database.transaction() as tx:
        tx.execute("DELETE FROM build_cache")
    assert layers.collect(chain) == [chain]


def test_a_view_is_read_only_and_keeps_its_layers(layers: LayerStore) -> None:
    with layers.root.operation("t") as op:
        chain = stored(layers, op, None, BASE)[-1]
        image = pin(layers, chain)
    with layers.view(chain) as view:
        with layers.root.database.transaction() as tx:
            tx.execute("DELETE FROM images WHERE id=?", (image,))
        assert layers.collect(chain) == []
        with pytest.raises(OSError, match="Read-only"):
            (view / "new").write_bytes(b"")
        assert (view / "bin" / "sh").read_bytes() == b"#!"
    assert layers.find(chain) is None


# Exact, and checked


def test_a_changed_file_is_found_and_named_when_the_tar_is_written(
    layers: LayerStore, base: ChainID
) -> None:
    root = layers.driver.layer_root(layers.get(base).cache_id)
    path = root / "etc" / "passwd"
    for damage in (b"toor", b"roo", b"root!"):
        path.write_bytes(damage)
        with pytest.raises(Corrupt, match="/etc/passwd"):
            exported(layers, base)
    path.unlink()
    for make in (
        lambda: path.symlink_to("/etc/passwd"),
        lambda: os.mkfifo(path),
        lambda: path.mkdir(),
    ):
        make()
        with pytest.raises(Corrupt, match="/etc/passwd"):
            exported(layers, base)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    with pytest.raises(Corrupt, match="/etc/passwd"):
        exported(layers, base)
    path.write_bytes(b"root")
    (root / "stray").write_bytes(b"not of this layer")
    assert exported(layers, base) == BASE


def test_a_damaged_journal_is_corrupt_and_never_a_traceback(
    layers: LayerStore, base: ChainID
) -> None:
    (journal,) = layers.root.layers.iterdir()
    whole = journal.read_bytes()
    for at in range(0, len(whole), 7):
        journal.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        _is_exact_or_corrupt(layers, base)  # not each bit of a frame's header matters
        journal.write_bytes(whole[:at])
        with pytest.raises(Corrupt):
            exported(layers, base)
    journal.unlink()
    with pytest.raises(Corrupt, match="missing"):
        exported(layers, base)


def _is_exact_or_corrupt(layers: LayerStore, chain: ChainID) -> None:
    try:
        assert exported(layers, chain) == BASE
    except Corrupt as error:
        assert "journal" in str(error) or "content" in str(error) or "cannot read" in str(error)


def test_gnu_tar_extracts_what_the_layer_shows(layers: LayerStore, tmp_path: Path) -> None:
    built = Tar().folder("./").file("a", b"x" * 70_000).hard_link("b", "a").folder("empty")
    with layers.root.operation("t") as op:
        chain = stored(layers, op, None, built.bytes)[-1]
        (tmp_path / "out").mkdir()
        subprocess.run(
            ["tar", "-x", "-C", tmp_path / "out"], input=exported(layers, chain), check=True
        )
        with layers.view(chain) as view:
            subprocess.run(["diff", "-r", view, tmp_path / "out"], check=True)


def test_a_snapshot_that_would_be_too_deep_a_layer_is_refused_at_once(
    layers: LayerStore, base: ChainID, monkeypatch: pytest.MonkeyPatch
) -> None:
    shallow = replace(layers.driver.capabilities, max_chain=2)
    monkeypatch.setattr(type(layers.driver), "capabilities", shallow)
    with layers.root.operation("t") as op:
        with pytest.raises(Unsupported, match="max depth exceeded"):
            layers.prepare("step", base, kind="build", op=op)
        assert not layers.driver.exists("step")
        layers.prepare("start-up", base, kind="init", op=op)  # what the room is kept for
        layers.commit(op, "start-up")
    layers.prepare("container", base)
    with layers.root.operation("t") as op, pytest.raises(Unsupported, match="max depth exceeded"):
        layers.commit(op, "container")
    assert layers.driver.exists("container")
