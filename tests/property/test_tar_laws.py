"""Laws of layers, on random trees and random archives.

* A layer means the same however it is unpacked: overlayfs's view of an OVERLAY extraction on top
  of a tree equals an APPLY extraction into a copy of that tree.
* The exact archive can be rebuilt from what the recorder was told and the unpacked files.
* A tree's diff, applied to what the tree began as, gives the tree.
* Equal trees give equal diffs.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.errors import Corrupt
from lamina.linux.mounts import Mount, mount, unmount
from lamina.tar import diff
from lamina.tar.entry import Kind
from lamina.tar.lower import StackBelow, TreeBelow
from tarkit import (
    APPLY,
    OVERLAY,
    Journal,
    Member,
    archive,
    file,
    folder,
    hard_link,
    node,
    opened,
    symlink,
    tree,
    unpack,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

NAMES = ["a", "b", "c"]
PATHS = [x for a in NAMES for x in (a, *(f"{a}/{b}" for b in NAMES), f"{a}/a/a", f"{a}/b/c")]
SECOND = 10**9
LAW = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

paths = st.sampled_from(PATHS)
owners = st.sampled_from([0, 7])
times = st.sampled_from([0, 5 * SECOND, 5 * SECOND + 1])
facts = st.fixed_dictionaries({"uid": owners, "gid": owners, "mtime_ns": times})
attributes = st.sampled_from([{}, {b"user.x": b"1"}])
files = st.builds(
    lambda p, d, m, x, f: file(p, d, m, xattrs=x, **f),
    paths,
    st.sampled_from([b"", b"one", b"two", b"x" * 2000]),
    st.sampled_from([0o644, 0o4755]),
    attributes,
    facts,
)
folders = st.builds(
    lambda p, m, x, f: folder(p, m, xattrs=x, **f),
    paths,
    st.sampled_from([0o755, 0o700, 0o2775]),
    attributes,
    facts,
)
links = st.builds(
    lambda p, t, f: symlink(p, t, **f),
    paths,
    st.sampled_from([*NAMES, "../a", "/b", "nowhere"]),
    facts,
)
nodes = st.builds(lambda p, f: node(p, Kind.FIFO, **f), paths, facts)
hard_links = st.builds(hard_link, paths, paths)
whiteouts = st.builds(lambda p: file(marked(p)), paths)
opaques = st.builds(lambda p: file(f"{p}/.wh..wh..opq"), paths)
base_members = st.lists(st.one_of(files, folders, nodes), max_size=10)
layer_members = st.lists(
    st.one_of(files, files, folders, links, nodes, hard_links, whiteouts, whiteouts, opaques),
    max_size=10,
)


def marked(path: str) -> str:
    above, _, name = path.rpartition("/")
    return f"{above}/.wh.{name}" if above else f".wh.{name}"


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A tmpfs: many small trees are made here."""
    path = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    mount(Mount("tmpfs", "tmpfs", str(path), ("size=512m",)))
    yield path
    unmount(path, lazy=True)
    path.rmdir()


@pytest.fixture
def fresh(disk: Path) -> Iterator[Path]:
    yield disk


def emptied(disk: Path) -> Path:
    work = disk / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    return work


def merged(work: Path, *layers: str) -> dict[str, object]:
    """What overlayfs shows of these folders, newest first."""
    (work / "m").mkdir(exist_ok=True)
    (work / "none").mkdir(exist_ok=True)
    options = tuple(f"lowerdir+={work}/{layer}" for layer in (*layers, "none"))
    mount(Mount("overlay", "overlay", str(work / "m"), ("ro", *options)))
    try:
        return tree(work / "m")  # type: ignore[return-value]
    finally:
        unmount(work / "m")


@given(base_members, layer_members)
@LAW
def test_both_styles_mean_the_same_tree(
    fresh: Path, base: list[Member], layer: list[Member]
) -> None:
    work = emptied(fresh)
    data = archive(*layer)
    unpack(archive(folder(".", 0o750, mtime_ns=SECOND), *base), work / "base", APPLY)
    subprocess.run(["cp", "-a", work / "base", work / "applied"], check=True)
    journals = Journal(), Journal()
    outcomes = []
    for journal, name, style in zip(journals, ("upper", "applied"), (OVERLAY, APPLY), strict=True):
        with opened(work / "base") as base_fd:
            try:
                done = unpack(
                    data, work / name, style, lower=StackBelow([base_fd]), journal=journal
                )
                outcomes.append((done.size_bytes, done.opaque_root))
            except Corrupt as error:
                outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[0], str):
        return
    assert merged(work, "upper", "base") == tree(work / "applied")
    assert journals[0].rebuilt(work / "upper") == data
    assert journals[1].rebuilt(work / "applied") == data


