"""Go's text/template: a lexer, a parser and an evaluator, with Go's messages for what is wrong.

    Template("{{range .Names}}{{. | upper}} {{end}}").execute({"Names": ["a", "b"]})  # "A B "

The whole language: trimming, comments, variables, pipelines, if, range, with, break, continue,
define, template and block, and the functions of Go and of Docker (`gofunctions.py`). Every error is
a `TemplateError`. What Python values stand for is told in `goprint.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lamina.cli.gofunctions import FUNCTIONS, CallError, Function, is_true
from lamina.cli.goprint import Map, Struct, go_json, go_quote, go_value, type_name

__all__ = ["FUNCTIONS", "Function", "Map", "Struct", "Template", "TemplateError", "go_json"]


class TemplateError(Exception):
    """A template that cannot be read or executed, in Go's words."""


# -- Lexer --


class Token(NamedTuple):
    """A piece of a template. `kind` is one of the names below, or the keyword itself."""

    kind: str
    at: int
    text: str
    line: int

    def __str__(self) -> str:
        if self.kind == "EOF":
            return "EOF"
        if self.kind == "error":
            return self.text
        if self.kind in _KEYWORDS:
            return f"<{self.text}>"
        if len(self.text) > 10:
            return f"{go_quote(self.text[:10])}..."
        return go_quote(self.text)


_KEYWORDS = frozenset(
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


class _Lexer:
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
            inside = found + (4 if marked else 2)
            if marked:
                inside = found + 3
            if source.startswith("/*", inside):
                problem = self._comment(inside)
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
        if word in _KEYWORDS:
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


# -- Nodes --


@dataclass(slots=True)
class Node:
    """A part of a template; `str` gives it back as Go does in messages."""

    at: int


@dataclass(slots=True)
class Text(Node):
    text: str


@dataclass(slots=True)
class Dot(Node):
    def __str__(self) -> str:
        return "."


@dataclass(slots=True)
class Nil(Node):
    def __str__(self) -> str:
        return "nil"


@dataclass(slots=True)
class Literal(Node):
    """A boolean, number or string. `kind` is "bool", "string", "int", "float" or "complex"."""

    kind: str
    value: Any
    source: str

    def __str__(self) -> str:
        return self.source


@dataclass(slots=True)
class Field(Node):
    names: list[str]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@dataclass(slots=True)
class Variable(Node):
    """`names[0]` is the variable with its `$`, the others fields of it."""

    names: list[str]

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(slots=True)
class Identifier(Node):
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(slots=True)
class Chain(Node):
    """Fields of a term: `(pipeline).A.B`."""

    node: Node
    names: list[str]

    def __str__(self) -> str:
        inner = f"({self.node})" if isinstance(self.node, Pipe) else str(self.node)
        return inner + "".join(f".{name}" for name in self.names)


@dataclass(slots=True)
class Command(Node):
    args: list[Node] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, Pipe) else str(arg) for arg in self.args)


@dataclass(slots=True)
class Pipe(Node):
    declares: list[Variable] = field(default_factory=list)
    assigns: bool = False
    commands: list[Command] = field(default_factory=list)

    def __str__(self) -> str:
        names = ", ".join(map(str, self.declares))
        arrow = (" = " if self.assigns else " := ") if names else ""
        return names + arrow + " | ".join(map(str, self.commands))


@dataclass(slots=True)
class Action(Node):
    pipe: Pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


@dataclass(slots=True)
class Branch(Node):
    """if, range or with."""

    word: str
    pipe: Pipe
    body: list[Node]
    otherwise: list[Node] | None


@dataclass(slots=True)
class Call(Node):
    """`{{template "name" pipeline}}`."""

    name: str
    pipe: Pipe | None

    def __str__(self) -> str:
        pipe = f" {self.pipe}" if self.pipe else ""
        return f"{{{{template {go_quote(self.name)}{pipe}}}}}"


@dataclass(slots=True)
class Jump(Node):
    """break or continue."""

    word: str


@dataclass(slots=True)
class End(Node):
    """`{{end}}` or `{{else}}`: only the parser sees them."""

    word: str

    def __str__(self) -> str:
        return f"{{{{{self.word}}}}}"


# -- Parser --


