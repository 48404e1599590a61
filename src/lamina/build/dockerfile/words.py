"""Quotes, escapes and variables in one word of an instruction, as BuildKit's `shell.Lex` has them.

`$name`, `${name}`, and `${name` followed by `:-word`, `-word`, `:+word`, `+word`, `:?word`,
`?word`, `#pattern`, `##pattern`, `%pattern`, `%%pattern`, `/pattern/with`, `//pattern/with`, `}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum

from lamina.build.dockerfile.errors import WordError

_DEEPEST = 100
_SPECIAL = "@*#?-$!0"


def expand(word: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """The word with its variables replaced and its quotes taken off."""
    return "".join(_Words(word, values, escape).all())


def expand_words(word: str, values: Mapping[str, str], escape: str = "\\") -> list[str]:
    """As `expand`, but spaces that an unquoted variable or the text brought divide words."""
    scanner = _Words(word, values, escape)
    scanner.all()
    return scanner.words()


def expand_text(text: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """A here-document's text with its variables replaced; quotes and escapes mean nothing."""
    return "".join(_Words(text, values, escape, _Quotes.PLAIN).all())


def expand_shown(text: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """An instruction as progress shows it: what has a value is replaced, all else is as written."""
    try:
        return "".join(_Words(text, values, escape, _Quotes.KEPT).all())
    except WordError:
        return text


class _Quotes(Enum):
    """What becomes of quotes and escapes: they count and go, count and stay, or do not count."""

    REMOVED = "removed"
    KEPT = "kept"
    PLAIN = "plain"


class _Words:
    """A scanner over one word. Each part of the result knows whether its spaces divide words."""

    def __init__(
        self,
        text: str,
        values: Mapping[str, str],
        escape: str,
        quotes: _Quotes = _Quotes.REMOVED,
    ) -> None:
        self._quotes = quotes
        self._raw = quotes is not _Quotes.REMOVED
        self._text = text
        self._values = values
        self._escape = escape
        self._at = 0
        self._depth = 0
        self._parts: list[tuple[str, bool]] = []

    def all(self) -> list[str]:
        self._parts = self._until("", raw_escapes=self._raw)
        return [text for text, _ in self._parts]

    def words(self) -> list[str]:
        found: list[str] = []
        current: list[str] | None = None
        for text, divides in self._parts:
            if not divides:
                current = [*(current or []), text]
                continue
            for char in text:
                if char.isspace():
                    if current is not None:
                        found.append("".join(current))
                    current = None
                else:
                    current = [*(current or []), char]
        if current is not None:
            found.append("".join(current))
        return found

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _until(self, stop: str, *, raw_escapes: bool) -> list[tuple[str, bool]]:
        """The parts up to `stop` (or to the end, where `stop` is empty), which is consumed."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise WordError("variables are nested too deeply")
        parts: list[tuple[str, bool]] = []
        while (char := self._peek()) != "":
            if stop and char == stop:
                self._at += 1
                self._depth -= 1
                return parts
            if char == "'" and self._quotes is not _Quotes.PLAIN:
                parts.append((self._single_quoted(), False))
            elif char == '"' and self._quotes is not _Quotes.PLAIN:
                parts.append((self._double_quoted(), False))
            elif char == "$":
                parts.append((self._dollar(), True))
            elif char == self._escape:
                self._at += 1
                if raw_escapes:
                    parts.append((char, False))
                if self._peek():
                    parts.append((self._next(), False))
            else:
                self._at += 1
                parts.append((char, True))
        if stop:
            raise WordError(f"unexpected end of statement while looking for matching {stop}")
        self._depth -= 1
        return parts

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise WordError("unexpected end of statement while looking for matching single-quote")
        text = self._text[self._at + 1 : end]
        self._at = end + 1
        return f"'{text}'" if self._quotes is _Quotes.KEPT else text

    def _double_quoted(self) -> str:
        self._at += 1
        parts: list[str] = []
        while (char := self._peek()) != '"':
            if not char:
                raise WordError(
                    "unexpected end of statement while looking for matching double-quote"
                )
            if char == "$":
                parts.append(self._dollar())
                continue
            self._at += 1
            if char == self._escape and self._peek() in ('"', "$", self._escape):
                if self._quotes is _Quotes.KEPT:
                    parts.append(char)
                char = self._next()
            parts.append(char)
        self._at += 1
        text = "".join(parts)
        return f'"{text}"' if self._quotes is _Quotes.KEPT else text

    def _dollar(self) -> str:
        self._at += 1
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            return self._values.get(name, f"${name}" if self._quotes is _Quotes.KEPT else "")
        self._at += 1
        if self._peek() == "":
            raise WordError("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise WordError("syntax error: bad substitution")
        name = self._name()
        if not name:
            raise WordError("syntax error: bad substitution")
        return self._substituted(name)

    def _substituted(self, name: str) -> str:
        value = self._values.get(name)
        modifier = self._next()
        if modifier == "}":
            if value is None and self._quotes is _Quotes.KEPT:
                return f"${{{name}}}"
            return value or ""
        if modifier == "":
            raise WordError("syntax error: missing '}'")
        if modifier == "/":
            return self._replaced(value or "")
        shown = modifier
        if modifier == ":":
            modifier = self._next()
            shown += modifier
            if value == "":
                value = None
            if modifier not in ("-", "+", "?"):
                raise WordError(f"unsupported modifier ({shown}) in substitution")
        if modifier in ("#", "%"):
            return self._trimmed(value or "", modifier)
        if modifier not in ("-", "+", "?"):
            raise WordError(f"unsupported modifier ({shown}) in substitution")
        word = self._inner("}", raw_escapes=self._raw)
        if modifier == "+":
            return word if value is not None else ""
        if value is not None:
            return value
        if modifier == "?":
            raise WordError(f"{name}: {word or 'is not allowed to be unset'}")
        return word

    def _inner(self, stop: str, *, raw_escapes: bool) -> str:
        try:
            return "".join(text for text, _ in self._until(stop, raw_escapes=raw_escapes))
        except WordError:
            if self._at >= len(self._text):
                raise WordError("syntax error: missing '}'") from None
            raise

    def _trimmed(self, value: str, side: str) -> str:
        longest = self._peek() == side
        if longest:
            self._at += 1
        pattern = _glob_regex(self._inner("}", raw_escapes=True), self._escape)
        if side == "#":
            ends = range(len(value), -1, -1) if longest else range(len(value) + 1)
            return next((value[end:] for end in ends if pattern.fullmatch(value[:end])), value)
        starts = range(len(value) + 1) if longest else range(len(value), -1, -1)
        return next((value[:begin] for begin in starts if pattern.fullmatch(value[begin:])), value)

    def _replaced(self, value: str) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self._at += 1
        pattern = _glob_regex(self._inner("/", raw_escapes=True), self._escape)
        replacement = self._inner("}", raw_escapes=self._raw)
        with_: Callable[[re.Match[str]], str] = lambda _: replacement  # noqa: E731
        return pattern.sub(with_, value, count=0 if everywhere else 1)

    def _name(self) -> str:
        begin = self._at
        first = self._peek()
        if first.isdigit():
            while self._peek().isdigit():
                self._at += 1
        elif first and first in _SPECIAL:
            self._at += 1
        else:
            while (char := self._peek()) and (char.isalnum() or char == "_"):
                self._at += 1
        return self._text[begin : self._at]


def _glob_regex(pattern: str, escape: str) -> re.Pattern[str]:
    """A shell pattern of `*`, `?` and escapes as a regular expression."""
    parts: list[str] = []
    chars = iter(pattern)
    for char in chars:
        if char == "*":
            if parts[-1:] != [".*"]:  # runs of stars would only make the match slow
                parts.append(".*")
        elif char == "?":
            parts.append(".")
        elif char == escape:
            parts.append(re.escape(next(chars, escape)))
        else:
            parts.append(re.escape(char))
    return re.compile("".join(parts), re.DOTALL)
