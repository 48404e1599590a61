"""Files copied, exported and committed here and by dockerd: the same trees and refusals."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from dockerkit import DOCKER, Dockerd

LAMINA = Path(sys.executable).parent / "lamina"
OLD = 1_000_000
"""When everything was made that is copied; what is newer is not compared."""

Tree = dict[str, tuple[object, ...]]
Run = Callable[..., subprocess.CompletedProcess[bytes]]

NOT_COMPARED = ("dev", "proc", "sys", "etc", ".dockerenv", ".")


def image_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(
            name: str, kind: bytes, *, link: str = "", data: bytes = b"", owner: int = 0
        ) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mtime, member.size = kind, link, OLD, len(data)
            member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o640
            member.uid = member.gid = owner
            tar.addfile(member, io.BytesIO(data))

        for folder in ("bin", "etc", "dir", "dir/sub", "empty", "usr"):
            add(folder, tarfile.DIRTYPE)
        add("file", tarfile.REGTYPE, data=b"in the image", owner=7)
        add("dir/a", tarfile.REGTYPE, data=b"a" * 1000, owner=70000)
        add("dir/twin", tarfile.LNKTYPE, link="dir/a", owner=70000)
        add("dir/sub/b", tarfile.REGTYPE, data=b"b")
        add("dir/pipe", tarfile.FIFOTYPE)
        add("dir/inner", tarfile.SYMTYPE, link="sub/b")
        add("todir", tarfile.SYMTYPE, link="/dir")
        add("tofile", tarfile.SYMTYPE, link="dir/a")
        add("tolink", tarfile.SYMTYPE, link="todir")
        add("lib", tarfile.SYMTYPE, link="usr")
        add("dangling", tarfile.SYMTYPE, link="/empty/nowhere")
        add("outside", tarfile.SYMTYPE, link="../../../../../../../../../etc")
        add("etc/passwd", tarfile.REGTYPE, data=b"root:x:0:0::/:/bin/sh\n")
    return out.getvalue()


def fill_host(folder: Path) -> None:
    (folder / "dir/sub").mkdir(parents=True)
    (folder / "full").mkdir()
    (folder / "full/a").write_text("was here")
    (folder / "dir/a").write_text("from the host")
    (folder / "dir/sub/c").write_text("deep")
    os.mkfifo(folder / "dir/fifo")
    (folder / "dir/inner").symlink_to("sub/c")
    (folder / "file").write_text("a file of the host")
    os.chown(folder / "file", 1234, 2345)
    (folder / "file").chmod(0o4711)
    (folder / "todir").symlink_to("dir")
    (folder / "tofile").symlink_to("file")
    (folder / "dangling").symlink_to("made")
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, (OLD, OLD), follow_symlinks=False)


def shown(
    kind: int, mode: int, owner: tuple[int, int], mtime: float, content: object
) -> tuple[object, ...]:
    return kind, mode, owner, int(mtime) if mtime < 2 * OLD else None, content


def tree_of_tar(data: bytes) -> Tree:
    found: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for each in tar:
            name = each.name.rstrip("/")
            if name.split("/")[0] in NOT_COMPARED:
                continue
            file = tar.extractfile(each) if each.isreg() or each.islnk() else None
            content = file.read() if file else each.linkname
            kind = int(tarfile.REGTYPE if each.islnk() else each.type)
            found[name] = shown(kind, each.mode & 0o7777, (each.uid, each.gid), each.mtime, content)
    return found


def tree_of_folder(folder: Path) -> Tree:
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content: object = os.readlink(path) if path.is_symlink() else None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = shown(
            *(stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)),
            *((status.st_uid, status.st_gid), status.st_mtime, content),
        )
    return found


@dataclass
class Outcome:
    """What a copy said, and the container, the host and the output after it."""

    said: str
    box: Tree
    host: Tree
    out: Tree


@dataclass
class Both:
    docker: Run
    lamina: Run
    folder: Path

    def outcome(
        self, run: Run, args: Sequence[str], stdin: bytes, create: Sequence[str]
    ) -> Outcome:
        """What a `cp` came to: how it ended, the container's tree, and the host's."""
        host = Path(tempfile.mkdtemp(dir=self.folder))
        fill_host(host)
        made = run("create", "--name", "box", *create, "files", "/x")
        assert made.returncode == 0, made.stderr
        try:
            done = run("cp", *(arg.format(h=host) for arg in args), stdin=stdin)
            exported = run("export", "box")
            assert exported.returncode == 0, exported.stderr
            out = tree_of_tar(done.stdout) if done.stdout else {}
            said = words(done.stderr.decode().replace(str(host), "HOST"))
            return Outcome(said, tree_of_tar(exported.stdout), tree_of_folder(host), out)
        finally:
            assert run("rm", "-f", "-v", "box").returncode == 0
            shutil.rmtree(host)


def words(text: str) -> str:
    """The message alone; versions of Docker differ in how they tell of a missing file."""
    line = text.strip().removeprefix("Error response from daemon: ").removeprefix("Error: ")
    if line.startswith(("No such container:", "No such container: ", "Could not find the file ")):
        return "missing"
    if line.startswith("lstat ") and "/merged/" in line:  # dockerd's own path of a container's file
        return "/" + line.partition("/merged/")[2]
    return line.removeprefix("Error processing tar file(exit status 1): ")


@pytest.fixture(scope="module")
def both(scratch_filesystem: Path) -> Iterator[Both]:
    for program in ("dockerd", DOCKER):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: apt-get install docker.io")
    folder = Path(tempfile.mkdtemp(prefix="files-", dir=scratch_filesystem))
    (folder / "docker").mkdir()
    (folder / "host").mkdir()
    docker = Dockerd(folder / "docker")

    def lamina(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [LAMINA, "--root", folder / "root", *args],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )

    try:
        docker.wait()
        for run in (docker, lamina):
            assert run("import", "-", "files", stdin=image_tar()).returncode == 0
        yield Both(docker, lamina, folder / "host")
    finally:
        docker.stop()
        subprocess.run(["rm", "-rf", folder], check=False)


COPIES = [
    # into the container
    "{h}/file box:/",
    "{h}/file box:/new",
    "{h}/file box:/file",
    "{h}/file box:/dir",
    "{h}/file box:/dir/a",
    "{h}/file box:new/",
    "{h}/file box:/new/deeper",
    "{h}/file box:/file/x",
    "{h}/file box:/todir",
    "{h}/file box:/tolink/",
    "{h}/file box:/tofile",
    "{h}/file box:/dangling",
    "{h}/file box:/outside/passwd",
    "{h}/file box:../../dir/../empty",
    "{h}/dir box:/",
    "{h}/dir box:/empty",
    "{h}/dir box:/new",
    "{h}/dir box:/new/",
    "{h}/dir/ box:/empty",
    "{h}/dir/. box:/empty",
    "{h}/dir/. box:/new",
    "{h}/dir box:/file",
    "{h}/dir box:/new/deeper",
    "{h}/todir box:/empty",
    "{h}/todir/ box:/empty",
    "{h}/tofile box:/empty",
    "-L {h}/todir box:/empty",
    "-L {h}/tofile box:/empty",
    "-L {h}/todir box:/new",
    "-a {h}/file box:/",
    "{h}/missing box:/",
    # out of it
    "box:/file {h}",
    "box:/file {h}/new",
    "box:/file {h}/file",
    "box:/file {h}/todir",
    "box:/file {h}/tofile",
    "box:/file {h}/dangling",
    "box:/file {h}/new/",
    "box:/file {h}/new/deeper",
    "box:/dir {h}",
    "box:/dir {h}/new",
    "box:/dir {h}/full",
    "box:/dir/ {h}/full",
    "box:/dir/. {h}/full",
    "box:/dir/. {h}/new",
    "box:/dir {h}/file",
    "box:/todir {h}/new",
    "box:/todir/ {h}/full",
    "box:/todir/. {h}/full",
    "-L box:/todir {h}/full",
    "-L box:/tofile {h}/full",
    "-L box:/tolink {h}/new",
    "-a box:/dir {h}/full",
    "box:/missing {h}",
    "box:/file/ {h}/new",
    "box:/outside/passwd {h}",
    "box:/dangling {h}/full",
    # as a tar
    "box:/dir -",
    "box:/dir/. -",
    "box:/file -",
    "box:/tofile -",
    "box:/todir/ -",
    "-L box:/tofile -",
    "-L box:/tolink -",
    "box:/missing -",
    # and what makes no sense
    "{h}/file {h}/new",
    "box:/file box:/new",
    "nobody:/file {h}",
]


def differences(here: Outcome, there: Outcome) -> list[object]:
    """Where two outcomes differ: what was said, and each file by name."""
    found: list[object] = []
    if here.said != there.said:
        found.append((here.said, there.said))
    for ours, theirs in ((here.box, there.box), (here.host, there.host), (here.out, there.out)):
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                found.append((name, ours.get(name), theirs.get(name)))
    return found


@pytest.mark.parametrize("case", COPIES)
def test_a_copy_comes_to_what_docker_makes_of_it(both: Both, case: str) -> None:
    here, there = (both.outcome(run, case.split(), b"", ()) for run in (both.lamina, both.docker))
    found = differences(here, there)
    assert not found, found


def tar_of(*members: tuple[str, bytes, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mtime, member.uid, member.mode = kind, OLD, 5, 0o751
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname, content = content, ""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return out.getvalue()


STREAMS = {
    "a file": (("new", tarfile.REGTYPE, "x"),),
    "implied folders": (("deep/er/new", tarfile.REGTYPE, "x"),),
    "through a link": (("lib/new", tarfile.REGTYPE, "x"),),
    "a folder over a file": (("file", tarfile.DIRTYPE, ""),),
    "a file over a folder": (("dir", tarfile.REGTYPE, ""),),
    "a hard link": (("new", tarfile.REGTYPE, "x"), ("twin", tarfile.LNKTYPE, "new")),
    "a name with dots": (("a/../new", tarfile.REGTYPE, "x"),),
    "a file over a link": (("tofile", tarfile.REGTYPE, "x"),),
}


@pytest.mark.parametrize("target", ["/", "/dir", "/todir", "/file", "/missing"])
@pytest.mark.parametrize("stream", STREAMS)
def test_a_tar_is_unpacked_as_docker_does(both: Both, stream: str, target: str) -> None:
    data = tar_of(*STREAMS[stream])
    here, there = (
        both.outcome(run, ("-", f"box:{target}"), data, ()) for run in (both.lamina, both.docker)
    )
    found = differences(here, there)
    assert not found, found


def test_a_read_only_root_and_a_read_only_volume_are_refused_in_dockers_words(both: Both) -> None:
    for create in (("--read-only",), ("-v", f"{both.folder}:/empty:ro")):
        here, there = (
            both.outcome(run, ("{h}/file", "box:/empty/x"), b"", create)
            for run in (both.lamina, both.docker)
        )
        found = differences(here, there)
        assert not found, found


def test_an_export_has_the_same_files(both: Both) -> None:
    trees = []
    for run in (both.lamina, both.docker):
        assert run("create", "--name", "box", "files", "/x").returncode == 0
        trees.append(tree_of_tar(run("export", "box").stdout))
        run("rm", "box")
    assert trees[0] == trees[1]
    assert "dir/sub/b" in trees[0]


def test_a_commit_has_the_same_configuration_history_and_layer(both: Both) -> None:
    found = []
    for run in (both.lamina, both.docker):
        assert run("create", "--name", "box", "-e", "A=1", "files", "/x", "y").returncode == 0
        assert run("cp", "-", "box:/", stdin=tar_of(*STREAMS["implied folders"])).returncode == 0
        flags = ("-a", "me", "-m", "words", "-c", "ENV B=2", "-c", 'CMD ["z"]', "-c", "LABEL a=b")
        done = run("commit", *flags, "box", "made:1")
        assert done.returncode == 0, done.stderr
        (image,) = json.loads(run("image", "inspect", "made:1").stdout)
        config = {name: image["Config"][name] for name in ("Env", "Cmd", "Labels", "Entrypoint")}
        history = run("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "made:1")
        found.append(
            (
                config,
                image["Author"],
                image["Comment"],
                len(image["RootFS"]["Layers"]),
                history.stdout,
            )
        )
        assert run("create", "--name", "again", "made:1").returncode == 0
        found.append(tree_of_tar(run("export", "again").stdout))
        run("rm", "box", "again")
    assert found[:2] == found[2:]
