"""`lamina builder prune`: drop build cache and the layers that only it holds."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App


@docker_command("[OPTIONS]", "Remove build cache")
@click.option(
    "-a",
    "--all",
    "everything",
    is_flag=True,
    help="Remove all unused build cache, not just dangling ones",
)
@click.option("-f", "--force", is_flag=True, help="Do not prompt for confirmation")
@click.pass_obj
def command(app: App, everything: bool, force: bool) -> int:
    from lamina.cli.units import size

    which = "all" if everything else "all dangling"
    if not force and not _agreed(f"This will remove {which} build cache."):
        return 0
    pruned = app.engine.builder.cache.prune(everything=everything)
    if pruned.records:
        print("Deleted build cache objects:")
        for record in pruned.records:
            print(record.key[:25])
        print()
    print(f"Total reclaimed space: {size(pruned.freed_bytes)}")
    return 0


def _agreed(warning: str) -> bool:
    print(f"WARNING! {warning} Are you sure you want to continue? [y/N] ", end="", flush=True)
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