class _Parser:
    """Recursive descent over the tokens, two of which may be put back."""

    def __init__(self, source: str, name: str) -> None:
        self.name = name
        self.tokens = list(_Lexer(source).tokens())
        self.index = 0
        self.furthest = 0
        self.action_line = 0
        self.variables = ["$"]
        self.range_depth = 0
        self.templates: dict[str, list[Node]] = {}

    def fail(self, problem: str) -> TemplateError:
        line = self.tokens[self.furthest].line
        return TemplateError(f"template: {self.name}:{line}: {problem}")

    def unexpected(self, token: Token, context: str) -> TemplateError:
        if token.kind != "error":
            return self.fail(f"unexpected {token} in {context}")
        extra = ""
        if self.action_line and self.action_line != token.line:
            extra = f" in action started at {self.name}:{self.action_line}"
            if token.text.endswith(" action"):
                extra = extra.removeprefix(" in action")
        return self.fail(f"{token}{extra}")

    def next(self) -> Token:
        token = self.tokens[min(self.index, len(self.tokens) - 1)]
        self.furthest = min(max(self.furthest, self.index), len(self.tokens) - 1)
        self.index += 1
        return token

    def peek(self) -> Token:
        token = self.next()
        self.index -= 1
        return token

    def next_visible(self) -> Token:
        while (token := self.next()).kind == "space":
            pass
        return token

    def peek_visible(self) -> Token:
        token = self.next_visible()
        self.index -= 1
        return token

    def expect(self, kind: str, context: str) -> Token:
        token = self.next_visible()
        if token.kind != kind:
            raise self.unexpected(token, context)
        return token

    def parse(self) -> dict[str, list[Node]]:
        body: list[Node] = []
        while self.peek().kind != "EOF":
            if self.peek().kind == "left":
                mark = self.index
                self.next()
                if self.next_visible().kind == "define":
                    self._definition()
                    continue
                self.index = mark
            node = self._text_or_action()
            if isinstance(node, End):
                raise self.fail(f"unexpected {node}")
            body.append(node)
        self._add(self.name, body)
        return self.templates

    def _add(self, name: str, body: list[Node]) -> None:
        if name not in self.templates or _is_empty(self.templates[name]):
            self.templates[name] = body
        elif not _is_empty(body):
            raise self.fail(f"template: multiple definition of template {go_quote(name)}")

    def _definition(self) -> None:
        context = "define clause"
        token = self.next_visible()
        name = self._template_name(token, context)
        self.expect("right", context)
        self._nested(name, context)

    def _nested(self, name: str, context: str) -> None:
        """The body of a template defined here; it sees none of our variables."""
        outer = self.variables, self.range_depth
        self.variables, self.range_depth = ["$"], 0
        body, end = self._list()
        if end.word != "end":
            raise self.fail(f"unexpected {end} in {context}")
        self._add(name, body)
        self.variables, self.range_depth = outer

    def _template_name(self, token: Token, context: str) -> str:
        if token.kind not in ("string", "rawstring"):
            raise self.unexpected(token, context)
        return self._unquote(token.text)

    def _unquote(self, text: str) -> str:
        try:
            return unquote(text)
        except ValueError as error:
            raise self.fail(str(error)) from None

    def _list(self) -> tuple[list[Node], End]:
        body: list[Node] = []
        while self.peek_visible().kind != "EOF":
            node = self._text_or_action()
            if isinstance(node, End):
                return body, node
            body.append(node)
        raise self.fail("unexpected EOF")

    def _text_or_action(self) -> Node:
        token = self.next_visible()
        if token.kind == "text":
            return Text(token.at, token.text)
        if token.kind != "left":
            raise self.unexpected(token, "input")
        self.action_line = token.line
        node = self._action()
        self.action_line = 0
        return node

    def _action(self) -> Node:
        token = self.next_visible()
        kind = token.kind
        if kind in ("if", "range", "with"):
            return self._branch(token)
        if kind == "end":
            return End(self.expect("right", "end").at, "end")
        if kind == "else":
            if self.peek_visible().kind in ("if", "with"):
                return End(token.at, "else")
            return End(self.expect("right", "else").at, "else")
        if kind in ("break", "continue"):
            following = self.next_visible()
            if following.kind != "right":
                raise self.unexpected(following, f"{{{{{kind}}}}}")
            if not self.range_depth:
                raise self.fail(f"{{{{{kind}}}}} outside {{{{range}}}}")
            return Jump(token.at, kind)
        if kind == "template":
            return self._call()
        if kind == "block":
            return self._block()
        self.index -= 1
        at = self.peek().at
        return Action(at, self._pipeline("command", "right"))

    def _branch(self, token: Token) -> Branch:
        word = token.kind
        mark = len(self.variables)
        pipe = self._pipeline(word, "right")
        self.range_depth += word == "range"
        body, end = self._list()
        self.range_depth -= word == "range"
        otherwise: list[Node] | None = None
        if end.word == "else":
            following = self.peek_visible()
            if word in ("if", "with") and following.kind == word:
                self.next_visible()
                otherwise = [self._branch(following)]
            else:
                otherwise, end = self._list()
                if end.word != "end":
                    raise self.fail(f"expected end; found {end}")
        del self.variables[mark:]
        return Branch(pipe.at, word, pipe, body, otherwise)

    def _call(self) -> Call:
        context = "template clause"
        token = self.next_visible()
        name = self._template_name(token, context)
        if self.next_visible().kind == "right":
            return Call(token.at, name, None)
        self.index -= 1
        return Call(token.at, name, self._pipeline(context, "right"))

    def _block(self) -> Call:
        context = "block clause"
        token = self.next_visible()
        name = self._template_name(token, context)
        pipe = self._pipeline(context, "right")
        self._nested(name, context)
        return Call(token.at, name, pipe)

    def _pipeline(self, context: str, end: str) -> Pipe:
        pipe = Pipe(self.peek_visible().at)
        while self._declaration(pipe, context):
            pass
        while True:
            token = self.next_visible()
            if token.kind == end:
                break
            if token.kind not in _OPERANDS:
                raise self.unexpected(token, context)
            self.index -= 1
            pipe.commands.append(self._command())
        if not pipe.commands:
            raise self.fail(f"missing value for {context}")
        for stage, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.args[0], (Literal, Dot, Nil)):
                raise self.fail(f"non executable command in pipeline stage {stage}")
        return pipe

    def _declaration(self, pipe: Pipe, context: str) -> bool:
        """Take `$x :=`, `$x =` or, in a range, `$x,`; whether another may follow."""
        variable = self.peek_visible()
        if variable.kind != "variable":
            return False
        self.next_visible()
        mark = self.index
        following = self.peek_visible()
        if following.kind in ("=", ":=") or (following.kind, following.text) == ("char", ","):
            self.next_visible()
            pipe.assigns = pipe.assigns or following.kind == "="
            pipe.declares.append(Variable(variable.at, variable.text.split(".")))
            self.variables.append(variable.text)
            if following.kind != "char":
                return False
            if context != "range" or len(pipe.declares) > 1:
                raise self.fail(f"too many declarations in {context}")
            if self.peek_visible().kind not in ("variable", "right", ")"):
                raise self.fail("range can only initialize variables")
            return True
        self.index = mark - 1
        return False

    def _command(self) -> Command:
        command = Command(self.peek_visible().at)
        while True:
            self.peek_visible()
            self._skip_spaces()
            operand = self._operand()
            if operand is not None:
                command.args.append(operand)
            token = self.next()
            if token.kind == "space":
                continue
            if token.kind in ("right", ")"):
                self.index -= 1
            elif token.kind != "|":
                raise self.unexpected(token, "operand")
            break
        if not command.args:
            raise self.fail("empty command")
        return command

    def _skip_spaces(self) -> None:
        while self.peek().kind == "space":
            self.next()

    def _operand(self) -> Node | None:
        node = self._term()
        if node is None or self.peek().kind != "field":
            return node
        at = self.peek().at
        names = []
        while self.peek().kind == "field":
            names.append(self.next().text[1:])
        if isinstance(node, Field):
            return Field(at, node.names + names)
        if isinstance(node, Variable):
            return Variable(at, node.names + names)
        if isinstance(node, (Literal, Nil, Dot)):
            raise self.fail(f"unexpected . after term {go_quote(str(node))}")
        return Chain(at, node, names)

    def _term(self) -> Node | None:
        token = self.next_visible()
        kind, at, text = token.kind, token.at, token.text
        if kind == "identifier":
            if text not in FUNCTIONS:
                raise self.fail(f"function {go_quote(text)} not defined")
            return Identifier(at, text)
        if kind == ".":
            return Dot(at)
        if kind == "nil":
            return Nil(at)
        if kind == "variable":
            if text not in self.variables:
                raise self.fail(f"undefined variable {go_quote(text)}")
            return Variable(at, [text])
        if kind == "field":
            return Field(at, [text[1:]])
        if kind == "bool":
            return Literal(at, "bool", text == "true", text)
        if kind in ("number", "complex", "rune"):
            try:
                value = _character_value(text) if kind == "rune" else number(text)
            except ValueError as error:
                raise self.fail(str(error)) from None
            return Literal(at, type(value).__name__, value, text)
        if kind == "(":
            return self._pipeline("parenthesized pipeline", ")")
        if kind in ("string", "rawstring"):
            return Literal(at, "string", self._unquote(text), text)
        self.index -= 1
        return None


