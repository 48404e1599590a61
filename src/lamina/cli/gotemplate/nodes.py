"""The parts of a parsed template; `str` of one gives it back as Go does in its messages."""

from __future__ import annotations

from typing import Any

from lamina.cli.gotemplate.strconv import go_quote


class Node:
    """A part of a template, and where in it that stands.

    These are plain classes, not dataclasses: making seventeen of those takes longer than all else
    that a listing does.
    """

    __slots__ = ("at",)

    def __init__(self, at: int) -> None:
        self.at = at


class Text(Node):
    __slots__ = ("text",)

    def __init__(self, at: int, text: str) -> None:
        self.at = at
        self.text = text


class Dot(Node):
    __slots__ = ()

    def __str__(self) -> str:
        return "."


class Nil(Node):
    __slots__ = ()

    def __str__(self) -> str:
        return "nil"


class Literal(Node):
    """A boolean, number or string. `kind` is "bool", "string", "int", "float" or "complex"."""

    __slots__ = ("kind", "source", "value")

    def __init__(self, at: int, kind: str, value: Any, source: str) -> None:
        self.at = at
        self.kind = kind
        self.value = value
        self.source = source

    def __str__(self) -> str:
        return self.source


class Field(Node):
    """`.A.B`."""

    __slots__ = ("names",)

    def __init__(self, at: int, names: list[str]) -> None:
        self.at = at
        self.names = names

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """`names[0]` is the variable with its `$`, the others fields of it."""

    __slots__ = ("names",)

    def __init__(self, at: int, names: list[str]) -> None:
        self.at = at
        self.names = names

    def __str__(self) -> str:
        return ".".join(self.names)


class Identifier(Node):
    """The name of a function."""

    __slots__ = ("name",)

    def __init__(self, at: int, name: str) -> None:
        self.at = at
        self.name = name

    def __str__(self) -> str:
        return self.name


class Chain(Node):
    """Fields of a term: `(pipeline).A.B`."""

    __slots__ = ("names", "node")

    def __init__(self, at: int, node: Node, names: list[str]) -> None:
        self.at = at
        self.node = node
        self.names = names

    def __str__(self) -> str:
        inner = f"({self.node})" if isinstance(self.node, Pipe) else str(self.node)
        return inner + "".join(f".{name}" for name in self.names)


class Command(Node):
    """An operand, or a function or method with its arguments."""

    __slots__ = ("args",)

    def __init__(self, at: int) -> None:
        self.at = at
        self.args: list[Node] = []

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, Pipe) else str(arg) for arg in self.args)


class Pipe(Node):
    """Commands, each fed by the one before, and the variables that take the result."""

    __slots__ = ("assigns", "commands", "declares")

    def __init__(self, at: int) -> None:
        self.at = at
        self.declares: list[Variable] = []
        self.assigns = False
        self.commands: list[Command] = []

    def __str__(self) -> str:
        names = ", ".join(map(str, self.declares))
        arrow = (" = " if self.assigns else " := ") if names else ""
        return names + arrow + " | ".join(map(str, self.commands))


class Action(Node):
    """`{{pipeline}}`."""

    __slots__ = ("pipe",)

    def __init__(self, at: int, pipe: Pipe) -> None:
        self.at = at
        self.pipe = pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


class Branch(Node):
    """if, range or with."""

    __slots__ = ("body", "otherwise", "pipe", "word")

    def __init__(
        self, word: str, pipe: Pipe, body: list[Node], otherwise: list[Node] | None
    ) -> None:
        self.at = pipe.at
        self.word = word
        self.pipe = pipe
        self.body = body
        self.otherwise = otherwise


class Call(Node):
    """`{{template "name" pipeline}}`."""

    __slots__ = ("name", "pipe")

    def __init__(self, at: int, name: str, pipe: Pipe | None) -> None:
        self.at = at
        self.name = name
        self.pipe = pipe

    def __str__(self) -> str:
        pipe = f" {self.pipe}" if self.pipe else ""
        return f"{{{{template {go_quote(self.name)}{pipe}}}}}"


class Jump(Node):
    """break or continue."""

    __slots__ = ("word",)

    def __init__(self, at: int, word: str) -> None:
        self.at = at
        self.word = word


class End(Node):
    """`{{end}}` or `{{else}}`: only the parser sees them."""

    __slots__ = ("word",)

    def __init__(self, at: int, word: str) -> None:
        self.at = at
        self.word = word

    def __str__(self) -> str:
        return f"{{{{{self.word}}}}}"
