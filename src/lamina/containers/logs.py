"""The log of a container: what conmon wrote, read back as lines with their stream and time.

The file is `containers/<id>/<id>-json.log`, the place where Docker keeps it; its content is the
format of the monitor (CRI's): `2026-11-23T22:45:00.123456789+00:00 stdout F the line`. `P` in
place of `F` marks a piece of a line that another piece follows. The monitor writes it, so output
is logged with no process of ours alive; Docker's JSON lines would need one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

_BLOCK_BYTES = 64 << 10
_RECHECK_S = 5
_LONG_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class LogLine:
    """One logged line: its stream, when it began, and its bytes with the line end if it has one."""

    stream: str
    time_ns: int
    text: bytes


def read_log(
    path: Path,
    *,
    follow: Callable[[], bool] | None = None,
    end: Path | None = None,
    tail: int | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> Iterator[LogLine]:
    """The log's lines, oldest first; `tail` counts from the end of what is there now.

    With `follow`, goes on as more is written, until `follow()` is false and nothing is left;
    `end` is a folder into which something is renamed when that becomes so.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below, also when the caller stops early)
    except FileNotFoundError:
        return
    with file:
        others = 0
        if tail is not None:
            start, others = _tail(file, tail)
            file.seek(start)
        lines = (
            _lines(file)
            if follow is None
            else _followed(file, (path, end) if end else (path,), follow)
        )
        for line in islice(_joined(lines), others, None):
            if since_ns is not None and line.time_ns < since_ns:
                continue
            if until_ns is not None and line.time_ns > until_ns:
                break
            yield line


def parse_line(raw: bytes) -> LogLine | None:
    """One line of the file (without its line end); None where it is torn or foreign."""
    parts = raw.split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P"):
        return None
    try:
        moment = parse_time(parts[0].decode("ascii"))
    except ValueError:
        return None
    end = b"\n" if parts[2] == b"F" else b""
    return LogLine(parts[1].decode("ascii", "replace"), moment, parts[3] + end)


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time with up to nine decimals."""
    import calendar

    day, _, rest = text.partition("T")
    year, month, date = (int(part) for part in day.split("-"))
    offset_s = 0
    for sign, factor in (("+", -1), ("-", 1)):
        clock, found, zone = rest.partition(sign)
        if found:
            hours, _, minutes = zone.partition(":")
            offset_s = factor * (int(hours) * 3600 + int(minutes or 0) * 60)
            rest = clock
            break
    clock, _, fraction = rest.removesuffix("Z").partition(".")
    hour, minute, second = (int(part) for part in clock.split(":"))
    seconds = calendar.timegm((year, month, date, hour, minute, second)) + offset_s
    return seconds * 1_000_000_000 + int((fraction + "000000000")[:9])


def _joined(lines: Iterator[bytes]) -> Iterator[LogLine]:
    """Whole lines of their pieces, stream by stream; what has no end yet comes last."""
    begun: dict[str, LogLine] = {}
    for raw in lines:
        line = parse_line(raw)
        if line is None:
            continue
        first = begun.pop(line.stream, None)
        if first is not None:
            line = LogLine(line.stream, first.time_ns, first.text + line.text)
        if line.text.endswith(b"\n") or len(line.text) >= _LONG_LINE_BYTES:
            yield line
        else:
            begun[line.stream] = line
    yield from begun.values()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    for line in file:
        if line.endswith(b"\n"):
            yield line[:-1]


def _followed(
    file: BinaryIO, watched: Sequence[Path], running: Callable[[], bool]
) -> Iterator[bytes]:
    from lamina.containers.watch import Watch

    watch = Watch(*watched)
    rest = b""
    try:
        while True:
            # Asked before reading: what was written before the end is then read after it.
            alive = running()
            while piece := file.read(_BLOCK_BYTES):
                *whole, rest = (rest + piece).split(b"\n")
                yield from whole
            if not alive:
                return
            watch.wait(_RECHECK_S)
    finally:
        watch.close()


@dataclass(frozen=True)
class _Span:
    """Where the first and the last piece of a line begin; `whole` is false where it may begin
    further ahead, in what was not read."""

    first: int
    last: int
    whole: bool


def _tail(file: BinaryIO, count: int) -> tuple[int, int]:
    """Where to read from to get the last `count` lines, and how many others come up there first.

    Others, because a piece of one stream's line may stand before whole lines of the other stream.
    """
    position = end = file.seek(0, os.SEEK_END)
    if count <= 0:
        return end, 0
    spans: list[_Span] = []
    buffer = b""
    while position > 0:
        step = min(max(_BLOCK_BYTES, len(buffer)), position)
        position -= step
        file.seek(position)
        buffer = file.read(step) + buffer
        spans = _spans(buffer, position)
        known = all(span.whole for span in spans[-count:]) or len(buffer) >= _LONG_LINE_BYTES
        if len(spans) > count and known:
            break
    start = min((span.first for span in spans[-count:]), default=0)
    return start, sum(span.last >= start for span in spans[:-count])


def _spans(buffer: bytes, position: int) -> list[_Span]:
    """The lines that end in the buffer, in the order of their ends; then those without an end."""
    spans = []
    begun: dict[bytes, _Span] = {}
    known: set[bytes] = set()
    start = 0 if position == 0 else buffer.find(b"\n") + 1
    while (end := buffer.find(b"\n", start)) >= 0:
        fields = buffer[start:end].split(b" ", 3)
        here, start = position + start, end + 1
        if len(fields) != 4:
            continue
        stream, mark = fields[1:3]
        first = begun.pop(stream, None) or _Span(here, here, position == 0 or stream in known)
        known.add(stream)
        span = _Span(first.first, here, first.whole)
        if mark == b"P":
            begun[stream] = span
        else:
            spans.append(span)
    return [*spans, *begun.values()]
