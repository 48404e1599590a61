"""Unpacking a layer's tar into a folder, without trusting it.

Two styles. OVERLAY fills an empty folder that overlayfs will stack: a deletion becomes the
kernel's mark (a character device 0:0, an opaque folder), and nothing is known of the parent.
APPLY changes a full copy of the parent: a deletion deletes, but never what this layer wrote,
wherever in the stream its mark stands. Both mean the same tree:

* a member takes the place of whatever has its name, but a folder joins a folder;
* a folder in the place of something else (of a mark, of this layer's own file) hides what lower
  layers have in it;
* a parent that the layer does not list is *implied*: it is as in the layers below where it is a
  folder there, else 0755, root's, and of the epoch;
* folders get their times last.

Members are made by name in a held parent folder (see `folders`), always anew (O_EXCL), so nothing
is ever written through a link or into a file that has another name.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NoReturn

from lamina.errors import Corrupt, LaminaError, OutOfSpace, PermissionDenied
from lamina.tar import xattrs
from lamina.tar.account import Account
from lamina.tar.deletions import MARK, Deletions
from lamina.tar.entry import Entry, Kind
from lamina.tar.folders import Folder, Folders, components
from lamina.tar.metadata import Metadata

if TYPE_CHECKING:
    from lamina.tar.lower import Below, Lower
    from lamina.tar.reader import TarReader

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Whiteouts(Enum):
    """What becomes of a layer's marks of deletion."""

    OVERLAY = "overlay"
    APPLY = "apply"


@dataclass(frozen=True)
class Extracted:
    """What an extraction made."""

    size_bytes: int
    """Sum of the sizes of the regular files in the archive: what Docker calls a layer's size."""
    inodes: int
    implied: tuple[bytes, ...] = ()
    """Folders (b"" is the root) that took, or would take, their metadata from the layers below."""
    opaque_root: bool = False
    """The layer hides everything below it; overlayfs does not heed such a mark on its root."""


def extract(
    reader: TarReader,
    root_fd: int,
    *,
    style: Whiteouts,
    lower: Lower | None = None,
) -> Extracted:
    """Unpack an archive beneath this open folder.

    `lower` is asked for the metadata of implied folders (OVERLAY; APPLY has them before it).
    A failure leaves the folder half filled: the caller discards it.
    """
    extraction = _Extraction(reader, root_fd, style, lower)
    try:
        extraction.run()
        return extraction.finish()
    finally:
        extraction.folders.close()


