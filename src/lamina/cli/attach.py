"""`lamina attach`: one's own standard streams on a container that runs."""

from __future__ import annotations

import os
import sys

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App


@docker_command(
    "[OPTIONS] CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
    exactly=1,
)
@click.option("--detach-keys", help="Override the key sequence for detaching a container")
@click.option("--no-stdin", is_flag=True, help="Do not attach STDIN")
@click.option(
    "--sig-proxy/--no-sig-proxy", default=True, help="Proxy all received signals to the process"
)
@click.argument("container")
@click.pass_obj
def command(
    app: App, container: str, detach_keys: str | None, no_stdin: bool, sig_proxy: bool
) -> int | None:
    from lamina.containers.console import DETACH_KEYS, Streams

    found = app.engine.containers.get(container)
    takes_input = found.config.open_stdin and not no_stdin
    if found.state.running and found.config.tty and takes_input and not os.isatty(0):
        print("the input device is not a TTY", file=sys.stderr)
        return 1
    streams = Streams(
        stdin=0 if takes_input else None,
        detach_keys=detach_keys or DETACH_KEYS,
        signal_proxy=sig_proxy,
    )
    return found.attach(streams)
