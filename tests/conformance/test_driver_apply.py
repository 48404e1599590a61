"""Layers that arrive as tars: deletions, replaced types, metadata, links, hostile input."""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from pathlib import Path

import pytest
from driver_builders import (
    EPOCH,
    Member,
    add_layer,
    apply_tar,
    build_layer,
    edit,
    file,
    folder,
    hard_link,
    layer_tar,
    names,
    symlink,
    tree,
    view_tree,
    with_snapshot,
)

from lamina.drivers.contract import StorageDriver
from lamina.errors import LaminaError, Unsupported
from lamina.linux.mounts import Mount, mount, unmount


def shows(driver: StorageDriver, *chain: str) -> list[str]:
    with driver.view(chain) as root:
        return names(root)


# Deletions


def test_a_whiteout_deletes_its_target_and_nothing_else(driver: StorageDriver) -> None:
    add_layer(
        driver, "base", [], *map(file, (".dot", "f", "g")), folder("d"), file("d/x"), file("d/.y")
    )
    add_layer(driver, "top", ["base"], folder("d"), *map(file, (".wh..dot", ".wh.f", "d/.wh.x")))
    assert shows(driver, "base", "top") == ["d", "d/.y", "g"]
    assert shows(driver, "base") == [".dot", "d", "d/.y", "d/x", "f", "g"]


def test_a_whiteout_of_what_no_layer_has_does_nothing(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], file("f"), symlink("dead", "nowhere"))
    add_layer(driver, "top", ["base"], file(".wh.absent"), file("no/such/.wh.thing"))
    # A folder of one layer alone must not show the marks that it holds (overlayfs lists it raw).
    assert shows(driver, "base", "top") == ["dead", "f", "no", "no/such"]


def test_an_opaque_folder_hides_what_is_below_it_and_keeps_what_its_layer_adds(
    driver: StorageDriver,
) -> None:
    add_layer(
        driver,
        "base",
        [],
        folder("foo", mode=0o711),
        file("foo/a"),
        folder("foo/sub"),
        file("foo/sub/b"),
        symlink("foo/dangling", "nowhere"),
        Member("foo/fifo", type=tarfile.FIFOTYPE),
        file("bar"),
    )
    add_layer(
        driver, "top", ["base"], folder("foo"), file("foo/.wh..wh..opq"), file("foo/new", "n")
    )
    assert shows(driver, "base", "top") == ["bar", "foo", "foo/new"]


def test_an_opaque_mark_that_comes_late_spares_what_its_own_layer_made(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "base", [], folder("foo"), file("foo/a"), file("x", "old"))
    add_layer(
        driver,
        "top",
        ["base"],
        folder("foo"),
        file("foo/new"),
        file("foo/deep/er", "kept with the folder that it implies"),
        file("foo/.wh..wh..opq"),
        file("x", "new"),
        file(".wh.x"),
    )
    assert shows(driver, "base", "top") == ["foo", "foo/deep", "foo/deep/er", "foo/new", "x"]


def test_an_opaque_root_hides_every_layer_below(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], file("a"), folder("d"), file("d/b"))
    add_layer(driver, "top", ["base"], file(".wh..wh..opq"), file("only"))
    add_layer(driver, "more", ["base", "top"], folder("d"), file("d/new"))
    assert shows(driver, "base", "top") == ["only"]
    assert shows(driver, "base", "top", "more") == ["d", "d/new", "only"]
    driver.prepare("w", ["base", "top", "more"])
    root = driver.mount("w")
    assert names(root) == ["d", "d/new", "only"]
    driver.unmount("w")
    assert list(driver.changes("w", ["base", "top", "more"])) == []


def test_what_was_hidden_stays_hidden_when_later_layers_add_to_its_folder(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "c1", [], folder("lib"), file("lib/hidden"))
    add_layer(driver, "c2", ["c1"], file(".wh.lib"), folder("lib"), file("lib/not-hidden"))
    add_layer(driver, "c3", ["c1", "c2"], folder("lib"), file("lib/newfile"))
    chain = ["c1", "c2"]
    if driver.capabilities.layers_depend_on_parent:
        assert shows(driver, *chain) == ["lib", "lib/not-hidden"]
    assert shows(driver, "c1", "c2", "c3") == ["lib", "lib/newfile", "lib/not-hidden"]


