"""`lamina commit`: what a container is now becomes an image."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App


@docker_command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Create a new image from a container's changes",
    at_least=1,
    at_most=2,
)
@click.option(
    "-a",
    "--author",
    default="",
    metavar="string",
    help='Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")',
)
@click.option(
    "-c",
    "--change",
    multiple=True,
    metavar="list",
    help="Apply Dockerfile instruction to the created image",
)
@click.option("-m", "--message", default="", metavar="string", help="Commit message")
@click.option(
    "-p",
    "--pause/--no-pause",
    default=True,
    help="Pause container during commit (default true)",
)
@click.argument("arguments", nargs=-1)
@click.pass_obj
def command(
    app: App,
    author: str,
    change: tuple[str, ...],
    message: str,
    pause: bool,
    arguments: tuple[str, ...],
) -> int | None:
    from lamina.containers.commit import Commit
    from lamina.images.config import RunConfig
    from lamina.images.reference import Reference

    def alter(run: RunConfig) -> RunConfig:
        if not change:
            return run
        from lamina.build.changes import changed

        return changed(run, change)

    reference = Reference.parse(arguments[1]) if len(arguments) > 1 else None
    store = app.engine.containers
    wanted = Commit(reference, author, message, pause, alter)
    print(store.commit(store.get(arguments[0]), wanted).id)
    return None