_OPERANDS = frozenset(
    [
        ".",
        "(",
        "bool",
        "complex",
        "field",
        "identifier",
        "nil",
        "number",
        "rawstring",
        "rune",
        "string",
        "variable",
    ]
)


def _is_empty(body: list[Node]) -> bool:
    return all(isinstance(node, Text) and not node.text.strip() for node in body)


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


def _character_value(text: str) -> int:
    problem = f"malformed character constant: {text}"
    try:
        if text[1:2] == "\\" and text[2:3] == "x":
            found = chr(_digits(text[3:-1], 2, 16))
        else:
            found = unquote(text)
    except ValueError as error:
        raise ValueError(str(error)) from None
    if len(found) != 1 or text[1:2] == "'":
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


def _complex(text: str, illegal: ValueError) -> float | complex:
    body = text[:-1]
    split = max(body.rfind(sign, 1) for sign in "+-")
    if split > 0 and body[split - 1] in "eEpP":
        split = max(body.rfind(sign, 1, split - 1) for sign in "+-")
    try:
        real = float(number(body[:split])) if split > 0 else 0.0  # type: ignore[arg-type]
        imaginary = float(body[split:] if split > 0 else body)
    except (ValueError, TypeError):
        raise illegal from None
    return complex(real, imaginary) if imaginary else real


