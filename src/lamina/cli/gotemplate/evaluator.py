"""Executes a parsed template on data, with Go's messages for what cannot be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lamina.cli.gotemplate.functions import CallError, Function, is_true
from lamina.cli.gotemplate.nodes import (
    Action,
    Branch,
    Call,
    Chain,
    Command,
    Dot,
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
from lamina.cli.gotemplate.parser import TemplateError
from lamina.cli.gotemplate.printing import go_value
from lamina.cli.gotemplate.strconv import go_quote
from lamina.cli.gotemplate.values import Struct, type_name


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


class Evaluation:
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
            if kind == "[]string":
                return []
            if kind == "any":
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
