"""The two sides of a copy: this machine, and a container's root that no path leads out of."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from lamina.containers.copying import paths
from lamina.errors import Conflict, InvalidInput, NotFound
from lamina.linux import syscalls

_LINKS = 40  # as many as the kernel follows (path_resolution(7))
_FOLDER = os.O_PATH | os.O_DIRECTORY
_ABSENT = (FileNotFoundError, NotADirectoryError)


class Side:
    """A tree of files, and how paths in it are opened."""

    def __init__(self, root_fd: int, resolve: int) -> None:
        self.root_fd = root_fd
        self._resolve = resolve

    @classmethod
    def container(cls, root_fd: int) -> Side:
        """A container's: links, and processes that swap folders for links, stay inside."""
        return cls(root_fd, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)

    @classmethod
    def host(cls, root_fd: int) -> Side:
        """This machine's, as whoever runs the command sees it."""
        return cls(root_fd, 0)

    def open(self, path: str, flags: int) -> int:
        """A descriptor of what lies at an absolute path."""
        return syscalls.openat2(self.root_fd, path, flags, resolve=self._resolve)

    def open_folder(self, path: str) -> int:
        """A descriptor by which a folder's children can be named."""
        return self.open(path, _FOLDER)

    def open_below(self, folder: int, folder_path: str, name: str) -> int:
        """A folder below one that is open.

        In a container links on the way are followed, within it. On this machine they are not:
        a copy out of a container does not leave the folder that it was told to fill.
        """
        if self._resolve & syscalls.RESOLVE_IN_ROOT:
            return self.open_folder(f"{folder_path}/{name}")
        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
        return syscalls.openat2(folder, name, _FOLDER, resolve=resolve)

    def source(self, path: str) -> int:
        """What is to be copied, a link itself unless the path has a slash at its end."""
        return self.open(path, os.O_PATH | os.O_NOFOLLOW)

    def followed(self, path: str) -> str:
        """The path of what a link at this path leads to in the end; others as they are."""
        for _ in range(_LINKS):
            try:
                target = self._link(path)
            except _ABSENT:
                return path
            if target is None:
                return path
            path = paths.joined(path, target)
        raise InvalidInput(f"too many symlinks in {path}")

    def destination(self, path: str) -> Destination:
        """What lies where a copy is to go, links followed."""
        path = self.followed(path)
        try:
            fd = self.source(path)
        except _ABSENT:
            return Destination(path, None)
        try:
            return Destination(path, os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def _link(self, path: str) -> str | None:
        fd = self.source(path)
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                return None
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)


@dataclass(frozen=True)
class Destination:
    """Where a copy is to go; `mode` is that of what lies there, None for nothing."""

    path: str
    mode: int | None

    @property
    def is_folder(self) -> bool:
        """Whether there is a folder."""
        return self.mode is not None and stat.S_ISDIR(self.mode)

    @property
    def is_device(self) -> bool:
        """Whether there is a device, which no copy replaces."""
        return self.mode is not None and (stat.S_ISCHR(self.mode) or stat.S_ISBLK(self.mode))

    def placed(self, name: str, *, is_folder: bool) -> tuple[str, str]:
        """The folder into which, and the name under which, a source of this name is copied."""
        if self.is_folder:
            return self.path, name
        if self.mode is not None and is_folder:
            raise Conflict("cannot copy directory")
        if self.mode is None and not is_folder and paths.asserts_folder(self.path):
            raise NotFound("no such directory")
        return paths.split(self.path)
