"""What changed: as a list, and as a layer's tar."""

from __future__ import annotations

import io
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lamina.errors import InvalidInput, Unsupported
from lamina.linux.mounts import Mount, mount, unmount
from lamina.tar import diff
from lamina.tar.entry import Entry, Kind
from lamina.tar.lower import StackBelow, TreeBelow
from lamina.tar.reader import TarReader
from tarkit import APPLY, archive, file, folder, hard_link, opened, symlink, tree, unpack

BASE = archive(
    folder("./"),
    folder("d", 0o751, uid=3),
    file("d/kept", b"kept"),
    file("d/gone", b"gone"),
    folder("d/sub"),
    file("d/sub/f", b"deep"),
    file("f", b"one"),
    file("links/1", b"same"),
    hard_link("links/2", "links/1"),
    symlink("l", "f"),
    folder("tree"),
    file("tree/a", b"a"),
    folder("tree/b"),
)


class Overlay:
    def __init__(self, root: Path) -> None:
        self.base, self.upper, self.live = root / "base", root / "upper", root / "live"

    def changes(self) -> list[tuple[str, str]]:
        with opened(self.base) as base, opened(self.upper) as upper:
            found = diff.overlay_changes(upper, StackBelow([base]))
            return [(change.kind, os.fsdecode(change.path)) for change in found]

    def tar(self) -> bytes:
        out = io.BytesIO()
        with opened(self.base) as base, opened(self.upper) as upper:
            diff.write_overlay_diff(upper, out, StackBelow([base]))
        return out.getvalue()

    def entries(self) -> list[Entry]:
        return list(TarReader(io.BytesIO(self.tar())))

    def names(self) -> list[str]:
        return [os.fsdecode(entry.name) for entry in self.entries()]


@contextmanager
def mounted(root: Path) -> Iterator[Overlay]:
    overlay = Overlay(root)
    unpack(BASE, overlay.base, APPLY)
    for name in ("upper", "work", "live"):
        (root / name).mkdir()
    options = (f"lowerdir+={overlay.base}", f"upperdir={overlay.upper}", f"workdir={root}/work")
    mount(Mount("overlay", "overlay", str(overlay.live), (*options, "redirect_dir=off")))
    try:
        yield overlay
    finally:
        unmount(overlay.live)


@pytest.fixture
def live(engine_root: Path) -> Iterator[Overlay]:
    with mounted(engine_root) as overlay:
        yield overlay


def test_nothing_done_is_nothing_changed(live: Overlay) -> None:
    assert live.changes() == []
    assert live.tar() == bytes(1024)


def test_additions_changes_and_deletions_are_told_with_their_folders(live: Overlay) -> None:
    (live.live / "d/new").write_text("new")
    (live.live / "d/kept").write_text("other")
    (live.live / "d/gone").unlink()
    assert live.changes() == [("C", "/d"), ("D", "/d/gone"), ("C", "/d/kept"), ("A", "/d/new")]
    assert live.names() == ["d/", "d/.wh.gone", "d/kept", "d/new"]
    assert live.entries()[0].mode == 0o751


def test_a_change_of_mode_alone_is_one_entry(live: Overlay) -> None:
    (live.live / "f").chmod(0o600)
    assert live.changes() == [("C", "/f")]
    (live.live / "d/sub").chmod(0o700)
    assert live.changes() == [("C", "/d"), ("C", "/d/sub"), ("C", "/f")]


def test_a_touched_folder_is_no_change(live: Overlay) -> None:
    os.utime(live.live / "d")
    assert live.changes() == []


def test_a_removed_folder_is_one_deletion(live: Overlay) -> None:
    shutil.rmtree(live.live / "tree")
    assert live.changes() == [("D", "/tree")]
    assert live.names() == [".wh.tree"]


def test_a_folder_made_again_hides_what_was_in_it(live: Overlay) -> None:
    shutil.rmtree(live.live / "tree")
    (live.live / "tree").mkdir()
    (live.live / "tree/new").write_text("")
    assert live.changes() == [("C", "/tree"), ("A", "/tree/new")]
    assert live.names() == ["tree/", "tree/.wh..wh..opq", "tree/new"]


def test_a_new_folder_needs_no_mark(live: Overlay) -> None:
    (live.live / "fresh/sub").mkdir(parents=True)
    assert live.names() == ["fresh/", "fresh/sub/"]
    assert live.changes() == [("A", "/fresh"), ("A", "/fresh/sub")]


def test_each_type_gives_way_to_each_other(live: Overlay) -> None:
    (live.live / "f").unlink()
    (live.live / "f").mkdir()
    shutil.rmtree(live.live / "tree")
    (live.live / "tree").symlink_to("d")
    (live.live / "l").unlink()
    os.mkfifo(live.live / "l")
    assert live.changes() == [("C", "/f"), ("C", "/l"), ("C", "/tree")]
    assert [(e.name, e.kind) for e in live.entries()] == [
        (b"f/", Kind.FOLDER),
        (b"l", Kind.FIFO),
        (b"tree", Kind.SYMLINK),
    ]


def test_made_and_removed_again_leaves_nothing(live: Overlay) -> None:
    (live.live / "d/passing").write_text("")
    (live.live / "d/passing").unlink()
    assert live.changes() == []


def test_sockets_are_left_out(live: Overlay) -> None:
    (live.live / "a").write_text("")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(live.live / "b.sock"))
    (live.live / "c").write_text("")
    assert live.names() == ["a", "c"]


