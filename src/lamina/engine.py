"""The engine: a data root, its stores wired together, and the Python API that hangs off them.

    import lamina

    with lamina.Engine("/srv/lamina") as engine:
        base = engine.import_image("rootfs.tar", "alpine")
        image = engine.build("cow-test", tags=["acme/my-final-image:1.0"])
        container = engine.run(image, ["bash"], name="my_container_1", tty=True, stdin=True)
        print(container.size(), container.exec_output(["cat", "/etc/os-release"]))

Opening costs a few milliseconds and nothing is kept in memory: any number of engines, in any
number of processes, may be open on one root. The environment is not read here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from lamina.build.builder import Builder
    from lamina.build.events import Event
    from lamina.containers.container import Container
    from lamina.containers.store import ContainerStore
    from lamina.disk_usage import DiskUsage
    from lamina.drivers.contract import StorageDriver
    from lamina.drivers.selection import Selection
    from lamina.images.archives.load import Loaded
    from lamina.images.check import Checked
    from lamina.images.image import Image
    from lamina.images.store import ImageStore
    from lamina.layers.store import LayerStore
    from lamina.networks.store import NetworkStore
    from lamina.store.root import DataRoot
    from lamina.volumes.store import VolumeStore

DEFAULT_ROOT = "/var/lib/lamina"


class Engine:
    """An open data root and what can be done there; a context manager."""

    def __init__(
        self,
        root: str | os.PathLike[str] = DEFAULT_ROOT,
        *,
        storage_driver: str | None = None,
        storage_options: Mapping[str, str] | None = None,
        runtime: str | None = None,
        boot_id: str | None = None,
    ) -> None:
        """Open the data root, making it if it is missing or empty.

        `storage_driver` is a driver's name (None: the one this root has a home of, else the first
        that works here); `storage_options` are its options; `runtime` the name or path of an OCI
        runtime; `boot_id` stands for the kernel's.

        PermissionDenied: not root. InvalidInput: not a folder, no such driver, a bad option.
        Conflict: something else's folder. Unsupported: a driver that cannot work here, or a root
        of a newer Lamina.
        """
        from lamina.store.root import DataRoot

        self.root: DataRoot = DataRoot.open(Path(root), boot_id=boot_id)
        self._storage_driver = storage_driver
        self._storage_options = dict(storage_options or {})
        self._runtime = runtime

    # The stores

    @cached_property
    def driver_selection(self) -> Selection:
        """Which storage driver it is, and why."""
        from lamina.drivers.selection import select

        return select(self.root.path, self._storage_driver)

    @cached_property
    def driver(self) -> StorageDriver:
        """The storage driver of this engine."""
        driver = self.driver_selection.driver
        return driver(self.root.driver_home(driver.name), self._storage_options)

    @cached_property
    def layers(self) -> LayerStore:
        """Layers and snapshots. The first use recovers what operations that died left."""
        from lamina.layers.store import LayerStore

        self.root.recovery.on_staged("build process", "", self._end_build_process)
        self.root.recovery.on_staged("pause", "", self._end_pause)
        return LayerStore(self.root, self.driver)

    @cached_property
    def images(self) -> ImageStore:
        """Images: list, resolve, tag, remove, history, inspect."""
        from lamina.images.store import ImageStore

        return ImageStore(self.root, self.layers)

    @cached_property
    def volumes(self) -> VolumeStore:
        """Volumes."""
        from lamina.volumes.store import VolumeStore

        return VolumeStore(self.root)

    @cached_property
    def networks(self) -> NetworkStore:
        """Networks."""
        from lamina.networks.store import NetworkStore

        return NetworkStore(self.root)

    @cached_property
    def containers(self) -> ContainerStore:
        """Containers: create, get, list."""
        from lamina.containers.store import ContainerStore

        return ContainerStore(
            self.root,
            self.layers,
            self.images,
            self.networks,
            self.volumes,
            runtime=self._runtime,
        )

    # Images in and out

    def import_image(
        self, source: str | os.PathLike[str] | BinaryIO, reference: str | None = None
    ) -> Image:
        """Make an image of one layer from the tar of a root filesystem, compressed or not.

        Corrupt: it is no tar. InvalidInput: bad reference. Nothing is left when it raises.
        """
        from lamina.images.archives.tarball import import_tar
        from lamina.images.reference import Reference

        name = None if reference is None else Reference.parse(reference)
        with _opened(source) as stream:
            return import_tar(self.images, stream, name)

    def load(self, source: str | os.PathLike[str] | BinaryIO) -> Sequence[Loaded]:
        """Store every image of an archive: docker-archive or OCI layout, file, stream or folder."""
        from lamina.images.archives.load import load

        return load(self.images, Path(source) if isinstance(source, str | os.PathLike) else source)

    def save(self, images: Iterable[str], target: str | os.PathLike[str] | BinaryIO) -> None:
        """Write images, by name or id, to an archive that Docker and OCI tools read."""
        from lamina.images.archives.save import save

        names = list(images)
        if not isinstance(target, str | os.PathLike):
            save(self.images, names, target)
            return
        with open(target, "wb") as out:
            save(self.images, names, out)

    # Building

    @cached_property
    def builder(self) -> Builder:
        """Builds images from Dockerfiles; `build` is its short form."""
        from lamina.build.builder import Builder

        return Builder(self.root, self.layers, self.images, self.networks, runtime=self._runtime)

    def build(
        self,
        context: str | os.PathLike[str],
        *,
        tags: Sequence[str] = (),
        dockerfile: str | os.PathLike[str] | None = None,
        build_args: Mapping[str, str] | None = None,
        use_cache: bool = True,
        listener: Callable[[Event], None] | None = None,
    ) -> Image:
        """Build an image from a folder. `dockerfile` is a path (None: `Dockerfile` in the folder).

        `listener` is called with each event of the progress. BuildFailed: a step failed, or the
        Dockerfile is wrong; it has the file and the lines.
        """
        from lamina.build.builder import BuildRequest
        from lamina.build.events import ignore

        request = BuildRequest(
            context=Path(context),
            dockerfile=None if dockerfile is None else Path(dockerfile),
            tags=tuple(tags),
            args=dict(build_args or {}),
            use_cache=use_cache,
        )
        return self.builder.build(request, listener or ignore).image

    # Containers

    def run(
        self,
        image: str | Image,
        command: Sequence[str] | None = None,
        *,
        name: str | None = None,
        tty: bool = False,
        stdin: bool = False,
        environment: Mapping[str, str] | None = None,
        volumes: Sequence[str] = (),
        network: str = "default",
        user: str = "",
        working_dir: str = "",
    ) -> Container:
        """Create a container and start it, detached, as `lamina run -d`.

        `volumes` are in `-v` syntax. NotFound: no such image. Conflict: the name is taken.
        RuntimeFailure: it could not be started; the container is there, as in Docker.
        """
        from lamina.containers.config import ContainerConfig, HostConfig

        config = ContainerConfig(
            image=image if isinstance(image, str) else str(image.id),
            cmd=None if command is None else tuple(command),
            env=tuple(f"{key}={value}" for key, value in (environment or {}).items()),
            tty=tty,
            open_stdin=stdin,
            user=user,
            working_dir=working_dir,
        )
        host_config = HostConfig(binds=tuple(volumes), network_mode=network)
        container = self.containers.create(config, host_config, name=name)
        container.start()
        return container

    # The whole

    def disk_usage(self) -> DiskUsage:
        """What is kept, of which kind, and how much of it nothing uses."""
        from lamina.disk_usage import disk_usage

        records = self.builder.cache.records()
        return disk_usage(self.images, self.containers, self.volumes, records)

    def check(
        self,
        names: Sequence[str] = (),
        *,
        repair: bool = False,
        archive: str | os.PathLike[str] | None = None,
    ) -> Checked:
        """Hold layers (of these images, or all) against their journals; `.left`: what is wrong.

        With `repair`, mend what can be mended, from `archive` where content is not at hand.
        """
        from lamina.images.check import check

        source = None if archive is None else Path(archive)
        return check(self.images, names, repair=repair, archive=source)

    def _end_build_process(self, name: str) -> None:
        from lamina.build.executor import end_process

        end_process(self.root, self._runtime, name)

    def _end_pause(self, container_id: str) -> None:
        from lamina.containers.commit import end_pause

        end_pause(self.root, self._runtime, container_id)

    def close(self) -> None:
        """Let the data root go. Containers go on."""
        self.root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _opened(source: str | os.PathLike[str] | BinaryIO) -> AbstractContextManager[BinaryIO]:
    """A path, opened; or a stream, which stays its owner's to close."""
    if isinstance(source, str | os.PathLike):
        return open(source, "rb")
    return nullcontext(source)
