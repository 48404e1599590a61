"""What the kernel's errors mean to a caller: OSError in the words of the one tree."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from lamina.errors import LaminaError, OutOfSpace, PermissionDenied

FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EPERM, errno.EACCES, errno.EROFS)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Within the block, a full disk raises OutOfSpace, missing rights raise PermissionDenied.

    Other errors of the system pass as they are: they have no remedy that is known here.
    """
    try:
        yield
    except OSError as error:
        raise meaning(error, doing) from error


def meaning(error: OSError, doing: str) -> Exception:
    """The error that a caller should see for this one."""
    where = f": {_text(error.filename)}" if error.filename else ""
    reason = (error.strerror or str(error)).lower()
    told: LaminaError
    if error.errno in FULL:
        told = OutOfSpace(
            f"{doing}: {reason}{where}", remedy="free some space on that filesystem, then try again"
        )
    elif error.errno in _FORBIDDEN:
        remedy = "run as root" if error.errno != errno.EROFS else "mount that filesystem writable"
        told = PermissionDenied(f"{doing}: {reason}{where}", remedy=remedy)
    else:
        return error
    return told


def is_full(error: BaseException) -> bool:
    """Whether an error, translated or not, tells of a full disk."""
    return isinstance(error, OutOfSpace) or (isinstance(error, OSError) and error.errno in FULL)


def _text(filename: object) -> str:
    if isinstance(filename, bytes):
        return filename.decode("utf-8", "backslashreplace")
    return str(filename)
