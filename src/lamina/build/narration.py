"""Telling a listener how a build goes: steps numbered as they start, events one at a time."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from lamina.build.events import Finished, Listener, Output, Started, Status
from lamina.build.refusals import BuildFailed
from lamina.errors import Cancelled


class Narrator:
    """Tells events with the time since it was made; safe for several threads."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._steps = 0

    def now_s(self) -> float:
        """Seconds since the build began."""
        return time.monotonic() - self._begun

    def tell(self, event: Started | Status | Output | Finished) -> None:
        """Hand an event on."""
        with self._lock:
            self._listener(event)

    def step(self, name: str) -> Telling:
        """Begin a step; a context manager that ends it, with the error that it ended by."""
        with self._lock:
            self._steps += 1
            telling = Telling(self, self._steps, name)
            self._listener(Started(telling.number, name, self.now_s()))
        return telling


class Telling:
    """One step that is under way."""

    def __init__(self, narrator: Narrator, number: int, name: str) -> None:
        self._narrator = narrator
        self.number = number
        self.name = name
        self.cached = False
        self._begun = narrator.now_s()
        self._pieces: list[tuple[float, bytes]] = []

    def status(
        self,
        text: str,
        *,
        started_s: float | None = None,
        size_bytes: int | None = None,
        done: bool = True,
    ) -> float:
        """Tell of a part of the step; gives the time at which it started."""
        now = self._narrator.now_s()
        started = now if started_s is None else started_s
        self._narrator.tell(Status(self.number, text, started, now, size_bytes, done))
        return started

    def output(self, data: bytes) -> None:
        """Tell of output."""
        at_s = self._narrator.now_s()
        self._pieces.append((at_s - self._begun, data))
        if len(self._pieces) > 200:
            del self._pieces[:100]
        self._narrator.tell(Output(self.number, data, at_s))

    def last_lines(self, count: int) -> tuple[str, ...]:
        """The end of the output, each line with the second it came at, for an error."""
        lines: list[str] = []
        part = b""
        for at_s, data in self._pieces:
            *whole, part = (part + data).split(b"\n")
            lines += [f"{at_s:.3f} {line.decode(errors='replace')}" for line in whole]
        if part:
            lines.append(f"{self._pieces[-1][0]:.3f} {part.decode(errors='replace')}")
        return tuple(lines[-count:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        at_s = self._narrator.now_s()
        if error is None:
            self._narrator.tell(Finished(self.number, at_s, self.cached))
        elif isinstance(error, Cancelled) or not isinstance(error, Exception):
            self._narrator.tell(Finished(self.number, at_s, cancelled=True))
        else:
            reason = error.cause if isinstance(error, BuildFailed) else error
            self._narrator.tell(Finished(self.number, at_s, error=str(reason)))
