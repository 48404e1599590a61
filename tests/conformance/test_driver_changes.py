"""What a snapshot says it changed, as a list and as a layer's tar."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from driver_builders import (
    EPOCH,
    add_layer,
    apply_tar,
    build_layer,
    changes,
    diff_bytes,
    diff_names,
    edit,
    file,
    folder,
    hard_link,
    names,
    symlink,
    tree,
    view_tree,
    with_snapshot,
)

from lamina.drivers.contract import StorageDriver
from lamina.errors import LaminaError

Act = Callable[[Path], object]


@pytest.fixture
def base(driver: StorageDriver) -> list[str]:
    """A chain of one layer that has some of everything."""
    add_layer(
        driver,
        "base",
        [],
        folder("d"),
        file("d/one", "1"),
        file("d/two", "2"),
        folder("d/sub"),
        file("d/sub/deep", "3"),
        folder("empty"),
        file("top", "top"),
        file("secret", "s", mode=0o600, uid=7, gid=8),
        symlink("link", "d/one"),
        file("h1", "hard"),
        hard_link("h2", "h1"),
        hard_link("h3", "h1"),
        folder("private", mode=0o700),
        file("private/x", "x"),
    )
    return ["base"]


def test_an_untouched_snapshot_has_no_changes_and_an_empty_diff(
    driver: StorageDriver, base: list[str]
) -> None:
    driver.prepare("w", base)
    edit(driver, "w", lambda root: tree(root))
    assert changes(driver, "w", base) == []
    assert diff_names(driver, "w", base) == []
    usage = driver.usage("w", base)
    assert (usage.size_bytes, usage.inodes) == (0, 0)


def test_added_changed_and_deleted_files_are_told_with_their_folders(
    driver: StorageDriver, base: list[str]
) -> None:
    def act(root: Path) -> None:
        (root / "d/new").write_text("new")
        (root / "d/one").write_text("other")
        (root / "d/two").unlink()
        (root / "top").unlink()
        (root / "fresh").mkdir()
        (root / "fresh/f").write_text("f")

    with_snapshot(driver, "w", base, act)
    assert changes(driver, "w", base) == [
        "C /d",
        "A /d/new",
        "C /d/one",
        "D /d/two",
        "A /fresh",
        "A /fresh/f",
        "D /top",
    ]
    assert diff_names(driver, "w", base) == [
        "d",
        "d/new",
        "d/one",
        "d/.wh.two",
        "fresh",
        "fresh/f",
        ".wh.top",
    ]


def test_changes_are_the_same_while_mounted(driver: StorageDriver, base: list[str]) -> None:
    driver.prepare("w", base)
    root = driver.mount("w")
    (root / "d/new").write_text("new")
    (root / "top").unlink()
    mounted = changes(driver, "w", base), diff_bytes(driver, "w", base)
    driver.unmount("w")
    assert mounted == (changes(driver, "w", base), diff_bytes(driver, "w", base))


def test_a_removed_tree_is_one_deletion_at_its_top(driver: StorageDriver, base: list[str]) -> None:
    with_snapshot(driver, "w", base, lambda root: shutil.rmtree(root / "d"))
    assert changes(driver, "w", base) == ["D /d"]
    assert diff_names(driver, "w", base) == [".wh.d"]


def test_what_was_removed_and_made_again_is_added(driver: StorageDriver, base: list[str]) -> None:
    build_layer(driver, "gone", base, lambda root: shutil.rmtree(root / "d"))

    def again(root: Path) -> None:
        (root / "d").mkdir()
        (root / "d/one").write_text("1")

    with_snapshot(driver, "w", [*base, "gone"], again)
    assert changes(driver, "w", [*base, "gone"]) == ["A /d", "A /d/one"]


@pytest.mark.parametrize("depth", range(1, 7))
def test_a_path_cut_at_any_depth_and_rebuilt_is_told_from_the_cut_downwards(
    driver: StorageDriver, depth: int
) -> None:
    parts = ["a", "b", "c", "d", "e", "f"]
    path = "/".join(parts)
    add_layer(driver, "one", [], *(folder("/".join(parts[:i])) for i in range(1, 7)))
    cut = "/".join(parts[:depth])
    ancestors = ["/" + "/".join(parts[:i]) for i in range(1, depth)]
    below = ["/" + "/".join(parts[:i]) for i in range(depth, 7)]
    build_layer(driver, "two", ["one"], lambda root: shutil.rmtree(root / cut))
    with_snapshot(driver, "check", ["one"], lambda root: shutil.rmtree(root / cut))
    assert changes(driver, "check", ["one"]) == [*(f"C {a}" for a in ancestors), f"D /{cut}"]
    with_snapshot(driver, "w", ["one", "two"], lambda root: (root / path).mkdir(parents=True))
    assert changes(driver, "w", ["one", "two"]) == [
        *(f"C {a}" for a in ancestors),
        *(f"A {b}" for b in below),
    ]


@pytest.mark.parametrize(
    "act",
    [
        lambda root: os.chmod(root / "top", 0o4711),
        lambda root: os.chown(root / "top", 5, 6),
        lambda root: os.utime(root / "top", (1, 2)),
        lambda root: os.setxattr(root / "top", "user.k", b"v"),
        lambda root: (root / "top").write_text("longer"),
        lambda root: os.truncate(root / "top", 1),
    ],
    ids=["mode", "owner", "times", "xattr", "content", "truncated"],
)
def test_one_edit_of_a_file_is_one_change_and_one_member(
    driver: StorageDriver, base: list[str], act: Act
) -> None:
    with_snapshot(driver, "w", base, act)
    assert changes(driver, "w", base) == ["C /top"]
    assert diff_names(driver, "w", base) == ["top"]


def test_an_edit_that_hides_behind_size_and_times_is_found(
    driver: StorageDriver, base: list[str]
) -> None:
    def act(root: Path) -> None:
        before = (root / "top").stat()
        (root / "top").write_text("TOP")
        os.utime(root / "top", ns=(before.st_atime_ns, before.st_mtime_ns))
        link = os.lstat(root / "link")
        os.unlink(root / "link")
        os.symlink("d/two", root / "link")
        os.utime(root / "link", ns=(link.st_atime_ns, link.st_mtime_ns), follow_symlinks=False)

    with_snapshot(driver, "w", base, act)
    assert changes(driver, "w", base) == ["C /link", "C /top"]
    driver.commit("w", "w2")
    with driver.view([*base, "w2"]) as root:
        assert (root / "top").read_text() == "TOP"
        assert os.readlink(root / "link") == "d/two"


def test_an_edit_within_the_same_second_as_its_parent_is_found(driver: StorageDriver) -> None:
    build_layer(driver, "one", [], lambda root: (root / "f").write_text("aaaa"))
    with_snapshot(driver, "w", ["one"], lambda root: (root / "f").write_text("bbbb"))
    assert changes(driver, "w", ["one"]) == ["C /f"]


def test_a_new_file_in_a_folder_does_not_make_a_change_of_the_folders_above_in_the_tree_beside(
    driver: StorageDriver, base: list[str]
) -> None:
    with_snapshot(driver, "w", base, lambda root: (root / "d/sub/new").touch())
    assert changes(driver, "w", base) == ["C /d", "C /d/sub", "A /d/sub/new"]


def test_what_came_and_went_leaves_no_change(driver: StorageDriver, base: list[str]) -> None:
    def act(root: Path) -> None:
        (root / "temporary").mkdir()
        (root / "temporary/f").touch()
        shutil.rmtree(root / "temporary")
        (root / "d/temporary").touch()
        (root / "d/temporary").unlink()

    with_snapshot(driver, "w", base, act)
    assert changes(driver, "w", base) == []


def test_the_mode_of_the_root_is_kept_by_snapshot_layer_and_diff(
    driver: StorageDriver, base: list[str]
) -> None:
    with_snapshot(driver, "w", base, lambda root: os.chmod(root, 0o711))
    tar = diff_bytes(driver, "w", base)
    driver.commit("w", "child")
    apply_tar(driver, "applied", base, tar)
    for chain in ([*base, "child"], [*base, "applied"]):
        with driver.view(chain) as root:
            assert oct(root.stat().st_mode) == "0o40711"
        driver.prepare("again", chain)
        assert oct(driver.mount("again").stat().st_mode) == "0o40711"
        driver.unmount("again")
        assert changes(driver, "again", chain) == []
        driver.remove("again")
    with driver.view(base) as root:
        assert oct(root.stat().st_mode) == "0o40755"


def _mixed(root: Path) -> None:
    (root / "d/new").write_text("new")
    (root / "d/one").write_text("longer than before")
    (root / "d/two").unlink()
    shutil.rmtree(root / "d/sub")
    (root / "empty").rmdir()
    os.chmod(root / "private", 0o711)
    (root / "private/y").write_text("y")
    os.chown(root / "secret", 9, 10)


def _types(root: Path) -> None:
    shutil.rmtree(root / "d")
    (root / "d").write_text("now a file")
    (root / "top").unlink()
    (root / "top").mkdir()
    (root / "top/inner").write_text("inner")
    (root / "link").unlink()
    (root / "link").mkdir()
    (root / "empty").rmdir()
    (root / "empty").symlink_to("/top")
    (root / "secret").unlink()
    os.mkfifo(root / "secret", 0o640)


def _recreated(root: Path) -> None:
    shutil.rmtree(root / "d")
    (root / "d").mkdir(mode=0o750)
    (root / "d/one").write_text("1 again")
    (root / "d/sub").mkdir()
    (root / "d/sub/other").write_text("other")


def _links(root: Path) -> None:
    os.link(root / "top", root / "alias")
    os.link(root / "top", root / "d/zalias")
    (root / "h2").unlink()
    (root / "n1").write_text("new")
    os.link(root / "n1", root / "n2")
    os.link(root / "link", root / "link2", follow_symlinks=False)


def _renames(root: Path) -> None:
    os.rename(root / "top", root / "moved")
    os.rename(root / "d/one", root / "d/two")
    (root / "x").write_text("x")
    os.rename(root / "x", root / "secret")


def _devices(root: Path) -> None:
    os.mknod(root / "null", 0o020666, os.makedev(1, 3))
    os.mknod(root / "big", 0o060600, os.makedev(259, 70000))
    os.mkfifo(root / "fifo")


def _attributes(root: Path) -> None:
    os.setxattr(root / "top", "user.name", b"v\x00\xff")
    os.setxattr(root / "d", "user.folder", b"f")
    os.setxattr(root / "d/one", "trusted.thing", b"t")
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    (root / "ping").write_text("x")
    os.chown(root / "ping", 3, 4)
    os.setxattr(root / "ping", "security.capability", capability)


def _odd_names(root: Path) -> None:
    for name in ("späce ☃", "with\nline", "-dash", "x" * 255, "colon:comma,", " lead", ".whx"):
        (root / name).write_text(name)
    deep = root
    for _ in range(12):
        deep = deep / ("y" * 100)
        deep.mkdir()
    (deep / "end").write_text("end")
    os.symlink("z" * 300, root / "long-link")


EDITS = [_mixed, _types, _recreated, _links, _renames, _devices, _attributes, _odd_names]


@pytest.mark.parametrize("act", EDITS, ids=lambda act: act.__name__.strip("_"))
def test_a_diff_applied_to_the_same_parent_gives_the_same_tree(
    driver: StorageDriver, base: list[str], act: Act
) -> None:
    with_snapshot(driver, "w", base, act)
    listed = changes(driver, "w", base)
    assert listed
    tar = diff_bytes(driver, "w", base)
    assert tar == diff_bytes(driver, "w", base)
    driver.commit("w", "committed")
    apply_tar(driver, "applied", base, tar)
    assert view_tree(driver, [*base, "applied"]) == view_tree(driver, [*base, "committed"])


@pytest.mark.parametrize("act", EDITS, ids=lambda act: act.__name__.strip("_"))
def test_a_committed_layer_shows_what_a_plain_folder_would(
    driver: StorageDriver, base: list[str], act: Act, engine_root: Path
) -> None:
    flat = engine_root / "flat"
    with driver.view(base) as root:
        subprocess.run(["cp", "-a", f"{root}/.", flat], check=True)
    act(flat)
    build_layer(driver, "step", base, act)
    seen = view_tree(driver, [*base, "step"])
    wanted = tree(flat)
    for path in {*seen, *wanted}:
        # Hard links are one inode again only as far as one layer holds them; the times of what the
        # two runs wrote differ.
        assert seen[path][:4] == wanted[path][:4], path
        assert seen[path][6] == wanted[path][6], path


def test_a_diff_against_an_older_ancestor_tells_all_in_between(
    driver: StorageDriver, base: list[str]
) -> None:
    build_layer(driver, "two", base, lambda root: (root / "two").write_text("2"))
    with_snapshot(driver, "w", [*base, "two"], lambda root: (root / "three").write_text("3"))
    with driver.view([*base, "two"]) as root:
        assert "two" in names(root)
    assert changes(driver, "w", [*base, "two"]) == ["A /three"]


def test_a_socket_is_left_out_and_its_neighbours_are_not(
    driver: StorageDriver, base: list[str], engine_root: Path
) -> None:
    def act(root: Path) -> None:
        (root / "a").touch()
        (root / "z").touch()
        here = os.getcwd()
        os.chdir(root)
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind("s.sock")
        finally:
            os.chdir(here)

    with_snapshot(driver, "w", base, act)
    assert changes(driver, "w", base) == ["A /a", "A /z"]
    assert diff_names(driver, "w", base) == ["a", "z"]
    driver.commit("w", "layer")
    driver.prepare("child", [*base, "layer"])  # a copy of a tree that has a socket succeeds


def test_a_file_called_like_a_whiteout_is_refused_and_never_becomes_a_deletion(
    driver: StorageDriver, base: list[str]
) -> None:
    with_snapshot(driver, "w", base, lambda root: (root / ".wh.top").touch())
    with pytest.raises(LaminaError):
        diff_bytes(driver, "w", base)


def test_a_hard_link_to_an_unchanged_file_carries_the_data_once(
    driver: StorageDriver, base: list[str]
) -> None:
    for name in ("aaa", "zzz"):
        with_snapshot(
            driver, f"w{name}", base, lambda root, name=name: os.link(root / "top", root / name)
        )
        with tarfile.open(fileobj=BytesIO(diff_bytes(driver, f"w{name}", base))) as archive:
            members = {member.name: member for member in archive}
        assert set(members) == {"top", name}
        assert sorted(member.type for member in members.values()) == [b"0", b"1"]


def test_a_diff_is_readable_by_gnu_tar(
    driver: StorageDriver, base: list[str], engine_root: Path
) -> None:
    for number, act in enumerate((_attributes, _odd_names, _devices)):
        with_snapshot(driver, f"w{number}", base, act)
        listed = subprocess.run(
            ["tar", "-t", "-f", "-"],
            input=diff_bytes(driver, f"w{number}", base),
            capture_output=True,
            check=True,
        )
        assert listed.stdout
        assert listed.stderr == b""


def test_changes_of_a_chain_of_steps_give_the_chain_again(driver: StorageDriver) -> None:
    """Each step's diff, applied in order onto new layers, shows the same at every depth."""
    add_layer(driver, "c0", [], folder("d"), file("d/one", "1"), file("top", "t", mtime=EPOCH))
    steps: list[Act] = [
        lambda root: (root / "d/two").write_text("2"),
        lambda root: shutil.rmtree(root / "d"),
        lambda root: (root / "d").mkdir(),
        lambda root: (root / "d/three").write_text("3"),
        lambda root: os.rename(root / "top", root / "d/top"),
        lambda root: os.symlink("d", root / "e"),
        lambda root: ((root / "e").unlink(), (root / "e").mkdir(), (root / "e/f").touch()),
        lambda root: os.chmod(root / "d", 0o700),
    ]
    chain, copy = ["c0"], ["c0"]
    for number, act in enumerate(steps, 1):
        with_snapshot(driver, "step", chain, act)
        tar = diff_bytes(driver, "step", chain)
        driver.commit("step", f"c{number}")
        apply_tar(driver, f"a{number}", copy, tar)
        chain.append(f"c{number}")
        copy.append(f"a{number}")
        assert view_tree(driver, chain) == view_tree(driver, copy), number


