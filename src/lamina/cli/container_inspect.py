"""`lamina container inspect`: what is known of containers."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.inspect import inspect_all


@docker_command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Display detailed information on one or more containers",
    at_least=1,
)
@click.option("-f", "--format", help="Format output using a custom template")
@click.option("-s", "--size", is_flag=True, help="Display total file sizes")
@click.argument("containers", nargs=-1)
@click.pass_obj
def command(app: App, containers: tuple[str, ...], format: str | None, size: bool) -> int | None:
    get = app.engine.containers.get
    return inspect_all(containers, lambda name: get(name).inspect(size=size), format)
