"""The containers of a data root: make one, find it again, list them.

    containers/<id>/           one folder a container, 0700; at most 36K on disk when fresh
      hostname, hosts, resolv.conf   bound into /etc of the container, written at each start
      <id>-json.log            what it wrote (logs.py tells the format)

A container is its row. Its writable layer and its folder are made before, staged in an operation:
killed before the row is committed, nothing of it is left; after, it is there. Everything that ends
with the machine (sockets, pids, the runtime's bundle) lies in the run folder (monitor.py).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lamina.containers.container import Container
from lamina.containers.parts import Parts
from lamina.containers.records import Record
from lamina.containers.state import CREATED
from lamina.errors import InvalidInput, NotFound
from lamina.store.failures import translated

if TYPE_CHECKING:
    from lamina.containers.commit import Commit
    from lamina.containers.config import ContainerConfig, HostConfig
    from lamina.digests import ChainID
    from lamina.images.image import Image
    from lamina.images.store import ImageStore
    from lamina.layers.store import LayerStore
    from lamina.networks.store import NetworkStore
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot
    from lamina.volumes.specification import MountPoint
    from lamina.volumes.store import VolumeStore

_NETWORKS = ("default", "bridge", "host", "none")
Containers = list[Container]


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
        self._images = images
        self._parts = Parts(root, layers, networks, volumes, runtime)

    @property
    def parts(self) -> Parts:
        """The stores and programs below: a build's steps run by the same runtime."""
        return self._parts

    def create(
        self, config: ContainerConfig, host_config: HostConfig, *, name: str | None = None
    ) -> Container:
        """A new container of `config.image` (a reference or id), not started.

        NotFound: no such image. Conflict: the name is taken. InvalidInput: bad name, network,
        volume, or no command to run. Nothing is left when it raises.
        """
        from lamina.containers.names import check_name, generated_name

        parts = self._parts
        name = generated_name(parts.records.name_taken) if name is None else check_name(name)
        image = self._images.resolve(config.image)
        container_id = os.urandom(32).hex()
        config = _completed(config, host_config, image, container_id)
        _check(config, host_config)
        with (
            translated(f"creating container {name}"),
            parts.volumes.resolved(
                host_config.binds, config.volumes, tmpfs=tuple(host_config.tmpfs)
            ) as mounts,
            parts.root.operation("create container") as op,
        ):
            op.begin()
            folder = f"containers/{container_id}"
            op.stage("path", "", folder)
            os.mkdir(parts.root.path / folder, 0o700)
            os.close(os.open(parts.log(container_id), os.O_WRONLY | os.O_CREAT, 0o640))
            parts.layers.prepare(
                container_id, self._init_layer(op, image.chain), kind="container", op=op
            )
            record = _record(container_id, name, image, parts, config, host_config, mounts)
            with parts.root.database.transaction() as tx:
                parts.records.insert(tx, record)
                if mounts:
                    parts.volumes.use(container_id, mounts)
                op.keep("path", "", folder)
                op.keep("snapshot", parts.layers.driver.name, container_id)
        return Container(parts, record)

    def get(self, reference: str) -> Container:
        """The container of this id, name, or unambiguous id prefix (in this order, as Docker).

        NotFound: `No such container: x`. InvalidInput: the prefix fits several.
        """
        return Container(self._parts, self._parts.records.resolve(reference))

    def commit(self, container: Container, wanted: Commit) -> Image:
        """Make an image of what a container is now; the container goes on."""
        from lamina.containers.commit import commit

        return commit(self._parts, self._images, container.id, wanted)

    def list(
        self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> Containers:
        """Running containers (or all), newest first.

        `filters`, as `docker ps --filter`: see selection.py. InvalidInput: an unknown filter.
        """
        if not filters:
            rows = self._parts.records.all(running=not all)
            found = [Container(self._parts, row) for row in rows]
            return found if all else [each for each in found if each.state.running]
        from lamina.containers.selection import select

        rows = self._parts.records.all()
        return select([Container(self._parts, row) for row in rows], filters, self._images, all=all)

    def _init_layer(self, op: Operation, chain: ChainID | None) -> ChainID:
        """The init layer on an image's chain, made by the first container of it."""
        from lamina.containers.init import fill_init_layer

        layers = self._parts.layers
        found = layers.init_layer(chain)
        if found is not None:
            try:
                return layers.lease(op, found.chain_id).chain_id
            except NotFound:
                pass  # collected this moment, with the last container
        snapshot = f"init-{os.urandom(16).hex()}"
        layers.prepare(snapshot, chain, kind="init", op=op)
        fill_init_layer(layers.mount(snapshot))
        layers.unmount(snapshot)
        return layers.commit(op, snapshot).chain_id


def _completed(
    config: ContainerConfig, host_config: HostConfig, image: Image, container_id: str
) -> ContainerConfig:
    """The configuration with what the image says, and a hostname."""
    from dataclasses import replace

    from lamina.containers.config import ContainerConfig as Config

    run = image.config.run
    defaults = Config(
        cmd=run.cmd,
        entrypoint=run.entrypoint,
        env=run.env,
        working_dir=run.working_dir,
        user=run.user,
        labels=run.labels,
        volumes=run.volumes,
        exposed_ports=run.exposed_ports,
        stop_signal=run.stop_signal,
        stop_timeout_s=run.stop_timeout_s,
    )
    merged = config.merged(defaults)
    published = tuple(host_config.port_bindings)
    if published:
        merged = replace(
            merged, exposed_ports=tuple(dict.fromkeys((*merged.exposed_ports, *published)))
        )
    if not merged.hostname:
        on_host = host_config.network_mode == "host" or host_config.uts_mode == "host"
        merged = replace(merged, hostname=os.uname().nodename if on_host else container_id[:12])
    return merged


def _check(config: ContainerConfig, host_config: HostConfig) -> None:
    if not config.command_line:
        raise InvalidInput("No command specified")
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidInput(
            f"the working directory '{config.working_dir}' is invalid, "
            "it needs to be an absolute path"
        )
    if host_config.network_mode not in _NETWORKS:
        raise NotFound(f"network {host_config.network_mode} not found")
    if host_config.log_driver not in ("json-file", "none"):
        raise InvalidInput(
            f"unknown log driver {host_config.log_driver!r}", remedy="use json-file or none"
        )


def _record(
    container_id: str,
    name: str,
    image: Image,
    parts: Parts,
    config: ContainerConfig,
    host_config: HostConfig,
    mounts: Sequence[MountPoint],
) -> Record:
    document: dict[str, object] = {
        "Config": config.to_json(),
        "HostConfig": host_config.to_json(),
    }
    if mounts:
        document["MountPoints"] = [mount.to_json() for mount in mounts]
    return Record(
        id=container_id,
        name=name,
        image_id=image.id,
        driver=parts.layers.driver.name,
        created_ns=time.time_ns(),
        status=CREATED,
        pid=0,
        pid_start=None,
        exit_code=0,
        started_ns=None,
        finished_ns=None,
        boot_id=None,
        auto_remove=host_config.auto_remove,
        raw_document=json.dumps(document, separators=(",", ":")),
    )
