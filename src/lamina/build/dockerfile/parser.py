"""Nodes to typed instructions, and instructions to stages.

`parse` takes the bytes of a Dockerfile and gives a `Dockerfile`, or raises a DockerfileError that
names the line; it never raises anything else. The wording of the refusals is BuildKit's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from lamina.build.dockerfile.errors import DockerfileError
from lamina.build.dockerfile.instructions import (
    Add,
    Arg,
    Command,
    Copy,
    Dockerfile,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    SetCommand,
    SetEntrypoint,
    Shell,
    Stage,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from lamina.build.dockerfile.nodes import Node, decode, read_nodes, split_words

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNIT_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def parse(data: bytes) -> Dockerfile:
    """The Dockerfile that these bytes are."""
    source = read_nodes(decode(data))
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for node in source.nodes:
        instruction = parse_instruction(node, source.escape)
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            raise DockerfileError("no build stage in current context", node.lines)
    if not stages:
        raise DockerfileError("dockerfile contains no stages to build", source.nodes[-1].lines)
    return Dockerfile(
        tuple(global_args),
        tuple(Stage(start, tuple(following)) for start, following in stages),
        source.escape,
        source.syntax,
    )


def parse_instruction(node: Node, escape: str) -> Instruction:
    """The typed instruction of one node."""
    reader = _READERS.get(node.keyword)
    if reader is None:
        near = _nearest(node.keyword)
        hint = f" (did you mean {near}?)" if near else ""
        raise DockerfileError(f"unknown instruction: {node.keyword}{hint}", node.lines)
    return reader(node, escape)


# One reader an instruction.


def _from(node: Node, escape: str) -> Instruction:
    flags = _Flags(node, strings={"platform"})
    words = node.rest.split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
        raise DockerfileError("FROM requires either one or three arguments", node.lines)
    name = words[2].lower() if len(words) == 3 else ""
    if name and not _STAGE_NAME.fullmatch(name):
        raise DockerfileError(
            f'invalid name for build stage: "{name}", name can\'t start with a number or contain '
            "symbols",
            node.lines,
        )
    return From(node.text, node.lines, words[0], name, flags.text("platform"))


def _run(node: Node, escape: str) -> Instruction:
    flags = _Flags(node, strings={"network", "security"}, lists={"mount"})
    if not node.rest:
        raise DockerfileError("RUN requires at least one argument", node.lines)
    return Run(
        node.text,
        node.lines,
        _command(node),
        node.heredocs,
        flags.text("network"),
        flags.list("mount"),
        flags.text("security"),
    )


def _copy(node: Node, escape: str) -> Instruction:
    flags = _Flags(
        node,
        strings={"chown", "chmod", "from"},
        booleans={"link", "parents"},
        lists={"exclude"},
    )
    sources, destination = _sources(node)
    return Copy(
        node.text,
        node.lines,
        sources,
        destination,
        node.heredocs,
        flags.text("chown"),
        flags.text("chmod"),
        flags.text("from"),
        flags.is_true("link"),
        flags.is_true("parents"),
        flags.list("exclude"),
    )


def _add(node: Node, escape: str) -> Instruction:
    flags = _Flags(
        node,
        strings={"chown", "chmod", "checksum"},
        booleans={"link", "keep-git-dir", "unpack"},
        lists={"exclude"},
    )
    sources, destination = _sources(node)
    return Add(
        node.text,
        node.lines,
        sources,
        destination,
        node.heredocs,
        flags.text("chown"),
        flags.text("chmod"),
        flags.is_true("link"),
        flags.list("exclude"),
        flags.text("checksum"),
        flags.is_true("keep-git-dir"),
        flags.is_true("unpack") if flags.given("unpack") else None,
    )


def _cmd(node: Node, escape: str) -> Instruction:
    _Flags(node)
    return SetCommand(node.text, node.lines, _command(node))


def _entrypoint(node: Node, escape: str) -> Instruction:
    _Flags(node)
    return SetEntrypoint(node.text, node.lines, _command(node))


def _env(node: Node, escape: str) -> Instruction:
    _Flags(node)
    return Env(node.text, node.lines, _pairs(node, escape))


def _label(node: Node, escape: str) -> Instruction:
    _Flags(node)
    return Label(node.text, node.lines, _pairs(node, escape))


def _arg(node: Node, escape: str) -> Instruction:
    _Flags(node)
    words = split_words(node.rest, escape)
    if not words:
        raise DockerfileError("ARG requires at least one argument", node.lines)
    pairs: list[tuple[str, str | None]] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise DockerfileError("ARG names can not be blank", node.lines)
        pairs.append((name, value if equals else None))
    return Arg(node.text, node.lines, tuple(pairs))


def _workdir(node: Node, escape: str) -> Instruction:
    return Workdir(node.text, node.lines, _one(node))


def _user(node: Node, escape: str) -> Instruction:
    return User(node.text, node.lines, _one(node))


def _stop_signal(node: Node, escape: str) -> Instruction:
    return StopSignal(node.text, node.lines, _one(node))


def _maintainer(node: Node, escape: str) -> Instruction:
    return Maintainer(node.text, node.lines, _one(node))


def _expose(node: Node, escape: str) -> Instruction:
    _Flags(node)
    ports = tuple(node.rest.split())
    if not ports:
        raise DockerfileError("EXPOSE requires at least one argument", node.lines)
    return Expose(node.text, node.lines, ports)


def _volume(node: Node, escape: str) -> Instruction:
    _Flags(node)
    paths = _list(node)
    if not paths:
        raise DockerfileError("VOLUME requires at least one argument", node.lines)
    if any(not path.strip() for path in paths):
        raise DockerfileError("VOLUME specified can not be an empty string", node.lines)
    return Volume(node.text, node.lines, paths)


def _shell(node: Node, escape: str) -> Instruction:
    _Flags(node)
    words = _json_words(node)
    if words is None:
        raise DockerfileError("SHELL requires the arguments to be in JSON form", node.lines)
    if not words:
        raise DockerfileError("SHELL requires at least one argument", node.lines)
    return Shell(node.text, node.lines, words)


def _healthcheck(node: Node, escape: str) -> Instruction:
    flags = _Flags(
        node, strings={"interval", "timeout", "start-period", "start-interval", "retries"}
    )
    kind = node.rest.split(None, 1)[0].upper() if node.rest else ""
    rest = node.rest[len(kind) :].strip()
    if kind == "NONE":
        if rest:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments", node.lines)
        return Healthcheck(node.text, node.lines, ("NONE",), 0, 0, 0, 0, 0)
    if not kind:
        raise DockerfileError("HEALTHCHECK requires at least one argument", node.lines)
    if kind != "CMD":
        raise DockerfileError(f'unknown type "{kind}" in HEALTHCHECK (try CMD)', node.lines)
    if not rest:
        raise DockerfileError("missing command after HEALTHCHECK CMD", node.lines)
    command = _command(Node("CMD", (), rest, node.lines))
    retries = flags.text("retries")
    if retries and not (retries.isascii() and retries.isdigit() and len(retries) < 10):
        raise DockerfileError(f"invalid value for --retries: {retries}", node.lines)
    return Healthcheck(
        node.text,
        node.lines,
        ("CMD-SHELL" if command.shell else "CMD", *command.words),
        _duration(node, flags, "interval"),
        _duration(node, flags, "timeout"),
        _duration(node, flags, "start-period"),
        _duration(node, flags, "start-interval"),
        int(retries or 0),
    )


def _onbuild(node: Node, escape: str) -> Instruction:
    _Flags(node)
    if not node.rest:
        raise DockerfileError("ONBUILD requires at least one argument", node.lines)
    trigger = node.rest.split(None, 1)[0].upper()
    if trigger == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", node.lines)
    if trigger in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{trigger} isn't allowed as an ONBUILD trigger", node.lines)
    if trigger not in _READERS:
        raise DockerfileError(f"unknown instruction: {trigger}", node.lines)
    return OnBuild(node.text, node.lines, node.rest)


_READERS: Mapping[str, Callable[[Node, str], Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


# What their arguments are made of.


class _Flags:
    """The `--name=value` flags of an instruction, checked against those it knows."""

    def __init__(
        self,
        node: Node,
        *,
        strings: set[str] | None = None,
        booleans: set[str] | None = None,
        lists: set[str] | None = None,
    ) -> None:
        self._values: dict[str, list[str]] = {}
        known = (strings or set()) | (booleans or set()) | (lists or set())
        for flag in node.flags:
            name, equals, value = flag[2:].partition("=")
            if name not in known:
                raise DockerfileError(f"unknown flag: --{name}", node.lines)
            if name in self._values and name not in (lists or ()):
                raise DockerfileError(f"duplicate flag specified: --{name}", node.lines)
            if name in (booleans or ()):
                value = value.lower() if equals else "true"
                if value not in ("true", "false"):
                    raise DockerfileError(
                        f"expecting boolean value for flag --{name}, not: {value}", node.lines
                    )
            elif not equals:
                raise DockerfileError(f"missing a value on flag: --{name}", node.lines)
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        return self._values.get(name, [""])[0]

    def list(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))

    def given(self, name: str) -> bool:
        return name in self._values

    def is_true(self, name: str) -> bool:
        return self.text(name) == "true"


def _command(node: Node) -> Command:
    words = _json_words(node)
    if words is not None:
        return Command(words, shell=False)
    return Command((node.rest,) if node.rest else (), shell=True)


def _sources(node: Node) -> tuple[tuple[str, ...], str]:
    words = _list(node)
    if not words:
        raise DockerfileError(f"{node.keyword} requires at least two arguments", node.lines)
    if len(words) == 1:
        raise DockerfileError(
            f"{node.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
            node.lines,
        )
    return words[:-1], words[-1]


def _list(node: Node) -> tuple[str, ...]:
    words = _json_words(node)
    return tuple(node.rest.split()) if words is None else words


def _json_words(node: Node) -> tuple[str, ...] | None:
    """The words of the JSON form; None where this is not it."""
    if not node.rest.startswith("["):
        return None
    try:
        value = json.loads(node.rest)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(word, str) for word in value):
        raise DockerfileError(
            "when using JSON array syntax, arrays must be comprised of strings only", node.lines
        )
    if any("\0" in word or _has_surrogate(word) for word in value):
        raise DockerfileError("a character that no command can hold", node.lines)
    return tuple(value)


def _has_surrogate(word: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in word)


def _pairs(node: Node, escape: str) -> tuple[tuple[str, str], ...]:
    words = split_words(node.rest, escape)
    if not words:
        raise DockerfileError(f"{node.keyword} requires at least one argument", node.lines)
    if "=" not in words[0]:
        name, *value = node.rest.split(None, 1)
        if not value:
            raise DockerfileError(f"{node.keyword} must have two arguments", node.lines)
        return ((name, value[0]),)
    pairs: list[tuple[str, str]] = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise DockerfileError(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value',
                node.lines,
            )
        if not name:
            raise DockerfileError(f"{node.keyword} names can not be blank", node.lines)
        pairs.append((name, text))
    return tuple(pairs)


def _one(node: Node) -> str:
    _Flags(node)
    if not node.rest:
        raise DockerfileError(f"{node.keyword} requires exactly one argument", node.lines)
    return node.rest


def _duration(node: Node, flags: _Flags, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    parts = _DURATION.findall(text)
    if "".join(parts) != text or len(text) > 40:
        raise DockerfileError(f'invalid duration "{text}" for --{name}', node.lines)
    total = 0.0
    for part in parts:
        unit = part.lstrip("0123456789.")
        total += float(part[: -len(unit)]) * _UNIT_NS[unit]
    if 0 < total < 10**6:
        raise DockerfileError(f'Interval "{name}" cannot be less than 1ms', node.lines)
    return int(total)


def _nearest(keyword: str) -> str:
    """The instruction that was probably meant, or nothing."""
    import difflib

    if len(keyword) > 20:
        return ""
    close = difflib.get_close_matches(keyword, _READERS, n=1, cutoff=0.7)
    return close[0] if close else ""
