"""The plan of a build: per stage the steps to carry out, its configuration and its history.

Everything that a Dockerfile says is worked out here once the configurations of the base images are
known: variables, the working folder, the user, the shell. What is left are steps that change the
filesystem, as plain data; two equal steps on equal filesystems give equal results, which is what
the cache relies on. Nothing is read or written.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lamina.build.dockerfile import (
    DockerfileError,
    Instruction,
    Lines,
    WordError,
    parse_instruction,
)
from lamina.build.dockerfile.instructions import (
    Add,
    Arg,
    Command,
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
from lamina.build.dockerfile.nodes import Heredoc, parse_opening, read_nodes
from lamina.build.dockerfile.words import expand, expand_shown, expand_text, expand_words
from lamina.build.outline import Origin, Outline, OutlinedStage
from lamina.build.refusals import NotSupportedHere
from lamina.errors import InvalidInput
from lamina.images.config import Healthcheck as ImageHealthcheck
from lamina.images.config import ImageConfig, RunConfig
from lamina.networks.ports import parse_exposed

_T = TypeVar("_T")

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
PROXY_ARGS = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)
"""Arguments that need no ARG, and count neither for the cache nor in the history."""


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


def plan(source: Outline, images: Mapping[str, ImageConfig], names: Mapping[str, str]) -> Plan:
    """Work every stage out; `names` gives the full reference of each image as written."""
    done: dict[int, PlannedStage] = {}
    declared = {name for arg in source.dockerfile.global_args for name, _ in arg.pairs}
    for stage in source.stages:
        drafter = _Drafter(source, stage, images, done)
        for instruction in drafter.triggers():
            drafter.take(instruction)
        for instruction in stage.stage.instructions:
            drafter.take(instruction)
        done[stage.index] = drafter.finish(names)
        declared |= drafter.declared
    target = done[source.target.index]
    if source.wishes.labels:
        labels = {**target.run.labels, **source.wishes.labels}
        done[target.index] = replace(target, run=replace(target.run, labels=labels))
    unused = sorted(set(source.wishes.args) - declared - PROXY_ARGS)
    return Plan(tuple(done[stage.index] for stage in source.stages), tuple(unused))


@dataclass
class _Drafter:
    """Walks one stage's instructions, keeping what they have set so far."""

    source: Outline
    stage: OutlinedStage
    images: Mapping[str, ImageConfig]
    done: Mapping[int, PlannedStage]
    args: dict[str, str | None] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    author: str = ""
    command_is_own: bool = False

    def __post_init__(self) -> None:
        base = self.stage.base
        self.run = RunConfig(working_dir="/")
        self._triggers: tuple[str, ...] = ()
        if base.stage is not None:
            below = self.done[base.stage]
            self.run, self.author = below.run, below.author
            self.args = dict(below.args)
        elif base.image:
            config = self.images[base.image]
            self.run, self.author = config.run, config.author
        self._triggers = self.run.on_build
        self.run = replace(self.run, on_build=())
        if not any(pair.startswith("PATH=") for pair in self.run.env):
            self.run = replace(self.run, env=(*self.run.env, f"PATH={DEFAULT_PATH}"))

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
            self.run,
            self.author,
            dict(self.args),
        )

    # Variables.

    def values(self) -> dict[str, str]:
        """What variables in words mean here: arguments, and the environment over them."""
        found = {name: value for name, value in self.args.items() if value is not None}
        return found | dict(_split(pair) for pair in self.run.env)

    def word(self, text: str, instruction: Instruction) -> str:
        """The word with its variables and quotes worked out."""
        return self._worked_out(expand, text, instruction)

    def words(self, text: str, instruction: Instruction) -> list[str]:
        """The words that a word becomes."""
        return self._worked_out(expand_words, text, instruction)

    def _worked_out(
        self, how: Callable[[str, Mapping[str, str], str], _T], text: str, instruction: Instruction
    ) -> _T:
        try:
            return how(text, self.values(), self.source.dockerfile.escape)
        except WordError as error:
            reason = f'failed to process "{text}": {error}'
            raise DockerfileError(reason, instruction.lines) from None

    # What changes the configuration alone.

    def note(self, created_by: str) -> None:
        self.deeds.append(Deed(created_by))

    def take_env(self, env: Env) -> None:
        values = dict(_split(pair) for pair in self.run.env)
        pairs = [(self.word(name, env), self.word(value, env)) for name, value in env.pairs]
        if any(not name for name, _ in pairs):
            raise DockerfileError("ENV names can not be blank", env.lines)
        values |= dict(pairs)
        self.run = replace(self.run, env=tuple(f"{name}={value}" for name, value in values.items()))
        self.note("ENV " + " ".join(f"{name}={value}" for name, value in pairs))

    def take_label(self, label: Label) -> None:
        pairs = [(self.word(name, label), self.word(value, label)) for name, value in label.pairs]
        if any(not name for name, _ in pairs):
            raise DockerfileError("LABEL names can not be blank", label.lines)
        self.run = replace(self.run, labels={**self.run.labels, **dict(pairs)})
        self.note("LABEL " + " ".join(f"{name}={value}" for name, value in pairs))

    def take_arg(self, arg: Arg) -> None:
        shown: list[str] = []
        for written, default in arg.pairs:
            name = self.word(written, arg)
            self.declared.add(name)
            value = None if default is None else self.word(default, arg)
            shown.append(name if value is None else f"{name}={value}")
            if name in self.source.wishes.args:
                value = self.source.wishes.args[name]
            elif default is None:
                value = self.source.global_args.get(name)
            self.args.pop(name, None)
            self.args[name] = value
        self.note("ARG " + " ".join(shown))

    def take_user(self, user: User) -> None:
        name = self.word(user.user, user)
        if not name:
            raise DockerfileError("USER requires exactly one argument", user.lines)
        self.run = replace(self.run, user=name)
        self.note(f"USER {name}")

    def take_cmd(self, cmd: SetCommand) -> None:
        words = self.command(cmd.command)
        self.command_is_own = True
        self.run = replace(self.run, cmd=words)
        self.note(f"CMD {_quoted(words)}")

    def take_entrypoint(self, entrypoint: SetEntrypoint) -> None:
        words = self.command(entrypoint.command)
        self.run = replace(self.run, entrypoint=words)
        if not self.command_is_own:
            self.run = replace(self.run, cmd=None)
        self.note(f"ENTRYPOINT {_quoted(words)}")

    def take_expose(self, expose: Expose) -> None:
        found: list[str] = []
        for text in expose.ports:
            for port in self.words(text, expose):
                try:
                    found.extend(parse_exposed(port))
                except InvalidInput as error:
                    raise DockerfileError(str(error), expose.lines) from None
        ports = tuple(dict.fromkeys((*self.run.exposed_ports, *found)))
        self.run = replace(self.run, exposed_ports=ports)
        listed = " ".join(f"{port}:{{}}" for port in sorted(found))
        self.note(f"EXPOSE map[{listed}]")

    def take_volume(self, volume: Volume) -> None:
        paths = [self.word(path, volume) for path in volume.paths]
        if any(not path for path in paths):
            raise DockerfileError("VOLUME specified can not be an empty string", volume.lines)
        united = tuple(dict.fromkeys((*self.run.volumes, *paths)))
        self.run = replace(self.run, volumes=united)
        self.note(f"VOLUME [{' '.join(paths)}]")

    def take_shell(self, shell: Shell) -> None:
        self.run = replace(self.run, shell=shell.words)
        self.note(f"SHELL [{' '.join(shell.words)}]")

    def take_stop_signal(self, stop: StopSignal) -> None:
        signal = self.word(stop.signal, stop)
        if not _is_signal(signal):
            raise DockerfileError(f"invalid signal: {signal}", stop.lines)
        self.run = replace(self.run, stop_signal=signal)
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
        self.run = replace(self.run, healthcheck=health)
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
        self.run = replace(self.run, on_build=(*self.run.on_build, onbuild.trigger))

    def take_maintainer(self, maintainer: Maintainer) -> None:
        self.author = maintainer.author
        self.note(f"MAINTAINER {maintainer.author}")

    def command(self, command: Command) -> tuple[str, ...]:
        """The words that are executed; a shell's before the shell form."""
        if command.shell and command.words:
            return (*(self.run.shell or DEFAULT_SHELL), *command.words)
        return command.words

    # What makes layers.

    def step(self, step: Step, created_by: str) -> None:
        self.deeds.append(Deed(created_by, len(self.steps)))
        shown = expand_shown(step.title, self.values(), self.source.dockerfile.escape)
        self.steps.append(replace(step, title=shown))

    def take_run(self, run: Run) -> None:
        _refuse_run_flags(run)
        title, command, script = run.text, run.command, None
        if run.heredocs:
            command, script = _heredoc_command(run)
            title = f"{run.text} ({_summary(run.heredocs[0].content)})"
        args = (f"/dev/pipes/{script.name}",) if script else self.command(command)
        if not args:
            raise DockerfileError("RUN requires at least one argument", run.lines)
        values = self.values()
        env = dict(_split(pair) for pair in self.run.env)
        env = {name: values[name] for name in self.args if name in values and name not in env} | env
        env.setdefault("PATH", DEFAULT_PATH)
        shown_args = [
            f"{name}={values.get(name, '')}" for name in self.args if name not in PROXY_ARGS
        ]
        count = [f"|{len(shown_args)}", *shown_args] if shown_args else []
        proxies = {
            name: value for name, value in self.source.wishes.args.items() if name in PROXY_ARGS
        }
        self.step(
            RunStep(
                title,
                run.lines,
                args,
                tuple(f"{name}={value}" for name, value in env.items() if name not in proxies),
                self.run.working_dir or "/",
                self.run.user,
                run.network if run.network not in ("", "default") else self.source.wishes.network,
                script,
                tuple(f"{name}={value}" for name, value in proxies.items()),
            ),
            f"RUN {' '.join([*count, *args])} # buildkit",
        )

    def take_copy(self, copy: Copy) -> None:
        for flag, given in (("--parents", copy.parents), ("--exclude", bool(copy.exclude))):
            if given:
                raise NotSupportedHere(f"COPY {flag} is not supported yet", copy.lines)
        origin = self.stage.copies.get(copy.from_stage)
        if copy.from_stage and origin is None:
            raise NotSupportedHere("COPY --from in ONBUILD is not supported yet", copy.lines)
        self._take_files("COPY", copy, origin, unpack=False)

    def take_add(self, add: Add) -> None:
        flags = (
            ("--exclude", bool(add.exclude)),
            ("--checksum", bool(add.checksum)),
            ("--keep-git-dir", add.keep_git_dir),
        )
        for flag, given in flags:
            if given:
                raise NotSupportedHere(f"ADD {flag} is not supported yet", add.lines)
        self._take_files("ADD", add, None, unpack=add.unpack is not False)

    def _take_files(
        self, keyword: str, copy: Copy | Add, origin: Origin | None, *, unpack: bool
    ) -> None:
        sources: list[str] = []
        contents: list[tuple[str, bytes]] = []
        heredocs = iter(copy.heredocs)
        for written in copy.sources:
            if copy.heredocs and parse_opening(written, self.source.dockerfile.escape):
                doc = next(heredocs)
                text = doc.content
                if doc.expand:
                    text = self._worked_out(expand_text, text, copy)
                contents.append((doc.name, text.encode()))
                continue
            source = self.word(written, copy)
            if not source:
                raise DockerfileError(f"{keyword} source can not be empty", copy.lines)
            if keyword == "ADD" and _is_remote(source):
                raise NotSupportedHere(f"ADD of a URL is not supported yet: {source}", copy.lines)
            sources.append(source)
        destination = self.word(copy.destination, copy)
        if not destination:
            raise DockerfileError(f"{keyword} destination can not be empty", copy.lines)
        if len(sources) + len(contents) > 1 and not destination.endswith("/"):
            raise DockerfileError(
                f"When using {keyword} with more than one source file, the destination must be "
                "a directory and end with a /",
                copy.lines,
            )
        owner, mode = self.word(copy.owner, copy), self.word(copy.mode, copy)
        shown = " ".join((*sources, *(f"<<{name}" for name, _ in contents), destination))
        flags = "".join(
            f"--{name}={value} " for name, value in (("chown", owner), ("chmod", mode)) if value
        )
        self.step(
            CopyStep(
                copy.text,
                copy.lines,
                keyword,
                tuple(sources),
                tuple(contents),
                self._absolute(destination),
                origin,
                owner,
                _mode(mode, copy),
                unpack,
            ),
            f"{keyword} {flags}{shown} # buildkit",
        )

    def take_workdir(self, workdir: Workdir) -> None:
        path = self._absolute(self.word(workdir.path, workdir)).rstrip("/") or "/"
        self.run = replace(self.run, working_dir=path)
        if path == "/":
            self.note(f"WORKDIR {path}")
            return
        self.step(WorkdirStep(workdir.text, workdir.lines, path, self.run.user), f"WORKDIR {path}")

    def _absolute(self, path: str) -> str:
        """The path from the root, kept as a folder's (`/` at the end) where written so."""
        folder = path.endswith(("/", "/.")) or path in (".", "..")
        whole = posixpath.normpath(posixpath.join("/", self.run.working_dir, path))
        whole = "/" + whole.lstrip("/")
        return whole + "/" if folder and whole != "/" else whole


