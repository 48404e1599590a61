"""`lamina port`: where a container's ports are published."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import NotFound


@docker_command(
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List port mappings or a specific mapping for the container",
    at_least=1,
    at_most=2,
)
@click.argument("container")
@click.argument("port", nargs=-1)
@click.pass_obj
def command(app: App, container: str, port: tuple[str, ...]) -> int | None:
    found = app.engine.containers.get(container)
    endpoint = app.engine.networks.endpoint(found.id) if found.state.running else None
    published = endpoint.ports if endpoint else ()
    if not port:
        for each in published:
            print(f"{each.key} -> {_shown(each.host_ip)}:{each.host_port}")
        return None
    key = port[0] if "/" in port[0] else f"{port[0]}/tcp"
    matching = [each for each in published if each.key == key]
    if not matching:
        raise NotFound(f"No public port '{port[0]}' published for {container}")
    for each in matching:
        print(f"{_shown(each.host_ip)}:{each.host_port}")
    return None


def _shown(address: str) -> str:
    return address or "0.0.0.0"
