"""What words mean at a point of a stage: its arguments, and the configuration so far."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lamina.build.dockerfile import DockerfileError, Instruction, WordError
from lamina.build.dockerfile.instructions import Command
from lamina.build.dockerfile.words import expand, expand_shown, expand_text, expand_words
from lamina.images.config import RunConfig

_T = TypeVar("_T")

DEFAULT_SHELL = ("/bin/sh", "-c")


@dataclass
class Scope:
    """Changes as a stage's instructions are gone through."""

    run: RunConfig
    escape: str
    args: dict[str, str | None] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The variables that the image sets."""
        return dict(split_pair(pair) for pair in self.run.env)

    def values(self) -> dict[str, str]:
        """What variables in words mean: arguments, and the environment over them."""
        found = {name: value for name, value in self.args.items() if value is not None}
        return found | self.environment()

    def word(self, text: str, instruction: Instruction) -> str:
        """The word with its variables and quotes worked out."""
        return self._worked_out(expand, text, instruction)

    def words(self, text: str, instruction: Instruction) -> list[str]:
        """The words that a word becomes."""
        return self._worked_out(expand_words, text, instruction)

    def text(self, text: str, instruction: Instruction) -> str:
        """A here-document's text with its variables worked out."""
        return self._worked_out(expand_text, text, instruction)

    def shown(self, text: str) -> str:
        """An instruction as progress shows it."""
        return expand_shown(text, self.values(), self.escape)

    def command(self, command: Command) -> tuple[str, ...]:
        """The words that are executed; a shell's before the shell form."""
        if command.shell and command.words:
            return (*(self.run.shell or DEFAULT_SHELL), *command.words)
        return command.words

    def absolute(self, path: str) -> str:
        """The path from the root, kept as a folder's (`/` at the end) where written so."""
        folder = path.endswith(("/", "/.")) or path in (".", "..")
        whole = posixpath.normpath(posixpath.join("/", self.run.working_dir, path))
        whole = "/" + whole.lstrip("/")
        return whole + "/" if folder and whole != "/" else whole

    def _worked_out(
        self, how: Callable[[str, Mapping[str, str], str], _T], text: str, instruction: Instruction
    ) -> _T:
        try:
            return how(text, self.values(), self.escape)
        except WordError as error:
            reason = f'failed to process "{text}": {error}'
            raise DockerfileError(reason, instruction.lines) from None


def split_pair(pair: str) -> tuple[str, str]:
    """Name and value of `NAME=value`."""
    name, _, value = pair.partition("=")
    return name, value
