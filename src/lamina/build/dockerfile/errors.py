"""What a Dockerfile can have wrong with it, and where.

Lines are counted from 1; an instruction that is continued over several lines has them all, so that
a face can print the excerpt that BuildKit prints.
"""

from __future__ import annotations

from dataclasses import dataclass

from lamina.errors import InvalidInput


@dataclass(frozen=True)
class Lines:
    """The first and last line (both included) of something in a Dockerfile."""

    first: int
    last: int


class DockerfileError(InvalidInput):
    """A Dockerfile cannot be understood; `lines` says where, if it is one place."""

    def __init__(self, reason: str, lines: Lines | None = None) -> None:
        at = f"dockerfile parse error on line {lines.first}: " if lines else ""
        super().__init__(f"{at}{reason}")
        self.reason = reason
        self.lines = lines


class WordError(ValueError):
    """A word's quotes or variables are wrong; whoever knows the line makes it a DockerfileError."""
