"""`lamina network inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.inspect import inspect_all
from lamina.errors import NotFound

if TYPE_CHECKING:
    from lamina.networks.endpoint import Endpoint, Network


@docker_command(
    "[OPTIONS] NETWORK [NETWORK...]",
    "Display detailed information on one or more networks",
    at_least=1,
)
@click.option("-f", "--format", help="Format output using a custom template")
@click.argument("networks", nargs=-1)
@click.pass_obj
def command(app: App, networks: tuple[str, ...], format: str | None) -> int | None:
    store = app.engine.networks
    return inspect_all(networks, lambda name: describe(app, store.get(name)), format)


def describe(app: App, network: Network) -> dict[str, Any]:
    """Docker's document of a network."""
    pools = [{"Subnet": network.subnet, "Gateway": network.gateway}] if network.subnet else []
    return {
        "Name": network.name,
        "Id": network.id,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": pools},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "Containers": {
            endpoint.container: _member(app, endpoint)
            for endpoint in app.engine.networks.endpoints(network.name)
        },
        "Options": {},
        "Labels": {},
    }


def _member(app: App, endpoint: Endpoint) -> dict[str, str]:
    try:
        name = app.engine.containers.get(endpoint.container).name
    except NotFound:
        name = ""
    return {
        "Name": name,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.address}/{endpoint.prefix}",
        "IPv6Address": "",
    }
