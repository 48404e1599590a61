"""`lamina cp`: running and stopped containers, volumes, tars, and containers that mean harm."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandkit import LAMINA, Lamina, until

RACES = 60


@pytest.fixture(params=["running", "stopped", "created"])
def box(request: pytest.FixtureRequest, own: Lamina) -> Iterator[Lamina]:
    """A container `box` in this state, with a volume at /data."""
    own.ok(
        "create", "--name", "box", "--network", "none", "-v", "vol:/data", "busybox", "sleep", "900"
    )
    if request.param != "created":
        own.ok("start", "box")
    if request.param == "stopped":
        own.ok("stop", "-t", "0", "box")
    yield own


def packed(*members: tuple[str, bytes, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o755
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname, content = content, ""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return out.getvalue()


def test_what_is_copied_in_comes_out_again(box: Lamina, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_bytes(os.urandom(100_000))
    (tree / "link").symlink_to("sub/file")
    with open(tree / "sparse", "wb") as file:
        file.truncate(64 << 20)
    box.ok("cp", str(tree), "box:/root")
    box.ok("cp", "box:/root/tree", str(tmp_path / "back"))
    assert subprocess.run(["diff", "-r", tree, tmp_path / "back"], check=False).returncode == 0
    assert (tmp_path / "back/link").is_symlink()
    assert (tmp_path / "back/sparse").stat().st_blocks == 0
    data = subprocess.run(
        [LAMINA, "cp", "box:/root/tree", "-"], capture_output=True, env=box.environment, check=True
    ).stdout
    box.ok("cp", "-", "box:/tmp", stdin=data)
    box.ok("cp", "box:/tmp/tree/.", str(tmp_path / "again"))
    assert subprocess.run(["diff", "-r", tree, tmp_path / "again"], check=False).returncode == 0


def test_volumes_are_seen_and_filled(box: Lamina, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new")
    box.ok("cp", str(tmp_path / "new"), "box:/data/new")
    box.ok("cp", "box:/data/.", str(tmp_path / "data"))
    assert sorted(os.listdir(tmp_path / "data")) == ["new", "seed"]
    assert (box.root / "volumes/vol/_data/new").read_text() == "new"
    assert "/data/new" not in box.ok("diff", "box")


def test_a_copy_leaves_nothing_mounted_and_nothing_locked(box: Lamina, tmp_path: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text().count(f" {box.root}/")
    box.ok("cp", "box:/etc", str(tmp_path / "etc"))
    assert Path("/proc/self/mountinfo").read_text().count(f" {box.root}/") == before
    assert list((box.root / "tmp").iterdir()) == []
    box.ok("rm", "-f", "box")


def test_links_in_a_container_lead_nowhere_but_into_it(box: Lamina, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("of the host")
    up = "../" * 40
    links = (
        ("root/absolute", tarfile.SYMTYPE, str(secret)),
        ("root/up", tarfile.SYMTYPE, f"{up}{secret}"),
        ("root/magic", tarfile.SYMTYPE, "/proc/self/root"),
        ("root/file", tarfile.SYMTYPE, f"{secret}/key"),
    )
    box.ok("cp", "-", "box:/", stdin=packed(*links))
    (tmp_path / "mine").write_text("mine")
    for name in ("absolute", "up", f"magic{secret}"):
        assert "Could not find the file" in box("cp", f"box:/root/{name}/key", str(tmp_path)).stderr
        done = box("cp", str(tmp_path / "mine"), f"box:/root/{name}/key")
        assert done.returncode == 1, done
    assert box("cp", "-L", "box:/root/file", str(tmp_path / "got")).returncode == 1
    assert box("cp", str(tmp_path / "mine"), "box:/root/file").returncode == 1
    through = packed(("absolute/key", tarfile.REGTYPE, "changed"))
    box("cp", "-", "box:/root", stdin=through)
    assert (secret / "key").read_text() == "of the host"
    assert sorted(os.listdir(secret)) == ["key"]


def test_members_that_leave_the_destination_are_refused(own: Lamina) -> None:
    own.ok("create", "--name", "box", "busybox")
    for name in ("../up", "a/../../up", "..", "/../up"):
        done = own("cp", "-", "box:/root", stdin=packed((name, tarfile.REGTYPE, "x")))
        if name.startswith("/"):  # absolute: beneath the destination, as for Docker
            assert done.returncode in (0, 1)
        else:
            assert "is outside of" in done.stderr, (name, done)
    assert "up" not in own.ok("diff", "box")


def test_a_copy_out_does_not_follow_links_that_lie_in_its_target(
    own: Lamina, tmp_path: Path
) -> None:
    own.ok("create", "--name", "box", "busybox")
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "etc").symlink_to(outside)
    done = own("cp", "box:/etc", str(target))
    assert "cannot overwrite non-directory" in done.stderr
    assert os.listdir(outside) == []


def test_a_process_that_swaps_folders_for_links_cannot_lead_a_copy_out(
    own: Lamina, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("of the host")
    script = (
        f"mkdir -p /root/real /root/spare; echo inside >/root/real/file; ln -s {secret} /root/link;"
        "ln -s real /root/way; touch /ready; cd /root;"
        "while :; do ln -sfn real way; ln -sfn link way; ln -sfn /root/link way;"
        "mv real moved; ln -s link real; rm real; mv moved real; done"
    )
    own.ok("run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", script)
    until(lambda: own("exec", "box", "ls", "/ready").returncode == 0, "ready")
    (tmp_path / "mine").write_text("mine")
    for number in range(RACES):
        way = ("way", "real")[number % 2]
        if number % 3:
            own("cp", str(tmp_path / "mine"), f"box:/root/{way}/file")
        else:
            own("cp", f"box:/root/{way}/file", str(tmp_path / "got"))
            got = tmp_path / "got"
            assert not got.exists() or got.read_text() in ("inside\n", "mine")
    assert (secret / "file").read_text() == "of the host"
    assert os.listdir(secret) == ["file"]


def test_archive_mode_gives_files_to_the_user_that_the_container_runs_as(
    own: Lamina, tmp_path: Path
) -> None:
    own.ok("create", "--name", "box", "-u", "user", "busybox", "true")
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", 7, 8)
    for flags, expected in ((("-a",), (1000, 1001)), ((), (7, 8))):
        own.ok("cp", *flags, str(tmp_path / "file"), "box:/tmp/file")
        data = subprocess.run(
            [LAMINA, "cp", "box:/tmp/file", "-"],
            capture_output=True,
            env=own.environment,
            check=True,
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            member = tar.getmember("file")
        assert (member.uid, member.gid) == expected


def test_what_a_copy_came_to_is_told_where_it_is_asked_for(own: Lamina, tmp_path: Path) -> None:
    own.ok("create", "--name", "box", "busybox")
    (tmp_path / "file").write_text("x")
    os.utime(tmp_path / "file", (1, 1))
    done = own("cp", "--quiet=false", str(tmp_path / "file"), "box:/tmp")
    assert done.stderr == "Successfully copied 2.05kB to box:/tmp\n"


def test_a_killed_copy_into_a_stopped_container_leaves_it_unmounted(
    own: Lamina, tmp_path: Path
) -> None:
    own.ok("create", "--name", "box", "busybox", "true")
    reader, writer = os.pipe()
    copy = own.begin("cp", "-", "box:/tmp", stdin=reader)
    mounts = Path("/proc/self/mountinfo")
    until(lambda: f" {own.root}/" in mounts.read_text(), "mounted")
    copy.kill()
    copy.wait()
    os.close(reader)
    os.close(writer)
    own.ok("rm", "box")
    assert f" {own.root}/" not in mounts.read_text()
