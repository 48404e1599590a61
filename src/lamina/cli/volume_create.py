"""`lamina volume create`."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import InvalidInput


@docker_command("[OPTIONS] [VOLUME]", "Create a volume", at_most=1)
@click.option(
    "-d", "--driver", default="local", show_default=True, help="Specify volume driver name"
)
@click.option("--label", multiple=True, help="Set metadata for a volume")
@click.option("--name", hidden=True)
@click.argument("volume", nargs=-1)
@click.pass_obj
def command(
    app: App, volume: tuple[str, ...], driver: str, label: tuple[str, ...], name: str | None
) -> int | None:
    if volume and name:
        raise InvalidInput(
            "conflicting options: either specify --name or provide positional arg, not both"
        )
    wanted = volume[0] if volume else name or ""
    labels = dict(text.partition("=")[::2] for text in label)
    made = app.engine.volumes.create(wanted, labels=labels, driver=driver, anonymous=not wanted)
    print(made.name)
    return None
