"""Builders of layers and trees for the storage drivers' suite, and what a tree looks like."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lamina.drivers.contract import StorageDriver
from lamina.tar.extract import Extracted
from lamina.tar.reader import TarReader

EPOCH = 1_600_000_000


@dataclass
class Member:
    """A member of a layer tar, as a test says it."""

    name: str
    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = EPOCH
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, str] = field(default_factory=dict)


def file(name: str, data: bytes | str = b"", **facts: object) -> Member:
    """A regular file."""
    return Member(name, data.encode() if isinstance(data, str) else data, **facts)  # type: ignore[arg-type]


def folder(name: str, mode: int = 0o755, **facts: object) -> Member:
    """A folder."""
    return Member(name, type=tarfile.DIRTYPE, mode=mode, **facts)  # type: ignore[arg-type]


def symlink(name: str, target: str) -> Member:
    """A symbolic link."""
    return Member(name, type=tarfile.SYMTYPE, link=target, mode=0o777)


def hard_link(name: str, target: str) -> Member:
    """A hard link to another member."""
    return Member(name, type=tarfile.LNKTYPE, link=target)


def layer_tar(*members: Member) -> bytes:
    """A layer's tar, by the standard library's writer: not by the code under test."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.mode, info.mtime = member.type, member.mode, member.mtime
            info.uid, info.gid, info.linkname = member.uid, member.gid, member.link
            info.devmajor, info.devminor = member.device
            info.size = len(member.data)
            info.pax_headers = {f"SCHILY.xattr.{k}": v for k, v in member.xattrs.items()}
            archive.addfile(info, io.BytesIO(member.data))
    return out.getvalue()


def add_layer(
    driver: StorageDriver, cache_id: str, parents: Sequence[str], *members: Member
) -> Extracted:
    """A layer from a tar."""
    return apply_tar(driver, cache_id, parents, layer_tar(*members))


def apply_tar(
    driver: StorageDriver, cache_id: str, parents: Sequence[str], tar: bytes
) -> Extracted:
    """A layer from the bytes of a tar."""
    with driver.begin_layer(cache_id, parents) as writer:
        extracted = writer.apply(TarReader(io.BytesIO(tar)))
        writer.commit()
    return extracted


def build_layer(
    driver: StorageDriver, cache_id: str, parents: Sequence[str], act: Callable[[Path], object]
) -> None:
    """A layer from what a build step does in a mounted snapshot."""
    with_snapshot(driver, f"{cache_id}.step", parents, act)
    driver.commit(f"{cache_id}.step", cache_id)


def with_snapshot(
    driver: StorageDriver, id: str, parents: Sequence[str], act: Callable[[Path], object]
) -> None:
    """An active snapshot in which this was done; unmounted."""
    driver.prepare(id, parents)
    edit(driver, id, act)


def edit(driver: StorageDriver, id: str, act: Callable[[Path], object]) -> None:
    """Do this in a mounted snapshot."""
    root = driver.mount(id)
    try:
        act(root)
    finally:
        driver.unmount(id)


def changes(driver: StorageDriver, id: str, parents: Sequence[str]) -> list[str]:
    """What changed, as `docker diff` prints it."""
    return [f"{change.kind} {os.fsdecode(change.path)}" for change in driver.changes(id, parents)]


def diff_bytes(driver: StorageDriver, id: str, parents: Sequence[str]) -> bytes:
    """The diff as a tar."""
    out = io.BytesIO()
    driver.diff(id, parents, out)
    return out.getvalue()


def diff_names(driver: StorageDriver, id: str, parents: Sequence[str]) -> list[str]:
    """The names in the diff, by the standard library's reader."""
    with tarfile.open(fileobj=io.BytesIO(diff_bytes(driver, id, parents))) as archive:
        return [member.name for member in archive]


def names(root: Path | str) -> list[str]:
    """Every path below a folder."""
    return sorted(path for path, _ in _walk(os.fspath(root), ""))


def tree(root: Path | str, *, times: bool = True) -> dict[str, tuple[object, ...]]:
    """All of a tree that should survive a copy, by path; '' is its root."""
    found: dict[str, tuple[object, ...]] = {}
    groups: dict[tuple[int, int], str] = {}
    for path, status in [("", os.lstat(f"{root}/.")), *_walk(os.fspath(root), "")]:
        full = f"{root}/{path}" if path else f"{root}/."
        kind = stat.S_IFMT(status.st_mode)
        content: object = None
        if kind == stat.S_IFREG:
            content = Path(full).read_bytes()
        elif kind == stat.S_IFLNK:
            content = os.readlink(full)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            content = status.st_rdev
        first = path
        if kind != stat.S_IFDIR and status.st_nlink > 1:
            first = groups.setdefault((status.st_dev, status.st_ino), path)
        found[path] = (
            oct(status.st_mode),
            status.st_uid,
            status.st_gid,
            content,
            status.st_mtime_ns if times and kind != stat.S_IFDIR else None,
            first,
            tuple(sorted(_xattrs(full).items())),
        )
    return found


def view_tree(driver: StorageDriver, chain: Sequence[str]) -> dict[str, tuple[object, ...]]:
    """The tree that a chain shows."""
    with driver.view(chain) as root:
        return tree(root)


def _xattrs(path: str) -> dict[str, bytes]:
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
        if not name.startswith("trusted.overlay.")
    }


def _walk(root: str, below: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(f"{root}/{below}") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{below}/{entry.name}" if below else entry.name
            yield path, entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, path)