# -- Evaluator --


class Template:
    """A parsed template."""

    def __init__(self, source: str, name: str = "") -> None:
        self.name = name
        self._source = source
        try:
            self._bodies = _Parser(source, name).parse()
        except RecursionError:
            raise TemplateError(f"template: {name}:1: nested too deeply") from None

    def execute(self, data: Any, functions: Mapping[str, Function] = FUNCTIONS) -> str:
        """The text that the template makes of this data."""
        state = _State(self._source, self.name, self._bodies, functions)
        try:
            return state.run(data)
        except RecursionError:
            raise TemplateError(f"template: {self.name}: exceeded maximum template depth") from None

    def fields(self) -> frozenset[str] | None:
        """The fields that the template may ask its data for; None: any."""
        found: set[str] = set()
        for node in _walk([each for body in self._bodies.values() for each in body]):
            if isinstance(node, Dot) or (isinstance(node, Variable) and len(node.names) == 1):
                return None
            if isinstance(node, Field):
                found.add(node.names[0])
            elif isinstance(node, Variable):
                found.add(node.names[1])
        return frozenset(found)


def _walk(nodes: list[Any]) -> Iterator[Node]:
    """All nodes below these that may look at the data."""
    for node in nodes:
        if isinstance(node, (Action, Branch, Call)) and node.pipe is not None:
            yield from _walk([node.pipe])
        if isinstance(node, Branch):
            yield from _walk(node.body + (node.otherwise or []))
        elif isinstance(node, Pipe):
            yield from _walk([arg for command in node.commands for arg in command.args])
        elif isinstance(node, Chain):
            yield from _walk([node.node])
        else:
            yield node


class _Missing:
    """No value: an absent map key, or an argument that is not there."""

    def __repr__(self) -> str:
        return "<no value>"


# What an absent key of a map reads as.
NO_VALUE: Any = _Missing()
# No value came through the pipe.
_NO_FINAL: Any = _Missing()

_DEEPEST = 80


class _Jumped(Exception):
    """A break or continue on its way to its range."""

    def __init__(self, word: str) -> None:
        self.word = word


