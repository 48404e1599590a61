"""`lamina layer ls`: the layers of an image, base first."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.format import HELP, Listing
from lamina.cli.units import size

_HEADERS = {
    "Number": "N",
    "ChainID": "CHAIN ID",
    "DiffID": "DIFF ID",
    "Size": "SIZE",
    "JournalSize": "JOURNAL",
}
_TABLE = "table {{.Number}}\t{{.ChainID}}\t{{.DiffID}}\t{{.Size}}\t{{.JournalSize}}"


@docker_command("[OPTIONS] IMAGE", "List the layers of an image, the base first", exactly=1)
@click.option("--format", help=HELP)
@click.option("--no-trunc", is_flag=True, help="Don't truncate output")
@click.option("-q", "--quiet", is_flag=True, help="Only show diff IDs")
@click.argument("image")
@click.pass_obj
def command(app: App, format: str | None, no_trunc: bool, quiet: bool, image: str) -> int | None:
    layers = app.engine.layers
    listing = Listing(
        "layerContext",
        _HEADERS,
        _TABLE,
        template=format,
        quiet=quiet,
        quiet_template="{{.DiffID}}",
    )
    rows = [
        {
            "ChainID": layer.chain_id if no_trunc else layer.chain_id.short,
            "DiffID": layer.diff_id if no_trunc else layer.diff_id.short,
            "JournalSize": size(layers.journal_size_bytes(layer.chain_id)),
            "Number": str(number),
            "Size": size(layer.size_bytes),
        }
        for number, layer in enumerate(
            layers.stack(app.engine.images.resolve(image).chain), start=1
        )
    ]
    print(listing.render(rows), end="")
    return None
