"""`lamina network ls`."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.ps import read_filters
from lamina.errors import InvalidInput

_HEADERS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


@docker_command("[OPTIONS]", "List networks")
@click.option(
    "-f",
    "--filter",
    multiple=True,
    metavar="filter",
    help="Provide filter values (e.g. 'driver=bridge')",
)
@click.option("--format", help="Format output using a custom template")
@click.option("--no-trunc", is_flag=True, help="Do not truncate the output")
@click.option("-q", "--quiet", is_flag=True, help="Only display network IDs")
@click.pass_obj
def command(
    app: App, filter: tuple[str, ...], format: str | None, no_trunc: bool, quiet: bool
) -> int | None:
    from lamina.cli.format import Listing

    listing = Listing(
        "networkContext",
        _HEADERS,
        "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        template=format,
        quiet=quiet,
    )
    filters = read_filters(filter)
    for name in filters:
        if name not in ("id", "name", "driver"):
            raise InvalidInput(f"invalid filter '{name}'")
    rows = []
    for network in app.engine.networks.list():
        values = {"id": network.id, "name": network.name, "driver": network.driver}
        if not all(any(part in values[name] for part in parts) for name, parts in filters.items()):
            continue
        rows.append(
            {
                "ID": network.id if no_trunc else network.id[:12],
                "Name": network.name,
                "Driver": network.driver,
                "Scope": "local",
                "IPv4": str(network.driver == "bridge").lower(),
                "IPv6": "false",
                "Internal": "false",
                "Labels": "",
                "Label": lambda name: "",
                "CreatedAt": "",
            }
        )
    print(listing.render(rows), end="")
    return None
