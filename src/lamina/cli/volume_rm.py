"""`lamina volume rm`."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.each import for_each
from lamina.errors import NotFound


@docker_command(
    "[OPTIONS] VOLUME [VOLUME...]",
    "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    at_least=1,
)
@click.option("-f", "--force", is_flag=True, help="Force the removal of one or more volumes")
@click.argument("volumes", nargs=-1)
@click.pass_obj
def command(app: App, volumes: tuple[str, ...], force: bool) -> int | None:
    def remove(name: str) -> str:
        try:
            app.engine.volumes.remove(name)
        except NotFound:
            if not force:
                raise
        return name

    return for_each(volumes, remove)
