"""Which stages a build needs, and which images they begin from: known before any image is read.

Only the global arguments and the names in FROM and `--from` are looked at here. A stage that
neither the target nor anything it needs refers to is left out: it is neither planned nor run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lamina.build.dockerfile import Dockerfile, DockerfileError, Stage, WordError
from lamina.build.dockerfile.instructions import Arg, Copy, From
from lamina.build.dockerfile.words import expand
from lamina.build.refusals import NotSupportedHere
from lamina.errors import InvalidInput
from lamina.images.platform import Platform

SCRATCH = "scratch"


@dataclass(frozen=True)
class Wishes:
    """What of a build request shapes the outline and the plan."""

    platform: Platform
    args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = "default"


@dataclass(frozen=True)
class Origin:
    """Where files or a stage come from: another stage (by index), an image, or nothing."""

    stage: int | None = None
    image: str = ""

    @property
    def is_scratch(self) -> bool:
        """Whether it is the empty filesystem."""
        return self.stage is None and not self.image


@dataclass(frozen=True)
class OutlinedStage:
    """A needed stage: where it begins and where its `COPY --from` get their files."""

    index: int
    stage: Stage
    base: Origin
    copies: Mapping[str, Origin]
    shown_name: str
    """The stage's name in progress; empty where there is only one."""

    @property
    def needs(self) -> tuple[int, ...]:
        """The stages that must have been built before."""
        origins = (self.base, *self.copies.values())
        return tuple(sorted({o.stage for o in origins if o.stage is not None}))


@dataclass(frozen=True)
class Outline:
    """The needed stages in order; the last of them is the target."""

    dockerfile: Dockerfile
    wishes: Wishes
    global_args: Mapping[str, str]
    stages: tuple[OutlinedStage, ...]

    @property
    def target(self) -> OutlinedStage:
        """The stage whose filesystem and configuration become the image."""
        return self.stages[-1]

    @property
    def images(self) -> tuple[str, ...]:
        """The images that are needed, as written, in order."""
        found: dict[str, None] = {}
        for stage in self.stages:
            for origin in (stage.base, *stage.copies.values()):
                if origin.image:
                    found[origin.image] = None
        return tuple(found)

    def base_lines(self, image: str) -> From | None:
        """The FROM that names this image, for errors about it."""
        return next((s.stage.start for s in self.stages if s.base.image == image), None)


def outline(dockerfile: Dockerfile, wishes: Wishes) -> Outline:
    """Choose the stages that the wished target needs."""
    args = global_args(dockerfile, wishes)
    target = _target(dockerfile, wishes.target)
    needed: dict[int, OutlinedStage] = {}
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index in needed:
            continue
        needed[index] = _outlined(dockerfile, index, args, wishes)
        waiting.extend(needed[index].needs)
    return Outline(dockerfile, wishes, args, tuple(needed[index] for index in sorted(needed)))


def platform_args(platform: Platform, target: str) -> dict[str, str]:
    """The arguments that BuildKit defines by itself."""
    found: dict[str, str] = {}
    for kind in ("BUILD", "TARGET"):
        found[f"{kind}PLATFORM"] = str(platform)
        found[f"{kind}OS"] = platform.os
        found[f"{kind}ARCH"] = platform.architecture
        found[f"{kind}VARIANT"] = platform.variant
    found["TARGETSTAGE"] = target or "default"
    return found


def global_args(dockerfile: Dockerfile, wishes: Wishes) -> dict[str, str]:
    """The values of the arguments that stand before the first FROM."""
    values = platform_args(wishes.platform, wishes.target)
    for arg in dockerfile.global_args:
        for name, default in arg.pairs:
            if name in wishes.args:
                values[name] = wishes.args[name]
            elif default is not None:
                values[name] = expanded(default, values, dockerfile.escape, arg)
    return values


def expanded(word: str, values: Mapping[str, str], escape: str, instruction: Arg | From) -> str:
    """`words.expand`, its refusals given the instruction's place."""
    try:
        return expand(word, values, escape)
    except WordError as error:
        raise DockerfileError(f'failed to process "{word}": {error}', instruction.lines) from None


def _target(dockerfile: Dockerfile, wished: str) -> int:
    if not wished:
        return len(dockerfile.stages) - 1
    found = _stage_of(dockerfile, wished, len(dockerfile.stages))
    if found is None:
        raise InvalidInput(f"target stage {wished!r} could not be found")
    return found


def _stage_of(dockerfile: Dockerfile, name: str, before: int) -> int | None:
    """The last stage of this name or number before that one."""
    for index in range(before - 1, -1, -1):
        if dockerfile.stages[index].name and dockerfile.stages[index].name == name.lower():
            return index
    if name.isascii() and name.isdigit() and int(name) < before:
        return int(name)
    return None


def _outlined(
    dockerfile: Dockerfile, index: int, args: Mapping[str, str], wishes: Wishes
) -> OutlinedStage:
    stage = dockerfile.stages[index]
    start = stage.start
    base = expanded(start.base, args, dockerfile.escape, start)
    if not base:
        raise DockerfileError(f"base name ({start.base}) should not be blank", start.lines)
    platform = expanded(start.platform, args, dockerfile.escape, start)
    if platform and not wishes.platform.fits(Platform.parse(platform)):
        raise NotSupportedHere(
            f"FROM --platform={platform} is not supported: images are built for "
            f"{wishes.platform} here",
            start.lines,
        )
    copies: dict[str, Origin] = {}
    for instruction in stage.instructions:
        if isinstance(instruction, Copy) and (name := instruction.from_stage):
            if "$" in name:
                raise NotSupportedHere(
                    "variables in COPY --from are not supported: name the stage or image "
                    "in a FROM … AS, where they are",
                    instruction.lines,
                )
            copies[name] = _origin(dockerfile, name, index)
    named = stage.name or f"stage-{index}"
    return OutlinedStage(
        index,
        stage,
        _origin(dockerfile, base, index, by_number=False),
        copies,
        named if len(dockerfile.stages) > 1 else "",
    )


def _origin(dockerfile: Dockerfile, name: str, before: int, *, by_number: bool = True) -> Origin:
    if by_number or not name.isdigit():
        found = _stage_of(dockerfile, name, before)
        if found is not None:
            return Origin(stage=found)
    return Origin() if name == SCRATCH else Origin(image=name)
