"""`lamina volume inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.inspect import inspect_all

if TYPE_CHECKING:
    from lamina.volumes.store import Volume


@docker_command(
    "[OPTIONS] VOLUME [VOLUME...]",
    "Display detailed information on one or more volumes",
    at_least=1,
)
@click.option("-f", "--format", help="Format output using a custom template")
@click.argument("volumes", nargs=-1)
@click.pass_obj
def command(app: App, volumes: tuple[str, ...], format: str | None) -> int | None:
    store = app.engine.volumes
    return inspect_all(volumes, lambda name: describe(store.get(name)), format)


def describe(volume: Volume) -> dict[str, Any]:
    """Docker's document of a volume."""
    from lamina.images.times import rfc3339

    return {
        "CreatedAt": rfc3339(volume.created_ns // 10**9 * 10**9),
        "Driver": volume.driver,
        "Labels": dict(volume.labels) or None,
        "Mountpoint": str(volume.path),
        "Name": volume.name,
        "Options": None,
        "Scope": "local",
    }
