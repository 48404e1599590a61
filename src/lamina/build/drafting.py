"""Going through one stage's instructions, and writing down what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lamina.build.dockerfile import DockerfileError, Instruction, parse_instruction
from lamina.build.dockerfile.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    OnBuild,
    Run,
    SetCommand,
    SetEntrypoint,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from lamina.build.dockerfile.nodes import read_nodes
from lamina.build.outline import Outline, OutlinedStage
from lamina.build.refusals import NotSupportedHere
from lamina.build.scope import Scope
from lamina.build.step_drafts import DEFAULT_PATH, add_step, copy_step, run_step, workdir_step
from lamina.build.steps import Deed, PlannedStage, Step
from lamina.errors import InvalidInput
from lamina.images.config import Healthcheck as ImageHealthcheck
from lamina.images.config import ImageConfig, RunConfig
from lamina.networks.ports import parse_exposed


@dataclass
class Drafter:
    """Walks one stage's instructions, keeping what they have set so far."""

    source: Outline
    stage: OutlinedStage
    images: Mapping[str, ImageConfig]
    done: Mapping[int, PlannedStage]
    declared: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    author: str = ""
    command_is_own: bool = False

    def __post_init__(self) -> None:
        base = self.stage.base
        self.scope = Scope(RunConfig(working_dir="/"), self.source.dockerfile.escape)
        if base.stage is not None:
            below = self.done[base.stage]
            self.scope.run, self.author = below.run, below.author
            self.scope.args = dict(below.args)
        elif base.image:
            config = self.images[base.image]
            self.scope.run, self.author = config.run, config.author
        self._triggers = self.scope.run.on_build
        self.configure(on_build=())
        if not any(pair.startswith("PATH=") for pair in self.scope.run.env):
            self.configure(env=(*self.scope.run.env, f"PATH={DEFAULT_PATH}"))

    def configure(self, **fields: Any) -> None:
        """Set fields of the image's configuration."""
        self.scope.run = replace(self.scope.run, **fields)

    # What the base image left for this build.

    def triggers(self) -> list[Instruction]:
        """The instructions that the base's ONBUILD hold."""
        lines = self.stage.stage.start.lines
        found: list[Instruction] = []
        for text in self._triggers:
            try:
                nodes = read_nodes(text).nodes
                for node in nodes:
                    found.append(parse_instruction(replace(node, lines=lines), "\\"))
            except DockerfileError as error:
                raise DockerfileError(f"ONBUILD {text}: {error.reason}", lines) from None
        return found

    def take(self, instruction: Instruction) -> None:
        """Account for one instruction."""
        match instruction:
            case Add():
                self.take_add(instruction)
            case Arg():
                self.take_arg(instruction)
            case Copy():
                self.take_copy(instruction)
            case Env():
                self.take_env(instruction)
            case Expose():
                self.take_expose(instruction)
            case Healthcheck():
                self.take_healthcheck(instruction)
            case Label():
                self.take_label(instruction)
            case Maintainer():
                self.take_maintainer(instruction)
            case OnBuild():
                self.take_onbuild(instruction)
            case Run():
                self.take_run(instruction)
            case SetCommand():
                self.take_cmd(instruction)
            case SetEntrypoint():
                self.take_entrypoint(instruction)
            case Shell():
                self.take_shell(instruction)
            case StopSignal():
                self.take_stop_signal(instruction)
            case User():
                self.take_user(instruction)
            case Volume():
                self.take_volume(instruction)
            case Workdir():
                self.take_workdir(instruction)

    def finish(self, names: Mapping[str, str]) -> PlannedStage:
        """The stage, its steps numbered as progress shows them."""
        base = self.stage.base
        base_counts = bool(base.image)
        total = len(self.steps) + base_counts
        width = len(str(total)) if total else 1
        prefix = f"{self.stage.shown_name} " if self.stage.shown_name else ""
        steps = tuple(
            replace(step, title=f"[{prefix}{number:{width}}/{total}] {step.title}")
            for number, step in enumerate(self.steps, 1 + base_counts)
        )
        base_title = (
            f"[{prefix}{1:{width}}/{total}] FROM {names[base.image]}" if base_counts else ""
        )
        return PlannedStage(
            self.stage,
            base_title,
            steps,
            tuple(self.deeds),
            self.scope.run,
            self.author,
            dict(self.scope.args),
        )

    # What changes the configuration alone.

    def note(self, created_by: str) -> None:
        self.deeds.append(Deed(created_by))

    def pairs(self, keyword: str, given: Env | Label) -> list[tuple[str, str]]:
        word = self.scope.word
        pairs = [(word(name, given), word(value, given)) for name, value in given.pairs]
        if any(not name for name, _ in pairs):
            raise DockerfileError(f"{keyword} names can not be blank", given.lines)
        return pairs

    def take_env(self, env: Env) -> None:
        values = self.scope.environment()
        pairs = [
            (self.scope.word(name, env), self.scope.word(value, env)) for name, value in env.pairs
        ]
        if any(not name for name, _ in pairs):
            raise DockerfileError("ENV names can not be blank", env.lines)
        values |= dict(pairs)
        self.configure(env=tuple(f"{name}={value}" for name, value in values.items()))
        self.note("ENV " + " ".join(f"{name}={value}" for name, value in pairs))

    def take_label(self, label: Label) -> None:
        pairs = [
            (self.scope.word(name, label), self.scope.word(value, label))
            for name, value in label.pairs
        ]
        if any(not name for name, _ in pairs):
            raise DockerfileError("LABEL names can not be blank", label.lines)
        self.configure(labels={**self.scope.run.labels, **dict(pairs)})
        self.note("LABEL " + " ".join(f"{name}={value}" for name, value in pairs))

    def take_arg(self, arg: Arg) -> None:
        shown: list[str] = []
        for written, default in arg.pairs:
            name = self.scope.word(written, arg)
            self.declared.add(name)
            value = None if default is None else self.scope.word(default, arg)
            shown.append(name if value is None else f"{name}={value}")
            if name in self.source.wishes.args:
                value = self.source.wishes.args[name]
            elif default is None:
                value = self.source.global_args.get(name)
            self.scope.args.pop(name, None)
            self.scope.args[name] = value
        self.note("ARG " + " ".join(shown))

    def take_user(self, user: User) -> None:
        name = self.scope.word(user.user, user)
        if not name:
            raise DockerfileError("USER requires exactly one argument", user.lines)
        self.configure(user=name)
        self.note(f"USER {name}")

    def take_cmd(self, cmd: SetCommand) -> None:
        words = self.scope.command(cmd.command)
        self.command_is_own = True
        self.configure(cmd=words)
        self.note(f"CMD {_quoted(words)}")

    def take_entrypoint(self, entrypoint: SetEntrypoint) -> None:
        words = self.scope.command(entrypoint.command)
        self.configure(entrypoint=words)
        if not self.command_is_own:
            self.configure(cmd=None)
        self.note(f"ENTRYPOINT {_quoted(words)}")

    def take_expose(self, expose: Expose) -> None:
        found: list[str] = []
        for text in expose.ports:
            for port in self.scope.words(text, expose):
                try:
                    found.extend(parse_exposed(port))
                except InvalidInput as error:
                    raise DockerfileError(str(error), expose.lines) from None
        ports = tuple(dict.fromkeys((*self.scope.run.exposed_ports, *found)))
        self.configure(exposed_ports=ports)
        listed = " ".join(f"{port}:{{}}" for port in sorted(found))
        self.note(f"EXPOSE map[{listed}]")

    def take_volume(self, volume: Volume) -> None:
        paths = [self.scope.word(path, volume) for path in volume.paths]
        if any(not path for path in paths):
            raise DockerfileError("VOLUME specified can not be an empty string", volume.lines)
        united = tuple(dict.fromkeys((*self.scope.run.volumes, *paths)))
        self.configure(volumes=united)
        self.note(f"VOLUME [{' '.join(paths)}]")

    def take_shell(self, shell: Shell) -> None:
        self.configure(shell=shell.words)
        self.note(f"SHELL [{' '.join(shell.words)}]")

    def take_stop_signal(self, stop: StopSignal) -> None:
        signal = self.scope.word(stop.signal, stop)
        if not _is_signal(signal):
            raise DockerfileError(f"invalid signal: {signal}", stop.lines)
        self.configure(stop_signal=signal)
        self.note(f"STOPSIGNAL {signal}")

    def take_healthcheck(self, check: Healthcheck) -> None:
        health = ImageHealthcheck(
            check.test,
            check.interval_ns,
            check.timeout_ns,
            check.start_period_ns,
            check.start_interval_ns,
            check.retries,
        )
        self.configure(healthcheck=health)
        times = (
            check.interval_ns,
            check.timeout_ns,
            check.start_period_ns,
            check.start_interval_ns,
        )
        shown = " ".join(f'"{_duration(time_ns)}"' for time_ns in times)
        self.note(f"HEALTHCHECK &{{{_quoted(check.test)} {shown} '\\x{check.retries:02x}'}}")

    def take_onbuild(self, onbuild: OnBuild) -> None:
        # No line of the history: BuildKit writes none.
        self.configure(on_build=(*self.scope.run.on_build, onbuild.trigger))

    def take_maintainer(self, maintainer: Maintainer) -> None:
        self.author = maintainer.author
        self.note(f"MAINTAINER {maintainer.author}")

    # What makes layers.

    def step(self, step: Step, created_by: str) -> None:
        self.deeds.append(Deed(created_by, len(self.steps)))
        self.steps.append(step)

    def take_run(self, run: Run) -> None:
        self.step(*run_step(run, self.scope, self.source.wishes))

    def take_copy(self, copy: Copy) -> None:
        origin = self.stage.copies.get(copy.from_stage)
        if copy.from_stage and origin is None:
            raise NotSupportedHere("COPY --from in ONBUILD is not supported yet", copy.lines)
        self.step(*copy_step(copy, self.scope, origin))

    def take_add(self, add: Add) -> None:
        self.step(*add_step(add, self.scope))

    def take_workdir(self, workdir: Workdir) -> None:
        path = self.scope.absolute(self.scope.word(workdir.path, workdir)).rstrip("/") or "/"
        self.configure(working_dir=path)
        if path == "/":
            self.note(f"WORKDIR {path}")
        else:
            self.step(workdir_step(workdir, self.scope), f"WORKDIR {path}")


def _is_signal(text: str) -> bool:
    import signal

    if text.isascii() and text.isdigit():
        return len(text) < 4 and 0 < int(text) <= 64
    name = text.upper().removeprefix("SIG")
    for real_time in ("RTMIN+", "RTMAX-"):
        if name.startswith(real_time) and name[len(real_time) :].isdigit():
            return True
    return f"SIG{name}" in signal.Signals.__members__


def _duration(time_ns: int) -> str:
    """Go's text of a duration of whole milliseconds: `1m30s`, `0s`, `1.5s`."""
    if time_ns and time_ns < 10**9:
        return f"{time_ns / 10**6:.10g}ms"
    seconds = time_ns / 10**9
    hours, minutes = int(seconds // 3600), int(seconds // 60 % 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{text}{seconds - hours * 3600 - minutes * 60:.10g}s"


def _quoted(words: Sequence[str]) -> str:
    """Go's %q of a list of texts."""
    import json

    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"
