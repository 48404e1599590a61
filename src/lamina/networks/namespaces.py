"""Network namespaces that outlive the process that made them: a bind mount holds each.

The holder is made before the container's first process and removed after its last, so the
firewall's rules can be taken back when no process of the container exists any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MNT_DETACH = 2


def create_namespace(holder: Path) -> None:
    """Makes a fresh network namespace, held by a bind mount on `holder` (a file made here)."""
    holder.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(holder, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    failures: list[OSError] = []

    def make() -> None:
        # A thread may leave its process's namespace alone; it ends, the bind mount stays.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET):
            failures.append(_os_error("unshare(CLONE_NEWNET)"))
            return
        own = f"/proc/self/task/{threading.get_native_id()}/ns/net".encode()
        if libc.mount(own, os.fsencode(holder), b"", ctypes.c_ulong(_MS_BIND), None):
            failures.append(_os_error(str(holder)))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failures:
        with contextlib.suppress(FileNotFoundError):
            holder.unlink()
        raise failures[0]


def remove_namespace(holder: Path) -> None:
    """Lets go of the namespace; it ends with its last process. Absent is fine."""
    libc = ctypes.CDLL(None, use_errno=True)
    while libc.umount2(os.fsencode(holder), _MNT_DETACH) == 0:
        pass
    with contextlib.suppress(FileNotFoundError):
        holder.unlink()


def namespace_exists(holder: Path) -> bool:
    """Whether a namespace is mounted on `holder` (after a reboot, only the file may be left)."""
    try:
        return os.stat(holder).st_dev != os.stat(holder.parent).st_dev
    except FileNotFoundError:
        return False


def _os_error(path: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), path)