def _refuse_run_flags(run: Run) -> None:
    if run.mounts:
        raise NotSupportedHere("RUN --mount is not supported yet", run.lines)
    if run.security not in ("", "sandbox"):
        raise NotSupportedHere(f"RUN --security={run.security} is not supported", run.lines)
    if run.network not in ("", "default", "none", "host"):
        raise DockerfileError(f"invalid network mode {run.network!r}", run.lines)


def _heredoc_command(run: Run) -> tuple[Command, Heredoc | None]:
    """The shell command that a RUN with here-documents is, or the script to execute."""
    first = run.heredocs[0]
    if len(run.heredocs) == 1 and len(run.command.words[0].split()) == 1:
        if first.content.startswith("#!"):
            return run.command, first
        return Command((first.content,), shell=True), None
    text = run.command.words[0]
    for doc in run.heredocs:
        text += f"\n{doc.content}{doc.name}"
    return Command((text,), shell=True), None


def _summary(content: str) -> str:
    lines = [line for line in content.splitlines() if line.strip()]
    head = lines[0].strip()[:30] if lines else ""
    return head + ("..." if len(lines) > 1 or len(lines[0].strip() if lines else "") > 30 else "")


def _mode(text: str, copy: Copy | Add) -> int | None:
    if not text:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777 or not text.isdigit():
        raise DockerfileError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777",
            copy.lines,
        )
    return mode


def _is_remote(source: str) -> bool:
    return source.startswith(("http://", "https://", "git://", "git@", "ssh://", "ftp://"))


def _is_signal(text: str) -> bool:
    import signal

    if text.isascii() and text.isdigit():
        return len(text) < 4 and 0 < int(text) <= 64
    name = text.upper().removeprefix("SIG")
    for real_time in ("RTMIN+", "RTMAX-"):
        if name.startswith(real_time) and name[len(real_time) :].isdigit():
            return True
    return f"SIG{name}" in signal.Signals.__members__


def _split(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, value


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
