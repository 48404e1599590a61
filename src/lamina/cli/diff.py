"""`lamina diff`: what a container changed in its root filesystem."""

from __future__ import annotations

import sys

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App


@docker_command(
    "CONTAINER", "Inspect changes to files or directories on a container's filesystem", exactly=1
)
@click.argument("container")
@click.pass_obj
def command(app: App, container: str) -> int | None:
    changes = app.engine.containers.get(container).changes()
    for path, kind in sorted((change.path, change.kind) for change in changes):
        sys.stdout.buffer.write(kind.encode() + b" /" + path.lstrip(b"/") + b"\n")
    return None
