"""`lamina create`: make a container without starting it."""

from __future__ import annotations

from typing import Any

import click

from lamina.cli.command import docker_command
from lamina.cli.container_flags import configurations, container_flags
from lamina.cli.context import App
from lamina.cli.run import new_container


@docker_command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a new container",
    at_least=1,
    interspersed=False,
    failure_code=1,
)
@container_flags
@click.argument("image")
@click.argument("command", nargs=-1)
@click.pass_obj
def command(app: App, /, image: str, command: tuple[str, ...], **flags: Any) -> int | None:
    config, host_config = configurations(image, command, flags, app.environment, detach=False)
    container = new_container(app, config, host_config, flags["name"], flags["cidfile"])
    print(container.id)
    return None
