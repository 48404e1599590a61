"""The caller's side of a container's standard streams: descriptors, terminal, signals, keys."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from lamina.errors import Cancelled, InvalidInput

DETACH_KEYS = "ctrl-p,ctrl-q"

# Passed on to the container by an attached caller. SIGCHLD, SIGPIPE and SIGWINCH are the
# caller's own business; SIGTSTP and its kin would take job control from its shell.
_PROXIED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
)
# As in Docker: who interrupts so often has a container before him that does not listen.
_LAST_ENDING = 3
_SPECIAL_KEYS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


@dataclass(frozen=True)
class Streams:
    """What an attached caller lends: descriptors (None: not attached), and how they behave.

    With a terminal in the container and a terminal on `stdin`, the latter is put in raw mode
    for the time of the attachment, its size is passed on, and `detach_keys` end the attachment.
    `signal_proxy` passes the signals that this process receives to the container.
    """

    stdin: int | None = None
    stdout: int | None = 1
    stderr: int | None = 2
    detach_keys: str = DETACH_KEYS
    signal_proxy: bool = True

    def __post_init__(self) -> None:
        parse_detach_keys(self.detach_keys)  # refused before anything is started

    def for_input(self, *, wanted: bool) -> Streams:
        """The same, with no standard input where the other side takes none."""
        if wanted or self.stdin is None:
            return self
        return Streams(None, self.stdout, self.stderr, self.detach_keys, self.signal_proxy)


def parse_detach_keys(text: str) -> bytes:
    """The bytes of a key sequence such as `ctrl-p,ctrl-q` or `a,ctrl-x`; "" stands for none."""
    keys = bytearray()
    for key in text.split(",") if text else ():
        if len(key) == 1 and key.isascii():
            keys.append(ord(key))
            continue
        prefix, _, letter = key.partition("-")
        if prefix == "ctrl" and len(letter) == 1 and letter.isascii():
            if letter.isalpha():
                keys.append(ord(letter.lower()) - ord("a") + 1)
                continue
            if letter in _SPECIAL_KEYS:
                keys.append(_SPECIAL_KEYS[letter])
                continue
        raise InvalidInput(f"invalid detach keys ({text}): unknown character: '{key}'")
    return bytes(keys)


class DetachKeys:
    """Finds the detach sequence in typed input, whichever way the input is cut into pieces."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._typed = 0

    def passed(self, data: bytes) -> tuple[bytes, bool]:
        """What of `data` goes to the container, and whether the sequence is complete.

        The beginning of a sequence is held back until it is complete or turns out to be none.
        """
        if not self._keys:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._typed]:
                self._typed += 1
                if self._typed == len(self._keys):
                    self._typed = 0
                    return bytes(out), True
                continue
            if self._typed:
                out += self._keys[: self._typed]
                self._typed = 0
                if byte == self._keys[0]:
                    self._typed = 1
                    continue
            out.append(byte)
        return bytes(out), False


@contextmanager
def raw_terminal(descriptor: int | None) -> Iterator[None]:
    """Raw mode within the block, restored however it ends; a no-op where it is no terminal."""
    if descriptor is None or not os.isatty(descriptor):
        yield
        return
    import termios
    import tty

    saved = termios.tcgetattr(descriptor)
    try:
        # Not TCSAFLUSH: what was typed ahead belongs to the container, and later to the shell.
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


def terminal_size(streams: Streams) -> tuple[int, int] | None:
    """(rows, columns) of the first of the caller's descriptors that is a terminal."""
    for descriptor in (streams.stdout, streams.stdin, streams.stderr):
        if descriptor is not None and os.isatty(descriptor):
            size = os.get_terminal_size(descriptor)
            if size.lines and size.columns:
                return size.lines, size.columns
    return None


class SignalProxy:
    """Hands the signals of this process to a container; those that come too early are kept.

    Handlers belong to the main thread: in any other, this does nothing.
    """

    def __init__(self, *, enabled: bool, on_resize: Callable[[], None] | None = None) -> None:
        self._active = threading.current_thread() is threading.main_thread()
        self._enabled = enabled
        self._on_resize = on_resize
        self._deliver: Callable[[int], None] | None = None
        self._early: list[int] = []
        self._endings = 0
        self._saved: dict[int, object] = {}

    def deliver_to(self, deliver: Callable[[int], None]) -> None:
        """The container is there: signals go to `deliver` from now on."""
        self._deliver = deliver
        early, self._early = self._early, []
        for number in early:
            deliver(number)

    def deliver_to_process(self, pid: int) -> None:
        """The same, for a process that is there now; another with its number gets nothing."""
        from lamina.containers.monitor import process_start_time
        from lamina.containers.watch import send_signal

        started = process_start_time(pid)

        def deliver(number: int) -> None:
            send_signal(pid, started, number)

        self.deliver_to(deliver)

    def __enter__(self) -> SignalProxy:
        if self._active:
            numbers: Sequence[int] = _PROXIED if self._enabled else ()
            for number in numbers:
                self._saved[number] = signal.signal(number, self._proxy)
            if self._on_resize is not None:
                self._saved[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._resized)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._saved.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _proxy(self, number: int, _: FrameType | None) -> None:
        if self._deliver is None:
            self._early.append(number)
            return
        self._deliver(number)
        if number in (signal.SIGINT, signal.SIGTERM):
            self._endings += 1
            if self._endings == _LAST_ENDING:
                raise Cancelled(
                    "got 3 SIGTERM/SIGINTs, forcefully exiting",
                    remedy="the container goes on: end it with 'lamina kill'",
                )

    def _resized(self, *_: object) -> None:
        if self._on_resize is not None:
            self._on_resize()
