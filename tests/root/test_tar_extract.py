"""Unpacking layers: what each member becomes, in both styles, and what hostile ones do not do."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.errors import Corrupt, LaminaError, OutOfSpace
from lamina.linux.mounts import Mount, mount, unmount
from lamina.tar.entry import Entry, Kind
from lamina.tar.extract import Whiteouts
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

STYLES = pytest.mark.parametrize("style", [OVERLAY, APPLY], ids=["overlay", "apply"])
CAPABILITY = b"\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"  # cap_net_raw+ep


@pytest.fixture
def place(engine_root: Path) -> Iterator[Path]:
    """A folder beside a secret that no layer may read or change."""
    (engine_root / "secret").mkdir(mode=0o700)
    (engine_root / "secret/file").write_text("secret")
    before = tree(engine_root / "secret")
    yield engine_root
    assert tree(engine_root / "secret") == before
    assert sorted(p.name for p in engine_root.iterdir() if p.name != "secret") in ([], ["layer"])


ESCAPES: dict[str, list[Member]] = {
    "up by name": [file("../secret/file", b"x")],
    "up by an absolute name": [file("/../secret/file", b"x")],
    "up through itself": [folder("a"), file("a/../../secret/file", b"x")],
    "up by a long mix": [file("./a/.././../././secret/file", b"x")],
    "a folder of that name": [folder("../secret", 0o777)],
    "a mark outside": [file("../.wh.secret")],
    "a mark through a name": [file("../secret/.wh..wh..opq")],
    "a mark of the folder": [file(".wh..")],
    "a mark of the parent": [file(".wh...")],
    "a mark of nothing": [file(".wh.")],
    "a hard link outside": [hard_link("h", "../secret/file")],
    "a hard link to the root": [hard_link("h", "/")],
    "a hard link to what is absent": [hard_link("h", "/etc/passwd")],
    "a hard link to a folder": [folder("d"), hard_link("h", "d")],
    "a hard link through a link": [symlink("l", "../secret"), hard_link("h", "l/file")],
    "a device that is a mark": [node("d", Kind.CHARACTER_DEVICE)],
    "a link to itself as a parent": [symlink("l", "l"), file("l/f", b"x")],
    "a name beyond 255 bytes": [file("n" * 256, b"x")],
    "a path beyond 4095 bytes": [file("d/" * 2100 + "f", b"x")],
    "a name 401 folders deep": [file("d/" * 401 + "f", b"x")],
    "a link without a target": [symlink("l", "")],
    "a folder's name that is a file's": [file("a", b"1"), hard_link("a/b", "a")],
}


@STYLES
@pytest.mark.parametrize("name", ESCAPES)
def test_refuses(name: str, style: Whiteouts, place: Path) -> None:
    with pytest.raises(Corrupt) as refused:
        unpack(archive(*ESCAPES[name]), place / "layer", style)
    assert "\n" not in str(refused.value)


CONTAINED: dict[str, list[Member]] = {
    "an absolute name": [file("/secret/file", b"x")],
    "a link out, then a file through it": [symlink("l", "../secret"), file("l/file", b"x")],
    "an absolute link out": [symlink("l", "/secret"), file("l/file", b"x")],
    "a chain of links out": [
        symlink("a", ".."),
        symlink("b", "a/../.."),
        symlink("c", "b/secret"),
        file("c/file", b"x"),
        folder("c", 0o777),
    ],
    "a link out, then a folder of its name": [symlink("l", "../secret"), folder("l", 0o777)],
    "a link out, then a file of its name": [symlink("l", "../secret/file"), file("l", b"x")],
    "a link out, then a mark through it": [symlink("l", "../secret"), file("l/.wh.file")],
    "a link out, then opaque": [symlink("l", "../secret"), file("l/.wh..wh..opq")],
    "a folder swapped for a link": [
        folder("d"),
        file("d/x", b"1"),
        symlink("d", "../secret"),
        file("d/file", b"x"),
    ],
    "a link swapped for a folder and back": [
        symlink("d", "../secret"),
        folder("d"),
        file("d/file", b"x"),
        symlink("d", "/secret"),
        file("d/file", b"x"),
    ],
    "a hard link to a link out": [
        symlink("l", "../secret/file"),
        hard_link("h", "l"),
        file("h", b"x"),
    ],
    "a hard link by an absolute name": [file("f", b"1"), hard_link("h", "/f")],
    "an entry for the root that is no folder": [file("./", b"x"), symlink(".", "secret")],
    "a proc link": [symlink("p", "/proc/self/root/../secret"), file("p/file", b"x")],
    "an empty name": [file("", b"x")],
}


@STYLES
@pytest.mark.parametrize("name", CONTAINED)
def test_stays_inside(name: str, style: Whiteouts, place: Path) -> None:
    journal = Journal()
    data = archive(*CONTAINED[name])
    unpack(data, place / "layer", style, journal=journal)
    assert journal.rebuilt(place / "layer") == data


@STYLES
def test_a_truncated_archive_is_an_error_at_every_length(style: Whiteouts, place: Path) -> None:
    data = archive(folder("d"), file("d/f", b"x" * 1500), file("g", b"y"))
    whole = tree_of(data, place / "layer", style)
    for size in range(0, len(data), 97):
        target = place / "layer"
        clear(target)
        try:
            unpack(data[:size], target, style)
        except Corrupt:
            continue
        # Only a cut between members, or in the padding after them, is no error by itself.
        assert set(tree(target)) <= set(whole)


def clear(path: Path) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def tree_of(data: bytes, path: Path, style: Whiteouts) -> dict[str, tuple[object, ...]]:
    unpack(data, path, style)
    return tree(path)


@STYLES
def test_every_kind_of_member_becomes_what_it_says(style: Whiteouts, engine_root: Path) -> None:
    at = 1_600_000_000_123_456_789
    unpack(
        archive(
            folder("./", 0o750, uid=1, gid=2, mtime_ns=at),
            folder("d", 0o2750, uid=3, gid=4, mtime_ns=at + 1),
            file("d/f", b"content", 0o6755, uid=5, gid=6, mtime_ns=at + 2),
            symlink("d/l", "/nowhere", uid=7, gid=8, mtime_ns=at + 3),
            hard_link("d/h", "./d/f"),
            hard_link("d/m", "d/l"),
            node("d/c", Kind.CHARACTER_DEVICE, 300, 70000, uid=9, mtime_ns=at + 4),
            node("d/b", Kind.BLOCK_DEVICE, 7, 1, mtime_ns=at + 5),
            node("d/p", Kind.FIFO, mtime_ns=at + 6),
            folder("t", 0o1777, mtime_ns=at + 7),
            folder("none", 0o000, mtime_ns=at + 8),
            file("none/f", b"deep", 0o000, mtime_ns=-5_000_000_000),
        ),
        engine_root / "x",
        style,
    )
    facts = {path: fact[:5] for path, fact in tree(engine_root / "x").items()}
    assert facts == {
        "": ("drwxr-x---", "1:2", None, "", at),
        "d": ("drwxr-s---", "3:4", None, "d", at + 1),
        "d/b": ("brw-------", "0:0", os.makedev(7, 1), "d/b", at + 5),
        "d/c": ("crw-------", "9:0", os.makedev(300, 70000), "d/c", at + 4),
        "d/f": ("-rwsr-sr-x", "5:6", b"content", "d/f", at + 2),
        "d/h": ("-rwsr-sr-x", "5:6", b"content", "d/f", at + 2),
        "d/l": ("lrwxrwxrwx", "7:8", "/nowhere", "d/l", at + 3),
        "d/m": ("lrwxrwxrwx", "7:8", "/nowhere", "d/l", at + 3),
        "d/p": ("prw-------", "0:0", 0, "d/p", at + 6),
        "none": ("d---------", "0:0", None, "none", at + 8),
        "none/f": ("----------", "0:0", b"deep", "none/f", -5_000_000_000),
        "t": ("drwxrwxrwt", "0:0", None, "t", at + 7),
    }


@STYLES
@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_the_umask_changes_nothing(mask: int, style: Whiteouts, engine_root: Path) -> None:
    old = os.umask(mask)
    try:
        unpack(
            archive(folder("d", 0o777), file("d/f", b"", 0o666), node("d/p", Kind.FIFO)),
            engine_root / "x",
            style,
        )
    finally:
        os.umask(old)
    modes = {p.name: stat.S_IMODE(p.lstat().st_mode) for p in (engine_root / "x").rglob("*")}
    assert modes == {"d": 0o777, "f": 0o666, "p": 0o600}


@STYLES
def test_set_id_bits_and_capabilities_survive_the_change_of_owner(
    style: Whiteouts, engine_root: Path
) -> None:
    marks = {b"security.capability": CAPABILITY, b"user.note": b"\0\xff"}
    unpack(
        archive(
            file("ping", b"elf", 0o4755, uid=3, gid=4, xattrs=marks), folder("d", xattrs=marks)
        ),
        engine_root / "x",
        style,
    )
    path = engine_root / "x/ping"
    assert os.getxattr(path, "security.capability") == CAPABILITY
    assert os.getxattr(path, "user.note") == b"\0\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o4755
    assert os.getxattr(engine_root / "x/d", "user.note") == b"\0\xff"


@STYLES
def test_children_of_a_set_group_folder_keep_their_own_group(
    style: Whiteouts, engine_root: Path
) -> None:
    unpack(
        archive(
            folder("d", 0o2755, gid=50),
            file("d/f", b""),
            folder("d/sub", 0o700),
            symlink("d/l", "f"),
            node("d/p", Kind.FIFO),
        ),
        engine_root / "x",
        style,
    )
    facts = {path: fact[:2] for path, fact in tree(engine_root / "x").items()}
    assert facts["d/f"] == ("-rw-r--r--", "0:0")
    assert facts["d/sub"] == ("drwx------", "0:0")
    assert facts["d/l"] == ("lrwxrwxrwx", "0:0")
    assert facts["d/p"] == ("prw-------", "0:0")


def _acl(*rules: tuple[int, int, int]) -> bytes:
    """An access list as the kernel stores it: (tag, permissions, id) each."""
    return (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + perm.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, perm, who in rules
    )


_ANY = 0xFFFFFFFF
ACL = _acl((1, 7, _ANY), (2, 7, 1000), (4, 5, _ANY), (0x10, 7, _ANY), (0x20, 0, _ANY))


@STYLES
def test_a_default_access_list_is_kept_and_not_taken_over_by_children(
    style: Whiteouts, engine_root: Path
) -> None:
    unpack(
        archive(
            folder("d", 0o755, xattrs={b"system.posix_acl_default": ACL}),
            file("d/f", b"", 0o644),
            folder("d/sub", 0o755),
            node("d/p", Kind.FIFO),
            file("own", b"", 0o670, xattrs={b"system.posix_acl_access": ACL}),
        ),
        engine_root / "x",
        style,
    )
    facts = tree(engine_root / "x")
    assert facts["d"][5] == {"system.posix_acl_default": ACL}
    assert facts["d/f"][:1] + facts["d/f"][5:] == ("-rw-r--r--", {})
    assert facts["d/sub"][:1] + facts["d/sub"][5:] == ("drwxr-xr-x", {})
    assert facts["d/p"][:1] + facts["d/p"][5:] == ("prw-------", {})
    assert facts["own"][5] == {"system.posix_acl_access": ACL}


def test_overlay_marks_in_a_layer_are_plain_attributes(engine_root: Path) -> None:
    names = {b"trusted.overlay.opaque": b"y", b"user.overlay.opaque": b"y"}
    unpack(archive(folder("d", xattrs=names)), engine_root / "x", OVERLAY)
    assert tree(engine_root / "x")["d"][5] == {
        "trusted.overlay.overlay.opaque": b"y",
        "user.overlay.opaque": b"y",
    }
    (engine_root / "below/d").mkdir(parents=True)
    (engine_root / "below/d/f").write_text("seen")
    shown = overlay(engine_root, "x", "below")
    assert "d/f" in shown
    assert shown["d"][5] == {"trusted.overlay.opaque": b"y", "user.overlay.opaque": b"y"}


def overlay(root: Path, *layers: str) -> dict[str, tuple[object, ...]]:
    (root / "m").mkdir()
    options = tuple(f"lowerdir+={root}/{layer}" for layer in layers)
    mount(Mount("overlay", "overlay", str(root / "m"), ("ro", *options)))
    try:
        return tree(root / "m")
    finally:
        unmount(root / "m")


def test_labels_of_a_host_are_not_restored(engine_root: Path) -> None:
    unpack(archive(file("f", b"", xattrs={b"security.selinux": b"x"})), engine_root / "x", OVERLAY)
    assert tree(engine_root / "x")["f"][5] == {}


@pytest.mark.parametrize(
    "member",
    [symlink("l", "f", xattrs={b"user.note": b"1"}), file("f", b"", xattrs={b"nothing": b"1"})],
)
def test_attributes_that_no_filesystem_has_are_the_archives_fault(
    engine_root: Path, member: Member
) -> None:
    with pytest.raises(Corrupt, match="extended attribute"):
        unpack(archive(member), engine_root / "x", OVERLAY)


BELOW = [
    folder("./", 0o711, uid=9, mtime_ns=7),
    folder("etc", 0o750, uid=1, gid=2, mtime_ns=5, xattrs={b"user.e": b"1"}),
    folder("etc/deep", 0o700, mtime_ns=6),
    file("etc/old", b"old"),
    file("etc/deep/old", b"old"),
    symlink("lib", "usr/lib"),
    folder("usr/lib", 0o755),
]


@STYLES
def test_implied_folders_are_as_they_were_below(style: Whiteouts, engine_root: Path) -> None:
    layer = archive(file("etc/deep/new", b"1"), file("etc/.wh.old"))
    unpack(archive(*BELOW), engine_root / "base", APPLY)
    with opened(engine_root / "base") as base:
        if style is APPLY:
            unpack(archive(*BELOW), engine_root / "x", APPLY)
        done = unpack(layer, engine_root / "x", style, lower=StackBelow([base]))
        assert done.implied == (b"", b"etc", b"etc/deep")
        before = tree(engine_root / "base")
        after = tree(engine_root / "x")
        for path in ("", "etc", "etc/deep"):
            facts = list(after[path])
            facts[5].pop("trusted.overlay.origin", None)  # type: ignore[attr-defined]
            assert tuple(facts) == before[path]


@STYLES
def test_implied_folders_without_anything_below_are_plain(
    style: Whiteouts, engine_root: Path
) -> None:
    done = unpack(archive(file("a/b/f", b"")), engine_root / "x", style)
    facts = tree(engine_root / "x")
    assert facts[""][:2] == facts["a"][:2] == facts["a/b"][:2] == ("drwxr-xr-x", "0:0")
    assert done.implied == (b"", b"a", b"a/b")


def test_a_folder_listed_after_its_children_is_not_implied(engine_root: Path) -> None:
    layer = archive(file("a/f", b""), folder("a", 0o700, mtime_ns=3), folder("."))
    done = unpack(layer, engine_root / "x", OVERLAY)
    assert done.implied == ()
    assert tree(engine_root / "x")["a"][:5] == ("drwx------", "0:0", None, "a", 3)


def test_a_lower_link_gives_way_to_a_folder_in_both_styles(engine_root: Path) -> None:
    layer = archive(file("lib/new", b"1"))
    for name, style in (("base", APPLY), ("applied", APPLY)):
        unpack(archive(*BELOW), engine_root / name, style)
    unpack(layer, engine_root / "applied", APPLY)
    with opened(engine_root / "base") as base:
        unpack(layer, engine_root / "upper", OVERLAY, lower=TreeBelow(base))
    shown = overlay(engine_root, "upper", "base")
    assert shown == tree(engine_root / "applied")
    assert shown["lib"][0] == "drwxr-xr-x"


def test_a_link_of_the_same_layer_is_followed_within_the_layer(engine_root: Path) -> None:
    journal = Journal()
    layer = archive(symlink("lib", "/usr/lib"), file("lib/new", b"1"), folder("usr/lib", 0o700))
    unpack(layer, engine_root / "x", OVERLAY, journal=journal)
    assert tree(engine_root / "x")["usr/lib/new"][2] == b"1"
    assert tree(engine_root / "x")["usr/lib"][0] == "drwx------"
    assert (b"usr/lib/new", 1) in [part[:2] for part in journal.parts if isinstance(part, tuple)]


@STYLES
def test_a_member_given_twice_leaves_the_last_and_the_archive_rebuildable(
    style: Whiteouts, engine_root: Path
) -> None:
    data = (
        archive(
            file("f", b"first" * 200),
            hard_link("kept", "f"),
            file("f", b"second"),
            folder("d"),
            file("d/in", b"lost with its folder"),
            file("d", b"a file now"),
            file("d/x", b"a folder again"),
            file("f", b"third"),
        )
        + b"garbage after the end" * 50
    )
    journal = Journal()
    unpack(data, engine_root / "x", style, journal=journal)
    facts = tree(engine_root / "x")
    assert facts["f"][2] == b"third"
    assert facts["kept"][2] == b"first" * 200
    assert facts["d/x"][2] == b"a folder again"
    assert "d/in" not in facts
    assert journal.rebuilt(engine_root / "x") == data


def test_a_full_disk_is_told_as_such(engine_root: Path) -> None:
    (engine_root / "small").mkdir()
    mount(Mount("tmpfs", "tmpfs", str(engine_root / "small"), ("size=64k",)))
    try:
        with pytest.raises(OutOfSpace, match="no space left"):
            unpack(archive(file("f", b"x" * 200_000)), engine_root / "small/x", OVERLAY)
    finally:
        unmount(engine_root / "small")


def test_zeros_become_holes_and_the_length_is_exact(engine_root: Path) -> None:
    zeros = bytes(1 << 20)
    contents = {
        "all": zeros * 3,
        "end": b"x" * 70_000 + zeros,
        "middle": b"a" + zeros * 2 + b"b",
        "odd": zeros + bytes(12_345),
    }
    unpack(archive(*(file(n, d) for n, d in contents.items())), engine_root / "x", OVERLAY)
    for name, data in contents.items():
        path = engine_root / "x" / name
        assert path.read_bytes() == data
        assert path.stat().st_blocks * 512 < len(data) // 2


def test_a_layer_may_make_the_root_opaque_and_says_so(engine_root: Path) -> None:
    done = unpack(archive(file(".wh..wh..opq"), file("f", b"")), engine_root / "x", OVERLAY)
    assert done.opaque_root


@STYLES
def test_auf_s_bookkeeping_is_not_unpacked(style: Whiteouts, engine_root: Path) -> None:
    layer = archive(
        folder(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", b"x"), file(".wh..wh.aufs"), file("f")
    )
    unpack(layer, engine_root / "x", style)
    assert sorted(tree(engine_root / "x")) == ["", "f"]


def test_an_attribute_that_the_filesystem_cannot_hold_is_refused_by_name(
    engine_root: Path,
) -> None:
    (engine_root / "fat").mkdir()
    mount(Mount("ramfs", "ramfs", str(engine_root / "fat")))
    try:
        with pytest.raises(LaminaError, match=r"user\.note"):
            unpack(
                archive(file("f", b"", xattrs={b"user.note": b"1"})), engine_root / "fat/x", APPLY
            )
    finally:
        unmount(engine_root / "fat")


def test_thousands_of_folders_need_few_descriptors(engine_root: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        members: list[Member] = []
        for number in range(600):
            members += [folder(f"d{number}"), file(f"d{number}/f", b"x")]
        members += [file(f"d{number}/g", b"y") for number in range(600)]
        members += [file("deep/" * 400 + "f", b"z")]
        unpack(archive(*members), engine_root / "x", OVERLAY)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(list((engine_root / "x").glob("d*/[fg]"))) == 1200


def test_no_descriptor_is_left_open_after_a_failure(place: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for members in ESCAPES.values():
        clear(place / "layer")
        with pytest.raises(Corrupt):
            unpack(archive(*members), place / "layer")
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_errors_of_the_stream_come_through(engine_root: Path) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(errno.EIO, "unplugged")

    from lamina.tar.extract import extract
    from lamina.tar.reader import TarReader

    (engine_root / "x").mkdir()
    with opened(engine_root / "x") as fd, pytest.raises(OSError, match="unplugged"):
        extract(TarReader(Broken()), fd, style=OVERLAY)


def test_entries_are_independent_of_each_other() -> None:
    first, second = Entry(b"a", Kind.FILE), Entry(b"b", Kind.FILE)
    first.xattrs[b"user.x"] = b"1"
    assert second.xattrs == {}
