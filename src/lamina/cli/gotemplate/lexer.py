"""Cuts a template into tokens.

The kinds of tokens: text, left and right (the delimiters), space, identifier, field, variable,
bool, number, complex, rune, string, rawstring, char; the marks `= := | ( ) .`; the keywords; EOF,
and error, whose text is the message and after which nothing comes.
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.cli.gotemplate.strconv import go_quote


class Token:
    """A piece of a template. `kind` is one of the names below, or the keyword itself."""

    __slots__ = ("at", "kind", "line", "text")

    def __init__(self, kind: str, at: int, text: str, line: int) -> None:
        self.kind = kind
        self.at = at
        self.text = text
        self.line = line

    def __str__(self) -> str:
        if self.kind == "EOF":
            return "EOF"
        if self.kind == "error":
            return self.text
        if self.kind in KEYWORDS:
            return f"<{self.text}>"
        if len(self.text) > 10:
            return f"{go_quote(self.text[:10])}..."
        return go_quote(self.text)


KEYWORDS = frozenset(
    [
        ".",
        "block",
        "break",
        "continue",
        "define",
        "else",
        "end",
        "if",
        "range",
        "nil",
        "template",
        "with",
    ]
)
_SPACE = " \t\r\n"
_DIGITS = "0123456789_"


def _is_name(letter: str) -> bool:
    return letter == "_" or letter.isalpha() or letter.isdecimal()


class Lexer:
    """Cuts a template into tokens; the last is EOF or an error."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.start = 0
        self.line = 1
        self.depth = 0

    def tokens(self) -> Iterator[Token]:
        source = self.source
        while True:
            found = source.find("{{", self.at)
            end = len(source) if found < 0 else found
            text = source[self.at : end]
            marked = found >= 0 and self._has_left_trim(found + 2)
            yield from self._text(text.rstrip(_SPACE) if marked else text, text)
            if found < 0:
                yield Token("EOF", self.at, "", self.line)
                return
            inside = found + (3 if marked else 2)
            if source.startswith("/*", inside + marked):
                problem = self._comment(inside + marked)
                if problem:
                    yield problem
                    return
                continue
            yield Token("left", found, "{{", self.line)
            self.at = inside
            self.depth = 0
            for token in self._action():
                yield token
                if token.kind == "error":
                    return

    def _text(self, text: str, whole: str) -> Iterator[Token]:
        if text:
            yield Token("text", self.at, text, self.line)
        self.line += whole.count("\n")
        self.at += len(whole)

    def _has_left_trim(self, at: int) -> bool:
        return self.source.startswith("-", at) and self.source[at + 1 : at + 2] in tuple(_SPACE)

    def _right(self, at: int) -> tuple[bool, bool]:
        """Whether the closing delimiter is here, and whether it trims."""
        source = self.source
        if source[at : at + 1] in tuple(_SPACE) and source.startswith("-}}", at + 1):
            return True, True
        return source.startswith("}}", at), False

    def _close(self, *, trims: bool) -> None:
        """Go on after the closing delimiter, and after white space where it trims."""
        self.at += 4 if trims else 2
        if trims:
            while self.source[self.at : self.at + 1] in tuple(_SPACE):
                self.line += self.source[self.at] == "\n"
                self.at += 1

    def _comment(self, inside: int) -> Token | None:
        end = self.source.find("*/", inside + 2)
        if end < 0:
            return Token("error", self.at, "unclosed comment", self.line)
        self.line += self.source.count("\n", self.at, end)
        self.at = end + 2
        closed, trims = self._right(self.at)
        if not closed:
            return Token("error", self.at, "comment ends before closing delimiter", self.line)
        self._close(trims=trims)
        return None

    def _action(self) -> Iterator[Token]:
        """Tokens up to the closing delimiter."""
        source = self.source
        while True:
            closed, trims = self._right(self.at)
            if closed:
                if self.depth:
                    yield self._error("unclosed left paren")
                    return
                yield Token("right", self.at + (2 if trims else 0), "}}", self.line)
                self._close(trims=trims)
                return
            self.start = self.at
            letter = source[self.at : self.at + 1]
            if not letter:
                yield self._error("unclosed action")
                return
            if letter in _SPACE:
                yield self._spaces()
                continue
            self.at += 1
            yield self._one(letter)

    def _one(self, letter: str) -> Token:
        source = self.source
        if letter == "=":
            return self._token("=")
        if letter == ":":
            if not source.startswith("=", self.at):
                return self._error("expected :=")
            self.at += 1
            return self._token(":=")
        if letter == "|":
            return self._token("|")
        if letter in "\"'":
            return self._quoted(letter)
        if letter == "`":
            end = source.find("`", self.at)
            if end < 0:
                return self._error("unterminated raw quoted string")
            self.at = end + 1
            token = self._token("rawstring")
            self.line += token.text.count("\n")
            return token
        if letter == "$":
            return self._name("variable")
        if letter == "." and self.at < len(source) and not "0" <= source[self.at] <= "9":
            return self._name("field")
        if letter in "+-.0123456789":
            self.at -= 1
            return self._number()
        if _is_name(letter):
            return self._identifier()
        if letter == "(":
            self.depth += 1
            return self._token("(")
        if letter == ")":
            self.depth -= 1
            return self._error("unexpected right paren") if self.depth < 0 else self._token(")")
        if " " <= letter <= "~":
            return self._token("char")
        return self._error(f"unrecognized character in action: {_unicode(letter)}")

    def _token(self, kind: str) -> Token:
        return Token(kind, self.start, self.source[self.start : self.at], self.line)

    def _error(self, problem: str) -> Token:
        return Token("error", self.start, problem, self.line)

    def _spaces(self) -> Token:
        source = self.source
        while source[self.at : self.at + 1] in tuple(_SPACE) and not self._right(self.at)[0]:
            self.at += 1
        token = self._token("space")
        self.line += token.text.count("\n")
        return token

    def _quoted(self, mark: str) -> Token:
        source = self.source
        what = "quoted string" if mark == '"' else "character constant"
        while True:
            letter = source[self.at : self.at + 1]
            self.at += 1
            if letter == "\\":
                letter = source[self.at : self.at + 1]
                self.at += 1
                if letter and letter != "\n":
                    continue
            if not letter or letter == "\n":
                return self._error(f"unterminated {what}")
            if letter == mark:
                return self._token("string" if mark == '"' else "rune")

    def _name(self, kind: str) -> Token:
        """A field `.name` or a variable `$name`; nothing after the mark is `.` or `$` itself."""
        if self._at_terminator():
            return self._token("variable" if kind == "variable" else ".")
        self._take_name()
        if not self._at_terminator():
            return self._error(f"bad character {_unicode(self.source[self.at])}")
        return self._token(kind)

    def _identifier(self) -> Token:
        self._take_name()
        word = self.source[self.start : self.at]
        if not self._at_terminator():
            return self._error(f"bad character {_unicode(self.source[self.at])}")
        if word in KEYWORDS:
            return self._token(word)
        return self._token("bool" if word in ("true", "false") else "identifier")

    def _take_name(self) -> None:
        while self.at < len(self.source) and _is_name(self.source[self.at]):
            self.at += 1

    def _at_terminator(self) -> bool:
        letter = self.source[self.at : self.at + 1]
        return not letter or letter in " \t\r\n.,|:)(" or self.source.startswith("}}", self.at)

    def _number(self) -> Token:
        if self._scan_number():
            sign = self.source[self.at : self.at + 1]
            if not sign or sign not in "+-":
                return self._token("number")
            if self._scan_number() and self.source[self.at - 1] == "i":
                return self._token("complex")
        return self._error(f"bad number syntax: {go_quote(self.source[self.start : self.at])}")

    def _scan_number(self) -> bool:
        self._accept("+-")
        digits = _DIGITS
        if self._accept("0"):
            if self._accept("xX"):
                digits = "0123456789abcdefABCDEF_"
            elif self._accept("oO"):
                digits = "01234567_"
            elif self._accept("bB"):
                digits = "01_"
        self._accept_all(digits)
        if self._accept("."):
            self._accept_all(digits)
        if (len(digits) == 11 and self._accept("eE")) or (len(digits) == 23 and self._accept("pP")):
            self._accept("+-")
            self._accept_all(_DIGITS)
        self._accept("i")
        if self.at < len(self.source) and _is_name(self.source[self.at]):
            self.at += 1
            return False
        return True

    def _accept(self, letters: str) -> bool:
        letter = self.source[self.at : self.at + 1]
        if letter and letter in letters:
            self.at += 1
            return True
        return False

    def _accept_all(self, letters: str) -> None:
        while self._accept(letters):
            pass


def _unicode(letter: str) -> str:
    """Go's %#U."""
    shown = f" '{letter}'" if letter.isprintable() else ""
    return f"U+{ord(letter):04X}{shown}"
