"""Laws that hold whatever was done: random work in random steps, beside a plain folder.

A driver's chain of committed steps must show what the plain folder shows; each step's diff,
applied elsewhere, must show it too; and the list of changes must name just what differs.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from driver_builders import apply_tar, diff_bytes, edit, tree, view_tree
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from lamina.drivers.contract import StorageDriver

NAMES = ("a", "b", "c", "d")
Step = tuple[str, str, str, int]


@st.composite
def steps(draw: st.DrawFn) -> list[list[Step]]:
    """A few layers, each of a few operations on a small set of paths: so that they meet."""
    path = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
    step = st.tuples(st.sampled_from(sorted(OPERATIONS)), path, path, st.integers(0, 7))
    layer = st.lists(step, min_size=1, max_size=8)
    return draw(st.lists(layer, min_size=1, max_size=4))


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(root: Path, path: str, other: str, number: int) -> None:
    if (root / path).is_symlink() or not (root / path).is_file():  # opening a fifo would wait
        _clear(root / path)
    (root / path).write_text(f"{path} {number}")


def _mkdir(root: Path, path: str, other: str, number: int) -> None:
    (root / path).mkdir(parents=True)


def _remake(root: Path, path: str, other: str, number: int) -> None:
    _clear(root / path)
    (root / path).mkdir()
    (root / path / NAMES[number % 4]).write_text(f"again {number}")


def _remove(root: Path, path: str, other: str, number: int) -> None:
    _clear(root / path)


def _link(root: Path, path: str, other: str, number: int) -> None:
    _clear(root / path)
    os.link(root / other, root / path, follow_symlinks=False)


def _symlink(root: Path, path: str, other: str, number: int) -> None:
    _clear(root / path)
    (root / path).symlink_to(other)


def _chmod(root: Path, path: str, other: str, number: int) -> None:
    if not (root / path).is_symlink():
        os.chmod(root / path, 0o600 | number * 0o111)


def _chown(root: Path, path: str, other: str, number: int) -> None:
    os.chown(root / path, number, number + 1, follow_symlinks=False)


def _xattr(root: Path, path: str, other: str, number: int) -> None:
    os.setxattr(root / path, "trusted.test", b"%d" % number, follow_symlinks=False)


def _touch(root: Path, path: str, other: str, number: int) -> None:
    os.utime(root / path, ns=(0, number * 10**9 + number), follow_symlinks=False)


def _rename(root: Path, path: str, other: str, number: int) -> None:
    if (root / path).is_dir() and not (root / path).is_symlink():
        return  # a folder of a lower layer may refuse: see the capabilities
    if not (root / other).is_dir() or (root / other).is_symlink():
        os.rename(root / path, root / other)


def _fifo(root: Path, path: str, other: str, number: int) -> None:
    _clear(root / path)
    os.mkfifo(root / path)


OPERATIONS: dict[str, Callable[[Path, str, str, int], None]] = {
    function.__name__.strip("_"): function
    for function in (
        _write, _mkdir, _remake, _remove, _link, _symlink, _chmod, _chown, _xattr, _touch,
        _rename, _fifo,
    )
}  # fmt: skip


# Something for the random steps to meet: folders in folders, files in each.
BASE: list[Step] = [
    *(("mkdir", path, "", 0) for path in ("a/a", "a/b", "c/d")),
    *(("write", path, "", 0) for path in ("a/c", "a/a/b", "a/b/a", "a/b/d", "b", "c/d/a", "d")),
    ("link", "c/c", "a/c", 0),
]


def _perform(root: Path, layer: list[Step], *, links: bool) -> None:
    """Do each step; one that cannot be done here (no such path, a file for a folder) is nothing."""
    for name, path, other, number in layer:
        if name == "link" and not links:
            continue  # a later layer's write by one name would part it from the other
        if any(parent.is_symlink() for parent in (root / path).parents if parent != root):
            continue
        if any(parent.is_symlink() for parent in (root / other).parents if parent != root):
            continue
        try:
            OPERATIONS[name](root, path, other, number)
        except (OSError, shutil.Error):
            continue


def _facts(seen: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Without which names share an inode and without times, which differ between two runs."""
    return {path: (*facts[:4], facts[6]) for path, facts in seen.items()}


@pytest.fixture
def fresh_ids() -> Iterator[str]:
    return (f"n{number}" for number in itertools.count())


@settings(
    max_examples=int(os.environ.get("LAMINA_TEST_EXAMPLES", "25")),
    deadline=None,
    database=None,
    derandomize="LAMINA_TEST_EXAMPLES" not in os.environ,
    # An example is dozens of mounts: a failure is told as it was found, within seconds.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(layers=steps())
def test_a_chain_of_steps_shows_what_a_plain_folder_shows_and_so_do_its_diffs(
    driver: StorageDriver, engine_root: Path, layers: list[list[Step]], fresh_ids: Iterator[str]
) -> None:
    flat = Path(tempfile.mkdtemp(dir=engine_root))
    os.chmod(flat, 0o755)
    chain: list[str] = []
    applied: list[str] = []
    links = driver.capabilities.hard_links_survive_copy_up
    try:
        for layer in (BASE, *layers):
            before = flat.with_name(f"{flat.name}-before")
            subprocess.run(["cp", "-a", flat, before], check=True)
            _perform(flat, layer, links=links)
            active = next(fresh_ids)
            driver.prepare(active, chain)
            edit(driver, active, lambda root, layer=layer: _perform(root, layer, links=links))
            tar = diff_bytes(driver, active, chain)
            assert tar == diff_bytes(driver, active, chain)
            listed = [(c.kind, os.fsdecode(c.path)) for c in driver.changes(active, chain)]
            note(f"{layer} -> {listed}")
            _check_list(listed, before, flat)
            shutil.rmtree(before)
            chain = [*chain, next(fresh_ids)]
            driver.commit(active, chain[-1])
            applied = [*applied, next(fresh_ids)]
            apply_tar(driver, applied[-1], applied[:-1], tar)
            shown = view_tree(driver, chain)
            assert _facts(shown) == _facts(tree(flat))
            assert _without_groups(view_tree(driver, applied)) == _without_groups(shown)
    finally:
        shutil.rmtree(flat)
        for id in sorted(driver.list(), key=lambda id: -int(id[1:])):
            driver.remove(id)
        assert driver.leftovers() == []


def _without_groups(seen: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    return {path: (*facts[:5], facts[6]) for path, facts in seen.items()}


def _check_list(listed: list[tuple[str, str]], before: Path, after: Path) -> None:
    old, new = _facts(tree(before)), _facts(tree(after))
    paths = [path for _, path in listed]
    assert paths == sorted(paths, key=lambda path: path.split("/"))
    assert len(set(paths)) == len(paths)
    kinds = {path.removeprefix("/"): kind for kind, path in listed}
    for path in new.keys() - old.keys():
        assert kinds.get(path) == "A", path
    for path in old.keys() & new.keys():
        if path and old[path] != new[path]:
            assert kinds.get(path) == "C", path
    for path in old.keys() - new.keys():
        above = path.rpartition("/")[0]
        stays = above in new and new[above][0].startswith("0o40")  # type: ignore[attr-defined]
        assert kinds.get(path) == ("D" if stays else None), path
    for path, kind in kinds.items():
        assert kind == ("C" if path in old and path in new else "A" if path in new else "D"), path
