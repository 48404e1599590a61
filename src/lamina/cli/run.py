"""`lamina run`: make a container and start it, attached or in the background."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.command import docker_command
from lamina.cli.container_flags import configurations, container_flags
from lamina.cli.context import App
from lamina.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from lamina.containers.config import ContainerConfig, HostConfig
    from lamina.containers.container import Container


@docker_command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create and run a new container from an image",
    at_least=1,
    interspersed=False,
    failure_code=125,
)
@container_flags
@click.option(
    "-d", "--detach", is_flag=True, help="Run container in background and print container ID"
)
@click.option("--detach-keys", help="Override the key sequence for detaching a container")
@click.option(
    "--sig-proxy/--no-sig-proxy", default=True, help="Proxy received signals to the process"
)
@click.argument("image")
@click.argument("command", nargs=-1)
@click.pass_obj
def command(
    app: App,
    /,
    image: str,
    command: tuple[str, ...],
    detach: bool,
    detach_keys: str | None,
    sig_proxy: bool,
    **flags: Any,
) -> int | None:
    config, host_config = configurations(image, command, flags, app.environment, detach=detach)
    if config.tty and config.attach_stdin and not os.isatty(0):
        print("the input device is not a TTY", file=sys.stderr)
        return 1
    from lamina.containers.console import DETACH_KEYS, Streams

    streams = Streams(
        stdin=0 if config.attach_stdin else None,
        stdout=1 if config.attach_stdout else None,
        stderr=2 if config.attach_stderr else None,
        detach_keys=detach_keys or DETACH_KEYS,
        signal_proxy=sig_proxy,
    )
    container = new_container(app, config, host_config, flags["name"], flags["cidfile"])
    if detach:
        try:
            container.start()
        except BaseException:
            _tell(container)
            raise
        print(container.id)
        return 0
    return container.start(streams)


def new_container(
    app: App,
    config: ContainerConfig,
    host_config: HostConfig,
    name: str | None,
    cidfile: str | None,
) -> Container:
    """A created container; its id is written to `cidfile`, which must not exist yet."""
    if cidfile is not None and os.path.exists(cidfile):
        raise InvalidInput(
            f"container ID file found, make sure the other container isn't running or delete "
            f"{cidfile}"
        )
    try:
        container = app.engine.containers.create(config, host_config, name=name or None)
    except NotFound:
        _explain_missing_image(app, config.image)
        raise
    if host_config.network_mode == "host" and host_config.port_bindings:
        warning = "Published ports are discarded when using host network mode"
        print(f"WARNING: {warning}", file=sys.stderr, flush=True)
    if cidfile is not None:
        with open(cidfile, "x") as file:
            file.write(container.id)
    return container


def _explain_missing_image(app: App, image: str) -> None:
    """Says what Docker says before it pulls, where it is the image that is missing."""
    try:
        app.engine.images.resolve(image)
    except NotFound as missing:
        if missing.remedy:  # it is here, and the error knows where
            raise
        from lamina.images.reference import Reference

        wanted = Reference.parse(image).familiar()
        print(f"Unable to find image '{wanted}' locally", file=sys.stderr)
        raise NotFound(
            f"No such image: {wanted}",
            remedy="pull is not part of this version: import, load or build it first",
        ) from None


def _tell(container: Container) -> None:
    """A container that could not be started is still there: its id is what finds it."""
    if not container.host_config.auto_remove:
        print(container.id, flush=True)
