"""Sizes and times in Docker's words: `7.75MB`, `3 minutes ago`."""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def human_size(size_bytes: float, digits: int = 4) -> str:
    """Decimal units with that many significant digits at most, as `docker images` with 3."""
    return _scaled(size_bytes, 1000, _DECIMAL, digits)


def size(size_bytes: float) -> str:
    """As Docker's listings show a size: decimal units, three significant digits."""
    return human_size(size_bytes, 3)


def binary_size(size_bytes: float) -> str:
    """Binary units with four significant digits, as `docker info` shows memory."""
    return _scaled(size_bytes, 1024, _BINARY, 4)


def _scaled(number: float, base: int, units: tuple[str, ...], digits: int) -> str:
    index = 0
    while number >= base and index < len(units) - 1:
        number /= base
        index += 1
    return f"{_significant(number, digits)}{units[index]}"


def _significant(number: float, digits: int) -> str:
    """Go's %.<digits>g."""
    text = f"{number:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        return f"{mantissa}e{exponent[0]}{exponent[1:].zfill(2)}"
    return text


def duration(seconds: float) -> str:
    """A length of time in its largest unit: `Less than a second`, `About an hour`, `3 weeks`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    for unit, length, below in (("days", 24, 24 * 7 * 2), ("weeks", 24 * 7, 24 * 30 * 2)):
        if hours < below:
            return f"{hours // length} {unit}"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(seconds: float) -> str:
    """How long since, as CREATED columns show it."""
    return f"{duration(seconds)} ago"


_MULTIPLES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_size(text: str) -> int:
    """Bytes of a size as flags take it (`512m`, `1g`, `10GB`, `64KiB`): powers of 1024."""
    from lamina.errors import InvalidInput

    body = text.strip().lower()
    body = body.removesuffix("b").removesuffix("i")
    number, unit = (body[:-1], body[-1]) if body[-1:].isalpha() else (body, "")
    try:
        value = float(number)
        if unit not in _MULTIPLES or not 0 <= value < float("inf"):
            raise ValueError
    except ValueError:
        raise InvalidInput(f"invalid size: {text!r}", remedy="such as 512m or 10g") from None
    return int(value * 1024 ** _MULTIPLES[unit])
