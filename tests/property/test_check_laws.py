"""Laws of checking: what a layer store wrote is never damage, what has changed always is.

* Whatever tars are applied and whatever programs do before a commit, a check finds nothing.
* After random changes to a layer's folder and a repair, it shows what it showed.
"""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from test_tar_laws import LAW, base_members, disk, emptied, fresh, layer_members, mutate

from lamina.errors import Corrupt
from lamina.layers.check import Budget, all_layers, check_layers
from lamina.layers.store import Layer, LayerStore
from tarkit import Member, archive, tree

sys.path.insert(0, str(Path(__file__).parent.parent / "root"))

from layer_builders import layer_store

__all__ = ["disk", "fresh"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@contextmanager
def built(
    place: Path, driver: str, base: list[Member], layer: list[Member], seed: int
) -> Iterator[tuple[LayerStore, dict[str, bytes]]]:
    """A store with two layers of tars and a committed snapshot above them, and their tars."""
    with layer_store(emptied(place) / "root", driver) as store, store.root.operation("t") as op:
        parent = None
        for data in (archive(*base), archive(*layer)):
            try:
                parent = store.apply(op, io.BytesIO(data), parent).chain_id
            except Corrupt:
                reject()  # a tar that makes no sense
        store.prepare("one", parent, kind="build", op=op)
        mutate(store.mount("one"), random.Random(seed))
        store.unmount("one")
        top = store.commit(op, "one")
        known = {}
        for each in store.stack(top.chain_id):
            out = io.BytesIO()
            store.export(each.chain_id, out)
            known[str(each.diff_id)] = out.getvalue()
        yield store, known


def faults(store: LayerStore, layers: list[Layer] | None = None) -> list[str]:
    found = check_layers(store, layers or all_layers(store), budget=Budget())
    return [f"{each.path} {each.problem}" for each in found.damage]


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
@given(base_members, layer_members, st.integers(0, 2**32))
@LAW
def test_what_was_stored_is_not_damaged(
    fresh: Path, driver: str, base: list[Member], layer: list[Member], seed: int
) -> None:
    with built(fresh, driver, base, layer, seed) as (store, _):
        assert faults(store) == []


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
@given(base_members, layer_members, st.integers(0, 2**32), st.integers(0, 2))
@LAW
def test_a_repair_makes_a_layer_what_it_was(
    fresh: Path, driver: str, base: list[Member], layer: list[Member], seed: int, which: int
) -> None:
    with built(fresh, driver, base, layer, seed) as (store, tars):
        found = all_layers(store)
        damaged = found[which % len(found)]
        before = shown(store, found)
        mutate(store.driver.layer_root(damaged.cache_id), random.Random(seed + 1))

        def source(diff_id: str) -> io.BytesIO:
            return io.BytesIO(tars[diff_id])

        told = check_layers(store, found, budget=Budget(), repair=True, source=source)
        assert all(each.mended for each in told.damage)
        assert faults(store) == []
        assert shown(store, found) == before


def shown(store: LayerStore, layers: list[Layer]) -> list[object]:
    """What each layer with all below it shows; the times of folders are nobody's promise."""
    found: list[object] = []
    for layer in layers:
        with store.view(layer.chain_id) as view:
            facts = tree(view)
            assert isinstance(facts, dict)
            found.append(
                {
                    path: (*fact[:4], None, *fact[5:]) if str(fact[0]).startswith("d") else fact
                    for path, fact in facts.items()
                }
            )
    return found
