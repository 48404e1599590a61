"""`lamina image inspect`: all that is known of images."""

from __future__ import annotations

from typing import Any

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.format import INSPECT_HELP
from lamina.cli.image_platform import for_platform
from lamina.cli.inspect import inspect_all


@docker_command(
    "[OPTIONS] IMAGE [IMAGE...]", "Display detailed information on one or more images", at_least=1
)
@click.option("-f", "--format", help=INSPECT_HELP)
@click.option(
    "--platform",
    help="Inspect a specific platform of the multi-platform image. The command fails if the "
    "platform does not match. 'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
)
@click.argument("images", nargs=-1)
@click.pass_obj
def command(
    app: App, images: tuple[str, ...], format: str | None, platform: str | None
) -> int | None:
    store = app.engine.images

    def find(name: str) -> dict[str, Any]:
        return store.inspect(for_platform(store.resolve(name), platform))

    return inspect_all(images, find, format)
