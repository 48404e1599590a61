"""`lamina rename`: another name for a container."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import InvalidInput


@docker_command("CONTAINER NEW_NAME", "Rename a container", exactly=2)
@click.argument("container")
@click.argument("new_name")
@click.pass_obj
def command(app: App, container: str, new_name: str) -> int | None:
    found = app.engine.containers.get(container)
    if found.name == new_name.removeprefix("/"):
        raise InvalidInput("Renaming a container with the same name as its current name")
    found.rename(new_name)
    return None
