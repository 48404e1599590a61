"""A build's progress as BuildKit draws it: plain lines, or a picture on a terminal.

Both take the events of a build, in order, and write to a stream. Plain:

    #5 [2/2] RUN apk add bash
    #5 0.412 fetch https://…
    #5 DONE 3.1s

On a terminal the whole picture is drawn again, in place, a few times a second; what is drawn is
computed by `Picture`, which knows nothing of terminals:

    [+] Building 6.0s (6/6) FINISHED
     => [internal] load build definition from Dockerfile                                       0.0s
     => => transferring dockerfile: 116B                                                       0.0s
"""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from lamina.build.events import Event, Finished, Output, Started, Status

_REDRAW_S = 0.1
_LOG_LINES = 6
_BLUE, _RED, _YELLOW, _RESET = "\x1b[34m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


class Progress(Protocol):
    """Draws events."""

    def hear(self, event: Event) -> None:
        """Take an event."""

    def close(self) -> None:
        """The build has ended: leave what is to stay."""


class Quiet:
    """Draws nothing."""

    def hear(self, event: Event) -> None:
        """Ignore it."""

    def close(self) -> None:
        """Nothing was drawn."""


@dataclass
class _Step:
    number: int
    name: str
    started_s: float
    ended: Finished | None = None
    statuses: dict[str, Status] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    part_of_line: bytes = b""

    def lines_of(self, data: bytes) -> list[str]:
        """The whole lines that this piece of output completes."""
        *whole, self.part_of_line = (self.part_of_line + data).split(b"\n")
        return [shown_line(line) for line in whole]

    def last_line(self) -> list[str]:
        """What is left of output whose last line has no end."""
        rest, self.part_of_line = self.part_of_line, b""
        return [shown_line(rest)] if rest else []


class Plain:
    """One line a happening, for logs and pipes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._steps: dict[int, _Step] = {}
        self._over: set[int] = set()
        self._current = 0

    def hear(self, event: Event) -> None:
        if isinstance(event, Started):
            self._steps[event.step] = _Step(event.step, event.name, event.at_s)
            self._switch_to(event.step)
            return
        step = self._steps[event.step]
        self._switch_to(event.step)
        if isinstance(event, Status):
            if event.done:
                self._status(step, event)
        elif isinstance(event, Output):
            self._log(step, step.lines_of(event.data), event.at_s)
        else:
            self._log(step, step.last_line(), event.at_s)
            self._say(step, _ending(step, event))
            self._over.add(event.step)
        self._out.flush()

    def close(self) -> None:
        self._out.flush()

    def _switch_to(self, number: int) -> None:
        """Say of which step the next lines are, where it was another's turn."""
        if self._current == number:
            return
        if self._current:
            unfinished = self._current not in self._over
            self._out.write(f"#{self._current} ...\n\n" if unfinished else "\n")
        self._current = number
        self._say(self._steps[number], self._steps[number].name)

    def _status(self, step: _Step, event: Status) -> None:
        took = event.at_s - event.started_s
        parts = [status_text(event), f"{took:.1f}s" if took >= 0.05 else "", "done"]
        self._say(step, " ".join(part for part in parts if part))

    def _log(self, step: _Step, lines: list[str], at_s: float) -> None:
        for line in lines:
            self._say(step, f"{at_s - step.started_s:.3f} {line}".rstrip())

    def _say(self, step: _Step, text: str) -> None:
        self._out.write(f"#{step.number} {text}\n")


def _ending(step: _Step, event: Finished) -> str:
    if event.cancelled:
        return "CANCELED"
    if event.error:
        return f"ERROR: {event.error}"
    if event.cached:
        return "CACHED"
    return f"DONE {event.at_s - step.started_s:.1f}s"


@dataclass(frozen=True)
class Line:
    """One line of the picture; `colour` is an escape sequence or nothing."""

    text: str
    colour: str = ""


