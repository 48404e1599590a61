"""`lamina volume prune`."""

from __future__ import annotations

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App


@docker_command("[OPTIONS]", "Remove unused local volumes")
@click.option(
    "-a", "--all", is_flag=True, help="Remove all unused volumes, not just anonymous ones"
)
@click.option("-f", "--force", is_flag=True, help="Do not prompt for confirmation")
@click.pass_obj
def command(app: App, all: bool, force: bool) -> int | None:
    from lamina.cli.units import size

    kind = "all" if all else "anonymous"
    if not force and not confirmed(
        f"WARNING! This will remove {kind} local volumes not used by at least one container.\n"
        "Are you sure you want to continue? [y/N] "
    ):
        return None
    removed, freed = app.engine.volumes.prune(named=all)
    if removed:
        print("Deleted Volumes:", *removed, sep="\n", end="\n\n")
    print(f"Total reclaimed space: {size(freed)}")
    return None


def confirmed(question: str) -> bool:
    """Whether the person says yes."""
    print(question, end="", flush=True)
    try:
        return input().strip().lower() == "y"
    except EOFError:
        return False
