"""The instructions of a Dockerfile as typed values; no text is left to be parsed but variables.

Fields that may hold variables keep them: which value they take depends on where the instruction
stands, so whoever runs the steps expands them with `words.expand`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lamina.build.dockerfile.errors import Lines
from lamina.build.dockerfile.nodes import Heredoc


@dataclass(frozen=True)
class Instruction:
    """What every instruction has: the text that is shown for it, and its lines."""

    text: str
    lines: Lines


@dataclass(frozen=True)
class From(Instruction):
    """`FROM [--platform=P] BASE [AS NAME]`."""

    base: str
    name: str
    platform: str


@dataclass(frozen=True)
class Command:
    """A command line: words to execute, or one text for the shell."""

    words: tuple[str, ...]
    shell: bool


@dataclass(frozen=True)
class Run(Instruction):
    """`RUN`: a command whose changes become a layer."""

    command: Command
    heredocs: tuple[Heredoc, ...]
    network: str
    mounts: tuple[str, ...]
    security: str


@dataclass(frozen=True)
class Copy(Instruction):
    """`COPY`: files of the context, of a stage, of an image or of here-documents."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...]
    owner: str
    mode: str
    from_stage: str
    link: bool
    parents: bool
    exclude: tuple[str, ...]


@dataclass(frozen=True)
class Add(Instruction):
    """`ADD`: as COPY, and tar archives are extracted."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...]
    owner: str
    mode: str
    link: bool
    exclude: tuple[str, ...]
    checksum: str
    keep_git_dir: bool
    unpack: bool | None


@dataclass(frozen=True)
class SetCommand(Instruction):
    """`CMD`."""

    command: Command


@dataclass(frozen=True)
class SetEntrypoint(Instruction):
    """`ENTRYPOINT`."""

    command: Command


@dataclass(frozen=True)
class Env(Instruction):
    """`ENV`: names and values."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Label(Instruction):
    """`LABEL`: names and values."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Arg(Instruction):
    """`ARG`: names with their default, or None."""

    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Workdir(Instruction):
    """`WORKDIR`."""

    path: str


@dataclass(frozen=True)
class User(Instruction):
    """`USER`."""

    user: str


@dataclass(frozen=True)
class Expose(Instruction):
    """`EXPOSE`."""

    ports: tuple[str, ...]


@dataclass(frozen=True)
class Volume(Instruction):
    """`VOLUME`."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class Shell(Instruction):
    """`SHELL`: what the shell form is run with from here on."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class StopSignal(Instruction):
    """`STOPSIGNAL`."""

    signal: str


@dataclass(frozen=True)
class Healthcheck(Instruction):
    """`HEALTHCHECK`: the test as the image's configuration has it; times in nanoseconds."""

    test: tuple[str, ...]
    interval_ns: int
    timeout_ns: int
    start_period_ns: int
    start_interval_ns: int
    retries: int


@dataclass(frozen=True)
class OnBuild(Instruction):
    """`ONBUILD`: an instruction for the builds that start from this image."""

    trigger: str


@dataclass(frozen=True)
class Maintainer(Instruction):
    """`MAINTAINER` (deprecated in favour of a label)."""

    author: str


@dataclass(frozen=True)
class Stage:
    """A FROM and what follows it up to the next."""

    start: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The stage's name, or an empty text."""
        return self.start.name


@dataclass(frozen=True)
class Dockerfile:
    """A parsed Dockerfile."""

    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    escape: str
    syntax: str
