"""`lamina __complete -- WORDS`: what may stand in place of the last word; the shells ask this.

Each line of the answer is a candidate, a tab, and what it is. No answer: the shell offers files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from lamina.cli.command import Command, docker_command
from lamina.cli.context import App

if TYPE_CHECKING:
    from lamina.engine import Engine

Candidate = tuple[str, str]

# Commands whose containers must be running for the command to make sense.
_OF_RUNNING = frozenset(("attach", "exec", "kill", "port", "stop", "top"))


@docker_command("-- [WORD...]", "Complete a command line", hidden=True)
@click.argument("words", nargs=-1)
@click.pass_obj
def command(app: App, words: tuple[str, ...]) -> None:
    for text, told in candidates(app, words):
        print(f"{text}\t{told}")


def candidates(app: App, words: Sequence[str]) -> list[Candidate]:
    """What may stand in place of the last of these words (those after `lamina`)."""
    from lamina.cli.main import ENTRIES, GLOBAL_FLAGS, GROUPS

    *before, last = words or [""]
    rest = _without_global_flags(app, before)
    if rest is None:
        return []
    path = " ".join(rest[: 2 if rest[:1] and rest[0] in GROUPS else 1])
    if path in ENTRIES:
        found: Iterable[Candidate] = _in_command(app, path, rest[len(path.split()) :], last)
    elif not rest and last.startswith("-"):
        found = ((name, "") for name in (*GLOBAL_FLAGS, "--help", "--version"))
    elif not rest or (len(rest) == 1 and rest[0] in GROUPS):
        found = _commands(f"{path} " if path else "")
    else:
        found = ()
    return sorted((text, told) for text, told in found if text.startswith(last))


def _without_global_flags(app: App, words: Sequence[str]) -> list[str] | None:
    """The words from the command on, the flags before it told to the App; None: cut short."""
    from lamina.cli.main import GLOBAL_FLAGS

    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, given, value = rest.pop(0).partition("=")
        attribute, is_switch = GLOBAL_FLAGS.get(name, ("", True))
        if is_switch:
            continue
        if not given:
            if not rest:
                return None
            value = rest.pop(0)
        if attribute != "storage_options":
            setattr(app, attribute, value)
    return rest


def _commands(prefix: str) -> Iterator[Candidate]:
    from lamina.cli.main import ENTRIES, GROUPS, available

    there = available()
    for path, entry in ENTRIES.items():
        name = path.removeprefix(prefix)
        fits = path.startswith(prefix) and " " not in name
        if fits and not entry.hidden and entry.module in there:
            yield name, entry.summary
    if not prefix:
        yield from GROUPS.items()


def _in_command(app: App, path: str, words: Sequence[str], last: str) -> Iterator[Candidate]:
    from lamina.cli.main import ENTRIES, available, load

    if ENTRIES[path].module not in available():
        return
    command = load(ENTRIES[path])
    assert isinstance(command, Command)
    options = [each for each in command.params if isinstance(each, click.Option)]
    takers = {name for each in options if not each.is_flag for name in each.opts}
    arguments = _arguments(command, words, takers)
    if arguments is None:
        yield from _values(app, words[-1])
    elif last.startswith("-") and (command.interspersed or not arguments):
        for each in options:
            told = (each.help or "").split("\n")[0]
            yield from ((name, told) for name in each.opts if name.startswith("--"))
    else:
        yield from _named(app, path, command.usage, len(arguments))


def _arguments(command: Command, words: Sequence[str], takers: set[str]) -> list[str] | None:
    """The arguments among the words; None if the last is a flag that waits for its value."""
    found: list[str] = []
    waits = False
    for word in words:
        if waits:
            waits = False
        elif word.startswith("-") and (command.interspersed or not found):
            waits = word in takers or (not word.startswith("--") and f"-{word[-1]}" in takers)
        else:
            found.append(word)
    return None if waits else found


def _values(app: App, flag: str) -> Iterator[Candidate]:
    """What may follow a flag."""
    if flag in ("--network", "--net"):
        yield from _networks(app.engine)


def _named(app: App, path: str, usage: str, count: int) -> Iterator[Candidate]:
    """The things of this root that the next argument may name."""
    kinds = [word.strip("[].") for word in usage.split() if word != "[OPTIONS]"]
    if not kinds:
        return
    # The last placeholder stands for any more, if it may be repeated.
    kind = kinds[min(count, len(kinds) - 1)] if usage.endswith("...]") else ""
    kind = kind or (kinds[count] if count < len(kinds) else "")
    name = kind.split("[")[0].split(":")[0]
    if name in ("IMAGE", "SOURCE_IMAGE", "REPOSITORY"):
        yield from _images(app.engine)
    elif name == "CONTAINER":
        yield from _containers(app.engine, all=path.split()[-1] not in _OF_RUNNING)
    elif name == "VOLUME":
        yield from ((each.name, "volume") for each in app.engine.volumes.list())
    elif name == "NETWORK":
        yield from _networks(app.engine)
    elif name == "NAME|ID":
        yield from _containers(app.engine, all=True)
        yield from _images(app.engine)


def _images(engine: Engine) -> Iterator[Candidate]:
    for image in engine.images.list():
        for reference in image.tags:
            yield reference.familiar(), image.id.short


def _containers(engine: Engine, *, all: bool) -> Iterator[Candidate]:
    for container in engine.containers.list(all=all):
        yield container.name, f"{container.image}, {container.state.status}"


def _networks(engine: Engine) -> Iterator[Candidate]:
    yield from ((network.name, f"{network.driver} network") for network in engine.networks.list())
