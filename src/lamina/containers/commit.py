"""Committing: what a container is now becomes an image, and the container goes on.

Its writable layer is copied into a layer on its image, its processes frozen meanwhile so that the
copy is of one moment. That they are frozen is staged in the operation: if this process dies, the
next opening of the data root lets them go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.containers.ending import settled
from lamina.containers.records import no_such_container
from lamina.containers.state import RUNNING
from lamina.digests import DiffID
from lamina.errors import RuntimeFailure
from lamina.images.config import HistoryEntry, ImageConfig, RunConfig, created_now

if TYPE_CHECKING:
    from lamina.containers.config import ContainerConfig
    from lamina.containers.parts import Parts
    from lamina.digests import ChainID
    from lamina.images.image import Image
    from lamina.images.reference import Reference
    from lamina.images.store import ImageStore
    from lamina.layers.store import Layer
    from lamina.store.operations import Operation
    from lamina.store.root import DataRoot

EMPTY_TAR = DiffID("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")
"""The diff id of a layer that changes nothing: two blocks of zeros. Images leave it out."""


def unaltered(run: RunConfig) -> RunConfig:
    """The configuration as it is."""
    return run


@dataclass(frozen=True)
class Commit:
    """How a container is to be committed. `alter` has the last word on the configuration."""

    reference: Reference | None = None
    author: str = ""
    message: str = ""
    pause: bool = True
    alter: Callable[[RunConfig], RunConfig] = unaltered


def commit(parts: Parts, images: ImageStore, container_id: str, wanted: Commit) -> Image:
    """Make the image. NotFound: no such container, or its image is gone."""
    config = parts.records.get(container_id).config
    base = images.get(parts.records.get(container_id).image_id)
    run = wanted.alter(_run_config(config, base.config.run))
    with parts.root.operation("commit") as op:
        layer = _copied(parts, op, container_id, base.chain, pause=wanted.pause)
        made = _image_config(base.config, layer, run, config, wanted)
        tags = () if wanted.reference is None else (wanted.reference,)
        return images.create(op, made.encode(), tags=tags, parent=base.id)


def _copied(
    parts: Parts, op: Operation, container_id: str, chain: ChainID | None, *, pause: bool
) -> Layer:
    """The writable layer as a layer. A container that does not run is kept from starting."""
    with ExitStack() as stack:
        with ExitStack() as locked:
            locked.enter_context(parts.lock(container_id))
            record = settled(parts, container_id)
            if record is None:
                raise no_such_container(container_id)
            if record.status != RUNNING:
                stack.push(locked.pop_all())
        if record.status == RUNNING and pause:
            stack.enter_context(_paused(parts, op, container_id))
        return parts.layers.copied(op, container_id, chain)


@contextmanager
def _paused(parts: Parts, op: Operation, container_id: str) -> Iterator[None]:
    """Freeze the container within the block; one that is paused already stays so."""
    if parts.runtime.status(container_id) != "running":
        yield
        return
    op.stage("pause", "", container_id)
    try:
        try:
            parts.runtime.pause(container_id)
        except RuntimeFailure as error:
            if parts.runtime.status(container_id) in ("running", "paused"):
                raise RuntimeFailure(
                    f"cannot pause container {container_id[:12]}: {error.message}",
                    remedy="commit it with --pause=false",
                ) from error
        yield
    finally:
        op.remove("pause", "", container_id)


def end_pause(root: DataRoot, runtime_name: str | None, container_id: str) -> None:
    """Let a container go on that was frozen for a commit; what is not frozen is left."""
    from lamina.containers.runtime import Runtime

    runtime = Runtime.find(runtime_name, root.run / "runtime")
    if runtime.status(container_id) == "paused":
        runtime.resume(container_id)


def _run_config(config: ContainerConfig, image: RunConfig) -> RunConfig:
    """What the container runs, as an image says it; triggers for builds are not taken over."""
    return RunConfig(
        user=config.user,
        exposed_ports=config.exposed_ports,
        env=config.env,
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        volumes=config.volumes,
        working_dir=config.working_dir,
        labels=config.labels,
        stop_signal=config.stop_signal,
        stop_timeout_s=config.stop_timeout_s,
        healthcheck=image.healthcheck,
    )


def _image_config(
    base: ImageConfig, layer: Layer, run: RunConfig, config: ContainerConfig, wanted: Commit
) -> ImageConfig:
    is_empty = layer.diff_id == EMPTY_TAR
    now = created_now()
    step = HistoryEntry(
        created=now,
        created_by=" ".join(config.cmd or ()),
        author=wanted.author,
        comment=wanted.message,
        empty_layer=is_empty,
    )
    return replace(
        base,
        diff_ids=base.diff_ids if is_empty else (*base.diff_ids, layer.diff_id),
        run=run,
        history=(*base.history, step),
        created=now,
        author=wanted.author,
        comment="",
        docker_version="",
        raw=b"",
    )
