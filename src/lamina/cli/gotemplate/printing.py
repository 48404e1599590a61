"""Printing as Go's fmt does: `Sprint`, `Sprintln` and `Sprintf`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lamina.cli.gotemplate.strconv import go_float, go_quote, hexadecimal
from lamina.cli.gotemplate.values import Struct, type_name


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
            text = hexadecimal(value)
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
