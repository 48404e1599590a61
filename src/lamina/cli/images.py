"""`lamina image ls`: the images, newest first, a row for each of their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.format import HELP, Listing

if TYPE_CHECKING:
    from lamina.images.image import Image

_NONE = "<none>"
_HEADERS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
_TABLE = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_DIGEST_TABLE = (
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
)
_FILTERS = ("before", "dangling", "label", "reference", "since", "until")


@docker_command("[OPTIONS] [REPOSITORY[:TAG]]", "List images", at_most=1)
@click.option(
    "-a", "--all", is_flag=True, help="Show all images (default hides intermediate images)"
)
@click.option("--digests", is_flag=True, help="Show digests")
@click.option(
    "-f",
    "--filter",
    multiple=True,
    metavar="filter",
    help="Filter output based on conditions provided",
)
@click.option("--format", help=HELP)
@click.option("--no-trunc", is_flag=True, help="Don't truncate output")
@click.option("-q", "--quiet", is_flag=True, help="Only show image IDs")
@click.argument("repository", required=False)
@click.pass_obj
def command(
    app: App,
    all: bool,
    digests: bool,
    filter: tuple[str, ...],
    format: str | None,
    no_trunc: bool,
    quiet: bool,
    repository: str | None,
) -> int | None:
    import time

    from lamina.cli.ps import read_filters
    from lamina.images.filters import ImageFilter

    listing = Listing(
        "imageContext",
        _HEADERS,
        _DIGEST_TABLE if digests else _TABLE,
        template=format,
        quiet=quiet,
    )
    words = (*filter, f"reference={repository}") if repository else filter
    wanted = ImageFilter.parse(read_filters(words), allowed=_FILTERS, now_ns=time.time_ns())
    found = app.engine.images.list(wanted, intermediate=all)
    with_digests = digests or (not quiet and bool(format) and listing.uses("Digest"))
    rows = [
        row
        for image in found
        for row in _rows(image, with_digests=with_digests, no_trunc=no_trunc, now_s=time.time())
    ]
    print(listing.render(rows), end="")
    return None


def _rows(
    image: Image, *, with_digests: bool, no_trunc: bool, now_s: float
) -> Iterator[Mapping[str, Any]]:
    from lamina.cli.ps import created_at
    from lamina.cli.units import ago, human_size, size

    shared = {
        "ID": str(image.id) if no_trunc else image.id.short,
        "CreatedSince": ago(now_s - image.created_ns / 1e9) if image.created_ns else "N/A",
        "CreatedAt": created_at(image.created_ns // 10**9 * 10**9) if image.created_ns else "N/A",
        "Size": size(image.size_bytes),
        "VirtualSize": human_size(image.size_bytes),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    }
    for repository, tag, digest in _names(image, with_digests=with_digests):
        row = {**shared, "Repository": repository, "Tag": tag, "Digest": digest}
        yield dict(sorted(row.items()))


def _names(image: Image, *, with_digests: bool) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of each row. Docker pairs the tags and digests of a repository."""
    digests: dict[str, list[str]] = {}
    for each in image.digests:
        digests.setdefault(each.familiar_name, []).append(str(each.digest))
    tagged = {tag.familiar_name for tag in image.tags}
    for tag in image.tags:
        known = digests.get(tag.familiar_name, [_NONE]) if with_digests else [_NONE]
        for digest in known:
            yield tag.familiar_name, tag.tag or _NONE, digest
    for repository, known in digests.items():
        if repository in tagged:
            continue
        for digest in known if with_digests else [_NONE]:
            yield repository, _NONE, digest
    if not image.names:
        yield _NONE, _NONE, _NONE
