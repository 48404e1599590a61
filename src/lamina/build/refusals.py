"""What a build refuses or fails at, with the place in the Dockerfile that it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.build.dockerfile.errors import Lines
from lamina.errors import LaminaError, Unsupported

if TYPE_CHECKING:
    from lamina.build.narration import Telling


class NotSupportedHere(Unsupported):
    """An instruction or flag that is understood but not carried out; `lines` says where it is."""

    def __init__(self, message: str, lines: Lines) -> None:
        super().__init__(message)
        self.lines = lines


@dataclass(frozen=True)
class Excerpt:
    """A Dockerfile's name and text, and the lines an error is about."""

    name: str
    text: str
    lines: Lines

    def __str__(self) -> str:
        """As BuildKit prints it: the lines marked, a few around them for context."""
        source = self.text.splitlines() or [""]
        last = min(self.lines.last, len(source))
        first = min(self.lines.first, last)
        shown_first, shown_last = max(1, first - 2), min(len(source), last + 2)
        rows = [f"{self.name}:{first}", "-" * 20]
        for number in range(shown_first, shown_last + 1):
            mark = ">>>" if first <= number <= last else "   "
            rows.append(f" {number:3} | {mark} {source[number - 1]}")
        rows.append("-" * 20)
        return "\n".join(rows)


class BuildFailed(LaminaError):
    """A build did not come to its end; nothing half made is left.

    `cause` is the reason as an error of its own class, `excerpt` the place in the Dockerfile where
    there is one, `step` and `output` the step that failed and the last it wrote.
    """

    def __init__(
        self,
        cause: LaminaError,
        *,
        excerpt: Excerpt | None = None,
        step: str = "",
        output: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"failed to solve: {cause}")
        self.cause = cause
        self.excerpt = excerpt
        self.step = step
        self.output = output


class Place:
    """The Dockerfile of a build, for telling where in it something failed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""

    def failed(
        self, error: LaminaError, lines: Lines | None, telling: Telling | None = None
    ) -> BuildFailed:
        """The failure of a build by this error at these lines, in this step if in one."""
        if isinstance(error, NotSupportedHere):
            error = NotSupportedHere(
                f"{self.name}:{error.lines.first}: {error.message}", error.lines
            )
        excerpt = Excerpt(self.name, self.text, lines) if lines else None
        if telling is None:
            return BuildFailed(error, excerpt=excerpt)
        return BuildFailed(error, excerpt=excerpt, step=telling.name, output=telling.last_lines(8))
