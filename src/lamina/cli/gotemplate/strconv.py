"""Strings and numbers as Go's strconv writes them: `Quote`, `FormatFloat`."""

from __future__ import annotations


def go_float(value: float, verb: str = "g", precision: int = -1) -> str:
    """strconv.FormatFloat."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if precision >= 0:
        return f"{value:.{max(precision, verb in 'gG')}{verb}}"
    mantissa, exponent, sign = _shortest(value)
    if verb in "gG" and -4 <= exponent < 6:
        verb = "f"
    if verb in "fF":
        if exponent < 0:
            return f"{sign}0.{'0' * (-exponent - 1)}{mantissa}".removesuffix(".0")
        whole = mantissa[: exponent + 1].ljust(exponent + 1, "0")
        rest = mantissa[exponent + 1 :]
        return f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"
    letter = "E" if verb in "EG" else "e"
    digits = mantissa[0] + ("." + mantissa[1:] if len(mantissa) > 1 else "")
    return f"{sign}{digits}{letter}{'-' if exponent < 0 else '+'}{abs(exponent):02}"


def _shortest(value: float) -> tuple[str, int, str]:
    """The fewest digits that read back as this value, its decimal exponent, and its sign."""
    text = repr(value)
    sign = "-" if text.startswith("-") else ""
    number, _, power = text.removeprefix("-").partition("e")
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    stripped = digits.lstrip("0")
    if not stripped:
        return "0", 0, sign
    exponent = len(whole) - 1 - (len(digits) - len(stripped)) + int(power or 0)
    return stripped.rstrip("0") or "0", exponent, sign


def hexadecimal(value: float) -> str:
    """Go's %x of a floating-point number: `0x1.cp+01`."""
    mantissa, _, power = value.hex().partition("p")
    mantissa = mantissa.rstrip("0").removesuffix(".") if "." in mantissa else mantissa
    return f"{mantissa}p{power[0]}{power[1:].zfill(2)}"


_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}


def go_quote(text: str, mark: str = '"', *, ascii_only: bool = False) -> str:
    """strconv.Quote."""
    out = [mark]
    for letter in text:
        code = ord(letter)
        if letter == mark:
            out.append(f"\\{mark}")
        elif letter in _ESCAPES:
            out.append(_ESCAPES[letter])
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif letter.isprintable() and (letter.isascii() or not ascii_only):
            out.append(letter)
        elif code < 0x80:
            out.append(f"\\x{code:02x}")
        elif code < 0x10000:
            out.append(f"\\u{code:04x}")
        else:
            out.append(f"\\U{code:08x}")
    out.append(mark)
    return "".join(out)
