"""What lies below a layer: the one question that a layer may ask of its parents.

`Lower` is asked for a path and answers what is there, or None. `TreeBelow` asks a plain folder
(a mounted chain, a full copy); `StackBelow` asks the folders of an overlay chain without mounting
them, and sees whiteouts and opaque folders as overlayfs does.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lamina.linux import syscalls
from lamina.tar import xattrs

_CONFINED = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True)
class Below:
    """What a lower layer holds at a path; `mode` has the file type's bits, as st_mode."""

    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    device: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, with which a folder above it is merged."""
        return stat.S_ISDIR(self.mode)


class Lower(Protocol):
    """Answers what the layers below hold at a path relative to their root (b"" is the root)."""

    def __call__(self, path: bytes, /) -> Below | None: ...


def _look(root_fd: int, path: bytes) -> tuple[int, os.stat_result] | None:
    """An O_PATH descriptor of what is at this path, no link followed anywhere; None: nothing."""
    try:
        fd = syscalls.openat2(root_fd, path or b".", os.O_PATH | os.O_NOFOLLOW, resolve=_CONFINED)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    return fd, os.fstat(fd)


def _below(fd: int, found: os.stat_result, *, marks: bool) -> Below:
    attributes = {}
    if not stat.S_ISLNK(found.st_mode):
        name = b"/proc/self/fd/%d" % fd
        attributes = xattrs.of_path(name, marks=marks, follow=True)
    return Below(
        found.st_mode,
        found.st_uid,
        found.st_gid,
        found.st_size,
        found.st_mtime_ns,
        found.st_rdev,
        attributes,
    )


class TreeBelow:
    """Looks into one plain tree."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd

    def __call__(self, path: bytes, /) -> Below | None:
        """What is at this path."""
        looked = _look(self._root_fd, path)
        if looked is None:
            return None
        fd, found = looked
        try:
            return _below(fd, found, marks=False)
        finally:
            os.close(fd)


class StackBelow:
    """Looks through the folders of an overlay chain, newest first."""

    def __init__(self, root_fds: Sequence[int]) -> None:
        self._root_fds = tuple(root_fds)

    def __call__(self, path: bytes, /) -> Below | None:
        """What the merged tree would show at this path."""
        names = path.split(b"/") if path else []
        layers = self._root_fds
        walked = b""
        shown = self._at(layers, b"")
        for name in names:
            if shown is None or not shown[0].is_folder:
                return None
            walked = walked + b"/" + name if walked else name
            layers = shown[1]
            shown = self._at(layers, walked)
        return shown[0] if shown else None

    def _at(self, layers: Sequence[int], path: bytes) -> tuple[Below, tuple[int, ...]] | None:
        """What these layers show at a path, and those of them that its children come from."""
        shown: Below | None = None
        merged: list[int] = []
        for root_fd in layers:
            looked = _look(root_fd, path)
            if looked is None:
                continue
            fd, found = looked
            try:
                if xattrs.is_whiteout(fd, found):
                    break
                if shown is not None and not stat.S_ISDIR(found.st_mode):
                    break  # a file under a folder is hidden, and hides what is below it
                if shown is None:
                    shown = _below(fd, found, marks=True)
                if not stat.S_ISDIR(found.st_mode):
                    break
                merged.append(root_fd)
                if path and xattrs.is_opaque(fd):
                    break
            finally:
                os.close(fd)
        return None if shown is None else (shown, tuple(merged))