def test_a_folder_that_was_deleted_in_one_layer_and_made_again_in_a_later_one_is_new(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "c1", [], folder("dir1"), folder("dir1/dir2"), file("dir1/dir2/foo"))
    add_layer(driver, "c2", ["c1"], file(".wh.dir1"))
    add_layer(driver, "c3", ["c1", "c2"], folder("dir1"), folder("dir1/dir2"))
    assert shows(driver, "c1", "c2", "c3") == ["dir1", "dir1/dir2"]


def test_writing_into_a_folder_that_is_opaque_in_the_middle_does_not_hide_the_middle(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "c1", [], folder("d"), file("d/a"))
    add_layer(driver, "c2", ["c1"], folder("d"), file("d/.wh..wh..opq"), file("d/b"))
    build_layer(driver, "c3", ["c1", "c2"], lambda root: (root / "d/c").touch())
    assert shows(driver, "c1", "c2", "c3") == ["d", "d/b", "d/c"]


def test_a_mark_below_a_file_or_missing_parents_makes_what_it_needs_and_no_more(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "base", [], file("plain", "p"), folder("foo"), file("foo/x"))
    add_layer(driver, "top", ["base"], file(".wh.foo"), file("foo/.wh.bar"))
    assert [name for name in shows(driver, "base", "top") if name.startswith("foo/")] == []


@pytest.mark.parametrize("name", [".wh.", ".wh..", "d/.wh..."])
def test_a_whiteout_without_a_name_is_invalid_and_nothing_is_left(
    driver: StorageDriver, name: str
) -> None:
    with pytest.raises(LaminaError):
        add_layer(driver, "x", [], file(name))
    assert driver.list() == []
    driver.remove("x")
    assert driver.leftovers() == []


def test_a_name_deleted_and_made_again_as_another_type_is_what_it_is_now(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "base", [], *map(file, ("a", "b", "c")))
    build_layer(driver, "gone", ["base"], lambda r: [(r / name).unlink() for name in "abc"])

    def again(root: Path) -> None:
        (root / "a").symlink_to("target")
        os.mkfifo(root / "b")
        (root / "c").mkdir()

    build_layer(driver, "again", ["base", "gone"], again)
    with driver.view(["base", "gone", "again"]) as root:
        assert names(root) == ["a", "b", "c"]
        assert os.readlink(root / "a") == "target"
        assert stat.S_ISFIFO((root / "b").stat().st_mode)
        assert (root / "c").is_dir()


# Replaced types

