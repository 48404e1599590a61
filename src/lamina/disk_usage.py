"""How much a data root keeps, of what, and how much of that nothing uses.

Sizes of layers come from rows: each content is counted once, in whatever chains it stands. A layer
counts with the images; with the build cache only where neither an image nor a container has it.
What containers and volumes hold changes without us, so their folders are walked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.digests import ChainID
from lamina.errors import NotFound

if TYPE_CHECKING:
    from lamina.build.cache import Record
    from lamina.containers.container import Container
    from lamina.containers.store import ContainerStore
    from lamina.images.image import Image
    from lamina.images.store import ImageStore
    from lamina.volumes.store import VolumeStore


@dataclass(frozen=True, slots=True)
class Share:
    """One kind of thing: how many, how many of them in use, and their bytes."""

    total: int
    active: int
    size_bytes: int
    reclaimable_bytes: int


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """An image, with the bytes of it that other images have too."""

    image: Image
    shared_bytes: int
    containers: int


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """A container, with the bytes of its writable layer."""

    container: Container
    size_bytes: int
    is_running: bool


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    """A volume, its bytes, and how many containers have it."""

    name: str
    size_bytes: int
    links: int


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """A record of the build cache. Shared: an image or container has its layer too."""

    key: str
    size_bytes: int
    created_ns: int
    used_ns: int
    is_shared: bool


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """All of it."""

    images: Sequence[ImageUsage]
    containers: Sequence[ContainerUsage]
    volumes: Sequence[VolumeUsage]
    cache: Sequence[CacheUsage]
    images_share: Share
    containers_share: Share
    volumes_share: Share
    cache_share: Share


def disk_usage(
    images: ImageStore,
    containers: ContainerStore,
    volumes: VolumeStore,
    records: Sequence[Record],
) -> DiskUsage:
    """What these hold. `records` are those of the build cache."""
    found_images = images.list(intermediate=True)
    found_containers = [_container(each) for each in containers.list(all=True)]
    found_volumes = [
        VolumeUsage(volume.name, volumes.size_bytes(volume.name), len(volumes.users(volume.name)))
        for volume in volumes.list()
    ]
    users = Counter(each.container.image_id for each in found_containers)
    chains = _Chains(images)
    of_images = {chain for image in found_images for chain in chains.stack(image.chain)}
    used = {image.chain for image in found_images if users[image.id]} | chains.of_containers()
    of_used = {chain for top in used for chain in chains.stack(top)}
    held = of_images | of_used
    of_cache = {chain for record in records for chain in chains.stack(record.chain)}
    # Bytes by content, so that what stands in several chains counts once.
    cache_bytes = chains.size_bytes(of_cache, but=held)
    image_bytes = chains.size_bytes(held)
    shares = Counter(chain for image in found_images for chain in chains.stack(image.chain))
    return DiskUsage(
        images=[
            ImageUsage(
                image,
                sum(chains.own_bytes(c) for c in chains.stack(image.chain) if shares[c] > 1),
                users[image.id],
            )
            for image in found_images
        ],
        containers=found_containers,
        volumes=found_volumes,
        cache=[
            CacheUsage(
                record.key,
                record.size_bytes,
                record.created_ns,
                record.used_ns,
                record.chain in held,
            )
            for record in records
        ],
        images_share=Share(
            len(found_images),
            sum(users[image.id] > 0 for image in found_images),
            image_bytes,
            image_bytes - chains.size_bytes(of_used),
        ),
        containers_share=Share(
            len(found_containers),
            sum(each.is_running for each in found_containers),
            sum(each.size_bytes for each in found_containers),
            sum(each.size_bytes for each in found_containers if not each.is_running),
        ),
        volumes_share=Share(
            len(found_volumes),
            sum(each.links > 0 for each in found_volumes),
            sum(each.size_bytes for each in found_volumes),
            sum(each.size_bytes for each in found_volumes if not each.links),
        ),
        cache_share=Share(len(records), 0, cache_bytes, cache_bytes),
    )


def _container(container: Container) -> ContainerUsage:
    try:
        size_bytes = container.size().size_bytes
    except NotFound:  # removed meanwhile, or its layer is another driver's
        size_bytes = 0
    return ContainerUsage(container, size_bytes, container.state.running)


class _Chains:
    """The layers of the driver, by chain id, in one read."""

    def __init__(self, images: ImageStore) -> None:
        driver = images.layers.driver.name
        database = images.root.database
        self._rows = {
            row["chain_id"]: row
            for row in database.read(
                "SELECT chain_id, parent, cache_id, size_bytes FROM layers WHERE driver=?",
                (driver,),
            )
        }
        self._snapshots = database.read("SELECT parent FROM snapshots WHERE driver=?", (driver,))

    def of_containers(self) -> set[ChainID | None]:
        """The layers on which writable layers stand."""
        return {
            None if row["parent"] is None else ChainID(row["parent"]) for row in self._snapshots
        }

    def stack(self, top: ChainID | None) -> list[str]:
        """A layer and all below it."""
        found = []
        at: str | None = top
        while at is not None and at in self._rows:
            found.append(at)
            at = self._rows[at]["parent"]
        return found

    def own_bytes(self, chain: str) -> int:
        """The bytes of one layer."""
        return int(self._rows[chain]["size_bytes"])

    def size_bytes(self, chains: Iterable[str], but: Iterable[str] = ()) -> int:
        """The bytes of these layers' contents, each once; without those of `but`."""
        known = {self._rows[chain]["cache_id"] for chain in but}
        total = 0
        for chain in chains:
            row = self._rows[chain]
            if row["cache_id"] not in known:
                known.add(row["cache_id"])
                total += int(row["size_bytes"])
        return total