def mutate(root: Path, choice: random.Random) -> None:
    """A few random changes to a live tree, as programs in a container make them."""
    for _ in range(choice.randrange(1, 8)):
        path = root / choice.choice(PATHS)
        action = choice.randrange(10)
        try:
            if action == 0:
                path.mkdir(parents=True)
            elif action == 1 and not path.is_fifo():
                path.write_bytes(choice.choice([b"new", b"one", b"x" * 3000]))
            elif action == 2:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            elif action == 3:
                path.chmod(choice.choice([0o600, 0o4711, 0o755]))
            elif action == 4:
                os.chown(path, 3, 4, follow_symlinks=False)
            elif action == 5:
                path.symlink_to(choice.choice(["a", "/etc", "nowhere"]))
            elif action == 6:
                os.link(path, root / choice.choice(PATHS))
            elif action == 7:
                os.rename(path, root / choice.choice(PATHS))
            elif action == 8:
                os.setxattr(path, "user.y", b"2")
            else:
                os.utime(path, ns=(SECOND, SECOND), follow_symlinks=False)
        except OSError:
            pass


def without_folder_times(facts: dict[str, object]) -> dict[str, object]:
    """Folder times are no change of their own, so a diff need not carry them."""
    return {
        path: (*fact[:4], None, *fact[5:]) if str(fact[0]).startswith("d") else fact  # type: ignore[index]
        for path, fact in facts.items()
    }


@given(base_members, st.integers(0, 2**32))
@LAW
def test_a_tree_is_its_base_and_its_diff(fresh: Path, base: list[Member], seed: int) -> None:
    work = emptied(fresh)
    unpack(archive(folder("."), *base), work / "base", APPLY)
    for name in ("live", "copy"):
        subprocess.run(["cp", "-a", work / "base", work / name], check=True)
    mutate(work / "live", random.Random(seed))
    out, again = io.BytesIO(), io.BytesIO()
    with opened(work / "base") as base_fd, opened(work / "live") as live_fd:
        diff.write_tree_diff(base_fd, live_fd, out)
        diff.write_tree_diff(base_fd, live_fd, again)
        assert out.getvalue() == again.getvalue()
        unpack(out.getvalue(), work / "copy", APPLY)
        expected = without_folder_times(tree(work / "live"))
        assert without_folder_times(tree(work / "copy")) == expected
        unpack(out.getvalue(), work / "upper", OVERLAY, lower=TreeBelow(base_fd))
        assert without_folder_times(merged(work, "upper", "base")) == expected


@given(base_members, st.integers(0, 2**32))
@LAW
def test_an_overlay_is_its_lower_and_its_diff(fresh: Path, base: list[Member], seed: int) -> None:
    work = emptied(fresh)
    unpack(archive(folder("."), *base), work / "base", APPLY)
    for name in ("upper", "w", "m"):
        (work / name).mkdir()
    subprocess.run(["cp", "-a", work / "base", work / "copy"], check=True)
    shutil.copystat(work / "base", work / "upper")
    options = (f"lowerdir+={work}/base", f"upperdir={work}/upper", f"workdir={work}/w")
    strict = ("index=off", "redirect_dir=off", "metacopy=off")
    mount(Mount("overlay", "overlay", str(work / "m"), (*options, *strict)))
    try:
        mutate(work / "m", random.Random(seed))
        expected = without_folder_times(tree(work / "m"))
    finally:
        unmount(work / "m")
    with opened(work / "base") as base_fd, opened(work / "upper") as upper_fd:
        out = io.BytesIO()
        diff.write_overlay_diff(upper_fd, out, StackBelow([base_fd]))
        unpack(out.getvalue(), work / "copy", APPLY)
        assert without_folder_times(tree(work / "copy")) == expected
        unpack(out.getvalue(), work / "again", OVERLAY, lower=StackBelow([base_fd]))
        assert without_folder_times(merged(work, "again", "base")) == expected
        changes = [c.path for c in diff.overlay_changes(upper_fd, StackBelow([base_fd]))]
        assert changes == sorted(changes, key=lambda path: path.split(b"/"))
