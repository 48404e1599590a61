"""Makes nodes of tokens, by recursive descent, with Go's messages for what it cannot read."""

from __future__ import annotations

from lamina.cli.gotemplate.functions import FUNCTIONS
from lamina.cli.gotemplate.lexer import Lexer, Token
from lamina.cli.gotemplate.literals import character, number, unquote
from lamina.cli.gotemplate.nodes import (
    Action,
    Branch,
    Call,
    Chain,
    Command,
    Dot,
    End,
    Field,
    Identifier,
    Jump,
    Literal,
    Nil,
    Node,
    Pipe,
    Text,
    Variable,
)
from lamina.cli.gotemplate.strconv import go_quote


class TemplateError(Exception):
    """A template that cannot be read or executed, in Go's words."""


class Parser:
    """Recursive descent over the tokens, two of which may be put back."""

    def __init__(self, source: str, name: str) -> None:
        self.name = name
        self.tokens = list(Lexer(source).tokens())
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
        return Branch(word, pipe, body, otherwise)

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
                value = character(text) if kind == "rune" else number(text)
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
