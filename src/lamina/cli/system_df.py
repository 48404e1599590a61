"""`lamina system df`: how much is kept, and how much of it nothing uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.format import HELP

if TYPE_CHECKING:
    from lamina.disk_usage import DiskUsage, Share

_HEADERS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_TABLE = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
_IMAGES = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}
_CONTAINERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Names": "NAMES",
}
_VOLUMES = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
_CACHE = {
    "ID": "CACHE ID",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
}
_COMMAND_WIDTH = 20


@docker_command("[OPTIONS]", "Show disk usage")
@click.option("--format", help=HELP)
@click.option("-v", "--verbose", is_flag=True, help="Show detailed information on space usage")
@click.pass_obj
def command(app: App, format: str | None, verbose: bool) -> int | None:
    from lamina.cli.format import Listing

    if verbose and format:
        return _verbose_by_template(app, format)
    usage = app.engine.disk_usage()
    if verbose:
        print(_verbose(usage), end="")
        return None
    listing = Listing("diskUsageContext", _HEADERS, _TABLE, template=format)
    rows = [
        _row("Images", usage.images_share),
        _row("Containers", usage.containers_share),
        _row("Local Volumes", usage.volumes_share),
        _row("Build Cache", usage.cache_share, percent=False),
    ]
    print(listing.render(rows), end="")
    return None


def _row(kind: str, share: Share, *, percent: bool = True) -> Mapping[str, Any]:
    from lamina.cli.units import human_size

    reclaimable = human_size(share.reclaimable_bytes)
    if percent and share.size_bytes:
        reclaimable += f" ({share.reclaimable_bytes * 100 // share.size_bytes}%)"
    return {
        "Type": kind,
        "TotalCount": str(share.total),
        "Active": str(share.active),
        "Size": human_size(share.size_bytes),
        "Reclaimable": reclaimable,
    }


def _verbose(usage: DiskUsage) -> str:
    from lamina.cli.units import human_size

    rows = _rows(usage)
    cache = human_size(usage.cache_share.size_bytes)
    return (
        f"Images space usage:\n\n{_table(_IMAGES, rows['Images'])}"
        f"\nContainers space usage:\n\n{_table(_CONTAINERS, rows['Containers'])}"
        f"\nLocal Volumes space usage:\n\n{_table(_VOLUMES, rows['Volumes'])}"
        f"\nBuild cache usage: {cache}\n\n{_table(_CACHE, rows['BuildCache'])}"
    )


def _verbose_by_template(app: App, template: str) -> int | None:
    from lamina.cli.format import inspect

    print(inspect([_rows(app.engine.disk_usage())], template), end="")
    return None


def _table(headers: Mapping[str, str], rows: list[Mapping[str, Any]]) -> str:
    from lamina.cli.format import Listing

    template = "table " + "\t".join(f"{{{{.{name}}}}}" for name in headers)
    return Listing("diskUsageContext", headers, template).render(rows)


def _rows(usage: DiskUsage) -> dict[str, list[Mapping[str, Any]]]:
    """Every image, container, volume and record of the build cache, as shown."""
    import time

    from lamina.cli.ps import status, truncate
    from lamina.cli.units import ago, human_size

    now_s = time.time()

    def since(moment_ns: int) -> str:
        return ago(now_s - moment_ns / 1e9) if moment_ns else "N/A"

    images: list[Mapping[str, Any]] = []
    for image in usage.images:
        names = [(name.familiar_name, name.tag or "<none>") for name in image.image.tags]
        for repository, tag in names or [("<none>", "<none>")]:
            images.append(
                {
                    "Repository": repository,
                    "Tag": tag,
                    "ID": image.image.id.short,
                    "CreatedSince": since(image.image.created_ns),
                    "Size": human_size(image.image.size_bytes),
                    "SharedSize": human_size(image.shared_bytes),
                    "UniqueSize": human_size(image.image.size_bytes - image.shared_bytes),
                    "Containers": str(image.containers),
                }
            )
    containers: list[Mapping[str, Any]] = []
    for each in usage.containers:
        command = truncate(" ".join(each.container.config.command_line), _COMMAND_WIDTH)
        local = sum(bool(mount["name"]) for mount in each.container.mount_points)
        containers.append(
            {
                "ID": each.container.id[:12],
                "Image": each.container.image,
                "Command": f'"{command}"',
                "LocalVolumes": str(local),
                "Size": human_size(each.size_bytes),
                "RunningFor": since(each.container.created_ns),
                "Status": status(each.container.state, now_s),
                "Names": each.container.name,
            }
        )
    volumes: list[Mapping[str, Any]] = [
        {"Name": each.name, "Links": str(each.links), "Size": human_size(each.size_bytes)}
        for each in usage.volumes
    ]
    cache: list[Mapping[str, Any]] = [
        {
            "ID": each.key[:12],
            "CacheType": "regular",
            "Size": human_size(each.size_bytes),
            "CreatedSince": since(each.created_ns),
            "LastUsedSince": since(each.used_ns),
            "UsageCount": "1",
            "Shared": str(each.is_shared).lower(),
        }
        for each in usage.cache
    ]
    return {"Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": cache}
