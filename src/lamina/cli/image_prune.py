"""`lamina image prune`: remove images that nothing uses."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App

_FILTERS = ("dangling", "label", "label!", "until")
_QUESTION = "Are you sure you want to continue? [y/N] "
_DANGLING_WARNING = "WARNING! This will remove all dangling images.\n"
_ALL_WARNING = (
    "WARNING! This will remove all images without at least one container associated to them.\n"
)


@docker_command("[OPTIONS]", "Remove unused images")
@click.option("-a", "--all", is_flag=True, help="Remove all unused images, not just dangling ones")
@click.option(
    "--filter",
    multiple=True,
    metavar="filter",
    help='Provide filter values (e.g. "until=<timestamp>")',
)
@click.option("-f", "--force", is_flag=True, help="Do not prompt for confirmation")
@click.pass_obj
def command(app: App, all: bool, filter: tuple[str, ...], force: bool) -> int | None:
    import time

    from lamina.cli.ps import read_filters
    from lamina.cli.units import human_size
    from lamina.cli.volume_prune import confirmed
    from lamina.images.filters import ImageFilter
    from lamina.images.image import Deleted

    wanted = ImageFilter.parse(read_filters(filter), allowed=_FILTERS, now_ns=time.time_ns())
    everything = all or wanted.dangling is False
    warning = _ALL_WARNING if everything else _DANGLING_WARNING
    if not force and not confirmed(warning + _QUESTION):
        return None
    pruned = app.engine.images.prune(wanted, everything=everything)
    if pruned.removals:
        print("Deleted Images:")
        for each in pruned.removals:
            if isinstance(each, Deleted):
                print(f"deleted: {each.digest}")
            else:
                print(f"untagged: {each.reference.familiar()}")
        print()
    print(f"Total reclaimed space: {human_size(pruned.freed_bytes)}")
    return None