KINDS = {
    "file": [file("x", "file")],
    "folder": [folder("x"), file("x/child", "child")],
    "relative link": [symlink("x", "other")],
    "absolute link": [symlink("x", "/etc")],
    "fifo": [Member("x", type=tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_any_type_takes_the_place_of_any_other(
    driver: StorageDriver, before: str, after: str
) -> None:
    add_layer(driver, "base", [], file("beside"), *KINDS[before])
    add_layer(driver, "top", ["base"], *KINDS[after])
    add_layer(driver, "alone", [], file("beside"), *KINDS[after])
    assert view_tree(driver, ["base", "top"]) == view_tree(driver, ["alone"])


def test_a_folder_over_a_folder_changes_its_metadata_and_keeps_its_children(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "base", [], folder("d", mode=0o755), file("d/child"))
    add_layer(driver, "top", ["base"], folder("d", mode=0o1700, uid=3, mtime=EPOCH + 5))
    with driver.view(["base", "top"]) as root:
        found = (root / "d").stat()
        assert names(root) == ["d", "d/child"]
        assert (oct(found.st_mode), found.st_uid, found.st_mtime) == ("0o41700", 3, EPOCH + 5)


def test_a_file_that_a_later_member_needs_as_a_folder_becomes_one(driver: StorageDriver) -> None:
    add_layer(driver, "x", [], file("n", "file"), file("n/a/b", "below"))
    assert shows(driver, "x") == ["n", "n/a", "n/a/b"]


def test_a_folder_over_a_lower_link_replaces_the_link_and_spares_its_target(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "base", [], folder("etc"), file("etc/passwd"), symlink("link", "/etc"))
    add_layer(driver, "top", ["base"], folder("link"), file("link/new"))
    assert shows(driver, "base", "top") == ["etc", "etc/passwd", "link", "link/new"]


# Implied folders


def test_an_implied_folder_is_as_the_layer_below_has_it(driver: StorageDriver) -> None:
    add_layer(
        driver,
        "base",
        [],
        folder(".", mode=0o751),
        folder("d", mode=0o2710, uid=4, gid=5, xattrs={"user.k": "v"}),
        file("d/a"),
    )
    extracted = add_layer(driver, "top", ["base"], file("d/b"), file("e/f/g"))
    assert b"d" in extracted.implied or driver.capabilities.layers_depend_on_parent
    with driver.view(["base", "top"]) as root:
        found = (root / "d").stat()
        assert (oct(found.st_mode), found.st_uid, found.st_gid) == ("0o42710", 4, 5)
        assert os.getxattr(root / "d", "user.k") == b"v"
        assert oct((root / "e/f").stat().st_mode) == "0o40755"
        assert oct(root.stat().st_mode) == "0o40751"


def test_the_root_of_a_layer_is_as_its_own_entry_says(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], folder("./", mode=0o700, uid=11), file("a"))
    add_layer(driver, "top", ["base"], file("b"))
    for chain in (["base"], ["base", "top"]):
        with driver.view(chain) as root:
            assert (oct(root.stat().st_mode), root.stat().st_uid) == ("0o40700", 11)


# Metadata


def test_owners_modes_and_times_are_exact(driver: StorageDriver) -> None:
    members = [
        folder("d", mode=0o000, uid=1, gid=2, mtime=EPOCH + 0.5),
        file("d/a", "x", mode=0o6755, uid=70000, gid=80000, mtime=EPOCH + 1.25),
        file("d/b", "x", mode=0o000),
        symlink("s", "d/a"),
        file("last", mtime=EPOCH + 2),
    ]
    before = os.umask(0o077)
    try:
        add_layer(driver, "x", [], *members)
    finally:
        os.umask(before)
    with driver.view(["x"]) as root:
        for member in members:
            found = os.lstat(root / member.name)
            assert stat.S_IMODE(found.st_mode) == member.mode
            assert (found.st_uid, found.st_gid) == (member.uid, member.gid)
            assert found.st_mtime_ns == round(member.mtime * 4) * 250_000_000


def test_times_of_folders_are_not_disturbed_by_their_children_nor_by_a_copy(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "base", [], folder("d", mtime=7), folder("d/e", mtime=8), file("d/e/f"))
    add_layer(driver, "top", ["base"], file("other"))
    driver.prepare("w", ["base", "top"])
    root = driver.mount("w")
    assert [(root / name).stat().st_mtime for name in ("d", "d/e")] == [7, 8]
    driver.unmount("w")


def test_extended_attributes_arrive_and_go(driver: StorageDriver) -> None:
    capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    add_layer(
        driver,
        "base",
        [],
        folder("d", xattrs={"user.dir": "1"}),
        file("d/f", "x", mode=0o4755, uid=5, xattrs={"security.capability": capability}),
        file("g", "x", xattrs={"user.a": "1", "user.b": "2"}),
    )
    add_layer(driver, "top", ["base"], file("g", "x", xattrs={"user.b": "3"}))
    with driver.view(["base", "top"]) as root:
        assert os.getxattr(root / "d", "user.dir") == b"1"
        assert os.getxattr(root / "d/f", "security.capability") == capability.encode()
        assert oct((root / "d/f").stat().st_mode) == "0o104755"
        assert os.listxattr(root / "g") == ["user.b"]
        assert os.getxattr(root / "g", "user.b") == b"3"


def test_a_mode_change_of_a_lower_file_keeps_its_capabilities(driver: StorageDriver) -> None:
    capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    add_layer(driver, "base", [], file("f", "x", xattrs={"security.capability": capability}))
    build_layer(driver, "top", ["base"], lambda root: os.chmod(root / "f", 0o700))
    with driver.view(["base", "top"]) as root:
        assert os.getxattr(root / "f", "security.capability") == capability.encode()


def test_posix_acls_survive_copy_up_and_copies(driver: StorageDriver) -> None:
    # Version 2; user::rw-, user:7:rwx, group::r--, mask::rwx, other::r--
    acl = bytes.fromhex(
        "02000000 01000600ffffffff 02000700 07000000 04000400ffffffff"
        "10000700ffffffff 20000400ffffffff"
    )
    build_layer(
        driver,
        "base",
        [],
        lambda root: (
            (root / "f").touch(),
            os.setxattr(root / "f", "system.posix_acl_access", acl),
            (root / "d").mkdir(),
            os.setxattr(root / "d", "system.posix_acl_default", acl),
        ),
    )
    with_snapshot(driver, "w", ["base"], lambda root: (root / "f").write_text("copied up"))
    driver.commit("w", "top")
    with driver.view(["base", "top"]) as root:
        assert os.getxattr(root / "f", "system.posix_acl_access") == acl
        assert os.getxattr(root / "d", "system.posix_acl_default") == acl


def test_names_of_overlayfs_marks_in_a_tar_act_as_no_mark(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], folder("d"), file("d/keep"), file("f", "content"))
    add_layer(
        driver,
        "top",
        ["base"],
        folder("d", xattrs={"trusted.overlay.opaque": "y"}),
        file("e", "", xattrs={"trusted.overlay.whiteout": "y"}),
    )
    assert shows(driver, "base", "top") == ["d", "d/keep", "e", "f"]


def test_devices_and_fifos_keep_their_numbers(driver: StorageDriver) -> None:
    add_layer(
        driver,
        "x",
        [],
        Member("null", type=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
        Member("high", type=tarfile.BLKTYPE, device=(259, 1000)),
        Member("fifo", type=tarfile.FIFOTYPE, mode=0o600),
    )
    driver.prepare("w", ["x"])
    root = driver.mount("w")
    assert os.lstat(root / "null").st_rdev == os.makedev(1, 3)
    assert os.lstat(root / "high").st_rdev == os.makedev(259, 1000)
    assert stat.S_ISBLK(os.lstat(root / "high").st_mode)
    assert oct(os.lstat(root / "fifo").st_mode) == "0o10600"
    driver.unmount("w")


# Hard links and renames


def test_many_hard_links_are_one_inode_through_tar_snapshot_and_layer(
    driver: StorageDriver,
) -> None:
    add_layer(
        driver, "base", [], file("f0", "data"), *(hard_link(f"f{n}", "f0") for n in range(1, 10))
    )
    add_layer(driver, "top", ["base"], file("other"))
    with driver.view(["base", "top"]) as root:
        found = [os.stat(root / f"f{n}") for n in range(10)]
        assert {status.st_ino for status in found} == {found[0].st_ino}
        assert found[0].st_nlink == 10


def test_a_hard_link_to_a_link_shares_the_link(driver: StorageDriver) -> None:
    add_layer(
        driver,
        "x",
        [],
        file("target", "t", mode=0o600),
        symlink("s", "target"),
        hard_link("h", "s"),
    )
    with driver.view(["x"]) as root:
        assert os.readlink(root / "h") == "target"
        assert oct((root / "target").stat().st_mode) == "0o100600"


def test_deleting_every_name_of_a_file_deletes_it(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], file("a", "x"), hard_link("b", "a"), hard_link("c", "a"))
    add_layer(driver, "top", ["base"], file(".wh.a"), file(".wh.c"), file(".wh.b"))
    assert shows(driver, "base", "top") == []


def test_writing_by_one_name_is_seen_by_the_others_as_the_driver_says(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "base", [], file("a", "old"), hard_link("b", "a"))
    driver.prepare("w", ["base"])
    root = driver.mount("w")
    (root / "a").write_text("new")
    assert (root / "a").read_text() == "new"
    together = driver.capabilities.hard_links_survive_copy_up
    assert (root / "b").read_text() == ("new" if together else "old")
    driver.unmount("w")


def test_names_linked_in_a_snapshot_are_one_file_with_a_right_count(
    driver: StorageDriver,
) -> None:
    driver.prepare("w", [])
    root = driver.mount("w")
    (root / "a").write_text("1")
    os.link(root / "a", root / "b")
    (root / "b").write_text("22")
    assert (root / "a").read_text() == "22"
    assert [(root / name).stat().st_nlink for name in "ab"] == [2, 2]
    driver.unmount("w")


def test_renaming_a_lower_folder_works_or_changes_nothing(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], folder("foo"), file("foo/a", "1"), folder("foo/sub"))
    driver.prepare("w", ["base"])
    root = driver.mount("w")
    before = tree(root)
    if driver.capabilities.renames_lower_directories:
        os.rename(root / "foo", root / "foo2")
        assert names(root) == ["foo2", "foo2/a", "foo2/sub"]
    else:
        with pytest.raises(OSError) as caught:
            os.rename(root / "foo", root / "foo2")
        assert caught.value.errno == errno.EXDEV
        assert tree(root) == before
    driver.unmount("w")


