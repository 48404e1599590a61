"""Holding a layer's folder on disk against what it must hold (`expected`).

Told are differences in what the layer's tar speaks of: names, types, modes, owners, sizes, times,
extended attributes, links, marks of deletion, and contents by their CRC-32. Not told is what a
committed snapshot's folder may hold beside it without showing anywhere: sockets, marks of deletion
and folders that change nothing of the layers below.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from isal.isal_zlib import crc32

from lamina.layers.expected import ExpectedTree, Node
from lamina.tar import xattrs
from lamina.tar.entry import Kind
from lamina.tar.lower import Below, Lower

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
_TYPES = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something at a path is not as it must be. `node` is what must be there (None: nothing)."""

    path: bytes
    problem: str
    node: Node | None
    in_content: bool = False
    """The file's bytes are wrong or gone."""


class Comparison:
    """One folder against one tree.

    `reads` says of a file whether its content is to be read here; `below` answers for the layers
    below, where the driver keeps them apart; `paused` is called before each file and may raise.
    """

    def __init__(
        self,
        tree: ExpectedTree,
        *,
        below: Lower,
        reads: Callable[[Node], bool],
        paused: Callable[[], None],
    ) -> None:
        self._tree = tree
        self._below = below
        self._reads = reads
        self._paused = paused
        self._inodes: dict[Node, tuple[int, int]] = {}
        self._done: set[Node] = set()
        self.files = 0
        self.read_bytes = 0

    def faults(self, root_fd: int) -> Iterator[Fault]:
        """Everything that differs; folders before what is in them."""
        found = os.fstat(root_fd)
        yield from self._metadata(root_fd, b".", found, self._tree.root, b"")
        yield from self._children(root_fd, self._tree.root, b"")

    def _children(self, fd: int, folder: Node, path: bytes) -> Iterator[Fault]:
        expected = folder.children or {}
        present = set(map(os.fsencode, os.listdir(fd)))
        for name in sorted(present | expected.keys()):
            self._paused()
            child = path + b"/" + name if path else name
            node = expected.get(name)
            found = _status(fd, name) if name in present else None
            if node is None:
                if found is not None and not self._is_harmless(fd, name, child, found):
                    yield Fault(child, f"is {_type(found)} that the layer does not have", None)
            elif found is None:
                yield Fault(child, "is missing", node, node.kind is Kind.FILE)
            else:
                yield from self._one(fd, name, child, node, found)

    def _one(
        self, fd: int, name: bytes, path: bytes, node: Node, found: os.stat_result
    ) -> Iterator[Fault]:
        self.files += not node.is_folder
        if node.is_whiteout:
            if not self._is_whiteout(fd, name, found):
                yield Fault(path, f"is {_type(found)}; the layer deletes it", node)
            return
        if stat.S_IFMT(found.st_mode) != node.kind.file_type:
            wanted = _TYPES[node.kind.file_type]
            in_content = node.kind is Kind.FILE
            yield Fault(path, f"is {_type(found)}, should be {wanted}", node, in_content)
            return
        if not node.is_folder:
            yield from self._file(fd, name, path, node, found)
            return
        child_fd = os.open(name, _FOLDER, dir_fd=fd)
        try:
            yield from self._metadata(fd, name, found, node, path)
            if self._tree.overlay and xattrs.is_opaque(child_fd) != node.opaque:
                shown = self._below(path)
                if node.opaque:
                    yield Fault(path, "no longer hides what is below it", node)
                elif shown is not None and shown.is_folder:
                    yield Fault(path, "hides what is below it", node)
            yield from self._children(child_fd, node, path)
        finally:
            os.close(child_fd)

    def _file(
        self, fd: int, name: bytes, path: bytes, node: Node, found: os.stat_result
    ) -> Iterator[Fault]:
        inode = (found.st_dev, found.st_ino)
        if self._inodes.setdefault(node, inode) != inode:
            yield Fault(path, "is no longer a hard link to the file's other names", node)
        elif node in self._done:
            return  # the same file by another name
        self._done.add(node)
        yield from self._metadata(fd, name, found, node, path)
        if node.kind is Kind.SYMLINK:
            target = os.readlink(name, dir_fd=fd)
            if target != node.link:
                yield Fault(path, f"links to {_text(target)}, should be {_text(node.link)}", node)
        elif node.kind is not Kind.FILE:
            if node.kind is not Kind.FIFO and found.st_rdev != node.device:
                yield Fault(path, f"is device {_device(found.st_rdev)}, should be"
                            f" {_device(node.device)}", node)  # fmt: skip
        elif found.st_size != node.size:
            problem = f"has {found.st_size} bytes, should have {node.size}"
            yield Fault(path, problem, node, in_content=True)
        elif node.size and self._reads(node):
            self.read_bytes += node.size
            try:
                checksum = checksum_of(fd, name, self._paused)
            except OSError as error:
                yield Fault(path, f"cannot be read: {error.strerror}", node, in_content=True)
                return
            if checksum != node.checksum:
                yield Fault(path, "its content has changed", node, in_content=True)

    def _metadata(
        self, fd: int, name: bytes, found: os.stat_result, node: Node, path: bytes
    ) -> Iterator[Fault]:
        wanted = metadata(self._tree, node, path, self._below)
        if node.kind is not Kind.SYMLINK:
            mode = stat.S_IMODE(found.st_mode)
            if mode != wanted.mode & 0o7777:
                problem = f"has mode {mode:04o}, should have {wanted.mode & 0o7777:04o}"
                yield Fault(path, problem, node)
        if (found.st_uid, found.st_gid) != (wanted.uid, wanted.gid):
            problem = f"is owned by {found.st_uid}:{found.st_gid}, should be"
            yield Fault(path, f"{problem} {wanted.uid}:{wanted.gid}", node)
        timed = not node.is_folder or node.listed_by == self._tree.top
        if timed and found.st_mtime_ns != node.mtime_ns:
            problem = f"was modified at {_time(found.st_mtime_ns)}, should be"
            yield Fault(path, f"{problem} {_time(node.mtime_ns)}", node)
        place = b"/proc/self/fd/%d/%s" % (fd, name) if path else b"/proc/self/fd/%d" % fd
        follow = not path
        attributes = xattrs.of_path(place, marks=self._tree.overlay, follow=follow)
        if attributes != wanted.xattrs:
            names = sorted(
                name
                for name in attributes.keys() | wanted.xattrs.keys()
                if attributes.get(name) != wanted.xattrs.get(name)
            )
            shown = ", ".join(name.decode(errors="replace") for name in names)
            yield Fault(path, f"has other extended attributes: {shown}", node)

    def _is_whiteout(self, fd: int, name: bytes, found: os.stat_result) -> bool:
        if not self._tree.overlay:
            return False
        file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            return xattrs.is_whiteout(file, found)
        finally:
            os.close(file)

    def _is_harmless(self, fd: int, name: bytes, path: bytes, found: os.stat_result) -> bool:
        """Whether what the layer's tar does not speak of changes nothing of what is shown."""
        if stat.S_ISSOCK(found.st_mode):
            return True
        if not self._tree.overlay:
            return False
        if self._is_whiteout(fd, name, found):
            return self._below(path) is None
        if not stat.S_ISDIR(found.st_mode):
            return False
        shown = self._below(path)
        child = os.open(name, _FOLDER, dir_fd=fd)
        try:
            own = xattrs.of_path(b"/proc/self/fd/%d" % child, marks=True, follow=True)
            if shown is None or not _same(found, own, shown) or xattrs.is_opaque(child):
                return False
            return all(
                self._is_harmless(child, below, path + b"/" + below, os.lstat(
                    b"/proc/self/fd/%d/%s" % (child, below)))
                for below in map(os.fsencode, os.listdir(child))
            )  # fmt: skip
        finally:
            os.close(child)


