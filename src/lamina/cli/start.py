"""`lamina start`: start containers that were created, or have exited."""

from __future__ import annotations

import os
import sys

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.each import for_each
from lamina.errors import InvalidInput, RuntimeFailure


@docker_command(
    "[OPTIONS] CONTAINER [CONTAINER...]", "Start one or more stopped containers", at_least=1
)
@click.option("-a", "--attach", is_flag=True, help="Attach STDOUT/STDERR and forward signals")
@click.option("--detach-keys", help="Override the key sequence for detaching a container")
@click.option("-i", "--interactive", is_flag=True, help="Attach container's STDIN")
@click.argument("containers", nargs=-1)
@click.pass_obj
def command(
    app: App,
    containers: tuple[str, ...],
    attach: bool,
    interactive: bool,
    detach_keys: str | None,
) -> int | None:
    if not attach and not interactive:
        return _start_all(app, containers)
    if len(containers) > 1:
        raise InvalidInput("you cannot start and attach multiple containers at once")
    container = app.engine.containers.get(containers[0])
    if container.config.tty and interactive and not os.isatty(0):
        print("the input device is not a TTY", file=sys.stderr)
        return 1
    from lamina.containers.console import DETACH_KEYS, Streams

    stdin = 0 if interactive and container.config.open_stdin else None
    return container.start(Streams(stdin=stdin, detach_keys=detach_keys or DETACH_KEYS))


def _start_all(app: App, names: tuple[str, ...]) -> int:
    failed = []

    def start(name: str) -> str:
        failed.append(name)
        app.engine.containers.get(name).start()
        failed.pop()
        return name

    code = for_each(names, start)
    if failed:
        raise RuntimeFailure(f"failed to start containers: {', '.join(failed)}")
    return code
