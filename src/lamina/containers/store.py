"""The containers of a data root: make one, find it again, list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.containers.config import ContainerConfig, HostConfig
    from lamina.containers.container import Container
    from lamina.images.store import ImageStore
    from lamina.layers.store import LayerStore
    from lamina.networks.store import NetworkStore
    from lamina.store.root import DataRoot
    from lamina.volumes.store import VolumeStore


class ContainerStore:
    """Creates and finds containers; each is a row, a folder, and a writable layer."""

    def __init__(
        self,
        root: DataRoot,
        layers: LayerStore,
        images: ImageStore,
        networks: NetworkStore,
        volumes: VolumeStore,
        *,
        runtime: str | None = None,
    ) -> None:
        """`runtime` is a name or path of an OCI runtime; None takes runc, else crun."""
        raise NotImplementedError

    def create(
        self, config: ContainerConfig, host_config: HostConfig, *, name: str | None = None
    ) -> Container:
        """A new container of `config.image` (a reference or id), not started.

        NotFound: no such image. Conflict: the name is taken. InvalidInput: bad name, port,
        volume, or no command to run. Nothing is left when it raises.
        """
        raise NotImplementedError

    def get(self, reference: str) -> Container:
        """The container of this id, name, or unambiguous id prefix (in this order, as Docker).

        NotFound: `No such container: x`. InvalidInput: the prefix fits several.
        """
        raise NotImplementedError

    def list(
        self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[Container]:
        """Running containers (or all), newest first.

        `filters`, as `docker ps --filter`: id, name, label, status, ancestor, exited, before,
        since, volume, network, publish, expose, is-task, health. InvalidInput: unknown filter.
        """
        raise NotImplementedError