def test_deleted_names_stay_deleted_in_a_folder_that_is_renamed_over(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "base", [], folder("d"), file("d/a"), file("d/b"))

    def act(root: Path) -> None:
        (root / "d/a").unlink()
        (root / "new").mkdir()
        (root / "new/c").touch()
        (root / "d/b").rename(root / "new/b")

    build_layer(driver, "top", ["base"], act)
    assert shows(driver, "base", "top") == ["d", "new", "new/b", "new/c"]


# Copy-up and open files


def test_a_file_opened_before_it_is_changed_reads_old_or_new_never_a_mixture(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "base", [], file("f", "A" * 100_000))
    driver.prepare("w", ["base"])
    root = driver.mount("w")
    with open(root / "f", "rb") as early:
        (root / "f").write_bytes(b"B" * 100_000)
        assert set(early.read()) in ({ord("A")}, {ord("B")})
    assert (root / "f").read_bytes() == b"B" * 100_000
    driver.unmount("w")


def test_an_unlinked_open_file_stays_readable(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], file("f", "content"))
    driver.prepare("w", ["base"])
    root = driver.mount("w")
    with open(root / "f") as opened:
        (root / "f").unlink()
        assert opened.read() == "content"
    driver.unmount("w")


def test_a_lower_layer_never_changes_whatever_a_snapshot_does(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], folder("d"), file("d/a", "1"), file("b", "2"))
    before = view_tree(driver, ["base"])
    driver.prepare("one", ["base"])
    driver.prepare("two", ["base"])
    one, two = driver.mount("one"), driver.mount("two")
    (one / "d/a").write_text("changed")
    (one / "b").unlink()
    os.chmod(one / "d", 0o700)
    (one / "new").touch()
    assert names(two) == ["b", "d", "d/a"]
    assert (two / "d/a").read_text() == "1"
    driver.unmount("one")
    driver.unmount("two")
    assert view_tree(driver, ["base"]) == before


