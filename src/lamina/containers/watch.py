"""Waiting without polling: for a file or folder to change, and for a process to end."""

from __future__ import annotations

import os
import select
from pathlib import Path

_IN_MODIFY = 0x2
_IN_MOVED_TO = 0x80
_IN_DELETE_SELF = 0x400


class Watch:
    """An inotify(7) watch on files' contents, and on what is renamed into folders."""

    def __init__(self, *paths: Path) -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = int(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        mask = _IN_MODIFY | _IN_MOVED_TO | _IN_DELETE_SELF
        # Where there is nothing to watch any more, waiting ends by its other conditions.
        for path in paths:
            libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask)

    def wait(self, timeout_s: float | None = None, process: int = -1) -> bool:
        """Wait for a change, or for the end of the process of this pidfd; False on a timeout."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        if process >= 0:
            poller.register(process, select.POLLIN)
        ready = poller.poll(None if timeout_s is None else max(0, int(timeout_s * 1000)))
        if any(descriptor == self._descriptor for descriptor, _ in ready):
            os.read(self._descriptor, 1 << 16)
        return bool(ready)

    def close(self) -> None:
        """Let the watch go; harmless twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_process(pid: int, started: int | None, timeout_s: float | None = None) -> bool:
    """Wait until this process has ended; False where it has not within the timeout.

    `started` is its start time (monitor.process_start_time): a reused number is another process.
    """
    from lamina.containers.monitor import process_start_time

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if process_start_time(pid) != started:
            return True
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(None if timeout_s is None else max(0, int(timeout_s * 1000))))
    finally:
        os.close(descriptor)


def send_signal(pid: int, started: int | None, number: int) -> bool:
    """Signal this very process; False where it is no more."""
    import signal

    from lamina.containers.monitor import process_start_time

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if process_start_time(pid) != started:
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
