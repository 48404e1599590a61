"""How Go prints values: `fmt.Sprint`, `fmt.Sprintf` and `encoding/json`, over Python values.

A str, int, float, bool, complex, list, dict or None stands for Go's string, int, float64, bool,
complex128, slice, map and nil; a `Struct` for a struct. Strings are bytes to Go: where bytes
matter (length, index, hexadecimal), they are those of UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["Map", "Struct", "go_json", "go_quote", "sprint", "sprintf", "sprintln", "type_name"]


class Struct(dict[str, Any]):
    """A record with a fixed set of fields; one that holds a function has a method."""

    def __init__(
        self,
        type_name: str,
        fields: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        *,
        is_raw: bool = False,
        missing_is_no_value: bool = False,
    ) -> None:
        super().__init__(fields)
        self.type_name = type_name
        # Decoded from JSON: a missing field is told as a missing key.
        self.is_raw = is_raw
        self.missing_is_no_value = missing_is_no_value


class Map(dict[str, Any]):
    """A map whose missing keys read as `zero` when indexed, as those of Go's typed maps do."""

    def __init__(self, fields: Mapping[str, Any], zero: Any) -> None:
        super().__init__(fields)
        self.zero = zero


def type_name(value: Any) -> str:
    """Go's name for the type of a value."""
    if isinstance(value, Struct):
        return value.type_name
    if isinstance(value, Map):
        return f"map[string]{type_name(value.zero) if value.zero is not None else 'interface {}'}"
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(each, str) for each in value):
            return "[]string"
        return "[]interface {}"
    for kind, name in _TYPE_NAMES:
        if isinstance(value, kind):
            return name
    return "func" if callable(value) else "interface {}"


_TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float64"),
    (complex, "complex128"),
    (str, "string"),
    (dict, "map[string]interface {}"),
)


# -- fmt.Sprint and its kin --


def sprint(values: Iterable[Any]) -> str:
    """Operands one after another, with a space between two that are both no strings."""
    text = ""
    after_string = True
    for index, value in enumerate(values):
        is_string = isinstance(value, str)
        if index and not is_string and not after_string:
            text += " "
        text += go_value(value)
        after_string = is_string
    return text


def sprintln(values: Iterable[Any]) -> str:
    """Operands with spaces between them, and a newline."""
    return " ".join(go_value(value) for value in values) + "\n"


def go_value(value: Any) -> str:
    """A value as %v prints it."""
    return _Verb("v").format(value)


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


def sprintf(form: str, values: list[Any]) -> str:
    """fmt.Sprintf, with its marks for what is wrong: `%!d(string=x)`, `%!d(MISSING)` ..."""
    printer = _Printer(form, values)
    return printer.run()


class _Printer:
    """One run over a format."""

    def __init__(self, form: str, values: list[Any]) -> None:
        self.form = form
        self.values = values
        self.at = 0
        self.next = 0
        self.reordered = False
        self.good_index = True

    def run(self) -> str:
        out = []
        form, length = self.form, len(self.form)
        while self.at < length:
            start = form.find("%", self.at)
            if start < 0:
                out.append(form[self.at :])
                break
            out.append(form[self.at : start])
            self.at = start + 1
            out.append(self._directive())
        if not self.reordered and self.next < len(self.values):
            rest = ", ".join(
                "<nil>" if each is None else f"{type_name(each)}={go_value(each)}"
                for each in self.values[self.next :]
            )
            out.append(f"%!(EXTRA {rest})")
        return "".join(out)

    def _directive(self) -> str:
        verb = _Verb("v")
        self.good_index = True
        complaint = ""
        while self.at < len(self.form) and self.form[self.at] in "+-# 0":
            verb.flag(self.form[self.at])
            self.at += 1
        indexed = self._index()
        if self._take("*"):
            width = self._star()
            if width is None:
                complaint += "%!(BADWIDTH)"
            else:
                if width < 0:
                    verb.flag("-")
                verb.width = abs(width)
            indexed = False
        else:
            verb.width = self._number()
            if indexed and verb.width is not None:
                self.good_index = False
        if self._take("."):
            if indexed:
                self.good_index = False
            indexed = self._index()
            if self._take("*"):
                verb.precision = self._star()
                if verb.precision is None or verb.precision < 0:
                    verb.precision = None
                    complaint += "%!(BADPREC)"
                indexed = False
            else:
                verb.precision = self._number() or 0
        if not indexed:
            indexed = self._index()
        if self.at >= len(self.form):
            return complaint + "%!(NOVERB)"
        verb.letter = self.form[self.at]
        self.at += 1
        if verb.letter == "%":
            return complaint + "%"
        if not self.good_index:
            return f"{complaint}%!{verb.letter}(BADINDEX)"
        if self.next >= len(self.values):
            return f"{complaint}%!{verb.letter}(MISSING)"
        value = self.values[self.next]
        self.next += 1
        return complaint + verb.format(value)

    def _take(self, letter: str) -> bool:
        if self.form.startswith(letter, self.at):
            self.at += 1
            return True
        return False

    def _number(self) -> int | None:
        start = self.at
        while self.at < len(self.form) and self.form[self.at] in "0123456789":
            self.at += 1
        if start == self.at:
            return None
        number = int(self.form[start : self.at][:9])
        return number if number <= _WIDEST else None

    def _star(self) -> int | None:
        if self.next >= len(self.values):
            return None
        value = self.values[self.next]
        self.next += 1
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _WIDEST:
            return None
        return value

    def _index(self) -> bool:
        """Read `[n]`, which says the argument to be taken next."""
        if not self.form.startswith("[", self.at):
            return False
        self.reordered = True
        end = self.form.find("]", self.at)
        if end < 0:
            self.good_index = False
            self.at += 1
            return False
        text = self.form[self.at + 1 : end]
        self.at = end + 1
        if text.isdecimal() and 1 <= int(text[:9]) <= len(self.values):
            self.next = int(text) - 1
            return True
        self.good_index = False
        return True


