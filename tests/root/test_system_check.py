"""`system check` on layers that were really broken, on both drivers."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commandkit import Lamina, busybox_tar
from layer_builders import layer_store

MTIME = 1_600_000_000


@pytest.fixture(scope="module", params=["overlay2", "vfs"])
def pristine(request: pytest.FixtureRequest, scratch_filesystem: Path) -> Iterator[Path]:
    """A folder with a data root that holds one image of three layers, and its archive."""
    folder = Path(tempfile.mkdtemp(prefix="check-", dir=scratch_filesystem))
    lamina = Lamina(folder / "root")
    lamina.environment["LAMINA_DRIVER"] = request.param
    (folder / "driver").write_text(request.param)
    (folder / "rootfs.tar").write_bytes(_rootfs())
    lamina.ok("import", str(folder / "rootfs.tar"), "base")
    (folder / "context").mkdir()
    (folder / "context" / "big").write_bytes(os.urandom(300_000))
    (folder / "context" / "Dockerfile").write_text(
        "FROM base\nCOPY big /app/big\n"
        "RUN rm /etc/secret && echo new > /etc/motd && mkdir /made && ln /etc/motd /made/motd\n"
    )
    done = lamina("build", "--network", "none", "-t", "app", str(folder / "context"))
    assert done.returncode == 0, done
    lamina.ok("save", "-o", str(folder / "app.tar"), "app")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rootfs() -> bytes:
    out = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=out, mode="a") as tar:

        def add(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **facts: str) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.mtime = kind, len(data), MTIME
            member.linkname = facts.pop("linkname", "")
            member.pax_headers = {f"SCHILY.xattr.{key}": text for key, text in facts.items()}
            tar.addfile(member, io.BytesIO(data))

        add("etc/motd", data=b"hello\n")
        add("etc/secret", data=b"x")
        add("etc/link", tarfile.SYMTYPE, linkname="motd")
        add("etc/twin", tarfile.LNKTYPE, linkname="etc/motd")
        add("etc/marked", data=b"marked", **{"user.colour": "red"})
        add("etc/empty")
        add("opt", tarfile.DIRTYPE)
        for number in range(20):
            add(f"opt/{number}", data=bytes([number]) * 1000)
    return out.getvalue()


@pytest.fixture
def stored(pristine: Path) -> Iterator[Path]:
    """A copy of it, to be broken."""
    folder = Path(tempfile.mkdtemp(prefix="broken-", dir=pristine.parent))
    subprocess.run(["cp", "-a", f"{pristine}/.", folder], check=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lamina(stored: Path) -> Lamina:
    lamina = Lamina(stored / "root")
    lamina.environment["LAMINA_DRIVER"] = (stored / "driver").read_text()
    return lamina


@pytest.fixture
def base(stored: Path) -> Path:
    """The folder of the image's lowest layer."""
    return _folder(stored, 1)


@pytest.fixture
def top(stored: Path) -> Path:
    """The folder of the image's uppermost layer: a committed snapshot."""
    return _folder(stored, 3)


def _folder(stored: Path, depth: int) -> Path:
    with layer_store(stored / "root", (stored / "driver").read_text()) as layers:
        (row,) = layers.root.database.read(
            "SELECT cache_id FROM layers WHERE depth=? AND kind='image'", (depth,)
        )
        return layers.driver.layer_root(row["cache_id"])


def _damage(lamina: Lamina, *args: str) -> list[tuple[str, str]]:
    done = lamina("system", "check", "--format", "json", *args)
    found = json.loads(done.stdout)
    damage = [(each["Path"], each["Problem"]) for each in found["Damage"]]
    assert done.returncode == int(bool(damage)), done
    assert done.stderr == ""
    return damage