def test_a_sparse_file_keeps_its_holes(driver: StorageDriver) -> None:
    def act(root: Path) -> None:
        with open(root / "sparse", "wb") as out:
            out.truncate(1 << 30)
            out.seek(1 << 20)
            out.write(b"middle")

    build_layer(driver, "base", [], act)
    driver.prepare("w", ["base"])
    edit(driver, "w", lambda root: os.chmod(root / "sparse", 0o600))
    root = driver.mount("w")
    found = (root / "sparse").stat()
    assert found.st_size == 1 << 30
    assert found.st_blocks * 512 < 1 << 22
    with open(root / "sparse", "rb") as content:
        content.seek(1 << 20)
        assert content.read(6) == b"middle"
    driver.unmount("w")


# Hostile input


@pytest.mark.parametrize(
    "members",
    [
        [file("../outside", "bad")],
        [file("/../../outside", "bad")],
        [file("a/../../outside", "bad")],
        [symlink("up", "../.."), file("up/outside", "bad")],
        [symlink("abs", "/"), file("abs/outside", "bad")],
        [symlink("f", "../../outside"), file("f", "bad")],
        [hard_link("h", "../../outside"), file("h", "bad")],
        [symlink("s", "../../outside"), hard_link("h", "s"), file("h", "bad")],
    ],
    ids=lambda members: " ".join(member.name for member in members),
)
def test_no_member_reaches_outside_its_layer(
    driver: StorageDriver, members: list[Member], engine_root: Path
) -> None:
    places = [engine_root, Path(driver._path)]  # type: ignore[attr-defined]
    for place in places:
        (place / "outside").write_text("good")
    try:
        add_layer(driver, "x", [], *members)
    except LaminaError:
        assert not driver.exists("x")
    for place in places:
        assert (place / "outside").read_text() == "good"
        (place / "outside").unlink()
    assert not Path("/outside").exists()