class _Extraction:
    def __init__(
        self, reader: TarReader, root_fd: int, style: Whiteouts, lower: Lower | None
    ) -> None:
        self.reader = reader
        self.overlay = style is Whiteouts.OVERLAY
        self.lower = lower
        self.account = Account(alone=self.overlay)
        self.late_links: list[Entry] = []
        self.metadata = Metadata(marks=self.overlay)
        self.folders = Folders(
            root_fd, make=self._make_parent, may_follow=self.account.is_ours, entered=self._entered
        )
        self.deletions = Deletions(
            self.account, self.folders, reader.recorder, overlay=self.overlay
        )

    # -- the stream --------------------------------------------------------------------------

    def run(self) -> None:
        folders = self.folders
        write_file = self._write_file
        folder: Folder | None = None
        spelling: bytes | None = None
        entry: Entry | None = None
        try:
            for entry in self.reader:
                above, _, base = entry.name.rpartition(b"/")
                if base in (b"", b".", b".."):
                    plain = self._plain_name(entry)
                    if plain is None:
                        continue
                    above, _, base = plain.rpartition(b"/")
                if base.startswith(MARK):
                    self.deletions.mark(above, base, entry)
                    spelling = None
                    continue
                if above != spelling or folder is None or folder.fd < 0:
                    folder = folders.parent(above)
                    spelling = above
                    if folder is None:
                        spelling = None
                        continue
                    if folder.path not in self.account.claimed:
                        self.account.claim(folder.path)
                if entry.kind is Kind.FILE:
                    write_file(folder, base, entry)
                else:
                    self._make_other(folder, base, entry)
                    spelling = None
            for entry in self.late_links:
                self._late_link(entry)
        except OSError as error:
            _give_up(error, entry)

    def _plain_name(self, entry: Entry) -> bytes | None:
        """A name that ends in `/`, `.` or `..`, as written plainly; None: nothing more to do."""
        names = components(entry.name)
        if names:
            return b"/".join(names)
        if names is not None and entry.name and entry.kind is Kind.FOLDER:
            self._dress_folder(self.folders.root.fd, b"", entry, made=False)
        return None

    def _write_file(self, folder: Folder, base: bytes, entry: Entry) -> None:
        dir_fd = folder.fd
        mode = entry.mode
        try:
            fd = os.open(base, _NEW, mode & 0o777, dir_fd=dir_fd)
        except FileExistsError:
            self.deletions.clear(folder, base)
            fd = os.open(base, _NEW, mode & 0o777, dir_fd=dir_fd)
        try:
            if not self.overlay or entry.size:
                path = folder.child(base)
                self.account.written.add(path)
                if entry.size:
                    self.reader.copy_to(fd, path)
            self.metadata.set(fd, entry, folder.inherits)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        self.account.size_bytes += entry.size
        self.account.inodes += 1

    def _make_other(self, folder: Folder, base: bytes, entry: Entry) -> None:
        kind = entry.kind
        path = folder.child(base)
        if kind is Kind.FOLDER:
            self._make_folder(folder, base, path, entry)
            return
        if kind is Kind.HARD_LINK:
            if not self._link(folder, base, entry):
                self.late_links.append(entry)
                return
            self.account.written.add(path)
            return
        try:
            self._make_node(folder, base, entry)
        except FileExistsError:
            self.deletions.clear(folder, base)
            self._make_node(folder, base, entry)
        self.account.written.add(path)
        self.account.inodes += 1
        self.metadata.set_by_name(folder, base, entry)

    def _make_node(self, folder: Folder, base: bytes, entry: Entry) -> None:
        kind = entry.kind
        if kind is Kind.SYMLINK:
            os.symlink(entry.link, base, dir_fd=folder.fd)
            return
        device = os.makedev(entry.major, entry.minor)
        if kind is Kind.CHARACTER_DEVICE and device == 0:
            raise Corrupt(
                f"refused tar member {entry.shown}: the character device 0:0 is how overlayfs"
                " marks a deletion"
            )
        os.mknod(base, kind.file_type | entry.mode & 0o777, device, dir_fd=folder.fd)

    # -- hard links --------------------------------------------------------------------------

    def _link(self, folder: Folder, base: bytes, entry: Entry) -> bool:
        """Give a file of this archive another name; False if the file is not there (yet)."""
        names = components(entry.link)
        if not names:
            raise Corrupt(f"refused tar member {entry.shown}: a hard link to nothing it may name")
        to_path = folder.path.split(b"/") if folder.path else []
        source = self.folders.walk(names[:-1])
        if folder.fd < 0:
            folder = self.folders.walk(to_path)
        name = names[-1]
        if source.fd < 0:
            raise Corrupt(f"refused tar member {entry.shown}: its folders lie too deep")
        try:
            found = os.stat(name, dir_fd=source.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        # What only lower layers have is not at hand in every driver, so it is in none.
        if not self.account.is_of_layer(source.child(name), found):
            return False
        if stat.S_ISDIR(found.st_mode):
            raise Corrupt(f"refused tar member {entry.shown}: a hard link to a folder")
        if source.path == folder.path and name == base:
            return True
        try:
            os.link(name, base, src_dir_fd=source.fd, dst_dir_fd=folder.fd, follow_symlinks=False)
        except FileExistsError:
            self.deletions.clear(folder, base)
            if source.fd < 0:
                raise Corrupt(
                    f"refused tar member {entry.shown}: a hard link to what lies in its own place"
                ) from None
            os.link(name, base, src_dir_fd=source.fd, dst_dir_fd=folder.fd, follow_symlinks=False)
        return True

    def _late_link(self, entry: Entry) -> None:
        names = components(entry.name)
        if not names:
            return
        folder = self.folders.walk(names[:-1])
        self.account.claim(folder.path)
        if not self._link(folder, names[-1], entry):
            raise Corrupt(
                f"corrupt tar member {entry.shown}: a hard link to"
                f" {entry.link[:200].decode(errors='replace')!r}, which the layer lacks"
            )
        self.account.written.add(folder.child(names[-1]))

    # -- folders -----------------------------------------------------------------------------

    def _make_folder(self, folder: Folder, base: bytes, path: bytes, entry: Entry) -> None:
        made = plain = True
        try:
            os.mkdir(base, entry.mode & 0o777, dir_fd=folder.fd)
        except FileExistsError:
            found = os.stat(base, dir_fd=folder.fd, follow_symlinks=False)
            made, plain = not stat.S_ISDIR(found.st_mode), False
            if made:
                self._replace_by_folder(folder, base, path, found)
        self.account.inodes += made
        self.account.claimed.add(path)
        self.account.stands_anew(path)
        if plain and not folder.inherits and self.metadata.is_as_made(entry):
            self.account.times[path] = entry.mtime_ns
            return
        fd = os.open(base, _FOLDER, dir_fd=folder.fd)
        try:
            self._dress_folder(fd, path, entry, made=plain, inherits=folder.inherits)
        finally:
            os.close(fd)
        self.folders.forget(path)  # what its children inherit may have changed

    def _dress_folder(
        self, fd: int, path: bytes, entry: Entry, *, made: bool, inherits: bool = False
    ) -> None:
        if not made:
            for name in os.listxattr(fd):
                raw = os.fsencode(name)
                if (
                    raw not in entry.xattrs
                    and raw not in (xattrs.OPAQUE, xattrs.ORIGIN)
                    and xattrs.travels(raw)
                ):
                    os.removexattr(fd, name)
        self.metadata.set(fd, entry, inherits or not made)
        self.account.implied.pop(path, None)
        self.account.times[path] = entry.mtime_ns
        if not path:
            self.folders.root.inherits = bool(entry.mode & stat.S_ISGID) or (
                xattrs.ACLS[1] in entry.xattrs
            )

    def _replace_by_folder(
        self, folder: Folder, base: bytes, path: bytes, found: os.stat_result
    ) -> None:
        """Put an empty folder where something else is; what lower layers have there is hidden."""
        ours = self.account.is_ours(path)
        self.deletions.clear(folder, base, found)
        os.mkdir(base, 0o755, dir_fd=folder.fd)
        if ours:
            self.account.renew(path)
            if self.overlay:
                fd = os.open(base, _FOLDER, dir_fd=folder.fd)
                try:
                    os.setxattr(fd, xattrs.OPAQUE, b"y")
                finally:
                    os.close(fd)

    def _make_parent(self, folder: Folder, base: bytes, found: os.stat_result | None) -> None:
        """Make a folder that a member's path implies (called back by `Folders`)."""
        path = folder.child(base)
        if found is None:
            os.mkdir(base, 0o755, dir_fd=folder.fd)
        else:
            self._replace_by_folder(folder, base, path, found)
        self.account.inodes += 1
        self.account.implied[path] = None
        self.account.stands_anew(path)

    def _entered(self, path: bytes, found: os.stat_result) -> None:
        """A folder is about to get children (called back by `Folders`)."""
        if self.overlay:
            if not path:
                self.account.implied[path] = None
        elif path not in self.account.times and path not in self.account.implied:
            from lamina.tar.lower import Below

            self.account.implied[path] = Below(
                found.st_mode, found.st_uid, found.st_gid, 0, found.st_mtime_ns
            )

    # -- the end -----------------------------------------------------------------------------

    def finish(self) -> Extracted:
        """Give implied folders their metadata and all folders their times."""
        try:
            told = tuple(sorted(self._settle_implied()))
            root_fd = self.folders.root.fd
            for path, mtime_ns in self.account.times.items():
                os.utime(
                    path or b".",
                    ns=(mtime_ns, mtime_ns),
                    dir_fd=root_fd,
                    follow_symlinks=False,
                )
        except OSError as error:
            _give_up(error, None)
        return Extracted(
            self.account.size_bytes, self.account.inodes, told, self.deletions.opaque_root
        )

    def _settle_implied(self) -> Iterator[bytes]:
        for path, before in list(self.account.implied.items()):
            hidden = path in self.account.fresh or self.account.is_hidden(path)
            if not hidden:
                yield path
            if self.overlay:
                below = self.lower(path) if self.lower is not None and not hidden else None
                self._wear(path, below if below is not None and below.is_folder else None)
            elif hidden or before is None:
                self._wear(path, None)
            else:
                self.account.times[path] = before.mtime_ns

    def _wear(self, path: bytes, below: Below | None) -> None:
        folder = self.folders.walk(path.split(b"/")) if path else self.folders.root
        mode = 0o755 if below is None else below.mode & 0o7777
        entry = Entry(path, Kind.FOLDER, mode)
        if below is not None:
            entry.uid, entry.gid, entry.mtime_ns = below.uid, below.gid, below.mtime_ns
            entry.xattrs = below.xattrs
        self._dress_folder(folder.fd, path, entry, made=False)


def _give_up(error: OSError, entry: Entry | None) -> NoReturn:
    where = f" at {entry.shown}" if entry is not None else ""
    reason = os.strerror(error.errno or 0)
    raised: LaminaError
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raised = OutOfSpace(f"no space left while unpacking a layer{where}: {reason}")
    elif error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        raised = PermissionDenied(
            f"unpacking a layer failed{where}: {reason}", remedy="run it as root"
        )
    elif error.errno in (
        errno.ENAMETOOLONG,
        errno.EFBIG,
        errno.EINVAL,
        errno.ENOENT,
        errno.ERANGE,
        errno.E2BIG,
    ):
        raised = Corrupt(f"corrupt tar member{where}: {reason}")
    else:
        raise error
    raise raised from error
