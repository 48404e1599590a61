"""What changed on top of a layer chain, as a list.

Two ways to know it. `overlay_changes` reads overlayfs's upper folder, in which just the changes
lie; `tree_changes` compares two whole trees. Both tell the same `Change`s, sorted as a walk meets
them: a folder before what is in it, names by their bytes.

A folder is a change if its mode, owner or attributes differ or something in it changed; a time of
its own alone is not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from lamina.errors import Unsupported
from lamina.tar import xattrs
from lamina.tar.folders import MAX_DEPTH
from lamina.tar.lower import Below, Lower

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CHUNK = 1 << 20
NEVER = (0, 0)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: added, changed or deleted, as `docker diff` prints it.

    `path` is absolute as seen in the container. `opaque`: the folder hides what it has below.
    """

    kind: str
    path: bytes
    opaque: bool = False


def overlay_changes(upper_fd: int, lower: Lower | None) -> Iterator[Change]:
    """What an overlay's upper folder changes. Without `lower`, everything there counts as added."""
    yield from _Upper(lower).walk(upper_fd, b"", visible=True)


class _Upper:
    def __init__(self, lower: Lower | None) -> None:
        self._lower = lower

    def _below(self, path: bytes) -> Below | None:
        return self._lower(path) if self._lower is not None else None

    def walk(self, fd: int, path: bytes, *, visible: bool) -> Iterator[Change]:
        """The changes in one folder; `visible`: lower layers' content shows through it."""
        for name, child, found in _children(fd, path):
            below = self._below(child) if visible else None
            shown = b"/" + child
            if stat.S_ISDIR(found.st_mode):
                yield from self._folder(fd, name, child, found, below, visible)
            elif _is_whiteout(fd, name, found):
                if below is not None or (self._lower is None and visible):
                    yield Change("D", shown)
            elif not stat.S_ISSOCK(found.st_mode):
                if stat.S_ISREG(found.st_mode):
                    _check_in_place(fd, name, child)
                yield Change("A" if below is None else "C", shown)

    def _folder(
        self,
        fd: int,
        name: bytes,
        path: bytes,
        found: os.stat_result,
        below: Below | None,
        visible: bool,
    ) -> Iterator[Change]:
        child_fd = os.open(name, _FOLDER, dir_fd=fd)
        try:
            marked = xattrs.is_opaque(child_fd)
            _check_in_place(fd, name, path)
            known = self._lower is not None
            hides = marked and visible and (not known or (below is not None and below.is_folder))
            inner = self.walk(child_fd, path, visible=visible and not marked)
            if below is not None and below.is_folder and not hides:
                own = xattrs.of_path(child_fd, marks=True)
                if same_metadata(found, own, below):
                    first = next(inner, None)
                    if first is not None:
                        yield Change("C", b"/" + path)
                        yield first
                        yield from inner
                    return
            yield Change("A" if below is None else "C", b"/" + path, hides)
            yield from inner
        finally:
            os.close(child_fd)


def same_metadata(found: os.stat_result, attributes: dict[bytes, bytes], below: Below) -> bool:
    """Whether mode, owner and attributes are as below; times are not looked at."""
    return (
        found.st_mode == below.mode
        and found.st_uid == below.uid
        and found.st_gid == below.gid
        and attributes == below.xattrs
    )


def root_changed(root_fd: int, lower: Lower, *, marks: bool) -> bool:
    """Whether the root folder itself (which no list of changes names) differs from below."""
    below = lower(b"")
    own = xattrs.of_path(root_fd, marks=marks)
    return below is not None and not same_metadata(os.fstat(root_fd), own, below)


def tree_changes(
    lower_fd: int, upper_fd: int, *, copied_ns: tuple[int, int] = NEVER
) -> list[Change]:
    """What makes the upper tree differ from the lower one, of which it began as a copy.

    A file whose change time (which nobody can set) lies between the start and the end of the
    copying, `copied_ns`, is as it was copied; of any other, metadata and if need be content are
    compared. (The start matters where a machine's clock was set back since.)
    """
    comparison = _Comparison(copied_ns)
    found = list(comparison.folder(lower_fd, upper_fd, b""))
    return comparison.with_whole_links(found)


