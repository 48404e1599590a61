"""The steps of a build as plain data, and the stages that are made of them.

Two equal steps on equal filesystems give equal results: that is what the cache relies on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lamina.build.dockerfile import Lines
from lamina.build.dockerfile.nodes import Heredoc
from lamina.build.outline import Origin, OutlinedStage
from lamina.images.config import RunConfig


@dataclass(frozen=True)
class Step:
    """Something that makes a layer; `title` is how progress shows it."""

    title: str
    lines: Lines


@dataclass(frozen=True)
class RunStep(Step):
    """Execute a command in the filesystem."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    network: str
    script: Heredoc | None = None
    """A script with its own `#!`: made available below /dev/pipes."""
    proxies: tuple[str, ...] = ()
    """Environment that does not count for the cache."""

    @property
    def shown_command(self) -> str:
        """The command as an error names it."""
        return " ".join(self.args)


@dataclass(frozen=True)
class CopyStep(Step):
    """Copy files into the filesystem. `origin` None: from the build context."""

    keyword: str
    sources: tuple[str, ...]
    inline: tuple[tuple[str, bytes], ...]
    destination: str
    origin: Origin | None
    owner: str
    mode: int | None
    unpack: bool

    @property
    def destination_is_folder(self) -> bool:
        """Whether the destination is written as a folder."""
        return self.destination.endswith("/")


@dataclass(frozen=True)
class WorkdirStep(Step):
    """Make sure that a folder exists."""

    path: str
    user: str


@dataclass(frozen=True)
class Deed:
    """One line of the history to be; `step` is the index of the step that it tells of, if any."""

    created_by: str
    step: int | None = None


@dataclass(frozen=True)
class PlannedStage:
    """A stage worked out: on `base`, do `steps`; then it is configured so."""

    outlined: OutlinedStage
    base_title: str
    steps: tuple[Step, ...]
    deeds: tuple[Deed, ...]
    run: RunConfig
    author: str
    args: Mapping[str, str | None]
    """The arguments that the stage ended with: a stage that begins from it has them too."""

    @property
    def index(self) -> int:
        """The stage's number in the Dockerfile."""
        return self.outlined.index

    @property
    def base(self) -> Origin:
        """What the stage begins from."""
        return self.outlined.base


@dataclass(frozen=True)
class Plan:
    """All needed stages in order; the last is the target."""

    stages: tuple[PlannedStage, ...]
    unused_args: tuple[str, ...]
