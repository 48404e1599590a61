"""`lamina tag`: another name for an image."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import InvalidInput


@docker_command(
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    exactly=2,
)
@click.argument("source")
@click.argument("target")
@click.pass_obj
def command(app: App, source: str, target: str) -> int | None:
    from lamina.images.reference import Reference

    try:
        reference = Reference.parse(target)
    except InvalidInput as error:
        raise InvalidInput(f'"{target}" is not a valid repository/tag: {error.message}') from None
    images = app.engine.images
    images.tag(images.resolve(source).id, reference)
    return None