class _State:
    """One execution: the variables, and the node that a message would point at."""

    def __init__(
        self,
        source: str,
        parse_name: str,
        bodies: Mapping[str, list[Node]],
        functions: Mapping[str, Function],
    ) -> None:
        self.source = source
        self.parse_name = parse_name
        self.bodies = bodies
        self.functions = functions
        self.name = parse_name
        self.node: Node | None = None
        self.variables: list[tuple[str, Any]] = []
        self.out: list[str] = []
        self.depth = 0

    def run(self, data: Any) -> str:
        self.variables = [("$", data)]
        self.walk_list(data, self.bodies.get(self.name, []))
        return "".join(self.out)

    def fail(self, problem: str) -> TemplateError:
        if self.node is None:
            return TemplateError(f"template: {self.parse_name}: {problem}")
        before = self.source[: self.node.at]
        line = before.count("\n") + 1
        column = len(before[before.rfind("\n") + 1 :].encode(errors="surrogateescape"))
        return TemplateError(
            f"template: {self.parse_name}:{line}:{column}: executing {go_quote(self.name)} "
            f"at <{self.node}>: {problem}"
        )

    # Statements

    def walk_list(self, dot: Any, nodes: list[Node]) -> None:
        for node in nodes:
            self.walk(dot, node)

    def walk(self, dot: Any, node: Node) -> None:
        if isinstance(node, Text):
            self.out.append(node.text)
            return
        self.node = node
        if isinstance(node, Action):
            value = self.pipeline(dot, node.pipe)
            if not node.pipe.declares:
                self.print(node, value)
        elif isinstance(node, Branch):
            mark = len(self.variables)
            if node.word == "range":
                self.range(dot, node)
            else:
                self.if_or_with(dot, node)
            del self.variables[mark:]
        elif isinstance(node, Call):
            self.call_template(dot, node)
        elif isinstance(node, Jump):
            raise _Jumped(node.word)

    def print(self, node: Node, value: Any) -> None:
        self.node = node
        if value is None or value is NO_VALUE:
            self.out.append("<no value>")
            return
        if callable(value):
            raise self.fail(f"can't print {node} of type {type_name(value)}")
        self.out.append(go_value(value))

    def if_or_with(self, dot: Any, node: Branch) -> None:
        value = self.pipeline(dot, node.pipe)
        if is_true(_plain(value)):
            self.walk_list(value if node.word == "with" else dot, node.body)
        elif node.otherwise is not None:
            self.walk_list(dot, node.otherwise)

    def range(self, dot: Any, node: Branch) -> None:
        value = _plain(self.pipeline(dot, node.pipe))
        self.node = node.pipe if self.node is None else self.node
        mark = len(self.variables)
        ran = False
        for index, element in self.iterate(node, value):
            ran = True
            self.bind(node.pipe, index, element)
            try:
                self.walk_list(element, node.body)
            except _Jumped as jump:
                if jump.word == "break":
                    break
            finally:
                del self.variables[mark:]
        if not ran and node.otherwise is not None:
            self.walk_list(dot, node.otherwise)

    def iterate(self, node: Branch, value: Any) -> Iterator[tuple[Any, Any]]:
        """The pairs of index or key and element."""
        if value is None:
            return
        if isinstance(value, (list, tuple)):
            yield from enumerate(value)
        elif isinstance(value, dict) and not isinstance(value, Struct):
            yield from sorted(value.items())
        elif isinstance(value, int) and not isinstance(value, bool):
            if len(node.pipe.declares) > 1:
                raise self.fail(f"can't use {value} to iterate over more than one variable")
            for element in range(value):
                yield NO_VALUE, element
        else:
            raise self.fail(f"range can't iterate over {go_value(value)}")

    def bind(self, pipe: Pipe, index: Any, element: Any) -> None:
        """Give a range's variables their values of this turn."""
        if not pipe.declares:
            return
        values = (element,) if len(pipe.declares) == 1 else (index, element)
        for offset, (variable, value) in enumerate(zip(pipe.declares, values, strict=True)):
            if pipe.assigns:
                self.assign(variable.names[0], value)
            else:
                place = len(self.variables) - len(pipe.declares) + offset
                self.variables[place] = (variable.names[0], value)

    def call_template(self, dot: Any, node: Call) -> None:
        if node.name not in self.bodies:
            raise self.fail(f"template {go_quote(node.name)} not defined")
        if self.depth >= _DEEPEST:
            raise self.fail(f"exceeded maximum template depth ({_DEEPEST})")
        dot = NO_VALUE if node.pipe is None else self.pipeline(dot, node.pipe)
        outer = self.variables, self.name
        self.variables, self.name = [("$", dot)], node.name
        self.depth += 1
        self.walk_list(dot, self.bodies[node.name])
        self.depth -= 1
        self.variables, self.name = outer

    # Expressions

    def pipeline(self, dot: Any, pipe: Pipe) -> Any:
        self.node = pipe
        value = _NO_FINAL
        for command in pipe.commands:
            value = self.command(dot, command, value)
        for variable in pipe.declares:
            if pipe.assigns:
                self.assign(variable.names[0], value)
            else:
                self.variables.append((variable.names[0], value))
        return value

    def command(self, dot: Any, command: Command, final: Any) -> Any:
        first = command.args[0]
        if isinstance(first, Field):
            self.node = first
            return self.chain(dot, dot, first, first.names, command.args, final)
        if isinstance(first, Chain):
            return self.chained(dot, first, command.args, final)
        if isinstance(first, Identifier):
            return self.function(dot, first, command, command.args, final)
        if isinstance(first, Pipe):
            self.no_arguments(command.args, final)
            return self.pipeline(dot, first)
        if isinstance(first, Variable):
            return self.variable(dot, first, command.args, final)
        self.node = first
        self.no_arguments(command.args, final)
        if isinstance(first, Nil):
            raise self.fail("nil is not a command")
        return self.literal(dot, first)

    def no_arguments(self, args: list[Node], final: Any) -> None:
        if len(args) > 1 or final is not _NO_FINAL:
            raise self.fail(f"can't give argument to non-function {args[0]}")

    def literal(self, dot: Any, node: Node) -> Any:
        if isinstance(node, Dot):
            return dot
        assert isinstance(node, Literal)
        if node.kind == "int" and not -(1 << 63) <= node.value < 1 << 63:
            self.node = node
            raise self.fail(f"{node} overflows int")
        return node.value

    def variable(self, dot: Any, node: Variable, args: list[Node], final: Any) -> Any:
        self.node = node
        value = self.lookup(node.names[0])
        if len(node.names) == 1:
            if args:
                self.no_arguments(args, final)
            return value
        return self.chain(dot, value, node, node.names[1:], args, final)

    def lookup(self, name: str) -> Any:
        for known, value in reversed(self.variables):
            if known == name:
                return value
        raise self.fail(f"undefined variable: {name}")

    def assign(self, name: str, value: Any) -> None:
        for place in range(len(self.variables) - 1, -1, -1):
            if self.variables[place][0] == name:
                self.variables[place] = (name, value)
                return
        raise self.fail(f"undefined variable: {name}")

    def chained(self, dot: Any, node: Chain, args: list[Node], final: Any) -> Any:
        self.node = node
        if isinstance(node.node, Nil):
            raise self.fail(f"indirection through explicit nil in {node}")
        value = self.argument(dot, "any", node.node)
        return self.chain(dot, value, node, node.names, args, final)

    def chain(
        self, dot: Any, value: Any, node: Node, names: list[str], args: list[Node], final: Any
    ) -> Any:
        for name in names[:-1]:
            value = self.field(dot, name, node, [], _NO_FINAL, value)
        return self.field(dot, names[-1], node, args, final, value)

    def field(
        self, dot: Any, name: str, node: Node, args: list[Node], final: Any, value: Any
    ) -> Any:
        if value is NO_VALUE or value is _NO_FINAL:
            return NO_VALUE
        if value is None:
            raise self.fail(f"nil pointer evaluating interface {{}}.{name}")
        has_arguments = len(args) > 1 or final is not _NO_FINAL
        if isinstance(value, Struct):
            return self.struct_field(dot, name, node, args, final, value)
        if isinstance(value, dict):
            if has_arguments:
                raise self.fail(f"{name} is not a method but has arguments")
            return value.get(name, NO_VALUE)
        raise self.fail(f"can't evaluate field {name} in type {type_name(value)}")

    def struct_field(
        self, dot: Any, name: str, node: Node, args: list[Node], final: Any, value: Struct
    ) -> Any:
        if name not in value:
            if value.is_raw:
                raise self.fail(f"map has no entry for key {go_quote(name)}")
            if value.missing_is_no_value:
                return NO_VALUE
            raise self.fail(f"can't evaluate field {name} in type {value.type_name}")
        found = value[name]
        if callable(found):
            return self.call(dot, Function(found, ("string",)), node, node, name, args, final)
        given = len(args) - 1 if args else 0
        given += final is not _NO_FINAL
        if given:
            raise self.fail(f"wrong number of args for {name}: want 0 got {given}")
        return found

    def function(
        self, dot: Any, name: Identifier, place: Node, args: list[Node], final: Any
    ) -> Any:
        self.node = name
        found = self.functions.get(name.name)
        if found is None:
            raise self.fail(f"{go_quote(name.name)} is not a defined function")
        return self.call(dot, found, name, place, name.name, args, final)

    def call(
        self,
        dot: Any,
        function: Function,
        node: Node,
        place: Node,
        name: str,
        args: list[Node],
        final: Any,
    ) -> Any:
        args = args[1:]
        count = len(args) + (final is not _NO_FINAL)
        fixed = len(function.takes)
        if function.more:
            if count < fixed:
                raise self.fail(
                    f"wrong number of args for {name}: want at least {fixed} got {len(args)}"
                )
        elif count != fixed:
            raise self.fail(f"wrong number of args for {name}: want {fixed} got {count}")
        if function.stops_at is not None:
            return self.and_or(dot, args, final, stops_at=function.stops_at)
        kinds = [*function.takes, *([function.more] * (count - fixed) if function.more else [])]
        values = [self.argument(dot, kind, arg) for kind, arg in zip(kinds, args, strict=False)]
        if final is not _NO_FINAL:
            values.append(self.check(final, kinds[len(args)]))
        try:
            if function.named:
                return function.does(str(args[0]) if args else name, *map(_plain, values))
            return function.does(*map(_plain, values))
        except CallError as error:
            self.node = place
            raise self.fail(f"error calling {name}: {error}") from None
        except (ValueError, OverflowError, MemoryError) as error:
            self.node = place
            raise self.fail(f"error calling {name}: {error}") from None

    def and_or(self, dot: Any, args: list[Node], final: Any, *, stops_at: bool) -> Any:
        value: Any = NO_VALUE
        for arg in args:
            value = self.argument(dot, "any", arg)
            if is_true(_plain(value)) == stops_at:
                return value
        return value if final is _NO_FINAL else final

    def argument(self, dot: Any, kind: str, node: Node) -> Any:
        self.node = node
        if isinstance(node, Dot):
            return self.check(dot, kind)
        if isinstance(node, Nil):
            if kind in ("any", "[]string"):
                return None
            raise self.fail(f"cannot assign nil to {kind}")
        if isinstance(node, Field):
            found = self.chain(dot, dot, node, node.names, [node], _NO_FINAL)
            return self.check(found, kind)
        if isinstance(node, Variable):
            return self.check(self.variable(dot, node, [], _NO_FINAL), kind)
        if isinstance(node, Pipe):
            return self.check(self.pipeline(dot, node), kind)
        if isinstance(node, Identifier):
            return self.check(self.function(dot, node, node, [node], _NO_FINAL), kind)
        if isinstance(node, Chain):
            return self.check(self.chained(dot, node, [], _NO_FINAL), kind)
        assert isinstance(node, Literal)
        return self.literal_argument(kind, node)

    def literal_argument(self, kind: str, node: Literal) -> Any:
        if kind == "any":
            return self.literal(None, node)
        if kind == "int" and node.kind == "float" and node.value == int(node.value):
            return int(node.value)
        if kind == "[]string":
            raise self.fail(f"can't handle {node} for arg of type []string")
        if kind != node.kind:
            raise self.fail(f"expected {'integer' if kind == 'int' else kind}; found {node}")
        return self.literal(None, node)

    def check(self, value: Any, kind: str) -> Any:
        """The value, if a parameter of this type takes it."""
        if kind == "any":
            return value
        if value is None or value is NO_VALUE:
            if kind == "[]string":
                return []
            raise self.fail(f"invalid value; expected {kind}")
        if kind == "[]string":
            if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
                return value
        elif type_name(value) == kind:
            return value
        raise self.fail(f"wrong type for value; expected {kind}; got {type_name(value)}")


def _plain(value: Any) -> Any:
    """The value as functions see it: nothing is nil."""
    return None if value is NO_VALUE or value is _NO_FINAL else value
