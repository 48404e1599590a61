"""`lamina ps`: the containers, newest first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import InvalidInput, Unsupported

if TYPE_CHECKING:
    from lamina.containers.container import Container
    from lamina.containers.state import ContainerState

_HEADERS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
}
_TABLE = (
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
)
_FORMAT_HELP = """\
Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""

_COMMAND_WIDTH = 20
_NAME_WIDTH = 15


@docker_command("[OPTIONS]", "List containers")
@click.option("-a", "--all", is_flag=True, help="Show all containers (default shows just running)")
@click.option(
    "-f",
    "--filter",
    multiple=True,
    metavar="filter",
    help="Filter output based on conditions provided",
)
@click.option("--format", help=_FORMAT_HELP)
@click.option(
    "-n",
    "--last",
    type=int,
    default=-1,
    show_default=True,
    help="Show n last created containers (includes all states)",
)
@click.option(
    "-l", "--latest", is_flag=True, help="Show the latest created container (includes all states)"
)
@click.option("--no-trunc", is_flag=True, help="Don't truncate output")
@click.option("-q", "--quiet", is_flag=True, help="Only display container IDs")
@click.option("-s", "--size", is_flag=True, help="Display total file sizes")
@click.pass_obj
def command(
    app: App,
    all: bool,
    filter: tuple[str, ...],
    format: str | None,
    last: int,
    latest: bool,
    no_trunc: bool,
    quiet: bool,
    size: bool,
) -> int | None:
    filters = read_filters(filter)
    if latest and last < 0:
        last = 1
    # A state that is filtered by is looked for among all containers, as Docker does.
    everything = all or last > 0 or "status" in filters or "exited" in filters
    found = app.engine.containers.list(all=everything, filters=filters)
    if last > 0:
        found = found[:last]
    print(_listing(app, found, format, no_trunc=no_trunc, quiet=quiet, size=size), end="")
    return None


def read_filters(given: Sequence[str]) -> dict[str, list[str]]:
    """`--filter` values as the stores take them."""
    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(
                f'invalid argument "{text}" for "-f, --filter" flag: '
                "bad format of filter (expected name=value)"
            )
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


def _listing(
    app: App,
    containers: Sequence[Container],
    template: str | None,
    *,
    no_trunc: bool,
    quiet: bool,
    size: bool,
) -> str:
    from lamina.cli.format import Listing

    table = f"{_TABLE}\t{{{{.Size}}}}" if size else _TABLE
    listing = Listing("ContainerContext", _HEADERS, table, template=template, quiet=quiet)
    # As Docker: sizes are dear, and `json` alone doesn't ask for them.
    sizes = size or "Size" in (template or "")
    shown = _Shown(app, listing.uses, no_trunc=no_trunc, sizes=sizes)
    return listing.render(shown.row(container) for container in containers)


class _Shown:
    """What one call shows of each container; nothing that the template doesn't ask for."""

    def __init__(
        self, app: App, uses: Callable[[str], bool], *, no_trunc: bool, sizes: bool
    ) -> None:
        import time

        self._app = app
        self._uses = uses
        self._no_trunc = no_trunc
        self._sizes = sizes
        self._now_s = time.time()
        self._images: dict[str, str | None] = {}

    def row(self, container: Container) -> Mapping[str, Any]:
        """The container's values by field."""
        uses = self._uses
        labels = container.config.labels
        row: dict[str, Any] = {
            "ID": container.id if self._no_trunc else container.id[:12],
            "Names": container.name,
            "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
            "Label": lambda name: labels.get(name, ""),
        }
        if uses("Command"):
            row["Command"] = self._command(container)
        if uses("Image"):
            row["Image"] = self._image(container)
        if uses("CreatedAt"):
            row["CreatedAt"] = created_at(container.created_ns)
        if uses("RunningFor"):
            row["RunningFor"] = self._ago(container.created_ns)
        if uses("State") or uses("Status") or uses("Ports"):
            state = container.state
            row["State"] = state.status
            row["Status"] = status(state, self._now_s)
            row["Ports"] = self._ports(container) if state.running else ""
        if uses("Size"):
            row["Size"] = self._size(container) if self._sizes else "0B"
        if uses("Mounts") or uses("LocalVolumes"):
            row |= self._mounts(container)
        if uses("Networks"):
            mode = container.host_config.network_mode
            row["Networks"] = "bridge" if mode == "default" else mode
        return row

    def _ago(self, moment_ns: int) -> str:
        from lamina.cli.units import ago

        return ago(self._now_s - moment_ns / 1e9)

    def _command(self, container: Container) -> str:
        import json

        program, *args = container.config.command_line
        text = " ".join([program, *(f"'{arg}'" if " " in arg else arg for arg in args)])
        text = text if self._no_trunc else truncate(text, _COMMAND_WIDTH)
        return json.dumps(text, ensure_ascii=False)

    def _image(self, container: Container) -> str:
        """The name it was made by, or its image's id once that name means another image."""
        name = container.image
        if name not in self._images:
            from lamina.errors import LaminaError

            try:
                self._images[name] = str(self._app.engine.images.resolve(name).id)
            except LaminaError:
                self._images[name] = None
        if self._images[name] == container.image_id:
            return name
        text = str(container.image_id)
        return text if self._no_trunc else text.removeprefix("sha256:")[:12]

    def _ports(self, container: Container) -> str:
        from lamina.networks.ports import display_ports

        endpoint = None
        if container.host_config.network_mode in ("default", "bridge"):
            endpoint = self._app.engine.networks.endpoint(container.id)
        if endpoint is None:
            return ""
        return display_ports(endpoint.ports, container.config.exposed_ports)

    def _size(self, container: Container) -> str:
        from lamina.cli.units import size

        try:
            written = size(container.size().size_bytes)
        except Unsupported as error:  # what one container made hides no other
            print(f"WARNING: the size of {container.name}: {error}", file=sys.stderr)
            return "N/A"
        return f"{written} (virtual {size(container.virtual_size_bytes())})"

    def _mounts(self, container: Container) -> dict[str, str]:
        mounts = container.mount_points
        names = [str(mount["name"] or mount["source"]) for mount in mounts]
        if not self._no_trunc:
            names = [truncate(name, _NAME_WIDTH) for name in names]
        local = sum(bool(mount["name"]) for mount in mounts)
        return {"Mounts": ",".join(names), "LocalVolumes": str(local)}


def status(state: ContainerState, now_s: float) -> str:
    """The STATUS column: `Up 3 seconds`, `Exited (0) 2 minutes ago`, `Created`."""
    from lamina.cli.units import ago, duration

    if state.status == "running":
        return f"Up {duration(now_s - (state.started_ns or 0) / 1e9)}"
    if state.status == "created":
        return "Created"
    if state.status == "removing":
        return "Removal In Progress"
    if state.status == "exited" and state.finished_ns is not None:
        return f"Exited ({state.exit_code}) {ago(now_s - state.finished_ns / 1e9)}"
    return state.status.capitalize()


def truncate(text: str, width: int) -> str:
    """At most `width` characters, the last an ellipsis where something was cut off."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def created_at(moment_ns: int) -> str:
    """As Go prints a local time: `2026-11-23 22:55:03 +0000 UTC`."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(moment_ns / 1e9))
