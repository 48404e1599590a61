"""A real root filesystem, unpacked as GNU tar unpacks it, and back."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lamina.drivers.usage import tree_usage
from lamina.tar import diff
from lamina.tar.compression import HashingReader, decompressed
from lamina.tar.extract import Whiteouts, extract
from lamina.tar.reader import TarReader
from tarkit import APPLY, OVERLAY, Journal, opened, tree, unpack

STYLES = pytest.mark.parametrize("style", [OVERLAY, APPLY], ids=["overlay", "apply"])


@STYLES
def test_every_fact_of_every_file_is_as_gnu_tar_makes_it(debian: Path, style: Whiteouts) -> None:
    journal = Journal()
    (debian / "ours").mkdir()
    try:
        with (
            open(debian / "debian.tar", "rb", buffering=0) as file,
            HashingReader(decompressed(file)) as stream,
            opened(debian / "ours") as fd,
        ):
            done = extract(TarReader(stream, recorder=journal), fd, style=style)
            digest = stream.digest
        theirs = tree(debian / "gnu")
        assert tree(debian / "ours") == theirs
        assert any("security.capability" in facts[5] for facts in theirs.values())  # type: ignore[operator]
        assert done.implied == ()
        assert done.inodes == len({facts[3] for facts in theirs.values()})
        said = subprocess.check_output(["sha256sum", debian / "debian.tar"], text=True)
        assert digest == "sha256:" + said.split()[0]
        assert journal.rebuilt(debian / "ours") == (debian / "debian.tar").read_bytes()
    finally:
        shutil.rmtree(debian / "ours")


def test_a_written_tree_unpacks_to_the_same_by_us_and_by_gnu_tar(debian: Path) -> None:
    with opened(debian / "gnu") as fd, open(debian / "ours.tar", "wb") as out:
        diff.write_tree(fd, out)
    expected = tree(debian / "gnu")
    names = ("--xattrs", "--xattrs-include=*", "--numeric-owner")
    (debian / "again").mkdir()
    subprocess.run(["tar", "-C", debian / "again", *names, "-xpf", debian / "ours.tar"], check=True)
    assert tree(debian / "again") == expected
    shutil.rmtree(debian / "again")
    unpack((debian / "ours.tar").read_bytes(), debian / "again", APPLY)
    assert tree(debian / "again") == expected
    shutil.rmtree(debian / "again")
    (debian / "ours.tar").unlink()


def test_usage_counts_as_du_does(debian: Path) -> None:
    found = tree_usage(str(debian / "gnu"))
    files = tree(debian / "gnu")
    links = {facts[3]: facts for facts in files.values()}
    assert found.inodes == len(links) - 1
    assert found.size_bytes == sum(
        len(facts[2])  # type: ignore[arg-type]
        for facts in links.values()
        if str(facts[0]).startswith("-")
    )
    said = subprocess.check_output(["du", "-s", "--inodes", debian / "gnu"], text=True)
    assert found.inodes + 1 == int(said.split()[0])


def test_an_untouched_copy_has_no_changes_and_an_empty_diff(debian: Path) -> None:
    subprocess.run(["cp", "-a", debian / "gnu", debian / "copy"], check=True)
    try:
        with opened(debian / "gnu") as lower, opened(debian / "copy") as upper:
            assert diff.tree_changes(lower, upper) == []
            out = io.BytesIO()
            diff.write_tree_diff(lower, upper, out)
            assert out.getvalue() == bytes(1024)
            (debian / "copy/etc/hostname").write_text("changed\n")
            os.remove(debian / "copy/etc/fstab")
            assert [(c.kind, c.path) for c in diff.tree_changes(lower, upper)] == [
                ("C", b"/etc"),
                ("D", b"/etc/fstab"),
                ("C", b"/etc/hostname"),
            ]
    finally:
        shutil.rmtree(debian / "copy")
