"""Extended attributes: which travel in a layer, and overlayfs's own marks among them.

overlayfs keeps its marks in `trusted.overlay.*`. A layer that carries such a name must neither be
able to set a mark nor lose the attribute: it is stored escaped, as `trusted.overlay.overlay.*`,
which the kernel (Linux 6.7 and later) shows under its own name again, and so does a diff.
"""

from __future__ import annotations

import errno
import os
import stat

OPAQUE = b"trusted.overlay.opaque"
ORIGIN = b"trusted.overlay.origin"
"""On a folder: it may hold whiteouts, though no other layer has it (ovl_get_inode, Linux 4.15).

Else overlayfs lists a folder of one layer alone as it is, and its whiteouts with it. An empty value
means that what it was copied from is not known."""
_MARKS = b"trusted.overlay."
_ESCAPED = b"trusted.overlay.overlay."
_WHITEOUT = b"trusted.overlay.whiteout"
_MOVED = (b"trusted.overlay.redirect", b"trusted.overlay.metacopy")

# The machine's own labels: they say what this host thinks of a file, not what the file is.
_OF_THE_HOST = frozenset((b"security.selinux", b"system.nfs4_acl", b"system.nfs4acl"))
ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
_NONE = (errno.ENODATA, errno.ENOTSUP, errno.ENOENT)


def travels(name: bytes) -> bool:
    """Whether an attribute belongs to the file, not to the machine that holds it."""
    return name not in _OF_THE_HOST


def stored_name(name: bytes, *, marks: bool) -> bytes:
    """The name under which to store a layer's attribute, where overlayfs reads marks or not."""
    if marks and name.startswith(_MARKS):
        return _ESCAPED + name[len(_MARKS) :]
    return name


def of_path(path: bytes | int, *, marks: bool, follow: bool = False) -> dict[bytes, bytes]:
    """The attributes of a file as they travel; `marks`: it lies where overlayfs keeps marks."""
    try:
        names = os.listxattr(path, follow_symlinks=True if isinstance(path, int) else follow)
    except OSError as error:
        if error.errno in _NONE:
            return {}
        raise
    found: dict[bytes, bytes] = {}
    for text in names:
        name = os.fsencode(text)
        if not travels(name):
            continue
        shown = name
        if marks and name.startswith(_MARKS):
            if not name.startswith(_ESCAPED):
                continue
            shown = _MARKS + name[len(_ESCAPED) :]
        found[shown] = os.getxattr(
            path, text, follow_symlinks=True if isinstance(path, int) else follow
        )
    return found


def _get(path: bytes | int, name: bytes) -> bytes | None:
    try:
        return os.getxattr(path, name)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise


def _by_descriptor(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd  # an O_PATH descriptor has no attributes of its own to read


def is_opaque(fd: int) -> bool:
    """Whether this folder of an overlay layer hides what is below it."""
    return _get(_by_descriptor(fd), OPAQUE) == b"y"


def is_whiteout(fd: int, found: os.stat_result) -> bool:
    """Whether this file of an overlay layer is the mark of a deletion, in either of its forms."""
    if stat.S_ISCHR(found.st_mode):
        return found.st_rdev == 0
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        return _get(_by_descriptor(fd), _WHITEOUT) is not None
    return False


def moved_by(fd: int) -> str | None:
    """The mark by which this file's content or children lie under another name, if it has one."""
    for mark in _MOVED:
        if _get(_by_descriptor(fd), mark) is not None:
            return mark.decode()
    return None
