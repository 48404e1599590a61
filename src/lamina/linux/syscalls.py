"""System calls that the standard library lacks, named as in the manual pages.

Each is one typed function that raises OSError with the path it was about. Nothing here decides
anything. Numbers are those of the unified table (Linux 5.1 and later), the same on every
architecture but alpha.
"""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_DIRSYNC = 0x80
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
MOVE_MOUNT_F_EMPTY_PATH = 0x4
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442
_FICLONE = 0x40049409

Name = str | bytes


def _failed(*paths: Name | int | None) -> OSError:
    number = ctypes.get_errno()
    named = [os.fsdecode(path) for path in paths if isinstance(path, str | bytes)]
    if len(named) > 1:
        return OSError(number, os.strerror(number), named[0], None, named[1])
    if named:
        return OSError(number, os.strerror(number), named[0])
    return OSError(number, os.strerror(number))


def _c(path: Name | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def _call(number: int, *arguments: object) -> int:
    return int(_syscall(ctypes.c_long(number), *arguments))


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def openat2(
    dir_fd: int,
    path: Name,
    flags: int,
    *,
    mode: int = 0,
    resolve: int = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
) -> int:
    """openat2(2): open a path whose resolution is confined; by default to the folder `dir_fd`."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    while True:
        fd = _call(
            _SYS_OPENAT2,
            ctypes.c_int(dir_fd),
            ctypes.c_char_p(_c(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if fd >= 0:
            return fd
        # EAGAIN: a rename or mount raced with the resolution of `..` (openat2(2)).
        if ctypes.get_errno() not in (errno.EINTR, errno.EAGAIN):
            raise _failed(path)


def mount(
    source: Name | None, target: Name, fstype: Name | None, flags: int = 0, data: Name | None = None
) -> None:
    """mount(2)."""
    if _libc.mount(_c(source), _c(target), _c(fstype), ctypes.c_ulong(flags), _c(data)) != 0:
        raise _failed(target)


def umount2(target: Name, flags: int = 0) -> None:
    """umount2(2)."""
    if _libc.umount2(_c(target), ctypes.c_int(flags)) != 0:
        raise _failed(target)


def syncfs(fd: int) -> None:
    """syncfs(2): flush the whole filesystem that holds this file; raises what writeback met."""
    if _libc.syncfs(ctypes.c_int(fd)) != 0:
        raise _failed()


def ficlone(destination_fd: int, source_fd: int) -> None:
    """ioctl_ficlone(2): make the destination share all of the source's blocks (reflink)."""
    import fcntl

    fcntl.ioctl(destination_fd, _FICLONE, source_fd)


def renameat2(
    source_dir_fd: int, source: Name, target_dir_fd: int, target: Name, flags: int = 0
) -> None:
    """renameat2(2)."""
    result = _libc.renameat2(
        ctypes.c_int(source_dir_fd),
        ctypes.c_char_p(_c(source)),
        ctypes.c_int(target_dir_fd),
        ctypes.c_char_p(_c(target)),
        ctypes.c_uint(flags),
    )
    if result != 0:
        raise _failed(source, target)


def fsopen(fstype: Name) -> int:
    """fsopen(2): a context in which a filesystem is configured."""
    fd = _call(_SYS_FSOPEN, ctypes.c_char_p(_c(fstype)), ctypes.c_uint(FSOPEN_CLOEXEC))
    if fd < 0:
        raise _failed(fstype)
    return fd


def fsconfig(fs_fd: int, command: int, key: Name | None, value: Name | None, aux: int = 0) -> None:
    """fsconfig(2)."""
    result = _call(
        _SYS_FSCONFIG,
        ctypes.c_int(fs_fd),
        ctypes.c_uint(command),
        ctypes.c_char_p(_c(key)),
        ctypes.c_char_p(_c(value)),
        ctypes.c_int(aux),
    )
    if result != 0:
        raise _failed(value if value is not None else key)


def fsmount(fs_fd: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of the filesystem configured in this context."""
    fd = _call(
        _SYS_FSMOUNT, ctypes.c_int(fs_fd), ctypes.c_uint(FSMOUNT_CLOEXEC), ctypes.c_uint(attributes)
    )
    if fd < 0:
        raise _failed()
    return fd


def move_mount(mount_fd: int, target: Name, *, target_dir_fd: int = AT_FDCWD) -> None:
    """move_mount(2): attach a detached mount at a path."""
    result = _call(
        _SYS_MOVE_MOUNT,
        ctypes.c_int(mount_fd),
        ctypes.c_char_p(b""),
        ctypes.c_int(target_dir_fd),
        ctypes.c_char_p(_c(target)),
        ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH),
    )
    if result != 0:
        raise _failed(target)


def open_tree(path: Name, flags: int = OPEN_TREE_CLONE, *, dir_fd: int = AT_FDCWD) -> int:
    """open_tree(2): by default a detached bind mount of the path."""
    fd = _call(
        _SYS_OPEN_TREE,
        ctypes.c_int(dir_fd),
        ctypes.c_char_p(_c(path)),
        ctypes.c_uint(flags | OPEN_TREE_CLOEXEC),
    )
    if fd < 0:
        raise _failed(path)
    return fd


def mount_setattr(
    dir_fd: int,
    path: Name,
    *,
    set_attributes: int = 0,
    clear_attributes: int = 0,
    propagation: int = 0,
    flags: int = AT_EMPTY_PATH,
) -> None:
    """mount_setattr(2)."""
    attributes = _MountAttr(set_attributes, clear_attributes, propagation, 0)
    result = _call(
        _SYS_MOUNT_SETATTR,
        ctypes.c_int(dir_fd),
        ctypes.c_char_p(_c(path)),
        ctypes.c_uint(flags),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    if result != 0:
        raise _failed(path)


CLONE_FS = 0x200
CLONE_NEWNS = 0x20000


def unshare(flags: int) -> None:
    """unshare(2), for the calling thread."""
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        raise _failed()


def getdents64(dir_fd: int) -> list[tuple[bytes, int]]:
    """getdents64(2), to the folder's end: names with their DT_ types, which scandir does not tell.

    DT_UNKNOWN (0) is what a filesystem without d_type answers.
    """
    found: list[tuple[bytes, int]] = []
    buffer = ctypes.create_string_buffer(32768)
    while True:
        size = int(_libc.getdents64(ctypes.c_int(dir_fd), buffer, ctypes.c_size_t(len(buffer))))
        if size < 0:
            raise _failed()
        if size == 0:
            return found
        data, offset = buffer.raw[:size], 0
        while offset < size:  # d_ino 8, d_off 8, d_reclen 2, d_type 1, d_name
            length = int.from_bytes(data[offset + 16 : offset + 18], "little")
            name = data[offset + 19 : offset + length].split(b"\0", 1)[0]
            found.append((name, data[offset + 18]))
            offset += length
