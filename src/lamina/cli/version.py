"""`lamina version`: this program, the Python under it, and the programs it uses."""

from __future__ import annotations

import os
from typing import Any

import click

import lamina
from lamina.cli.command import docker_command
from lamina.cli.components import PROGRAMS, commit, version_of
from lamina.cli.format import INSPECT_HELP, inspect

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def one_line() -> str:
    """What `lamina --version` prints."""
    return f"Lamina version {lamina.__version__}, build {commit()}"


@docker_command("[OPTIONS]", "Show the Lamina version information")
@click.option("-f", "--format", help=INSPECT_HELP)
def command(format: str | None) -> None:
    facts = gather()
    if format:
        text = inspect([facts], format)
        print(text[1:-2] if format == "json" else text, end="\n" if format == "json" else "")
        return
    client, server = facts["Client"], facts["Server"]
    print("Client:")
    for title, field in (
        ("Version", "Version"),
        ("Python version", "PythonVersion"),
        ("Git commit", "GitCommit"),
    ):
        _line(1, title, client[field])
    _line(1, "OS/Arch", f"{client['Os']}/{client['Arch']}")
    print("\nServer: Lamina (no daemon: the engine is in the command)")
    for component in server["Components"]:
        print(f" {component['Name']}:")
        _line(2, "Version", component["Version"])


def gather() -> dict[str, Any]:
    """The facts, named as Docker names them."""
    import platform

    this = {
        "Version": lamina.__version__,
        "GitCommit": commit(),
        "PythonVersion": platform.python_version(),
        "Os": "linux",
        "Arch": architecture(),
    }
    components = [{"Name": "Engine", "Version": lamina.__version__}]
    for name in PROGRAMS:
        components.append({"Name": name, "Version": version_of(name) or "not found"})
    server = {**this, "KernelVersion": os.uname().release, "Components": components}
    return {"Client": this, "Server": server}


def architecture() -> str:
    """This machine's architecture in the OCI specifications' words."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def _line(indent: int, title: str, value: str) -> None:
    print(f"{' ' * indent}{f'{title}:'.ljust(20 - indent)}{value}")
