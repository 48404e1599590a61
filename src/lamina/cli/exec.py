"""`lamina exec`: run a command in a running container."""

from __future__ import annotations

import os
import sys

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import InvalidInput, NotFound, RuntimeFailure


@docker_command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    "Execute a command in a running container",
    at_least=2,
    interspersed=False,
)
@click.option("-d", "--detach", is_flag=True, help="Detached mode: run command in the background")
@click.option("--detach-keys", help="Override the key sequence for detaching a container")
@click.option("-e", "--env", multiple=True, help="Set environment variables")
@click.option("--env-file", multiple=True, help="Read in a file of environment variables")
@click.option("-i", "--interactive", is_flag=True, help="Keep STDIN open even if not attached")
@click.option("--privileged", is_flag=True, help="Give extended privileges to the command")
@click.option("-t", "--tty", is_flag=True, help="Allocate a pseudo-TTY")
@click.option("-u", "--user", help="Username or UID (format: <name|uid>[:<group|gid>])")
@click.option("-w", "--workdir", help="Working directory inside the container")
@click.argument("container")
@click.argument("command", nargs=-1)
@click.pass_obj
def command(
    app: App,
    container: str,
    command: tuple[str, ...],
    detach: bool,
    detach_keys: str | None,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    interactive: bool,
    privileged: bool,
    tty: bool,
    user: str | None,
    workdir: str | None,
) -> int | None:
    from lamina.containers.config import ExecConfig

    variables = env
    if env or env_file:
        from lamina.cli.environment import environment

        variables = environment(env, env_file, app.environment)
    found = app.engine.containers.get(container)
    if tty and interactive and not detach and not os.isatty(0):
        print("the input device is not a TTY", file=sys.stderr)
        return 1
    config = ExecConfig(
        cmd=command,
        env=variables,
        working_dir=workdir or "",
        user=user or "",
        tty=tty,
        open_stdin=interactive and not detach,
        privileged=privileged,
    )
    if detach:
        return found.exec(config)
    from lamina.containers.console import DETACH_KEYS, Streams

    streams = Streams(
        stdin=0 if interactive else None, detach_keys=detach_keys or DETACH_KEYS, signal_proxy=False
    )
    try:
        return found.exec(config, streams)
    except RuntimeFailure as error:
        # Whatever keeps a command from running is 126, as in a shell, unless it was not found.
        raise RuntimeFailure(str(error), exit_code=max(error.exit_code, 126)) from error
    except (InvalidInput, NotFound) as error:
        raise RuntimeFailure(str(error), exit_code=126) from error
