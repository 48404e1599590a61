"""Chains as long as the driver promises, and no longer."""

from __future__ import annotations

import os

import pytest
from driver_builders import add_layer, file, folder, names

from lamina.drivers.contract import StorageDriver
from lamina.errors import Unsupported


def _chain(driver: StorageDriver, depth: int) -> list[str]:
    """Layers of which each rewrites one file, adds one, and makes one folder anew."""
    chain: list[str] = []
    for number in range(depth):
        add_layer(
            driver,
            f"c{number}",
            chain,
            file("top", str(number)),
            file(f"marker-{number}", str(number)),
            folder("again"),
            file("again/.wh..wh..opq"),
            file(f"again/{number}"),
        )
        chain.append(f"c{number}")
    return chain


@pytest.mark.parametrize("depth", [1, 2, 128, 300])
def test_every_layer_of_a_long_chain_is_seen(driver: StorageDriver, depth: int) -> None:
    if driver.capabilities.layers_depend_on_parent and depth > 128:
        depth = 129  # each layer is a copy of all below it: the same proof at a tenth of the work
    chain = _chain(driver, depth)
    wanted = sorted(["again", f"again/{depth - 1}", "top", *(f"marker-{n}" for n in range(depth))])
    driver.prepare("w", chain)
    root = driver.mount("w")
    try:
        assert names(root) == wanted
        assert (root / "top").read_text() == str(depth - 1)
        assert all((root / f"marker-{n}").read_text() == str(n) for n in range(depth))
        (root / "top").write_text("mine")
        os.unlink(root / "marker-0")
        assert [change.path for change in driver.changes("w", chain)] == [b"/marker-0", b"/top"]
    finally:
        driver.unmount("w")
    with driver.view(chain) as view:
        assert names(view) == wanted


def test_a_chain_beyond_the_limit_is_refused_before_anything_is_written(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "c", [], file("f"))
    chain = ["c"] * (driver.capabilities.max_chain + 1)
    for make in (driver.prepare, driver.begin_layer):
        with pytest.raises(Unsupported, match="max depth"):
            make("w", chain)
    assert driver.list() == ["c"]
    assert driver.leftovers() == []
