"""`lamina rmi`: take names off images, and remove those that have none left."""

from __future__ import annotations

import sys

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import LaminaError, NotFound


@docker_command("[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images", at_least=1)
@click.option("-f", "--force", is_flag=True, help="Force removal of the image")
@click.option("--no-prune", is_flag=True, help="Do not delete untagged parents")
@click.argument("images", nargs=-1)
@click.pass_obj
def command(app: App, images: tuple[str, ...], force: bool, no_prune: bool) -> int | None:
    problems: list[str] = []
    failed = False
    for name in images:
        try:
            removals = app.engine.images.remove(name, force=force, prune_parents=not no_prune)
        except LaminaError as error:
            problems.append(f"Error: {error}")
            failed = failed or not (force and isinstance(error, NotFound))
        else:
            for each in removals:
                print(each)
    sys.stdout.flush()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if failed else None