class Picture:
    """What a terminal shows of a build at a moment."""

    def __init__(self) -> None:
        self._steps: dict[int, _Step] = {}

    def hear(self, event: Event) -> None:
        """Take an event into account."""
        if isinstance(event, Started):
            self._steps[event.step] = _Step(event.step, event.name, event.at_s)
            return
        step = self._steps[event.step]
        if isinstance(event, Status):
            step.statuses[event.text] = event
        elif isinstance(event, Output):
            step.log += step.lines_of(event.data)
            del step.log[:-50]
        else:
            step.ended = event
            step.log += step.last_line()

    def lines(self, now_s: float, width: int, height: int, *, finished: bool) -> list[Line]:
        """The picture, cut to the terminal's size while the build is going on."""
        done = sum(step.ended is not None for step in self._steps.values())
        head = f"[+] Building {now_s:.1f}s ({done}/{len(self._steps)})"
        head += " FINISHED" if finished else ""
        body = [line for step in self._ordered() for line in self._step(step, now_s, width)]
        if not finished:
            # What is going on is at the end: older lines give way to it.
            body = body[-max(1, height - 2) :]
        return [Line(_cut(head, width)), *body]

    def _ordered(self) -> list[_Step]:
        running = [step for step in self._steps.values() if step.ended is None]
        over = [step for step in self._steps.values() if step.ended is not None]
        return [*over, *running]

    def _step(self, step: _Step, now_s: float, width: int) -> Iterator[Line]:
        ended = step.ended
        took = max(0.0, (ended.at_s if ended else now_s) - step.started_s)
        mark, colour = "", _BLUE if ended else ""
        if ended and ended.cancelled:
            mark, colour = "CANCELED ", _YELLOW
        elif ended and ended.error:
            mark, colour = "ERROR ", _RED
        elif ended and ended.cached:
            mark = "CACHED "
        yield Line(_with_time(f" => {mark}{step.name}", took, width), colour)
        for status in step.statuses.values():
            took = (status.at_s if status.done else now_s) - status.started_s
            yield Line(_with_time(f" => => {status_text(status)}", took, width), colour)
        if ended is None or ended.error:
            for line in step.log[-_LOG_LINES:]:
                yield Line(_cut(f" => => # {line}", width))


class Terminal:
    """Draws the picture in place, by a thread, until it is closed."""

    def __init__(self, out: TextIO, size: tuple[int, int], *, colours: bool = True) -> None:
        self._out = out
        self._width, self._height = max(size[0], 20), max(size[1], 5)
        self._colours = colours
        self._picture = Picture()
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._drawn = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_drawing, name="progress", daemon=True)
        self._thread.start()

    def hear(self, event: Event) -> None:
        with self._lock:
            self._picture.hear(event)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._draw(finished=True)

    def _keep_drawing(self) -> None:
        while not self._over.wait(_REDRAW_S):
            self._draw(finished=False)

    def _draw(self, *, finished: bool) -> None:
        with self._lock:
            now_s = time.monotonic() - self._begun
            lines = self._picture.lines(now_s, self._width, self._height, finished=finished)
        text = [f"\x1b[{self._drawn}A" if self._drawn else "", "\x1b[?25l"]
        for line in lines:
            coloured = self._colours and line.colour
            shown = f"{line.colour}{line.text}{_RESET}" if coloured else line.text
            text.append(f"\r{shown}\x1b[K\n")
        text.append("\x1b[J")
        if finished:
            text.append("\x1b[?25h")
        self._drawn = len(lines)
        self._out.write("".join(text))
        self._out.flush()


def status_text(status: Status) -> str:
    """`transferring context: 2.35kB`."""
    if status.size_bytes is None:
        return status.text
    return f"{status.text}: {transferred(status.size_bytes)}"


def transferred(size_bytes: float) -> str:
    """A size as BuildKit writes it: `116B`, `2.35kB`, `20.00MB`."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f}B"
    power = 1
    while size_bytes >= 999.995 * 1000**power and power < 4:
        power += 1
    return f"{size_bytes / 1000**power:.2f}{'kMGT'[power - 1]}B"


def shown_line(line: bytes) -> str:
    """A line of output as it may be printed: what a terminal would do with it is not done."""
    text = line.decode(errors="replace").rstrip("\r")
    text = text.rpartition("\r")[2]  # a progress bar drew over itself
    return "".join(_plain_characters(text.expandtabs(8)))


def _plain_characters(text: str) -> Iterator[str]:
    """The characters without control sequences (ECMA-48: ESC [ … final, ESC ] … BEL)."""
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\x1b":
            if text.startswith("[", at):
                at += 1
                while at < len(text) and not "@" <= text[at] <= "~":
                    at += 1
            elif text.startswith("]", at):
                while at < len(text) and text[at] != "\x07":
                    at += 1
            at += 1
        elif unicodedata.category(char) not in ("Cc", "Cf"):
            yield char


def _with_time(text: str, took_s: float, width: int) -> str:
    """The text, and at the right edge how long it took."""
    shown = f"{took_s:.1f}s"
    room = width - len(shown) - 1
    cut = _cut(text, room)
    return f"{cut}{' ' * (room - _columns(cut))} {shown}"


def _cut(text: str, width: int) -> str:
    if _columns(text) <= width:
        return text
    while text and _columns(text) > width - 1:
        text = text[:-1]
    return f"{text}…" if width > 0 else ""


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
