"""`lamina export`: a container's whole filesystem as a tar."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.tar_output import tar_output


@docker_command(
    "[OPTIONS] CONTAINER", "Export a container's filesystem as a tar archive", exactly=1
)
@click.option("-o", "--output", metavar="string", help="Write to a file, instead of STDOUT")
@click.argument("container")
@click.pass_obj
def command(app: App, container: str, output: str | None) -> int | None:
    found = app.engine.containers.get(container)
    with tar_output(output, "export container") as out:
        found.export(out)
    return None