class _Comparison:
    def __init__(self, copied_ns: tuple[int, int]) -> None:
        self._start_ns, self._end_ns = copied_ns
        self._upper_links: dict[tuple[int, int], list[bytes]] = {}
        self._lower_links: dict[tuple[int, int], list[bytes]] = {}

    def folder(self, lower_fd: int | None, upper_fd: int, path: bytes) -> Iterator[Change]:
        """The changes below one folder of both trees (or of the upper one only)."""
        old = {n: s for n, _, s in _children(lower_fd, path)} if lower_fd is not None else {}
        new = {n: s for n, _, s in _children(upper_fd, path)}
        for name in sorted(old.keys() | new.keys()):
            child = path + b"/" + name if path else name
            before, after = old.get(name), new.get(name)
            _note(self._lower_links, before, child)
            _note(self._upper_links, after, child)
            if after is None or stat.S_ISSOCK(after.st_mode):
                if before is not None and not stat.S_ISSOCK(before.st_mode):
                    yield Change("D", b"/" + child)
            elif stat.S_ISDIR(after.st_mode):
                yield from self._folders(lower_fd, upper_fd, name, child, before, after)
            elif before is None:
                yield Change("A", b"/" + child)
            else:
                assert lower_fd is not None
                if not self._same_file(lower_fd, upper_fd, name, before, after):
                    yield Change("C", b"/" + child)

    def _folders(
        self,
        lower_fd: int | None,
        upper_fd: int,
        name: bytes,
        path: bytes,
        before: os.stat_result | None,
        after: os.stat_result,
    ) -> Iterator[Change]:
        new_fd = os.open(name, _FOLDER, dir_fd=upper_fd)
        old_fd = None
        try:
            if before is not None and stat.S_ISDIR(before.st_mode):
                assert lower_fd is not None
                old_fd = os.open(name, _FOLDER, dir_fd=lower_fd)
            inner = self.folder(old_fd, new_fd, path)
            if old_fd is not None and before is not None and _same_owner(before, after):
                own = xattrs.of_path(new_fd, marks=False)
                if own == xattrs.of_path(old_fd, marks=False):
                    first = next(inner, None)
                    if first is not None:
                        yield Change("C", b"/" + path)
                        yield first
                        yield from inner
                    return
            yield Change("A" if before is None else "C", b"/" + path)
            yield from inner
        finally:
            os.close(new_fd)
            if old_fd is not None:
                os.close(old_fd)

    def _same_file(
        self,
        lower_fd: int,
        upper_fd: int,
        name: bytes,
        before: os.stat_result,
        after: os.stat_result,
    ) -> bool:
        if self._start_ns <= after.st_ctime_ns < self._end_ns:
            return True
        if not _same_owner(before, after) or before.st_mtime_ns != after.st_mtime_ns:
            return False
        if before.st_size != after.st_size or before.st_rdev != after.st_rdev:
            return False
        if stat.S_ISLNK(after.st_mode) and os.readlink(name, dir_fd=lower_fd) != os.readlink(
            name, dir_fd=upper_fd
        ):
            return False
        if xattrs_at(lower_fd, name, marks=False) != xattrs_at(upper_fd, name, marks=False):
            return False
        return not stat.S_ISREG(after.st_mode) or _same_content(lower_fd, upper_fd, name)

    def with_whole_links(self, changes: list[Change]) -> list[Change]:
        """Add the unchanged names of files that got or lost a name: a layer carries all of them."""
        listed = {change.path for change in changes}
        missing: list[bytes] = []
        groups = {tuple(paths) for paths in self._lower_links.values()}
        for paths in self._upper_links.values():
            touched = any(b"/" + path in listed for path in paths)
            if touched or tuple(paths) not in groups:
                missing += [b"/" + path for path in paths if b"/" + path not in listed]
        if not missing:
            return changes
        for path in missing:
            while path and path not in listed:
                listed.add(path)
                changes.append(Change("C", path))
                path = path.rpartition(b"/")[0]
        return sorted(changes, key=lambda change: change.path.split(b"/"))


def _note(
    links: dict[tuple[int, int], list[bytes]], found: os.stat_result | None, path: bytes
) -> None:
    if found is not None and found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
        links.setdefault((found.st_dev, found.st_ino), []).append(path)


def _same_owner(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_mode, before.st_uid, before.st_gid) == (
        after.st_mode,
        after.st_uid,
        after.st_gid,
    )


def _same_content(lower_fd: int, upper_fd: int, name: bytes) -> bool:
    with (
        open(os.open(name, _FILE, dir_fd=lower_fd), "rb", buffering=0) as old,
        open(os.open(name, _FILE, dir_fd=upper_fd), "rb", buffering=0) as new,
    ):
        while True:
            data = old.read(_CHUNK)
            if data != new.read(_CHUNK):
                return False
            if not data:
                return True


def all_as_added(root_fd: int, path: bytes = b"") -> Iterator[Change]:
    """Everything in a plain tree, as additions."""
    for name, child, found in _children(root_fd, path):
        if stat.S_ISSOCK(found.st_mode):
            continue
        yield Change("A", b"/" + child)
        if stat.S_ISDIR(found.st_mode):
            fd = os.open(name, _FOLDER, dir_fd=root_fd)
            try:
                yield from all_as_added(fd, child)
            finally:
                os.close(fd)


def _children(fd: int, path: bytes) -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """The name, path and status of all in a folder, sorted."""
    if path.count(b"/") >= MAX_DEPTH:
        raise Unsupported(
            f"{os.fsdecode(path[:100])!r}… lies too deep: a layer has at most {MAX_DEPTH} folders"
            " in one another",
            remedy="remove that folder",
        )
    for name in sorted(os.fsencode(text) for text in os.listdir(fd)):
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        yield name, (path + b"/" + name if path else name), found


def _is_whiteout(dir_fd: int, name: bytes, found: os.stat_result) -> bool:
    if stat.S_ISCHR(found.st_mode):
        return found.st_rdev == 0
    if not stat.S_ISREG(found.st_mode) or found.st_size:
        return False
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        return xattrs.is_whiteout(fd, found)
    finally:
        os.close(fd)


def _check_in_place(dir_fd: int, name: bytes, path: bytes) -> None:
    """Refuse a file of which overlayfs keeps only a part here, the rest under another name."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        mark = xattrs.moved_by(fd)
    finally:
        os.close(fd)
    if mark is not None:
        raise Unsupported(
            f"{os.fsdecode(path)!r} was written with overlayfs's {mark.rpartition('.')[2]} feature",
            remedy="mount with redirect_dir=off,metacopy=off",
        )


def xattrs_at(dir_fd: int, name: bytes, *, marks: bool) -> dict[bytes, bytes]:
    return xattrs.of_path(b"/proc/self/fd/%d/%s" % (dir_fd, name), marks=marks)
