"""`lamina inspect`: what is known of containers, images, volumes and networks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import Conflict, InvalidInput, NotFound

__all__ = ["command", "inspect_all"]

Finder = Callable[[str], dict[str, Any]]


@docker_command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on Lamina objects",
    at_least=1,
)
@click.option(
    "-f",
    "--format",
    help="""\
Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.""",
)
@click.option(
    "-s", "--size", is_flag=True, help="Display total file sizes if the type is container"
)
@click.option("--type", "kind", help="Return JSON for specified type")
@click.argument("names", nargs=-1)
@click.pass_obj
def command(
    app: App, names: tuple[str, ...], format: str | None, size: bool, kind: str | None
) -> int | None:
    finders = _finders(app, size=size)
    if kind is None:
        return inspect_all(names, lambda name: _any(finders, name), format)
    if kind not in finders:
        raise InvalidInput(
            f'unknown type: "{kind}": must be one of "container", "image", "network", "volume"'
        )
    return inspect_all(names, finders[kind], format)


def inspect_all(names: Sequence[str], find: Finder, template: str | None) -> int:
    """Prints what is found of each name, then an error for each that isn't there."""
    from lamina.cli.format import inspect, parse_for_inspect

    if template:
        parse_for_inspect(template)
    found, missing = [], []
    for name in names:
        try:
            found.append(find(name))
        except (NotFound, Conflict, InvalidInput) as error:
            missing.append(str(error))
    if found or not template:
        print(inspect(found, template), end="", flush=True)
    elif missing:
        print()
    for problem in missing:
        print(f"Error: {problem}", file=sys.stderr)
    return 1 if missing else 0


def _finders(app: App, *, size: bool) -> dict[str, Finder]:
    """How to look each kind of object up, in the order in which a bare name is tried."""

    def container(name: str) -> dict[str, Any]:
        return app.engine.containers.get(name).inspect(size=size)

    def image(name: str) -> dict[str, Any]:
        images = app.engine.images
        return images.inspect(images.resolve(name))

    def volume(name: str) -> dict[str, Any]:
        from lamina.cli.volume_inspect import describe

        return describe(app.engine.volumes.get(name))

    def network(name: str) -> dict[str, Any]:
        from lamina.cli.network_inspect import describe

        return describe(app, app.engine.networks.get(name))

    return {"container": container, "image": image, "network": network, "volume": volume}


def _any(finders: dict[str, Finder], name: str) -> dict[str, Any]:
    for find in finders.values():
        try:
            return find(name)
        except NotFound:
            continue
        except InvalidInput:
            # No image, volume or network can be called so; an ambiguous id is another matter.
            if find is finders["container"]:
                raise
    raise NotFound(f"No such object: {name}")