def _flip(path: Path) -> None:
    """Change one bit and nothing that tells of it."""
    found = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _keeping_time(path: Path, change: Callable[[Path], object]) -> None:
    """Change something in a folder, but not the folder's time."""
    found = path.parent.stat()
    change(path)
    os.utime(path.parent, ns=(found.st_atime_ns, found.st_mtime_ns))


def _cut_off(path: Path) -> None:
    os.truncate(path, 10)
    os.utime(path, (MTIME, MTIME))


def _relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("shadow")
    os.utime(path, (MTIME, MTIME), follow_symlinks=False)


def _unlink_twin(path: Path) -> None:
    shutil.copy2(path, f"{path}.copy")
    os.rename(f"{path}.copy", path)


def _folder_for_file(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inner").write_text("!")


Break = Callable[[Path], object]
BREAKS: dict[str, tuple[str, Break, str]] = {
    "a flipped bit": ("opt/7", _flip, "its content has changed"),
    "a cut-off file": ("opt/7", _cut_off, "has 10 bytes, should have 1000"),
    "a deleted file": ("opt/7", lambda p: _keeping_time(p, Path.unlink), "is missing"),
    "another mode": ("opt/7", lambda p: p.chmod(0o600), "has mode 0600, should have 0644"),
    "another owner": ("opt/7", lambda p: os.chown(p, 5, 6), "is owned by 5:6, should be 0:0"),
    "another time": (
        "opt/7",
        lambda p: os.utime(p, (1, 1)),
        "was modified at 1970-01-01T00:00:01Z, should be 2020-09-13T12:26:40Z",
    ),
    "another attribute": (
        "etc/marked",
        lambda p: os.setxattr(p, "user.colour", b"blue"),
        "has other extended attributes: user.colour",
    ),
    "an attribute too many": (
        "etc/link",
        lambda p: os.setxattr(p, "trusted.colour", b"blue", follow_symlinks=False),
        "has other extended attributes: trusted.colour",
    ),
    "a file too many": (
        "opt/extra",
        lambda p: _keeping_time(p, lambda each: each.write_bytes(b"!")),
        "is a file that the layer does not have",
    ),
    "another link": (
        "etc/link",
        lambda p: _keeping_time(p, _relink),
        "links to 'shadow', should be 'motd'",
    ),
    "a lost hard link": (
        "etc/twin",
        lambda p: _keeping_time(p, _unlink_twin),
        "is no longer a hard link to the file's other names",
    ),
    "a folder's mode": ("opt", lambda p: p.chmod(0o1777), "has mode 1777, should have 0644"),
    "a folder instead of a file": (
        "etc/empty",
        lambda p: _keeping_time(p, _folder_for_file),
        "is a folder, should be a file",
    ),
}


def test_what_is_whole_is_not_damaged(lamina: Lamina) -> None:
    out = lamina.ok("system", "check")
    assert out.startswith("3 layers checked: ")
    assert out.endswith("; nothing is damaged\n")


@pytest.mark.parametrize("name", BREAKS)
def test_it_is_found_by_its_path_and_mended(
    lamina: Lamina, stored: Path, base: Path, name: str
) -> None:
    path, change, problem = BREAKS[name]
    change(base / path)
    assert _damage(lamina, "base") == [(f"/{path}", problem)]
    done = lamina("system", "check", "--repair", "--from", str(stored / "app.tar"))
    assert done.returncode == 0, done
    assert f"/{path}: {problem} (mended)" in done.stdout
    assert lamina.ok("system", "check").endswith("nothing is damaged\n")
    lamina.ok("save", "-o", str(stored / "again.tar"), "app")
    assert (stored / "again.tar").read_bytes() == (stored / "app.tar").read_bytes()


@pytest.mark.parametrize("path", ["etc/motd", "made/motd"])
def test_a_committed_layer_is_mended_too(
    lamina: Lamina, stored: Path, top: Path, path: str
) -> None:
    _flip(top / path)
    (found,) = _damage(lamina)
    assert found[1] == "its content has changed"
    assert "cannot be mended" in lamina("system", "check", "--repair").stdout
    done = lamina("system", "check", "--repair", "--from", str(stored / "app.tar"))
    assert done.returncode == 0, done
    assert (top / "etc/motd").samefile(top / "made/motd")
    assert _damage(lamina) == []


def test_a_whole_folder_that_is_gone_comes_back(lamina: Lamina, stored: Path, base: Path) -> None:
    shutil.rmtree(base / "opt")
    assert ("/opt", "is missing") in _damage(lamina, "base")
    done = lamina("system", "check", "--repair", "--from", str(stored / "app.tar"))
    assert done.returncode == 0, done
    assert (base / "opt/19").read_bytes() == bytes([19]) * 1000
    assert _damage(lamina) == []


def test_a_lost_mark_of_deletion_is_found_and_mended(
    lamina: Lamina, stored: Path, top: Path
) -> None:
    secret = top / "etc/secret"
    if (stored / "driver").read_text() == "overlay2":
        _keeping_time(secret, Path.unlink)
        expected = "is missing"
    else:
        _keeping_time(secret, lambda each: each.write_bytes(b"x"))
        expected = "is a file that the layer does not have"
    assert _damage(lamina) == [("/etc/secret", expected)]
    assert lamina("system", "check", "--repair").returncode == 0
    assert _damage(lamina) == []


def test_without_an_archive_what_needs_no_content_is_mended(lamina: Lamina, base: Path) -> None:
    (base / "opt/1").chmod(0o600)
    os.chown(base / "opt/2", 9, 9)
    (base / "opt/3").write_bytes(b"")
    (base / "opt/extra").write_bytes(b"")
    done = lamina("system", "check", "--repair", "base")
    with_copy = (base / "opt/3").stat().st_size == 1000  # vfs: the layers above have copies
    assert done.returncode == int(not with_copy)
    assert done.stdout.count("(mended)") == 4 + with_copy
    assert ("--repair --from FILE" in done.stdout) is not with_copy


def test_content_comes_from_the_same_layer_of_another_driver(
    lamina: Lamina, stored: Path, base: Path
) -> None:
    other = "vfs" if (stored / "driver").read_text() == "overlay2" else "overlay2"
    loaded = lamina("--storage-driver", other, "load", "-i", str(stored / "app.tar"))
    assert loaded.returncode == 0, loaded
    _flip(base / "opt/7")
    assert lamina("system", "check", "--repair", "base").returncode == 0
    assert (base / "opt/7").read_bytes() == bytes([7]) * 1000


def test_nothing_of_an_archive_with_another_content_is_used(
    lamina: Lamina, stored: Path, base: Path
) -> None:
    archive = stored / "app.tar"
    data = bytearray(archive.read_bytes())
    at = data.index(bytes([7]) * 1000)
    data[at] ^= 1
    archive.write_bytes(data)
    _flip(base / "opt/8")
    done = lamina("system", "check", "base", "--repair", "--from", str(archive))
    if done.returncode == 1:  # (vfs has copies of its own)
        assert "has another content" in done.stderr
        assert _damage(lamina, "base") == [("/opt/8", "its content has changed")]


def test_a_lost_journal_and_a_lost_folder_are_made_anew(
    lamina: Lamina, stored: Path, base: Path, top: Path
) -> None:
    cache_id = base.parent.name if base.name == "diff" else base.name
    (stored / "root" / "layers" / f"{cache_id}.journal").unlink()
    assert ("", "its journal is missing") in _damage(lamina)
    shutil.rmtree(top)
    assert "" in [path for path, _ in _damage(lamina)]
    archive = str(stored / "app.tar")
    lamina("system", "check", "--repair", "--from", archive)
    assert lamina("system", "check", "--repair", "--from", archive).returncode == 0
    assert lamina.ok("system", "check").endswith("nothing is damaged\n")


def test_a_running_container_is_neither_stopped_nor_damage(lamina: Lamina, base: Path) -> None:
    lamina.ok("run", "-d", "--network", "none", "--name", "one", "app", "sleep", "1000")
    try:
        lamina.ok("exec", "one", "sh", "-c", "echo changed > /etc/motd; rm /opt/1; mkdir /x")
        assert lamina.ok("system", "check").endswith("nothing is damaged\n")
        (base / "opt/9").chmod(0o600)
        assert lamina("system", "check", "--repair").returncode == 0
        assert lamina.ok("exec", "one", "cat", "/etc/motd") == "changed\n"
    finally:
        lamina("rm", "-f", "one")


def test_rubbish_and_rows_without_a_thing_are_named(lamina: Lamina, stored: Path) -> None:
    root = stored / "root"
    home = root / (stored / "driver").read_text()
    home = home / "dir" if home.name == "vfs" else home
    (home / ("ab" * 32) / "diff").mkdir(parents=True)
    (root / "layers" / "cd.journal").write_bytes(b"")
    (root / "blobs" / "sha256" / ("e" * 64)).write_bytes(b"")
    (root / "containers" / "nobody").mkdir()
    (root / "volumes" / "kept" / "_data").mkdir(parents=True)
    lamina.ok("volume", "create", "lost")
    shutil.rmtree(root / "volumes" / "lost")
    done = lamina("system", "check")
    assert done.returncode == 1
    for name in ("ab" * 32, "layers/cd.journal", "e" * 64, "containers/nobody", "volumes/kept"):
        assert f"{name}: is named by no row" in done.stdout
    assert "volume lost: has a row, and no folder" in done.stdout
    repaired = lamina("system", "check", "--repair").stdout
    assert repaired.count("(mended)") == 4
    assert "volumes/kept: is named by no row (cannot be mended)" in repaired
    assert (root / "volumes" / "kept").exists()


def test_counters_are_checked_and_put_right(lamina: Lamina, stored: Path) -> None:
    driver = (stored / "driver").read_text()
    with layer_store(stored / "root", driver) as layers, layers.root.database.transaction() as tx:
        tx.execute("UPDATE contents SET size_bytes=size_bytes+1")
        tx.execute("UPDATE images SET size_bytes=7")
    done = lamina("system", "check")
    assert done.returncode == 1
    assert "is counted as 7 bytes, has " in done.stdout
    assert lamina("system", "check", "--repair").returncode == 0
    assert lamina.ok("system", "check").endswith("nothing is damaged\n")


def test_a_sample_reads_a_share_and_a_short_time_ends_it(lamina: Lamina, base: Path) -> None:
    whole = json.loads(lamina.ok("system", "check", "--format", "json"))
    part = json.loads(lamina.ok("system", "check", "--format", "json", "--sample", "5%"))
    assert part["BytesRead"] < whole["BytesRead"]
    none = json.loads(lamina.ok("system", "check", "--format", "json", "--max-duration", "1ns"))
    assert (none["LayersChecked"], none["LayersUnfinished"]) == (0, 3)
    (base / "opt/1").chmod(0o600)
    assert lamina("system", "check", "--sample", "1%").returncode == 1  # metadata is always read


@pytest.mark.parametrize(
    "args",
    [["--sample", "0%"], ["--max-duration", "10"], ["--from", "x"], ["--format", "xml"], ["no"]],
)
def test_what_makes_no_sense_is_refused_in_one_line(lamina: Lamina, args: list[str]) -> None:
    done = lamina("system", "check", *args)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_a_found_damage_is_repaired_by_loading_again(
    lamina: Lamina, stored: Path, base: Path
) -> None:
    _flip(base / "opt/7")
    assert _damage(lamina, "base") == [("/opt/7", "its content has changed")]
    loaded = lamina("load", "-i", str(stored / "app.tar"))
    assert loaded.returncode == 0, loaded
    assert _damage(lamina) == []