# Go refuses a width or precision beyond this.
_WIDEST = 1_000_000


class _Verb:
    """One verb of a format with its flags."""

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.flags = ""
        self.width: int | None = None
        self.precision: int | None = None

    def flag(self, letter: str) -> None:
        self.flags += letter

    def format(self, value: Any, depth: int = 0) -> str:
        letter = self.letter
        if value is None:
            if letter in "Tv":
                return self._pad("<nil>")
            return f"%!{letter}(<nil>)"
        if letter == "T":
            return self._pad(type_name(value))
        if isinstance(value, bool):
            return self._bool(value)
        if isinstance(value, int):
            return self._int(value)
        if isinstance(value, float):
            return self._float(value)
        if isinstance(value, complex):
            return self._complex(value)
        if isinstance(value, str):
            return self._string(value, quoted=depth > 0)
        if depth > 100:
            return "..."
        if isinstance(value, dict):
            return self._fields(value, depth)
        if isinstance(value, (list, tuple)):
            return self._list(value, depth)
        return f"%!{letter}({type_name(value)})"

    def _fields(self, value: dict[str, Any], depth: int) -> str:
        sharp = self.letter == "v" and "#" in self.flags
        name = type_name(value) if sharp else ""
        if not isinstance(value, Struct):
            pairs = [
                f"{self.format(key, depth + 1)}:{self.format(each, depth + 1)}"
                for key, each in sorted(value.items())
            ]
            return f"{name}{{{', '.join(pairs)}}}" if sharp else f"map[{' '.join(pairs)}]"
        named = self.letter == "v" and ("+" in self.flags or sharp)
        fields = [
            f"{key}:{self.format(each, depth + 1)}" if named else self.format(each, depth + 1)
            for key, each in value.items()
            if not callable(each)
        ]
        return f"{name}{{{(', ' if sharp else ' ').join(fields)}}}"

    def _list(self, value: Iterable[Any], depth: int) -> str:
        items = [self.format(each, depth + 1) for each in value]
        if self.letter == "v" and "#" in self.flags:
            return f"{type_name(value)}{{{', '.join(items)}}}"
        return f"[{' '.join(items)}]"

    def _bad(self, value: Any) -> str:
        return f"%!{self.letter}({type_name(value)}={go_value(value)})"

    def _pad(self, text: str, *, zeros: bool = False) -> str:
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        if zeros and "0" in self.flags:
            sign = text[0] if text[:1] in ("+", "-", " ") else ""
            return sign + text[len(sign) :].rjust(self.width - len(sign), "0")
        return text.rjust(self.width)

    def _bool(self, value: bool) -> str:
        if self.letter not in "tv":
            return self._bad(value)
        return self._pad("true" if value else "false")

    def _int(self, value: int) -> str:
        letter = self.letter
        if letter == "c":
            return self._pad(_character(value))
        if letter == "q":
            return self._pad(go_quote(_character(value), "'"))
        if letter == "U":
            text = f"U+{value & 0xFFFFFFFF:04X}"
            return self._pad(text + (f" '{_character(value)}'" if "#" in self.flags else ""))
        if letter in "eEfFgG":
            return self._bad(value)
        if letter not in _BASES:
            return self._bad(value)
        base, prefix = _BASES[letter]
        digits = f"{abs(value):{base}}"
        if self.precision is not None:
            digits = "" if self.precision == 0 and value == 0 else digits.zfill(self.precision)
        if "#" in self.flags or letter == "O":
            digits = prefix + digits
        sign = "-" if value < 0 else "+" if "+" in self.flags and letter != "v" else ""
        sign = sign or (" " if " " in self.flags else "")
        return self._pad(sign + digits, zeros=self.precision is None)

    def _float(self, value: float) -> str:
        letter = "g" if self.letter == "v" else self.letter
        if letter in "xX":
            text = _hexadecimal(value)
            return self._pad(text.upper() if letter == "X" else text)
        if letter not in "eEfFgG":
            return self._bad(value)
        precision = self.precision
        if precision is None:
            precision = -1 if letter in "gG" else 6
        text = go_float(value, letter, precision)
        if not text.startswith(("-", "+")):
            text = ("+" if "+" in self.flags else " " if " " in self.flags else "") + text
        return self._pad(text, zeros=not text.endswith(("Inf", "NaN")))

    def _complex(self, value: complex) -> str:
        part = _Verb(self.letter)
        part.precision = self.precision
        real = part.format(value.real)
        part.flags = "+"
        return self._pad(f"({real}{part.format(value.imag)}i)")

    def _string(self, value: str, *, quoted: bool) -> str:
        letter = self.letter
        if letter == "v" and "#" in self.flags:
            return self._pad(go_quote(value))
        if letter in "sv":
            text = value if self.precision is None else value[: self.precision]
            return self._pad(text, zeros=True)
        if letter == "q":
            cut = value if self.precision is None else value[: self.precision]
            if "#" in self.flags and "`" not in cut and cut.isprintable():
                return self._pad(f"`{cut}`")
            return self._pad(go_quote(cut, ascii_only="+" in self.flags))
        if letter in "xX":
            data = value.encode(errors="surrogateescape")
            if self.precision is not None:
                data = data[: self.precision]
            text = data.hex(" ") if " " in self.flags else data.hex()
            if "#" in self.flags and text:
                text = " ".join("0x" + part for part in text.split(" "))
            return self._pad(text.upper() if letter == "X" else text)
        return self._bad(value)