def test_a_name_with_the_mark_of_deletion_is_refused(live: Overlay) -> None:
    (live.live / ".wh.x").write_text("")
    with pytest.raises(InvalidInput, match=r"\.wh\.x"):
        live.tar()


def test_hard_links_carry_their_content_once(live: Overlay) -> None:
    (live.live / "x").write_text("content")
    for name in ("a", "z"):
        os.link(live.live / "x", live.live / name)
    entries = live.entries()
    assert [(e.name, e.kind, e.size, e.link) for e in entries] == [
        (b"a", Kind.FILE, 7, b""),
        (b"x", Kind.HARD_LINK, 0, b"a"),
        (b"z", Kind.HARD_LINK, 0, b"a"),
    ]


def test_the_roots_own_change_is_in_the_tar(live: Overlay) -> None:
    live.live.chmod(0o700)
    (entry,) = live.entries()
    assert (entry.name, entry.mode) == (b"./", 0o700)
    assert live.changes() == []


def test_overlay_marks_stay_out_and_attributes_stay_in(live: Overlay) -> None:
    os.setxattr(live.live / "d", "user.note", b"1")
    os.setxattr(live.live / "f", "user.note", b"2")
    entries = {e.name: e.xattrs for e in live.entries()}
    assert entries == {b"d/": {b"user.note": b"1"}, b"f": {b"user.note": b"2"}}


def test_a_moved_folder_that_only_overlayfs_can_find_is_refused(engine_root: Path) -> None:
    overlay = Overlay(engine_root)
    for path in (overlay.base, overlay.upper, overlay.upper / "moved"):
        path.mkdir()
    os.setxattr(overlay.upper / "moved", "trusted.overlay.redirect", b"/d")
    with pytest.raises(Unsupported, match="redirect"):
        overlay.tar()


def test_the_same_tree_gives_the_same_bytes(live: Overlay) -> None:
    for name in "zebra", "äpfel", "apple", "Zoo":
        (live.live / name).write_text(name)
    assert live.tar() == live.tar()
    assert live.names() == sorted(live.names(), key=os.fsencode)


def test_the_diff_of_an_edit_that_keeps_size_and_time_is_found(engine_root: Path) -> None:
    for name in ("base", "live"):
        unpack(BASE, engine_root / name, APPLY)
    before = (engine_root / "live/f").stat()
    (engine_root / "live/f").write_text("two")
    os.utime(engine_root / "live/f", ns=(before.st_atime_ns, before.st_mtime_ns))
    (engine_root / "live/l").unlink()
    (engine_root / "live/l").symlink_to("d")
    os.utime(engine_root / "live/l", ns=(0, 0), follow_symlinks=False)
    with opened(engine_root / "base") as lower, opened(engine_root / "live") as upper:
        found = [(c.kind, c.path) for c in diff.tree_changes(lower, upper)]
        assert found == [("C", b"/f"), ("C", b"/l")]
        # What was not touched since a moment after all of it is not even looked at.
        later = (engine_root / "live/l").lstat().st_ctime_ns + 1
        assert diff.tree_changes(lower, upper, copied_ns=(0, later)) == []
        # What was touched by a clock that was set back is.
        assert len(diff.tree_changes(lower, upper, copied_ns=(later, later + 1))) == 2


def test_a_new_name_of_an_old_file_brings_all_its_names(engine_root: Path) -> None:
    for name in ("base", "live", "copy"):
        unpack(BASE, engine_root / name, APPLY)
    os.link(engine_root / "live/d/kept", engine_root / "live/a")
    out = io.BytesIO()
    with opened(engine_root / "base") as lower, opened(engine_root / "live") as upper:
        diff.write_tree_diff(lower, upper, out)
    entries = [(e.name, e.kind) for e in TarReader(io.BytesIO(out.getvalue()))]
    assert entries == [(b"a", Kind.FILE), (b"d/", Kind.FOLDER), (b"d/kept", Kind.HARD_LINK)]
    unpack(out.getvalue(), engine_root / "copy", APPLY)
    assert tree(engine_root / "copy", times=False) == tree(engine_root / "live", times=False)


def test_a_stack_is_seen_as_overlayfs_shows_it(engine_root: Path) -> None:
    layers = [
        BASE,
        archive(file(".wh.f"), file("d/.wh.gone"), folder("tree"), file("tree/.wh..wh..opq")),
        archive(file("f/inner", b"1"), file("l", b"now a file"), folder("d", 0o700)),
    ]
    names = []
    for number, layer in enumerate(layers):
        names.append(f"{number}")
        unpack(layer, engine_root / names[-1])
    (engine_root / "m").mkdir()
    options = tuple(f"lowerdir+={engine_root}/{name}" for name in reversed(names))
    mount(Mount("overlay", "overlay", str(engine_root / "m"), ("ro", *options)))
    fds = [os.open(engine_root / name, os.O_RDONLY) for name in reversed(names)]
    try:
        below = StackBelow(fds)
        with opened(engine_root / "m") as shown:
            merged = TreeBelow(shown)
            every = {path for name in names for path in tree(engine_root / name)}
            for path in [*sorted(os.fsencode(p) for p in every), b"none", b"f/none", b"l/x"]:
                ours, theirs = below(path), merged(path)
                assert (ours is None) == (theirs is None), path
                if ours is not None and theirs is not None:
                    assert (ours.mode, ours.uid, ours.xattrs) == (
                        theirs.mode,
                        theirs.uid,
                        theirs.xattrs,
                    ), path
    finally:
        for fd in fds:
            os.close(fd)
        unmount(engine_root / "m")
