"""`lamina rm`: remove containers."""

from __future__ import annotations

import sys

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.each import for_each
from lamina.errors import NotFound


@docker_command("[OPTIONS] CONTAINER [CONTAINER...]", "Remove one or more containers", at_least=1)
@click.option(
    "-f", "--force", is_flag=True, help="Force the removal of a running container (uses SIGKILL)"
)
@click.option(
    "-v",
    "--volumes",
    is_flag=True,
    help="Remove anonymous volumes associated with the container",
)
@click.argument("containers", nargs=-1)
@click.pass_obj
def command(app: App, containers: tuple[str, ...], force: bool, volumes: bool) -> int | None:
    def remove(name: str) -> str | None:
        try:
            app.engine.containers.get(name.removeprefix("/")).remove(force=force, volumes=volumes)
        except NotFound as error:
            if not force:
                raise
            # What is to be gone by all means, and is: said, but no failure.
            print(f"Error: {error}", file=sys.stderr)
            return None
        return name

    return for_each(containers, remove)
