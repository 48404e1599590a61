"""What a layer's folder must hold, told by the headers in its journal alone.

The tree is made in memory by the rules by which `lamina.tar.extract` makes it on disk (there they
are explained; here each step has the same name), without asking anything of the disk: two ways to
the same tree, so that one can be held against the other.

For a driver whose layers do not depend on their parent, one journal tells all but the metadata of
implied folders (`Node.implied`), which comes from the layers below. Else the journals of the whole
chain are applied, base first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from isal.isal_zlib import crc32

from lamina.digests import DiffID
from lamina.errors import Corrupt
from lamina.layers.journal import JournalStream
from lamina.tar import xattrs
from lamina.tar.entry import Entry, Kind
from lamina.tar.folders import components
from lamina.tar.reader import TarReader

_MARK = b".wh."
_OPAQUE_MARK = b".wh..wh..opq"
_BOOKKEEPING = b".wh..wh."
_MINIMAL_ACL_BYTES = 28  # header and three entries: the kernel keeps such a list as the mode
_ZEROS = bytes(1 << 20)
_MAX_LINKS = 40


@dataclass(slots=True, eq=False)
class Node:
    """A file, or folder, or what else a name stands for; hard links share one."""

    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    size: int = 0
    checksum: int = 0
    """CRC-32 of the content."""
    is_sparse: bool = False
    """The tar, hence the journal, has its content in another form."""
    link: bytes = b""
    device: int = 0
    layer: int = 0
    """Which of the applied layers it is of, counted from 0 at the base."""
    member: int = -1
    """Its place in that layer's tar."""
    children: dict[bytes, Node] | None = None
    listed_by: int = -1
    """Of a folder: the last layer whose tar lists it. Another's does not tell its time."""
    implied: bool = False
    """Its metadata is what the layers below have there."""
    opaque: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it has children."""
        return self.children is not None

    @property
    def is_whiteout(self) -> bool:
        """Whether it is overlayfs's mark of a deletion."""
        return self.kind is Kind.CHARACTER_DEVICE and not self.device


