"""The values of Go's literals: strings, characters, numbers. ValueError tells in Go's words."""

from __future__ import annotations

from lamina.cli.gotemplate.strconv import go_quote

_SIMPLE_ESCAPES = {
    "a": 7,
    "b": 8,
    "f": 12,
    "n": 10,
    "r": 13,
    "t": 9,
    "v": 11,
    "\\": 92,
}


def unquote(text: str) -> str:
    """The string that a Go literal stands for, or ValueError."""
    mark, body = text[0], text[1:-1]
    if mark == "`":
        return body.replace("\r", "")
    out = bytearray()
    at = 0
    while at < len(body):
        if body[at] != "\\":
            out += body[at].encode(errors="surrogateescape")
            at += 1
            continue
        letter = body[at + 1 : at + 2]
        at += 2
        if letter in _SIMPLE_ESCAPES:
            out.append(_SIMPLE_ESCAPES[letter])
        elif letter == mark:
            out += mark.encode()
        elif letter in ("x", "u", "U"):
            width = {"x": 2, "u": 4, "U": 8}[letter]
            code = _digits(body[at : at + width], width, 16)
            at += width
            if letter == "x":
                out.append(code)
            elif code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise ValueError("invalid syntax")
            else:
                out += chr(code).encode()
        elif letter and letter in "01234567":
            code = _digits(body[at - 1 : at + 2], 3, 8)
            at += 2
            if code > 255:
                raise ValueError("invalid syntax")
            out.append(code)
        else:
            raise ValueError("invalid syntax")
    return out.decode(errors="surrogateescape")


def _digits(text: str, width: int, base: int) -> int:
    if len(text) != width or not text.isalnum() or not text.isascii():
        raise ValueError("invalid syntax")
    try:
        return int(text, base)
    except ValueError:
        raise ValueError("invalid syntax") from None


def character(text: str) -> int:
    problem = f"malformed character constant: {text}"
    try:
        if text[1:2] == "\\" and text[2:3] == "x":
            found = chr(_digits(text[3:-1], 2, 16))
        else:
            found = unquote(text)
    except ValueError as error:
        raise ValueError(str(error)) from None
    if not found or text[1:2] == "'":
        raise ValueError("invalid syntax")
    if len(found) != 1:
        raise ValueError(problem)
    return ord(found)


def number(text: str) -> int | float | complex:
    """The value of a Go number literal, or ValueError in Go's words."""
    illegal = ValueError(f"illegal number syntax: {go_quote(text)}")
    if text.endswith("i"):
        return _complex(text, illegal)
    hexadecimal = text.lstrip("+-")[:2].lower() == "0x"
    try:
        return _whole(text)
    except OverflowError:
        raise ValueError(f"integer overflow: {go_quote(text)}") from None
    except ValueError:
        pass
    if not any(mark in text for mark in ("pP" if hexadecimal else ".eEpP")):
        try:
            float(text.replace("_", "x"))
        except ValueError:
            raise illegal from None
        raise ValueError(f"integer overflow: {go_quote(text)}")
    try:
        if hexadecimal:
            return float.fromhex(text)
        value = float(text.replace("_", "x"))
    except (ValueError, OverflowError):
        raise illegal from None
    if value in (float("inf"), float("-inf")):
        raise illegal
    return value


def _whole(text: str) -> int:
    """strconv.ParseInt with base 0."""
    sign, body = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if body[:1] == "0" and len(body) > 1 and body[1] in "01234567_":
        body = "0o" + body[1:].removeprefix("_")
    value = int(sign + body, 0)
    if not -(1 << 63) <= value < 1 << 64:
        raise OverflowError
    return value


def _complex(text: str, illegal: ValueError) -> complex:
    body = text[:-1]
    split = max(body.rfind(sign, 1) for sign in "+-")
    if split > 0 and body[split - 1] in "eEpP":
        split = max(body.rfind(sign, 1, split - 1) for sign in "+-")
    try:
        real = float(number(body[:split])) if split > 0 else 0.0  # type: ignore[arg-type]
        imaginary = float(body[split:] if split > 0 else body)
    except (ValueError, TypeError):
        raise illegal from None
    return complex(real, imaginary)
