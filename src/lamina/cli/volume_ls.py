"""`lamina volume ls`."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.ps import read_filters

_HEADERS = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}


@docker_command("[OPTIONS]", "List volumes")
@click.option(
    "-f",
    "--filter",
    multiple=True,
    metavar="filter",
    help="Provide filter values (e.g. 'dangling=true')",
)
@click.option("--format", help="Format output using a custom template")
@click.option("-q", "--quiet", is_flag=True, help="Only display volume names")
@click.pass_obj
def command(app: App, filter: tuple[str, ...], format: str | None, quiet: bool) -> int | None:
    from lamina.cli.format import Listing
    from lamina.volumes.filters import chosen

    store = app.engine.volumes
    listing = Listing(
        "volumeContext",
        _HEADERS,
        "table {{.Driver}}\t{{.Name}}",
        template=format,
        quiet=quiet,
        quiet_template="{{.Name}}",
    )
    rows = []
    for volume in chosen(store.list(), read_filters(filter), store.in_use):
        labels = volume.labels
        rows.append(
            {
                "Name": volume.name,
                "Driver": volume.driver,
                "Scope": "local",
                "Mountpoint": str(volume.path),
                "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
                "Label": labels.get,
                "Links": "N/A",
                "Size": "N/A",
                "Availability": "N/A",
                "Group": "N/A",
                "Status": "N/A",
            }
        )
    print(listing.render(rows), end="")
    return None
