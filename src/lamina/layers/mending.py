"""Making a damaged layer's folder what it must be, one file at a time.

A file is made anew in the operation's folder, whole, with its content checked against the journal
and flushed, and renamed into its place: who has the layer mounted sees the old file or the new one.
All names of a file are renamed over. What should not be there is moved aside into the operation's
folder. A folder that stands gets its metadata where it is.

Content comes, in this order, from the file itself (where that is not what is damaged), from
contents of the same diff id in this data root, whatever driver holds them, and from a `Source`:
the layer's exact tar, of which nothing is used unless all of it has the right digest.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from isal.isal_zlib import crc32

from lamina.digests import DiffID
from lamina.errors import Corrupt
from lamina.layers.comparison import Fault, metadata
from lamina.layers.expected import ExpectedTree, Node
from lamina.linux import syscalls
from lamina.tar import xattrs
from lamina.tar.entry import Entry, Kind
from lamina.tar.folders import Folder
from lamina.tar.metadata import Metadata

if TYPE_CHECKING:
    from lamina.tar.lower import Lower
    from lamina.tar.reader import Stream

Source = Callable[[DiffID], AbstractContextManager["Stream"] | None]
"""Opens the tar (compressed or not) of the layer with this diff id; None: it has no such layer."""

_INSIDE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20


class Mending:
    """The repair of one folder; `scratch` is an empty folder on the same filesystem."""

    def __init__(
        self,
        tree: ExpectedTree,
        root_fd: int,
        scratch: Path,
        *,
        below: Lower,
        copies: Callable[[DiffID], Iterable[Path]],
        source: Source | None,
    ) -> None:
        self._tree = tree
        self._root = root_fd
        self._scratch = scratch
        self._below = below
        self._copies = copies
        self._source = source
        self._metadata = Metadata(marks=tree.overlay)
        self._names = tree.names()
        self._count = 0
        self._staged: dict[Node, bytes] = {}
        self._times: dict[bytes, int] = {}

    def mend(self, faults: Sequence[Fault]) -> None:
        """Do what can be done. What could not is found by comparing again."""
        broken = self._files_to_make(faults)
        for path, node in broken.items():
            self._stage_at_hand(path, node)
        missing = [node for node in broken.values() if node not in self._staged]
        for number in sorted({node.layer for node in missing}):
            self._stage_from_source(number, [node for node in missing if node.layer == number])
        for fault in faults:
            with suppress(_Hopeless, FileNotFoundError, NotADirectoryError):
                self._fix(fault)
        self._restore_times()

    # -- contents --------------------------------------------------------------------------

    def _files_to_make(self, faults: Sequence[Fault]) -> dict[bytes, Node]:
        """Every regular file that must be made anew, by one of its names."""
        found: dict[Node, bytes] = {}
        for fault in faults:
            if fault.node is None:
                continue
            if fault.node.kind is Kind.FILE:
                found.setdefault(fault.node, fault.path)
            elif fault.node.is_folder and not self._is_folder(fault.path):
                for path, node in _below(fault.path, fault.node):
                    if node.kind is Kind.FILE:
                        found.setdefault(node, path)
        return {path: node for node, path in found.items()}

    def _stage_at_hand(self, path: bytes, node: Node) -> None:
        """Make a file of what this data root has."""
        if not node.size:
            self._staged[node] = self._finish_file(self._open_new(), path, node)
            return
        paths = self._names.get(node, [path])
        if any(self._stage_copy(self._root, name, path, node) for name in paths):
            return
        diff_id = self._tree.diff_ids[node.layer]
        for root in self._copies(diff_id):
            try:
                fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                if any(self._stage_copy(fd, name, path, node) for name in paths):
                    return
            finally:
                os.close(fd)

    def _stage_copy(self, root_fd: int, name: bytes, path: bytes, node: Node) -> bool:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            source = syscalls.openat2(root_fd, name, flags, resolve=_INSIDE)
        except OSError:
            return False
        staged, target = self._open_new()
        checksum = size = 0
        try:
            if stat.S_ISREG(os.fstat(source).st_mode):
                while size <= node.size and (data := os.read(source, _CHUNK)):
                    checksum = crc32(data, checksum)
                    size += len(data)
                    _write(target, data)
        except OSError as error:
            if error.errno != errno.EIO:
                os.close(target)
                raise
        finally:
            os.close(source)
        if (size, checksum) != (node.size, node.checksum):
            os.close(target)
            os.unlink(staged)
            return False
        self._staged[node] = self._finish_file((staged, target), path, node)
        return True

    def _stage_from_source(self, number: int, nodes: list[Node]) -> None:
        """Make files of the layer's tar as a source has it."""
        from lamina.layers.pipeline import TarStream
        from lamina.tar.reader import TarReader

        diff_id = self._tree.diff_ids[number]
        opened = None if self._source is None else self._source(diff_id)
        if opened is None:
            return
        wanted = {node.member: node for node in nodes}
        made: dict[Node, bytes] = {}
        with opened as stream, TarStream(stream) as tar:
            reader = TarReader(tar)
            for member, _ in enumerate(reader):
                node = wanted.get(member)
                if node is not None:
                    staged, fd = self._open_new()
                    reader.copy_to(fd, b"")
                    made[node] = self._finish_file((staged, fd), b"", node)
            if tar.finish() != diff_id:
                raise Corrupt(
                    f"the archive's layer {diff_id} has another content",
                    remedy="the archive is damaged; get it again",
                )
        self._staged.update(made)

    def _open_new(self) -> tuple[bytes, int]:
        staged = self._new_name()
        return staged, os.open(staged, _NEW, 0o600)

    def _finish_file(self, opened: tuple[bytes, int], path: bytes, node: Node) -> bytes:
        staged, fd = opened
        try:
            self._metadata.set(fd, self._entry(path, node), True)
            os.utime(fd, ns=(node.mtime_ns, node.mtime_ns))
            os.fsync(fd)
        finally:
            os.close(fd)
        return staged

    # -- places ----------------------------------------------------------------------------

    def _fix(self, fault: Fault) -> None:
        path, node = fault.path, fault.node
        if not path:
            self._dress(self._root, path, self._tree.root)
            return
        above, _, name = path.rpartition(b"/")
        folder = self._open_folder(above)
        try:
            if node is None:
                self._move_aside(folder, name)
            elif node.is_folder:
                self._fix_folder(folder, name, path, node)
            elif node.kind is Kind.FILE:
                self._fix_file(path, node)
            else:
                self._put(folder, name, self._make_other(path, node))
        finally:
            os.close(folder)

    def _fix_folder(self, above: int, name: bytes, path: bytes, node: Node) -> None:
        fresh = False
        try:
            found = os.stat(name, dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:
            found = None
        if found is None or not stat.S_ISDIR(found.st_mode):
            staged = self._new_name()
            os.mkdir(staged, 0o700)
            self._put(above, name, staged)
            fresh = True
        fd = os.open(name, _FOLDER | os.O_CLOEXEC, dir_fd=above)
        try:
            if fresh:
                for child, inner in (node.children or {}).items():
                    with suppress(_Hopeless):
                        self._fix(Fault(path + b"/" + child, "", inner))
            self._dress(fd, path, node)
        finally:
            os.close(fd)

    def _fix_file(self, path: bytes, node: Node) -> None:
        """Rename the file that was made over all names of the damaged one."""
        staged = self._staged.get(node)
        if staged is None:
            raise _Hopeless
        for each in self._names.get(node, [path]):
            above, _, name = each.rpartition(b"/")
            folder = self._open_folder(above)
            try:
                with suppress(FileNotFoundError):
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if os.path.samestat(found, os.lstat(staged)):
                        continue
                link = self._new_name()
                os.link(staged, link)
                self._put(folder, name, link)
            finally:
                os.close(folder)

    def _make_other(self, path: bytes, node: Node) -> bytes:
        staged = self._new_name()
        if node.kind is Kind.SYMLINK:
            os.symlink(node.link, staged)
        else:
            os.mknod(staged, node.kind.file_type | node.mode & 0o777, node.device)
        if not node.is_whiteout:
            scratch = os.open(self._scratch, _FOLDER | os.O_CLOEXEC)
            try:
                entry = self._entry(path, node)
                folder = Folder(scratch, b"", True)
                self._metadata.set_by_name(folder, os.path.basename(staged), entry)
            finally:
                os.close(scratch)
        return staged

    def _dress(self, fd: int, path: bytes, node: Node) -> None:
        """Give a folder that stands its metadata and marks."""
        entry = self._entry(path, node)
        before = os.fstat(fd).st_mtime_ns
        for text in os.listxattr(fd):
            name = os.fsencode(text)
            own = name in (xattrs.OPAQUE, xattrs.ORIGIN) and self._tree.overlay
            if not own and name not in entry.xattrs and xattrs.travels(name):
                os.removexattr(fd, text)
        self._metadata.set(fd, entry, True)
        if self._tree.overlay and path and xattrs.is_opaque(fd) != node.opaque:
            if node.opaque:
                os.setxattr(fd, xattrs.OPAQUE, b"y")
            else:
                os.removexattr(fd, xattrs.OPAQUE)
        self._times.setdefault(path, before)

    def _put(self, folder: int, name: bytes, staged: bytes) -> None:
        """Rename something into its place; what cannot be renamed over goes aside first."""
        with suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) != stat.S_ISDIR(os.lstat(staged).st_mode):
                self._move_aside(folder, name)
        os.rename(staged, name, dst_dir_fd=folder)

    def _move_aside(self, folder: int, name: bytes) -> None:
        with suppress(FileNotFoundError):
            os.rename(name, self._new_name(), src_dir_fd=folder)

    def _open_folder(self, path: bytes) -> int:
        """A folder of the layer, whose time is noted before anything in it changes."""
        fd = syscalls.openat2(self._root, path or b".", _FOLDER, resolve=_INSIDE)
        self._times.setdefault(path, os.fstat(fd).st_mtime_ns)
        return fd

    def _is_folder(self, path: bytes) -> bool:
        try:
            os.close(syscalls.openat2(self._root, path or b".", _FOLDER, resolve=_INSIDE))
        except OSError:
            return False
        return True

    def _restore_times(self) -> None:
        for path, before_ns in self._times.items():
            node = self._tree.find(path)
            if node is None or not self._is_folder(path):
                continue
            mtime_ns = node.mtime_ns if node.listed_by == self._tree.top else before_ns
            fd = syscalls.openat2(self._root, path or b".", _FOLDER, resolve=_INSIDE)
            try:
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)

    def _entry(self, path: bytes, node: Node) -> Entry:
        wanted = metadata(self._tree, node, path, self._below)
        mode = wanted.mode & 0o7777
        return Entry(
            path,
            node.kind,
            mode,
            wanted.uid,
            wanted.gid,
            node.size,
            node.mtime_ns,
            xattrs=wanted.xattrs,
        )

    def _new_name(self) -> bytes:
        self._count += 1
        return os.fsencode(self._scratch / str(self._count))


class _Hopeless(Exception):
    """There is no content to be had for a file."""


def _below(path: bytes, folder: Node) -> Iterable[tuple[bytes, Node]]:
    for name, node in (folder.children or {}).items():
        child = path + b"/" + name
        yield child, node
        yield from _below(child, node)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
