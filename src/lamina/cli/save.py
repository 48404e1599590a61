"""`lamina save`: images into an archive."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.image_platform import for_platform
from lamina.errors import InvalidInput

if TYPE_CHECKING:
    from lamina.images.archives.save import Format


@docker_command(
    "[OPTIONS] IMAGE [IMAGE...]",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    at_least=1,
)
@click.option(
    "--format",
    default="docker-archive",
    metavar="string",
    help='Format of the archive: "docker-archive" (an OCI layout that "docker load" of any age '
    'reads, too) or "oci"',
)
@click.option("-o", "--output", metavar="string", help="Write to a file, instead of STDOUT")
@click.option(
    "--platform",
    help='Save only the given platform variant. Formatted as "os[/arch[/variant]]" '
    '(e.g., "linux/amd64")',
)
@click.argument("images", nargs=-1)
@click.pass_obj
def command(
    app: App, images: tuple[str, ...], format: str, output: str | None, platform: str | None
) -> int | None:
    from lamina.images.archives.save import Format, save

    layout = Format.parse(format)
    if platform is not None:
        for name in images:
            for_platform(app.engine.images.resolve(name), platform)
    if output is not None:
        _save_to_file(app, images, layout, output)
        return None
    if sys.stdout.isatty():
        raise InvalidInput("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    save(app.engine.images, images, sys.stdout.buffer, format=layout)
    sys.stdout.buffer.flush()
    return None


def _save_to_file(app: App, images: tuple[str, ...], layout: Format, output: str) -> None:
    """Write beside the file and rename: what was there before stays until all is written."""
    from lamina.images.archives.save import save

    folder = os.path.dirname(output) or "."
    if not os.path.isdir(folder):
        raise InvalidInput(
            f'failed to save image: invalid output path: directory "{folder}" does not exist'
        )
    if os.path.exists(output) and not stat.S_ISREG(os.stat(output).st_mode):
        if os.path.isdir(output):
            raise InvalidInput(
                f'failed to save image: invalid output path: "{output}" is a directory'
            )
        with open(output, "wb") as out:
            save(app.engine.images, images, out, format=layout)
        return
    target = os.path.realpath(output)
    temporary = f"{target}.{os.urandom(6).hex()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as out:
            save(app.engine.images, images, out, format=layout)
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
