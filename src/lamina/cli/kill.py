"""`lamina kill`: send a signal to containers."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.each import for_each


@docker_command(
    "[OPTIONS] CONTAINER [CONTAINER...]", "Kill one or more running containers", at_least=1
)
@click.option("-s", "--signal", default="KILL", help="Signal to send to the container")
@click.argument("containers", nargs=-1)
@click.pass_obj
def command(app: App, containers: tuple[str, ...], signal: str) -> int | None:
    def kill(name: str) -> str:
        app.engine.containers.get(name).kill(signal)
        return name

    return for_each(containers, kill)