def _hexadecimal(value: float) -> str:
    """Go's %x of a floating-point number: `0x1.cp+01`."""
    mantissa, _, power = value.hex().partition("p")
    mantissa = mantissa.rstrip("0").removesuffix(".") if "." in mantissa else mantissa
    return f"{mantissa}p{power[0]}{power[1:].zfill(2)}"


_BASES = {
    "v": ("d", ""),
    "d": ("d", ""),
    "b": ("b", "0b"),
    "o": ("o", "0"),
    "O": ("o", "0o"),
    "x": ("x", "0x"),
    "X": ("X", "0X"),
}


def _character(code: int) -> str:
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "�"
    return chr(code)


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


# -- encoding/json --


def go_json(value: Any) -> str:
    """JSON as Go's encoder writes it, compact, HTML characters left alone; maps sorted by key."""
    import json

    return _json(value, json.dumps)


def _json(value: Any, dumps: Callable[..., str]) -> str:
    if isinstance(value, dict):
        items = value.items() if isinstance(value, Struct) else sorted(value.items())
        body = ",".join(
            f"{_json(key, dumps)}:{_json(each, dumps)}" for key, each in items if not callable(each)
        )
        return f"{{{body}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_json(each, dumps) for each in value)}]"
    if isinstance(value, str):
        text = value.encode(errors="replace").decode() if not value.isascii() else value
        quoted = dumps(text, ensure_ascii=False)
        return quoted.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if isinstance(value, float):
        return _json_float(value)
    if value is None or isinstance(value, (bool, int)):
        return dumps(value)
    raise ValueError(f"json: unsupported type: {type_name(value)}")


def _json_float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"json: unsupported value: {go_float(value)}")
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return go_float(value, "f")
    text = go_float(value, "e")
    return text[:-2] + text[-1] if text[-4:-1] == "e-0" else text
