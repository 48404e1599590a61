"""Go's text/template: a lexer, a parser and an evaluator, with Go's messages for what is wrong.

    Template("{{range .Names}}{{. | upper}} {{end}}").execute({"Names": ["a", "b"]})  # "A B "

The whole language: trimming, comments, variables, pipelines, if, range, with, break, continue,
define, template and block, and the functions of Go and of Docker (`functions`). Every error is a
`TemplateError`. What Python values stand for is told in `values`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lamina.cli.gotemplate.encoding import go_json
from lamina.cli.gotemplate.evaluator import Evaluation
from lamina.cli.gotemplate.functions import FUNCTIONS, Function
from lamina.cli.gotemplate.nodes import (
    Action,
    Branch,
    Call,
    Chain,
    Dot,
    Field,
    Node,
    Pipe,
    Variable,
)
from lamina.cli.gotemplate.parser import Parser, TemplateError
from lamina.cli.gotemplate.values import Map, Struct

__all__ = ["FUNCTIONS", "Function", "Map", "Struct", "Template", "TemplateError", "go_json"]


class Template:
    """A parsed template."""

    def __init__(self, source: str, name: str = "") -> None:
        self.name = name
        self._source = source
        try:
            self._bodies = Parser(source, name).parse()
        except RecursionError:
            raise TemplateError(f"template: {name}:1: nested too deeply") from None

    def execute(self, data: Any, functions: Mapping[str, Function] = FUNCTIONS) -> str:
        """The text that the template makes of this data."""
        state = Evaluation(self._source, self.name, self._bodies, functions)
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