def test_a_folder_made_anew_lists_what_is_gone_with_the_old_one(
    driver: StorageDriver, base: list[str]
) -> None:
    with_snapshot(driver, "w", base, _recreated)
    assert changes(driver, "w", base) == [
        "C /d",
        "C /d/one",
        "C /d/sub",
        "D /d/sub/deep",
        "A /d/sub/other",
        "D /d/two",
    ]


def test_the_snapshot_may_be_written_to_while_its_changes_are_read(
    driver: StorageDriver, base: list[str]
) -> None:
    driver.prepare("w", base)
    root = driver.mount("w")
    for number in range(50):
        (root / f"f{number:02}").touch()
    seen = []
    for change in driver.changes("w", base):
        seen.append(change.path)
        (root / f"later-{len(seen)}").touch()
    assert set(seen) >= {b"/f%02d" % number for number in range(50)}
    driver.unmount("w")


def test_a_failing_writer_ends_a_diff_with_its_error(
    driver: StorageDriver, base: list[str]
) -> None:
    class Full(BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(28, "no space left")

    with_snapshot(driver, "w", base, lambda root: (root / "big").write_bytes(b"x" * 3_000_000))
    with pytest.raises((OSError, LaminaError)):
        driver.diff("w", base, Full())
    assert changes(driver, "w", base) == ["A /big"]
