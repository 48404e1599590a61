"""The files of one container: copied in, copied out, as files of this machine or as a tar."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from lamina.containers.copying import paths
from lamina.containers.copying.pack import Packed
from lamina.containers.copying.side import Destination, Side
from lamina.containers.copying.unpack import CALLERS, KEPT, Owner, Owners, Target
from lamina.containers.rootfs import with_volumes
from lamina.errors import Conflict, InvalidInput, NotFound
from lamina.store.failures import translated
from lamina.tar.write import TarWriter

if TYPE_CHECKING:
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record


@dataclass(frozen=True)
class Copied:
    """What a copy came to: the bytes of its tar, and where it went."""

    size_bytes: int
    target: str


class ContainerFiles:
    """Copies into and out of a container, running or not, with its volumes.

    Paths in the container are taken from its root, whatever its working folder. A source whose path
    ends in `/.` is a folder's content. `called` is how messages call the container.
    """

    def __init__(self, parts: Parts, record: Record, called: str) -> None:
        self._parts = parts
        self._record = record
        self._called = called

    # Out

    def copy_out(self, path: str, target: str, *, follow_links: bool = False) -> Copied:
        """Copy a file or folder of the container to a path of this machine.

        What is made belongs to whoever calls. NotFound, Conflict: as `docker cp` says it.
        """
        target = paths.on_host(target, os.getcwd())
        _check_host_target(target)
        with (
            _host() as host,
            self._opened() as side,
            self._source(side, path, follow_links=follow_links) as source,
        ):
            found = host.destination(target)
            folder, name = found.placed(source.name, is_folder=source.is_folder)
            packed = Packed(source.fd, name)
            with _host_target(host, folder) as place:
                place.unpack(packed)
        return Copied(packed.size_bytes, target)

    def archive(self, path: str, out: BinaryIO, *, follow_links: bool = False) -> None:
        """Write a file or folder of the container as a tar."""
        with (
            self._opened() as side,
            self._source(side, path, follow_links=follow_links) as source,
        ):
            Packed(source.fd, source.name_in_tar).write(TarWriter(out))

    # In

    def copy_in(
        self, source: str, path: str, *, follow_links: bool = False, as_user: bool = False
    ) -> Copied:
        """Copy a file or folder of this machine into the container.

        Owners stay the numbers they are, or with `as_user` are the user that the container runs as.
        """
        with (
            _host() as host,
            _host_source(host, source, follow_links=follow_links) as found,
            self._opened() as side,
        ):
            destination = self._destination(side, path)
            folder, name = destination.placed(found.name, is_folder=found.is_folder)
            packed = Packed(found.fd, name)
            with self._target(side, folder, as_user=as_user) as place:
                place.unpack(packed)
        return Copied(packed.size_bytes, f"{self._called}:{destination.path}")

    def extract(self, stream: BinaryIO, path: str, *, as_user: bool = False) -> None:
        """Unpack a tar, compressed or not, into a folder of the container."""
        from lamina.tar.compression import decompressed
        from lamina.tar.reader import TarReader

        with self._opened() as side:
            destination = self._destination(side, path)
            if not destination.is_folder:
                raise Conflict(f'destination "{self._called}:{path}" must be a directory')
            with self._target(side, destination.path, as_user=as_user) as place:
                place.unpack(TarReader(decompressed(stream)))

    # Below

    @contextmanager
    def _opened(self) -> Iterator[Side]:
        with (
            translated(f"copying files of container {self._called}"),
            with_volumes(self._parts, self._record.id) as root_fd,
        ):
            yield Side.container(root_fd)

    @contextmanager
    def _source(self, side: Side, path: str, *, follow_links: bool) -> Iterator[_Source]:
        absolute = paths.in_container(path)
        found = absolute
        with self._told_missing(path):
            if follow_links:
                found = side.followed(absolute)
            fd = side.source(found)
        name_in_tar = paths.base(os.path.normpath(found) if follow_links else found)
        with _closing(fd):
            yield _Source(fd, paths.base(absolute), name_in_tar)

    @contextmanager
    def _target(self, side: Side, folder: str, *, as_user: bool) -> Iterator[Target]:
        self._check_writable(folder)
        user = self._user(side) if as_user else None
        with self._told_missing(folder):
            owners = KEPT if user is None else Owners(user)
            place = Target(side, folder, owners)
        try:
            yield place
        finally:
            place.close()

    def _destination(self, side: Side, path: str) -> Destination:
        found = side.destination(paths.in_container(path))
        if found.is_device:
            raise InvalidInput(
                f'destination "{self._called}:{path}" must be a directory or a regular file:'
                " got a device"
            )
        return found

    @contextmanager
    def _told_missing(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"Could not find the file {path} in container {self._called}") from error

    def _check_writable(self, path: str) -> None:
        """Refuse a read-only volume or root, as the container's processes are refused."""
        for mount in self._record.mount_points:
            inside = os.path.commonpath((path, str(mount["destination"]))) == mount["destination"]
            if inside and mount["read_only"]:
                raise Conflict("mounted volume is marked read-only")
            if inside:
                return
        if self._record.host_config.read_only_rootfs:
            raise Conflict("container rootfs is marked read-only")

    def _user(self, side: Side) -> Owner | None:
        """Who the container runs as; None: as nobody in particular, then owners are kept."""
        user = self._record.config.user
        if not user:
            return None
        from lamina.containers.users import resolve_user

        found = resolve_user(user, f"/proc/self/fd/{side.root_fd}")
        return found.uid, found.gid


@dataclass(frozen=True)
class _Source:
    """What is copied: open, its name for a copy and, where links were followed, in a tar."""

    fd: int
    name: str
    name_in_tar: str

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(os.fstat(self.fd).st_mode)


@contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def _host() -> Iterator[Side]:
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with _closing(fd):
        yield Side.host(fd)


@contextmanager
def _host_source(host: Side, path: str, *, follow_links: bool) -> Iterator[_Source]:
    absolute = paths.on_host(path, os.getcwd())
    try:
        fd = host.open(absolute, os.O_PATH) if follow_links else host.source(absolute)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise NotFound(f"lstat {absolute}: {reason}") from error
    with _closing(fd):
        name = paths.base(absolute)
        yield _Source(fd, name, name)


@contextmanager
def _host_target(host: Side, folder: str) -> Iterator[Target]:
    place = Target(host, folder, CALLERS)
    try:
        yield place
    finally:
        place.close()


def _check_host_target(path: str) -> None:
    """Docker's refusals, before anything is read."""
    folder = paths.split(os.path.normpath(path))[0].rstrip("/") or "/"
    if not os.path.exists(folder):
        raise InvalidInput(f'invalid output path: directory "{folder}" does not exist')
    if os.path.exists(path):
        mode = os.stat(path).st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise InvalidInput(
                f'invalid output path: "{path}" must be a directory or a regular file: got a device'
            )
