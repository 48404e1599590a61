"""`lamina save`: images into an archive."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.image_platform import for_platform
from lamina.cli.tar_output import tar_output


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
    with tar_output(output, "save image") as out:
        save(app.engine.images, images, out, format=layout)
    return None
