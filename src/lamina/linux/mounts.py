"""Mounts as data, and the two calls that make and undo them.

A driver says what to mount as a `Mount`; `mount` carries it out by the new mount API (one option
a call: no limit of one page for all of them), or by mount(2) where that does not know it.
What is mounted is asked of the kernel each time: nobody keeps count of it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from lamina.linux import syscalls as sys

_FLAGS = {
    "defaults": 0,
    "rw": 0,
    "ro": sys.MS_RDONLY,
    "nosuid": sys.MS_NOSUID,
    "nodev": sys.MS_NODEV,
    "noexec": sys.MS_NOEXEC,
    "sync": sys.MS_SYNCHRONOUS,
    "remount": sys.MS_REMOUNT,
    "dirsync": sys.MS_DIRSYNC,
    "noatime": sys.MS_NOATIME,
    "nodiratime": sys.MS_NODIRATIME,
    "relatime": sys.MS_RELATIME,
    "strictatime": sys.MS_STRICTATIME,
    "lazytime": sys.MS_LAZYTIME,
    "bind": sys.MS_BIND,
    "rbind": sys.MS_BIND | sys.MS_REC,
}
_PROPAGATION = {
    "private": sys.MS_PRIVATE,
    "rprivate": sys.MS_PRIVATE | sys.MS_REC,
    "slave": sys.MS_SLAVE,
    "rslave": sys.MS_SLAVE | sys.MS_REC,
    "shared": sys.MS_SHARED,
    "rshared": sys.MS_SHARED | sys.MS_REC,
    "unbindable": sys.MS_UNBINDABLE,
    "runbindable": sys.MS_UNBINDABLE | sys.MS_REC,
}
_ATTRIBUTES = {
    "ro": sys.MOUNT_ATTR_RDONLY,
    "nosuid": sys.MOUNT_ATTR_NOSUID,
    "nodev": sys.MOUNT_ATTR_NODEV,
    "noexec": sys.MOUNT_ATTR_NOEXEC,
    "noatime": sys.MOUNT_ATTR_NOATIME,
    "strictatime": sys.MOUNT_ATTR_STRICTATIME,
    "nodiratime": sys.MOUNT_ATTR_NODIRATIME,
}
_STRING_LIMIT = 255  # fs/fsopen.c: fsconfig copies a string of at most 256 bytes with its NUL


@dataclass(frozen=True)
class Mount:
    """One mount: what mount(8) is told by `-t type -o options source target`."""

    type: str
    source: str
    target: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class MountInfo:
    """One line of /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    mount_id: int
    parent_id: int
    device: str
    root: str
    target: str
    options: tuple[str, ...]
    type: str
    source: str
    super_options: tuple[str, ...]


def mount(wanted: Mount) -> None:
    """Make this mount; an OSError carries the kernel's own words where it gives some."""
    flags = propagation = 0
    data: list[str] = []
    for option in wanted.options:
        if option in _PROPAGATION:
            propagation = _PROPAGATION[option]
        elif option in _FLAGS:
            flags |= _FLAGS[option]
        else:
            data.append(option)
    if flags & sys.MS_BIND or wanted.type == "bind":
        _bind(wanted, flags | sys.MS_BIND)
    elif flags & sys.MS_REMOUNT or not _mount_by_options(wanted, data):
        sys.mount(wanted.source, wanted.target, wanted.type, flags, ",".join(data))
    if propagation:
        sys.mount(None, wanted.target, None, propagation)


def _bind(wanted: Mount, flags: int) -> None:
    if not flags & sys.MS_REMOUNT:
        sys.mount(wanted.source, wanted.target, None, flags & (sys.MS_BIND | sys.MS_REC))
    # A bind mount takes over its source's flags; ours need a second call (mount(2)).
    if flags & ~(sys.MS_BIND | sys.MS_REC | sys.MS_REMOUNT):
        try:
            sys.mount(None, wanted.target, None, flags & ~sys.MS_REC | sys.MS_REMOUNT)
        except OSError:
            if not flags & sys.MS_REMOUNT:
                sys.umount2(wanted.target, sys.MNT_DETACH)
            raise


