"""Threads that an interrupt cannot leave behind.

A signal's handler may raise at any point of the main thread: between the start of a thread and the
note that there is one, too. So signals wait while threads are started, and joining them is not
given up: whoever interrupts has them told to stop.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

_PATIENCE_S = 0.2
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


def start_uninterrupted(threads: Sequence[threading.Thread]) -> None:
    """Start all of them; a signal that comes meanwhile is heeded at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        for thread in threads:
            thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def accept_interrupts() -> None:
    """In a thread so started: let what it executes have the usual signals again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)


def join_for_certain(threads: Sequence[threading.Thread], stop: Callable[[], None] | None) -> None:
    """Wait until each that was started has ended, however often somebody interrupts.

    `stop` tells them to, again and again: what it kills may not have come to life at the first.
    """
    for thread in threads:
        while thread.is_alive():
            with suppress(KeyboardInterrupt, SystemExit):
                if stop is not None:
                    stop()
                thread.join(None if stop is None else _PATIENCE_S)
