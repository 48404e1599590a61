"""Other processes for a test: that run at once, or die in the middle."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any


class Processes:
    """Children that run a function of the test; each is waited for."""

    def __init__(self) -> None:
        self._running: list[int] = []

    def start(self, act: Callable[[], object]) -> int:
        """Run this in a child; what it raises is its failure."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                act()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        self._running.append(pid)
        return pid

    def wait(self, pid: int) -> int:
        """A child's exit code; negative: the signal that ended it."""
        self._running.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def wait_all(self) -> list[int]:
        """The exit codes of all children that run."""
        return [self.wait(pid) for pid in list(self._running)]

    def end(self) -> None:
        """Leave none behind."""
        for pid in list(self._running):
            os.kill(pid, signal.SIGKILL)
            self.wait(pid)


def die_at_line(number: int, within: str, act: Callable[[], object]) -> None:
    """Do this, but be killed before the n-th line that runs in files whose path has `within`."""
    left = number

    def on_line(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    def on_call(frame: FrameType, event: str, argument: object) -> Any:
        return on_line if within in frame.f_code.co_filename else None

    sys.settrace(on_call)
    try:
        act()
    finally:
        sys.settrace(None)
