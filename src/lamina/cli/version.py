"""`lamina version`."""

from __future__ import annotations

from lamina.cli.command import docker_command


def one_line() -> str:
    """What `lamina --version` prints."""
    return "Lamina version 0.1.0, build unknown"


@docker_command("[OPTIONS]", "Show the Lamina version information")
def command() -> None:
    print(one_line())
