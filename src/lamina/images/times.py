"""Moments as Docker writes them: RFC 3339 in UTC, nanoseconds without trailing zeros."""

from __future__ import annotations

import time

from lamina.errors import InvalidInput

ZERO = "0001-01-01T00:00:00Z"
"""What Go writes for "never"."""

_NS = 1_000_000_000


def rfc3339(moment_ns: int) -> str:
    """The moment (nanoseconds since 1970) as Go's `time.RFC3339Nano` prints it in UTC."""
    seconds, fraction = divmod(moment_ns, _NS)
    at = time.gmtime(seconds)
    text = (
        f"{at.tm_year:04d}-{at.tm_mon:02d}-{at.tm_mday:02d}"
        f"T{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
    )
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    return text + "Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time with an offset; InvalidInput for anything else."""
    from datetime import datetime

    try:
        date, rest = text[:19], text[19:]
        if date[10] not in "Tt " or date[4] + date[7] + date[13] + date[16] != "--::":
            raise ValueError(text)
        fields = (date[:4], date[5:7], date[8:10], date[11:13], date[14:16], date[17:19])
        if not all(field.isascii() and field.isdecimal() for field in fields):
            raise ValueError(text)
        year, month, day, hour, minute, second = map(int, fields)
        # Not strptime, whose first use costs some milliseconds at every start of a container.
        since = datetime(year, month, day, hour, minute, second) - datetime(1970, 1, 1)
        fraction = 0
        if rest.startswith("."):
            digits = 1
            while digits < len(rest) and rest[digits].isdigit():
                digits += 1
            fraction = int((rest[1:digits] + "000000000")[:9])
            rest = rest[digits:]
        if rest in ("Z", "z"):
            offset = 0
        elif len(rest) == 6 and rest[0] in "+-" and rest[3] == ":":
            offset = (int(rest[1:3]) * 60 + int(rest[4:6])) * 60
            offset = -offset if rest[0] == "-" else offset
        else:
            raise ValueError(text)
    except (ValueError, IndexError):
        raise InvalidInput(
            f"invalid time {text[:64]!r}: want RFC 3339, as 2006-01-02T15:04:05Z"
        ) from None
    return (since.days * 86400 + since.seconds - offset) * _NS + fraction
