"""`lamina image history`: the steps that made an image, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.format import HELP, Listing
from lamina.cli.image_platform import for_platform

if TYPE_CHECKING:
    from lamina.images.history import HistoryStep

_HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_TABLE = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
_EXACT_TABLE = "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
_COMMAND_WIDTH = 45


@docker_command("[OPTIONS] IMAGE", "Show the history of an image", exactly=1)
@click.option("--format", help=HELP)
@click.option(
    "-H",
    "--human/--no-human",
    default=True,
    help="Print sizes and dates in human readable format (default true)",
)
@click.option("--no-trunc", is_flag=True, help="Don't truncate output")
@click.option(
    "--platform",
    help='Show history for the given platform. Formatted as "os[/arch[/variant]]" '
    '(e.g., "linux/amd64")',
)
@click.option("-q", "--quiet", is_flag=True, help="Only show image IDs")
@click.argument("image")
@click.pass_obj
def command(
    app: App,
    format: str | None,
    human: bool,
    no_trunc: bool,
    platform: str | None,
    quiet: bool,
    image: str,
) -> int | None:
    import time

    images = app.engine.images
    steps = images.history(for_platform(images.resolve(image), platform))
    listing = Listing(
        "historyContext",
        _HEADERS,
        _TABLE if human else _EXACT_TABLE,
        template=format,
        quiet=quiet,
    )
    now_s = time.time()
    rows = [_row(step, human=human, no_trunc=no_trunc, now_s=now_s) for step in steps]
    print(listing.render(rows), end="")
    return None


def _row(step: HistoryStep, *, human: bool, no_trunc: bool, now_s: float) -> Mapping[str, Any]:
    from lamina.cli.ps import truncate
    from lamina.cli.units import ago, size
    from lamina.images.history import MISSING

    created_at = _local_time(step.created_ns)
    created_since = ago(now_s - step.created_ns / 1e9) if step.created_ns > 0 else "N/A"
    created_by = step.created_by.replace("\t", " ")
    shown_id = MISSING if step.id is None else str(step.id) if no_trunc else step.id.short
    return {
        "Comment": step.comment,
        "CreatedAt": created_at,
        "CreatedBy": created_by if no_trunc else truncate(created_by, _COMMAND_WIDTH),
        "CreatedSince": created_since if human else created_at,
        "ID": shown_id,
        "Size": size(step.size_bytes) if human else str(step.size_bytes),
    }


def _local_time(moment_ns: int) -> str:
    """RFC 3339 in the local time zone, as Go writes it."""
    import time

    at = time.localtime(moment_ns // 10**9)
    offset = time.strftime("%z", at)
    zone = "Z" if offset in ("+0000", "") else f"{offset[:3]}:{offset[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", at) + zone