def metadata(tree: ExpectedTree, node: Node, path: bytes, below: Lower) -> Below:
    """Mode, owner and attributes that something must have."""
    if node.implied and tree.overlay:
        shown = below(path)
        if shown is not None and shown.is_folder:
            return shown
        return Below(0o755)
    return Below(node.mode, node.uid, node.gid, xattrs=node.xattrs)


def checksum_of(dir_fd: int, name: bytes, paused: Callable[[], None]) -> int:
    """The CRC-32 of a file's content."""
    checksum = 0
    fd = os.open(name, _FILE, dir_fd=dir_fd)
    try:
        while data := os.read(fd, _CHUNK):
            checksum = crc32(data, checksum)
            paused()
    finally:
        os.close(fd)
    return checksum


def _same(found: os.stat_result, attributes: dict[bytes, bytes], shown: Below) -> bool:
    return (found.st_mode, found.st_uid, found.st_gid, attributes) == (
        shown.mode,
        shown.uid,
        shown.gid,
        shown.xattrs,
    )


def _status(fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _type(found: os.stat_result) -> str:
    if stat.S_ISCHR(found.st_mode) and not found.st_rdev:
        return "a mark of deletion"
    return _TYPES.get(stat.S_IFMT(found.st_mode), "something")


def _device(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def _time(time_ns: int) -> str:
    import time

    seconds, fraction = divmod(time_ns, 10**9)
    try:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return f"{seconds}.{fraction:09d}"
    return f"{text}.{fraction:09d}Z" if fraction else f"{text}Z"


def _text(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))