def _mount_by_options(wanted: Mount, data: list[str]) -> bool:
    """Mount by fsopen(2) and its kin; False if this kernel or these options need mount(2)."""
    settings = [option.partition("=") for option in data]
    if any(len(os.fsencode(value)) > _STRING_LIMIT for _, _, value in settings):
        return False
    if any(_FLAGS.get(o) and o not in _ATTRIBUTES and o != "relatime" for o in wanted.options):
        return False
    try:
        fs_fd = sys.fsopen(wanted.type)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):  # old kernel; a seccomp filter
            return False
        raise
    try:
        try:
            sys.fsconfig(fs_fd, sys.FSCONFIG_SET_STRING, "source", wanted.source)
            for key, equals, value in settings:
                if equals:
                    sys.fsconfig(fs_fd, sys.FSCONFIG_SET_STRING, key, value)
                else:
                    sys.fsconfig(fs_fd, sys.FSCONFIG_SET_FLAG, key, None)
            if "ro" in wanted.options:
                sys.fsconfig(fs_fd, sys.FSCONFIG_SET_FLAG, "ro", None)
            sys.fsconfig(fs_fd, sys.FSCONFIG_CMD_CREATE, None, None)
        except OSError as error:
            said = _log(fs_fd)
            raise OSError(
                error.errno, f"{os.strerror(error.errno or 0)}{said}", wanted.target
            ) from None
        attributes = 0
        for option in wanted.options:
            attributes |= _ATTRIBUTES.get(option, 0)
        mount_fd = sys.fsmount(fs_fd, attributes)
    finally:
        os.close(fs_fd)
    try:
        sys.move_mount(mount_fd, wanted.target)
    finally:
        os.close(mount_fd)
    return True


def _log(fs_fd: int) -> str:
    """What the kernel wrote to this context: ` (overlay: …; …)`, or nothing."""
    lines = []
    try:
        while line := os.read(fs_fd, 8192):
            lines.append(line.decode(errors="replace").strip()[2:])
    except OSError:  # ENODATA: no more messages
        pass
    return f" ({'; '.join(lines)})" if lines else ""


def unmount(path: str | os.PathLike[str], *, lazy: bool = False) -> None:
    """Unmount what is on top at this path; what is not mounted is left in peace."""
    try:
        flags = sys.UMOUNT_NOFOLLOW | (sys.MNT_DETACH if lazy else 0)
        sys.umount2(os.fspath(path), flags)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise


def mounted(path: str | os.PathLike[str]) -> bool:
    """Whether a mount point lies exactly at this path (its own links are not followed)."""
    name = os.path.abspath(os.fspath(path))
    parent = os.path.dirname(name)
    wanted = os.path.join(os.path.realpath(parent), os.path.basename(name))
    return any(target == wanted for target in _targets())


def mounts_below(path: str | os.PathLike[str]) -> list[str]:
    """The mount points at or below this folder, deepest and newest first."""
    top = os.path.realpath(os.fspath(path))
    found = [t for t in _targets() if t == top or t.startswith(top.rstrip("/") + "/")]
    return found[::-1]


def _targets() -> Iterator[str]:
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file.read().splitlines():
            yield _unescape(line.split(b" ", 5)[4])


def mountinfo(text: bytes | None = None) -> list[MountInfo]:
    """All mounts of this process's namespace, oldest first; or those that `text` lists."""
    if text is None:
        with open("/proc/self/mountinfo", "rb") as file:
            text = file.read()
    return [_parse(line) for line in text.splitlines() if line]


def _parse(line: bytes) -> MountInfo:
    head, _, tail = line.partition(b" - ")
    fields = head.split(b" ")
    fstype, source, super_options = [*tail.split(b" ", 2), b""][:3]
    return MountInfo(
        mount_id=int(fields[0]),
        parent_id=int(fields[1]),
        device=fields[2].decode(),
        root=_unescape(fields[3]),
        target=_unescape(fields[4]),
        options=tuple(fields[5].decode().split(",")),
        type=_unescape(fstype),
        source=_unescape(source),
        super_options=tuple(_unescape(super_options).split(",")),
    )


def _unescape(field: bytes) -> str:
    """Undo the \\040, \\011, \\012 and \\134 that the kernel writes for what splits the line."""
    if b"\\" in field:
        parts = field.split(b"\\")
        field = parts[0] + b"".join(bytes([int(p[:3], 8)]) + p[3:] for p in parts[1:])
    return os.fsdecode(field)


def boot_id() -> str:
    """A name of this boot of the machine: it changes with every start of the kernel."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
