"""`lamina cp`: files into and out of a container."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.units import size
from lamina.errors import InvalidInput

if TYPE_CHECKING:
    from lamina.containers.copying.files import ContainerFiles, Copied


@docker_command(
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n"
    "        lamina cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    "Copy files/folders between a container and the local filesystem\n\n"
    "Use '-' as the source to read a tar archive from stdin\n"
    "and extract it to a directory destination in a container.\n"
    "Use '-' as the destination to stream a tar archive of a\n"
    "container source to stdout.",
    exactly=2,
)
@click.option("-a", "--archive", is_flag=True, help="Archive mode (copy all uid/gid information)")
@click.option("-L", "--follow-link", is_flag=True, help="Always follow symbol link in SRC_PATH")
@click.option(
    "-q",
    "--quiet/--no-quiet",
    default=None,
    help="Suppress progress output during copy. Progress output is automatically suppressed if no "
    "terminal is attached",
)
@click.argument("source")
@click.argument("destination")
@click.pass_obj
def command(
    app: App, archive: bool, follow_link: bool, quiet: bool | None, source: str, destination: str
) -> int | None:
    if not source:
        raise InvalidInput("source can not be empty")
    if not destination:
        raise InvalidInput("destination can not be empty")
    from_container, source_path = split_argument(source)
    to_container, target_path = split_argument(destination)
    if from_container and to_container:
        raise InvalidInput("copying between containers is not supported")
    copied: Copied | None = None
    if from_container:
        files = _files(app, from_container)
        if target_path == "-":
            files.archive(source_path, sys.stdout.buffer, follow_links=follow_link)
            sys.stdout.buffer.flush()
        else:
            copied = files.copy_out(source_path, target_path, follow_links=follow_link)
    elif to_container:
        files = _files(app, to_container)
        if source_path == "-":
            from lamina.cli.standard_input import standard_input

            files.extract(standard_input(), target_path, as_user=archive)
        else:
            copied = files.copy_in(
                source_path, target_path, follow_links=follow_link, as_user=archive
            )
    else:
        raise InvalidInput("must specify at least one container source")
    if copied is not None and not (not sys.stdout.isatty() if quiet is None else quiet):
        print(f"Successfully copied {size(copied.size_bytes)} to {copied.target}", file=sys.stderr)
    return None


def split_argument(text: str) -> tuple[str, str]:
    """The container (empty: none is meant) and the path that an argument names."""
    container, colon, path = text.partition(":")
    if text.startswith(("/", ".")) or not colon:
        return "", text
    return container, path


def _files(app: App, container: str) -> ContainerFiles:
    return app.engine.containers.get(container).files(container)