class ExpectedTree:
    """A tree that grows by layers. `overlay`: of one layer, with overlayfs's marks in it."""

    def __init__(self, *, overlay: bool) -> None:
        self.overlay = overlay
        self.root = _folder()
        self.diff_ids: list[DiffID] = []
        self.size_bytes = 0
        """Sum of the sizes of the regular files in the newest layer's tar."""
        self.opaque_root = False

    @property
    def top(self) -> int:
        """The number of the newest layer."""
        return len(self.diff_ids) - 1

    def apply(self, journal: Path, diff_id: DiffID) -> None:
        """Add the layer of this journal. Corrupt: it is damaged."""
        self.diff_ids.append(diff_id)
        stream = JournalStream(journal, diff_id)
        try:
            layer = _Application(self, TarReader(stream), stream.reference_at)
            layer.run()
            layer.finish()
        finally:
            stream.close()

    def names(self) -> dict[Node, list[bytes]]:
        """Every file that has several names, with these."""
        found: dict[Node, list[bytes]] = {}
        for path, node in self.walk():
            if not node.is_folder and not node.is_whiteout:
                found.setdefault(node, []).append(path)
        return {node: paths for node, paths in found.items() if len(paths) > 1}

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Everything but the root, folders before what is in them."""
        pending = [(b"", self.root)]
        while pending:
            above, folder = pending.pop()
            for name, node in (folder.children or {}).items():
                path = above + b"/" + name if above else name
                yield path, node
                if node.is_folder:
                    pending.append((path, node))

    def find(self, path: bytes) -> Node | None:
        """What is at this path; no link is followed."""
        node: Node | None = self.root
        for name in path.split(b"/") if path else []:
            node = None if node is None or node.children is None else node.children.get(name)
        return node


def _folder(layer: int = 0) -> Node:
    return Node(Kind.FOLDER, layer=layer, children={})


def _sparse_checksum(reader: TarReader, entry: Entry, pieces: tuple[tuple[int, int], ...]) -> int:
    """The CRC-32 of a sparse member as it is unpacked."""
    checksum = at = 0
    for offset, length in (*pieces, (entry.size, 0)):
        while at < offset:
            step = min(offset - at, len(_ZEROS))
            checksum = crc32(memoryview(_ZEROS)[:step], checksum)
            at += step
        while length:
            data = reader.read(min(length, len(_ZEROS)))
            if not data:
                raise Corrupt("corrupt tar: a piece of a sparse file is missing")
            checksum = crc32(data, checksum)
            at += len(data)
            length -= len(data)
    return checksum


class _Application:
    """One layer on its way into a tree."""

    def __init__(
        self,
        tree: ExpectedTree,
        reader: TarReader,
        reference_at: Callable[[int], tuple[bytes, int, int] | None],
    ) -> None:
        self.tree = tree
        self.reader = reader
        self.reference_at = reference_at
        self.number = tree.top
        self.overlay = tree.overlay
        self.implied: dict[bytes, Node] = {}
        """The folders of which the layer says nothing, and that it made if they are `new`."""
        self.new: set[bytes] = set()
        self.opaque: set[bytes] = set()
        self.fresh: set[bytes] = set()
        self.gone: set[bytes] = set()
        self.claimed: set[bytes] = set()
        self.late_links: list[Entry] = []
        tree.size_bytes = 0
        self._entered(b"", tree.root)

    def run(self) -> None:
        """Take in every member."""
        for member, entry in enumerate(self.reader):
            above, _, base = entry.name.rpartition(b"/")
            if base in (b"", b".", b".."):
                names = components(entry.name)
                if not names:
                    if names is not None and entry.name and entry.kind is Kind.FOLDER:
                        self._dress(b"", self.tree.root, entry)
                    continue
                above, _, base = b"/".join(names).rpartition(b"/")
            if base.startswith(_MARK):
                self._mark(above, base)
                continue
            names = components(above)
            if names is None:
                continue
            path, folder = self._walk(names)
            self._claim(path)
            self._make(path, folder, base, entry, member)
        for entry in self.late_links:
            names = components(entry.name)
            if names:
                path, folder = self._walk(names[:-1])
                self._claim(path)
                self._link(path, folder, names[-1], entry)

    def finish(self) -> None:
        """Say what is known of implied folders."""
        for path, node in self.implied.items():
            hidden = path in self.fresh or self._is_hidden(path)
            node.implied = self.overlay and not hidden
            if hidden or path in self.new:
                node.mode, node.uid, node.gid, node.xattrs = 0o755, 0, 0, {}

    # -- members ---------------------------------------------------------------------------

    def _make(
        self, above: bytes, folder: dict[bytes, Node], base: bytes, entry: Entry, member: int
    ) -> None:
        path = above + b"/" + base if above else base
        if entry.kind is Kind.FOLDER:
            self._make_folder(folder, base, path, entry)
            return
        if entry.kind is Kind.HARD_LINK:
            if not self._link(above, folder, base, entry):
                self.late_links.append(entry)
            return
        node = Node(
            entry.kind,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime_ns,
            _kept(entry.xattrs),
            link=entry.link,
            device=os.makedev(entry.major, entry.minor),
            layer=self.number,
            member=member,
        )
        if entry.kind is Kind.FILE:
            self.tree.size_bytes += entry.size
            node.size = entry.size
            if entry.sparse is not None:
                node.is_sparse = True
                node.checksum = _sparse_checksum(self.reader, entry, entry.sparse)
            elif entry.size:
                reference = self.reference_at(self.reader.offset)
                if reference is None:
                    raise Corrupt(f"the journal lacks the content of {_shown(path)}")
                node.checksum = reference[2]
        self._remove(folder, base, path)
        folder[base] = node

    def _link(self, above: bytes, folder: dict[bytes, Node], base: bytes, entry: Entry) -> bool:
        names = components(entry.link)
        if not names:
            return False
        path = above + b"/" + base if above else base
        source_path, source = self._walk(names[:-1])
        _, folder = self._walk(above.split(b"/") if above else [])
        source_path = source_path + b"/" + names[-1] if source_path else names[-1]
        node = source.get(names[-1])
        if node is None or not self._is_of_layer(source_path, node):
            return False
        if source_path != path:
            self._remove(folder, base, path)
            folder[base] = node
        return True

    def _make_folder(
        self, folder: dict[bytes, Node], base: bytes, path: bytes, entry: Entry
    ) -> None:
        node = folder.get(base)
        if node is None:
            node = folder[base] = _folder(self.number)
        elif not node.is_folder:
            node = self._replace_by_folder(folder, base, path, node)
        self.claimed.add(path)
        if path in self.gone:
            self._renew(path)
        self._dress(path, node, entry)

    def _dress(self, path: bytes, node: Node, entry: Entry) -> None:
        node.mode, node.uid, node.gid = entry.mode, entry.uid, entry.gid
        node.xattrs = _kept(entry.xattrs)
        node.mtime_ns, node.listed_by = entry.mtime_ns, self.number
        self.implied.pop(path, None)
        self.new.discard(path)

    def _replace_by_folder(
        self, folder: dict[bytes, Node], base: bytes, path: bytes, old: Node
    ) -> Node:
        ours = self._is_ours(old)
        self._remove(folder, base, path)
        node = folder[base] = _folder(self.number)
        if ours:
            self._renew(path)
            node.opaque = self.overlay
        return node

    # -- folders ---------------------------------------------------------------------------

    def _walk(self, names: list[bytes]) -> tuple[bytes, dict[bytes, Node]]:
        """The path and the children of the folder at these names, made where it is missing."""
        trail: list[tuple[bytes, Node]] = [(b"", self.tree.root)]
        pending = names[::-1]
        links = 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if len(trail) > 1:
                    trail.pop()
                continue
            above, at = trail[-1]
            children = at.children
            assert children is not None
            path = above + b"/" + name if above else name
            node = children.get(name)
            if node is not None and node.kind is Kind.SYMLINK and self._is_ours(node):
                links += 1
                if links > _MAX_LINKS:
                    raise Corrupt("refused tar: too many links in one another")
                if node.link.startswith(b"/"):
                    del trail[1:]
                pending.extend(node.link.split(b"/")[::-1])
                continue
            if node is None or not node.is_folder:
                node = self._make_parent(children, name, path, node)
            self._entered(path, node)
            trail.append((path, node))
        path, node = trail[-1]
        assert node.children is not None
        return path, node.children

    def _make_parent(
        self, folder: dict[bytes, Node], name: bytes, path: bytes, old: Node | None
    ) -> Node:
        if old is None:
            node = folder[name] = _folder(self.number)
        else:
            node = self._replace_by_folder(folder, name, path, old)
        self.implied[path] = node
        self.new.add(path)
        if path in self.gone:
            self._renew(path)
        return node

    def _entered(self, path: bytes, node: Node) -> None:
        if self.overlay:
            if not path and node.listed_by < self.number:
                self.implied[path] = node
        elif node.listed_by < self.number and path not in self.implied:
            self.implied[path] = node

    def _claim(self, path: bytes) -> None:
        while path and path not in self.claimed:
            self.claimed.add(path)
            path = path.rpartition(b"/")[0]

    def _renew(self, path: bytes) -> None:
        self.gone.discard(path)
        self.fresh.add(path)
        self.opaque.add(path)

    def _is_ours(self, node: Node) -> bool:
        return self.overlay or node.layer == self.number

    # -- deletions -------------------------------------------------------------------------

    def _mark(self, above: bytes, base: bytes) -> None:
        name = base[len(_MARK) :]
        names = components(above)
        if base.startswith(_BOOKKEEPING) and base != _OPAQUE_MARK:
            return
        if names is None or self._is_hidden(b"/".join(names) + b"/"):
            return
        path, folder = self._walk(names)
        if self._is_hidden(path + b"/"):
            return
        if base == _OPAQUE_MARK:
            node = self.tree.find(path)
            assert node is not None
            self.tree.opaque_root = self.tree.opaque_root or not path
            self._set_opaque(path, node)
        else:
            self._delete(folder, name, path + b"/" + name if path else name)

    def _delete(self, folder: dict[bytes, Node], name: bytes, path: bytes) -> None:
        node = folder.get(name)
        if node is not None:
            if not self._is_of_layer(path, node):
                self._remove(folder, name, path)
            else:
                if node.is_folder:
                    self.fresh.add(path)
                    self._set_opaque(path, node)
                return
        self.gone.add(path)
        if self.overlay:
            folder[name] = Node(Kind.CHARACTER_DEVICE, 0, layer=self.number)

    def _is_of_layer(self, path: bytes, node: Node) -> bool:
        if node.is_folder:
            return path in self.claimed
        return not node.is_whiteout if self.overlay else node.layer == self.number

    def _set_opaque(self, path: bytes, node: Node) -> None:
        self.opaque.add(path)
        node.opaque = self.overlay
        self._empty(path, node)

    def _empty(self, path: bytes, node: Node) -> None:
        assert node.children is not None
        for name, child in list(node.children.items()):
            below = path + b"/" + name if path else name
            if not self._is_of_layer(below, child):
                self._remove(node.children, name, below)
            elif child.is_folder:
                self._empty(below, child)

    def _remove(self, folder: dict[bytes, Node], name: bytes, path: bytes) -> None:
        node = folder.pop(name, None)
        if node is None or node.children is None:
            return
        for child in list(node.children):
            self._remove(node.children, child, path + b"/" + child)
        self.implied.pop(path, None)
        for paths in (self.new, self.opaque, self.fresh, self.claimed, self.gone):
            paths.discard(path)

    def _is_hidden(self, path: bytes) -> bool:
        if not (self.opaque or self.gone) or not path:
            return False
        if b"" in self.opaque:
            return True
        at = path.rfind(b"/")
        while at > 0:
            if path[:at] in self.opaque or path[:at] in self.gone:
                return True
            at = path.rfind(b"/", 0, at)
        return False


def _kept(attributes: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The attributes that a file has once it was given these."""
    if not attributes:
        return attributes
    return {
        name: value
        for name, value in attributes.items()
        if xattrs.travels(name)
        and not (name == xattrs.ACLS[0] and len(value) == _MINIMAL_ACL_BYTES)
    }


def _shown(path: bytes) -> str:
    return repr("/" + path.decode("utf-8", "backslashreplace"))
