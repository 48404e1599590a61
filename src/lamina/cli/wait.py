"""`lamina wait`: until containers stop."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.each import for_each


@docker_command(
    "CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    at_least=1,
)
@click.argument("containers", nargs=-1)
@click.pass_obj
def command(app: App, containers: tuple[str, ...]) -> int | None:
    return for_each(containers, lambda name: str(app.engine.containers.get(name).wait()))
