"""The command `lamina`: which commands there are, the global flags, and how each run ends.

The table below names for every command its module, so that neither `lamina --help` nor any one
command imports the others. A module holds one command in a variable `command`. In a row, the paths
are separated by commas, the one shown in help first; `ls|list` is `ls` with a hidden second name.
A row without a summary would be hidden from help.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from lamina.cli.command import UsageMistake
from lamina.cli.context import App

if TYPE_CHECKING:
    from lamina.errors import LaminaError

SUMMARY = "A container engine with layers and storage drivers at its heart"

GROUPS = {
    "builder": "Manage builds",
    "container": "Manage containers",
    "image": "Manage images",
    "layer": "Manage layers",
    "network": "Manage networks",
    "system": "Manage Lamina",
    "volume": "Manage volumes",
}

# Docker's commands that Lamina does not have (the last word of their paths).
_DOCKERS = frozenset(
    "buildx checkpoint compose config connect context disconnect du events login "
    "logout manifest node pause plugin pull push search secret service stack stats swarm trust "
    "unpause update".split()
)

COMMON = ("run", "exec", "ps", "build", "images", "version", "info")

_TABLE = """\
attach | container attach, attach | Attach local standard input, output, and error streams to a \
running container
build | image build, build, builder build | Build an image from a Dockerfile
builder_prune | builder prune | Remove build cache
complete | __complete |
commit | container commit, commit | Create a new image from a container's changes
completion | completion | Generate the autocompletion script for the specified shell
container_inspect | container inspect | Display detailed information on one or more containers
container_prune | container prune | Remove all stopped containers
cp | container cp, cp | Copy files/folders between a container and the local filesystem
create | container create, create | Create a new container
export | container export, export | Export a container's filesystem as a tar archive
diff | container diff, diff | Inspect changes to files or directories on a container's filesystem
exec | container exec, exec | Execute a command in a running container
history | image history, history | Show the history of an image
image_inspect | image inspect | Display detailed information on one or more images
image_prune | image prune | Remove unused images
images | image ls/image list, images | List images
import_ | image import, import | Import the contents from a tarball to create a filesystem image
info | system info, info | Display system-wide information
inspect | inspect | Return low-level information on Lamina objects
kill | container kill, kill | Kill one or more running containers
layer_export | layer export | Write the exact tar of a layer
layer_ls | layer ls/layer list | List the layers of an image
load | image load, load | Load an image from a tar archive or STDIN
logs | container logs, logs | Fetch the logs of a container
network_create | network create | Create a network
network_inspect | network inspect | Display detailed information on one or more networks
network_ls | network ls/network list | List networks
network_prune | network prune | Remove all unused networks
network_rm | network rm/network remove | Remove one or more networks
port | container port, port | List port mappings or a specific mapping for the container
ps | container ls/container list/container ps, ps | List containers
rename | container rename, rename | Rename a container
restart | container restart, restart | Restart one or more containers
rm | container rm/container remove, rm | Remove one or more containers
rmi | image rm/image remove, rmi | Remove one or more images
run | container run, run | Create and run a new container from an image
save | image save, save | Save one or more images to a tar archive (streamed to STDOUT by default)
start | container start, start | Start one or more stopped containers
stop | container stop, stop | Stop one or more running containers
system_check | system check | Check layers, file by file, and all else that is stored
system_df | system df | Show disk usage
system_prune | system prune | Remove unused data
tag | image tag, tag | Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
top | container top, top | Display the running processes of a container
version | version | Show the Lamina version information
volume_create | volume create | Create a volume
volume_inspect | volume inspect | Display detailed information on one or more volumes
volume_ls | volume ls/volume list | List volumes
volume_prune | volume prune | Remove unused local volumes
volume_rm | volume rm/volume remove | Remove one or more volumes
wait | container wait, wait | Block until one or more containers stop, then print their exit codes
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path that can be typed, and the module that serves it."""

    path: str
    module: str
    summary: str
    hidden: bool


def _entries() -> dict[str, Entry]:
    found = {}
    for row in _TABLE.strip().splitlines():
        module, paths, summary = (cell.strip() for cell in (row + " ").split("|"))
        for shown in paths.split(","):
            for index, path in enumerate(shown.split("/")):
                hidden = index > 0 or not summary
                found[path.strip()] = Entry(path.strip(), module, summary, hidden)
    return found


ENTRIES = _entries()


def aliases(path: str) -> list[str]:
    """All paths that run the same command as this one."""
    module = ENTRIES[path].module
    return [each.path for each in ENTRIES.values() if each.module == module]


def available() -> frozenset[str]:
    """The modules of commands that are there."""
    return frozenset(name.removesuffix(".py") for name in os.listdir(os.path.dirname(__file__)))


class LazyGroup(click.Group):
    """`lamina` itself, or one of its groups; a command's module is imported when it is run."""

    def __init__(self, name: str, *, prefix: str = "", **settings: Any) -> None:
        super().__init__(name, add_help_option=False, **settings)
        self.prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        depth = self.prefix.count(" ")
        there = available()
        names = [
            path.split(" ")[-1]
            for path, entry in ENTRIES.items()
            if path.startswith(self.prefix)
            and path.count(" ") == depth
            and not entry.hidden
            and entry.module in there
        ]
        return sorted([*names, *GROUPS] if not self.prefix else names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = ENTRIES.get(self.prefix + cmd_name)
        if entry is not None:
            return load(entry)
        if not self.prefix and cmd_name in GROUPS:
            return LazyGroup(cmd_name, prefix=f"{cmd_name} ", help=GROUPS[cmd_name])
        return None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = _group_flags(self, ctx, args) if self.prefix else _global_flags(self, ctx, args)
        if not rest:
            click.echo(self.get_help(ctx))
            ctx.exit()
        ctx._protected_args, ctx.args = rest[:1], rest[1:]
        return ctx.args

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        found = self.get_command(ctx, args[0])
        if found is None and args[0] in _DOCKERS:
            raise _not_part_of_this_version(self.prefix + args[0])
        if found is None:
            program = ctx.find_root().info_name
            problem = f"{program}: unknown command: {ctx.command_path} {args[0]}"
            usage = ctx.command_path if self.prefix else ""
            raise UnknownCommand(problem, ctx.command_path, usage)
        return args[0], found, args[1:]

    def get_help(self, ctx: click.Context) -> str:
        from lamina.cli.help import group_help, main_help

        return group_help(self, ctx) if self.prefix else main_help(ctx)


class UnknownCommand(click.ClickException):
    """No such command."""

    exit_code = 1

    def __init__(self, problem: str, path: str, usage: str) -> None:
        super().__init__(problem)
        self.path, self.usage = path, usage

    def format_message(self) -> str:
        usage = f"Usage:  {self.usage}\n\n" if self.usage else ""
        return f"{self.message}\n\n{usage}Run '{self.path} --help' for more information"


def load(entry: Entry) -> click.Command:
    """Import a command."""
    from importlib import import_module

    name = f"lamina.cli.{entry.module}"
    try:
        found = import_module(name).command
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise _not_part_of_this_version(entry.path) from None
    assert isinstance(found, click.Command)
    return found


def _not_part_of_this_version(path: str) -> LaminaError:
    from lamina.errors import Unsupported

    return Unsupported(f"'lamina {path}' is not part of this version of Lamina")


# Global flags: the long name and the attribute of App that takes their value; True: needs no value.
GLOBAL_FLAGS: dict[str, tuple[str, bool]] = {
    "--config": ("config", False),
    "--debug": ("debug", True),
    "--root": ("root", False),
    "--runtime": ("runtime", False),
    "--storage-driver": ("storage_driver", False),
    "--storage-opt": ("storage_options", False),
}
_SHORT = {"-D": "--debug", "-s": "--storage-driver"}


def _global_flags(group: LazyGroup, ctx: click.Context, args: list[str]) -> list[str]:
    """Read the flags before the command into the App; give what follows."""
    app: App = ctx.obj
    rest = list(args)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        name, given, value = rest.pop(0).partition("=")
        name = _SHORT.get(name, name)
        if name in ("-v", "--version"):
            from lamina.cli.version import one_line

            click.echo(one_line())
            ctx.exit()
        if name in ("-h", "--help"):
            click.echo(group.get_help(ctx))
            ctx.exit()
        if name == "--":
            break
        if name not in GLOBAL_FLAGS:
            problem = (
                f"unknown flag: {name}"
                if name.startswith("--")
                else f"unknown shorthand flag: {name[1]!r} in {name}"
            )
            raise UsageMistake(problem, ctx.command_path, "[OPTIONS] COMMAND [ARG...]")
        attribute, is_switch = GLOBAL_FLAGS[name]
        if is_switch:
            setattr(app, attribute, not given or value.lower() in ("1", "t", "true"))
            continue
        if not given:
            if not rest:
                problem = f"flag needs an argument: {name}"
                raise UsageMistake(problem, ctx.command_path, "[OPTIONS] COMMAND [ARG...]")
            value = rest.pop(0)
        if attribute == "storage_options":
            app.storage_options.append(value)
        else:
            setattr(app, attribute, value)
    if rest[:1] == ["help"]:
        if rest[1:] and group.get_command(ctx, rest[1]) is None:
            raise click.ClickException(f"unknown help topic: {' '.join(rest[1:])}")
        return [*rest[1:], "--help"] if rest[1:] else []
    return rest


def _group_flags(group: LazyGroup, ctx: click.Context, args: list[str]) -> list[str]:
    if args and args[0].startswith("-"):
        if args[0] in ("-h", "--help"):
            return []
        kind = "flag: " if args[0].startswith("--") else f"shorthand flag: {args[0][1]!r} in "
        raise UsageMistake(f"unknown {kind}{args[0]}", ctx.command_path, "COMMAND")
    return args


def run(args: Sequence[str], app: App | None = None) -> int:
    """Run one command line; print what must be said; give the exit code."""
    app = app or App(os.environ)
    code = 0
    try:
        with LazyGroup("lamina").make_context("lamina", list(args), obj=app) as ctx:
            answer = ctx.command.invoke(ctx)
        code = answer if isinstance(answer, int) else 0
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except BaseException as error:
        from lamina.cli.errors import report

        code = report(error, debug=app.debug, failure_code=app.failure_code)
    finally:
        app.close()
    return code


def _end(number: int, frame: object) -> NoReturn:
    """End as Ctrl-C does, giving up what is half made; the code says by which signal."""
    raise SystemExit(128 + number)


def _open_closed_streams() -> None:
    """Standard streams that the caller closed lead nowhere, instead of into a file opened here."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.set_inheritable(number, True)
            stream = os.fdopen(number, "w" if number else "r", closefd=False)
            setattr(sys, name, stream)


def main() -> None:
    """The console command."""
    signal.signal(signal.SIGTERM, _end)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # As Docker, whatever the locale; names that are no UTF-8 come out as they went in.
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if any(not each.daemon for each in threading.enumerate()[1:]):
        sys.exit(code)
    # Everything is closed; taking the interpreter apart as well would cost some 10 ms.
    os._exit(code)