@pytest.mark.parametrize(
    "junk",
    [b"this is no tar at all" * 100, layer_tar(file("f", "x" * 5000))[:3000], b"\x1f\x8b" * 300],
    ids=["text", "cut short", "gzip-like"],
)
def test_a_broken_tar_leaves_nothing(driver: StorageDriver, junk: bytes) -> None:
    with pytest.raises(LaminaError):
        apply_tar(driver, "x", [], junk)
    assert not driver.exists("x")
    assert driver.leftovers() == []
    add_layer(driver, "x", [], file("good"))
    assert shows(driver, "x") == ["good"]


def test_an_empty_layer_is_a_layer(driver: StorageDriver) -> None:
    apply_tar(driver, "base", [], layer_tar())
    add_layer(driver, "top", ["base"], file("a"))
    assert shows(driver, "base") == []
    assert shows(driver, "base", "top") == ["a"]


def test_the_files_of_a_layer_can_be_read_where_the_driver_says(driver: StorageDriver) -> None:
    add_layer(driver, "base", [], file("a", "1"))
    add_layer(driver, "top", ["base"], folder("d"), file("d/b", "2"))
    assert (driver.layer_root("base") / "a").read_text() == "1"
    assert (driver.layer_root("top") / "d/b").read_text() == "2"


def test_a_layer_that_does_not_depend_on_its_parents_serves_in_other_chains(
    driver: StorageDriver,
) -> None:
    add_layer(driver, "a", [], file("x", "a"), folder("d"), file("d/a"))
    add_layer(driver, "b", [], file("y", "b"), folder("d"), file("d/b"))
    add_layer(driver, "top", ["a"], file(".wh.x"), file(".wh.y"), file("d/.wh.b"), file("z"))
    assert shows(driver, "a", "top") == ["d", "d/a", "z"]
    if driver.capabilities.layers_depend_on_parent:
        return  # in any other chain it is another layer, to be made again
    assert shows(driver, "b", "top") == ["d", "z"]
    assert shows(driver, "b", "a", "top") == ["d", "d/a", "z"]


def test_attributes_that_the_filesystem_cannot_hold_are_refused_with_the_remedy(
    driver_class: type[StorageDriver], tmp_path: Path
) -> None:
    mount(Mount("ramfs", "ramfs", str(tmp_path), ()))
    try:
        driver = driver_class(tmp_path / driver_class.name, {})
        with pytest.raises(Unsupported, match="ext4"):
            add_layer(driver, "x", [], file("f", "x", xattrs={"user.k": "v"}))
        assert driver.list() == []
        assert driver.leftovers() == []
    finally:
        unmount(tmp_path, lazy=True)
