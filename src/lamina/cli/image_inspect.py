"""`lamina image inspect`: all that is known of images."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.format import INSPECT_HELP
from lamina.cli.inspect import inspect_all


@docker_command(
    "[OPTIONS] IMAGE [IMAGE...]", "Display detailed information on one or more images", at_least=1
)
@click.option("-f", "--format", help=INSPECT_HELP)
@click.argument("images", nargs=-1)
@click.pass_obj
def command(app: App, images: tuple[str, ...], format: str | None) -> int | None:
    store = app.engine.images
    return inspect_all(images, lambda name: store.inspect(store.resolve(name)), format)
