"""`lamina import`: the tar of a filesystem becomes an image."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.standard_input import standard_input
from lamina.errors import InvalidInput, Unsupported


@docker_command(
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "Import the contents from a tarball to create a filesystem image",
    at_least=1,
)
@click.option(
    "-c",
    "--change",
    multiple=True,
    metavar="list",
    help="Apply Dockerfile instruction to the created image",
)
@click.option("-m", "--message", default="", help="Set commit message for imported image")
@click.option("--platform", help="Set platform of the image, as os[/arch[/variant]]")
@click.argument("arguments", nargs=-1)
@click.pass_obj
def command(
    app: App,
    change: tuple[str, ...],
    message: str,
    platform: str | None,
    arguments: tuple[str, ...],
) -> int | None:
    from lamina.images.archives.tarball import import_tar
    from lamina.images.config import RunConfig
    from lamina.images.platform import Platform
    from lamina.images.reference import Reference

    source = arguments[0]
    reference = Reference.parse(arguments[1]) if len(arguments) > 1 else None
    wanted = Platform.parse(platform) if platform else None
    run = RunConfig()
    if change:
        from lamina.build.changes import changed

        run = changed(run, change)
    with opened(source) as stream:
        image = import_tar(
            app.engine.images, stream, reference, run=run, message=message, platform=wanted
        )
    print(image.id)
    return None


def opened(source: str) -> BinaryIO:
    """The tar that is meant: standard input for `-`, else a file."""
    if source == "-":
        if sys.stdin.isatty():
            raise InvalidInput(
                "cannot import from a terminal", remedy="redirect a tar to standard input"
            )
        return standard_input()
    if source.startswith(("http://", "https://")):
        raise Unsupported(
            f"importing from a URL is not supported: {source}",
            remedy="download it and pipe it to 'lamina import -'",
        )
    return open(source, "rb")
