"""`lamina stop`: end containers' processes, kindly first."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.each import for_each


@docker_command(
    "[OPTIONS] CONTAINER [CONTAINER...]", "Stop one or more running containers", at_least=1
)
@click.option(
    "-t",
    "--timeout",
    "--time",
    "time",
    type=int,
    help="Seconds to wait before killing the container",
)
@click.argument("containers", nargs=-1)
@click.pass_obj
def command(app: App, containers: tuple[str, ...], time: int | None) -> int | None:
    def stop(name: str) -> str:
        app.engine.containers.get(name).stop(time)
        return name

    return for_each(containers, stop)
