"""One container: start it, talk to it, stop it, look at it, remove it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from lamina.containers.ending import alive, monitored, observed, remove, running_conflict
from lamina.containers.monitor import noted_exit
from lamina.errors import Conflict, NotFound

if TYPE_CHECKING:
    from lamina.containers.config import ContainerConfig, ExecConfig, HostConfig
    from lamina.containers.console import Streams
    from lamina.containers.copying.files import ContainerFiles
    from lamina.containers.execution import ExecResult
    from lamina.containers.logs import LogLine
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record
    from lamina.containers.state import ContainerState
    from lamina.digests import ImageID
    from lamina.drivers.contract import Usage
    from lamina.tar.diff import Change


class Container:
    """A handle on one container of a store; its state is read from the database when asked."""

    def __init__(self, parts: Parts, record: Record) -> None:
        self._parts = parts
        self._record = record
        self._fresh = True

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self._record.id

    @property
    def name(self) -> str:
        """Its name, without Docker's leading slash."""
        return self._record.name

    @property
    def image(self) -> str:
        """The image as it was named when the container was made."""
        return self._record.config.image

    @property
    def image_id(self) -> ImageID:
        """The id of its image."""
        return self._record.image_id

    @property
    def created_ns(self) -> int:
        """When it was made, in nanoseconds since the epoch."""
        return self._record.created_ns

    @property
    def config(self) -> ContainerConfig:
        """What runs in it (the image's configuration merged in)."""
        return self._record.config

    @property
    def host_config(self) -> HostConfig:
        """How this host runs it."""
        return self._record.host_config

    @property
    def mount_points(self) -> Sequence[Mapping[str, Any]]:
        """Its volumes and host folders, as `MountPoint.to_json` writes them."""
        return self._record.mount_points

    @property
    def state(self) -> ContainerState:
        """The state now. A container whose processes died unrecorded is seen as exited."""
        return observed(self._parts, self._read())

    def start(
        self, streams: Streams | None = None, *, on_start: Callable[[], None] | None = None
    ) -> int | None:
        """Start it. Without streams returns None at once; with streams stays attached.

        Attached: returns the exit code, or None where the user typed the detach keys; `on_start`
        is called as soon as it runs. A container with auto_remove is gone afterwards.
        RuntimeFailure (exit code 125, 126, 127 as Docker's) where it cannot be started. A running
        container is left as it is (and attached to).
        """
        from lamina.containers.starting import start_attached, start_detached

        self._read()
        self._fresh = False
        if streams is not None:
            return start_attached(self._parts, self.id, streams, on_start)
        start_detached(self._parts, self.id)
        if on_start is not None:
            on_start()
        return None

    def attach(self, streams: Streams) -> int | None:
        """Attach to it while it runs; exit code, or None when detached by keys."""
        from lamina.containers.starting import attach_running

        if not self.state.running:
            raise Conflict("You cannot attach to a stopped container, start it first")
        return attach_running(self._parts, self.id, streams)

    def exec(self, config: ExecConfig, streams: Streams | None = None) -> int | None:
        """Run a command in it. Without streams it is detached: returns None at once.

        With streams: the command's exit code, or None when detached by keys. RuntimeFailure
        with exit code 126 (not executable) or 127 (not found). Conflict: it is not running.
        """
        from lamina.containers.execution import execute

        return execute(self._parts, self.id, config, streams)

    def execute(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        working_dir: str = "",
        user: str = "",
    ) -> ExecResult:
        """Run a command in it to its end; its exit code and what it wrote, held in memory.

        RuntimeFailure: it could not be started. Conflict: the container is not running.
        """
        from lamina.containers.config import ExecConfig
        from lamina.containers.execution import captured

        config = ExecConfig(
            cmd=tuple(command),
            env=tuple(f"{key}={value}" for key, value in (environment or {}).items()),
            working_dir=working_dir,
            user=user,
        )
        return captured(self._parts, self.id, config)

    def stop(self, timeout_s: float | None = None) -> None:
        """Its stop signal, then SIGKILL after the timeout (None: its own, else 10 seconds)."""
        from lamina.containers.waiting import stop

        self._fresh = False
        stop(self._parts, self.id, timeout_s)

    def kill(self, signal: str = "KILL") -> None:
        """Send this signal (name with or without SIG, or number). Conflict: it is not running."""
        from lamina.containers.waiting import kill

        self._fresh = False
        kill(self._parts, self.id, signal)

    def wait(self) -> int:
        """Wait until it does not run (any number of callers); its exit code."""
        from lamina.containers.waiting import wait_ended

        self._fresh = False
        return wait_ended(self._parts, self.id)

    def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it, its writable layer and, with `volumes`, its anonymous volumes.

        Conflict where it runs and `force` is not given (force kills it first).
        """
        if self.state.running:
            if not force:
                raise running_conflict(self._record)
            try:
                self.kill("KILL")
            except Conflict:
                pass  # it has ended by itself
            except NotFound:
                return  # it removes itself at its end
        remove(self._parts, self._record, volumes=volumes)

    def rename(self, name: str) -> None:
        """Give it another name. Conflict: the name is taken."""
        from lamina.containers.names import check_name

        self._parts.records.rename(self.id, check_name(name))
        self._fresh = False
        self._read()

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> Iterator[LogLine]:
        """What it wrote, oldest first; `follow` goes on until it exits."""
        from lamina.containers.logs import read_log

        if self.host_config.log_driver == "none":
            raise Conflict("configured logging driver does not support reading")
        return read_log(
            self._parts.log(self.id),
            follow=self._writes if follow else None,
            end=self._parts.run_folder(self.id),
            tail=tail,
            since_ns=since_ns,
            until_ns=until_ns,
        )

    def size(self) -> Usage:
        """What its writable layer holds (`.size_bytes`, as `ps --size`)."""
        return self._parts.layers.usage(self.id)

    def virtual_size_bytes(self) -> int:
        """The writable layer and the read-only image together."""
        layers = self._parts.layers
        parent = layers.snapshot_parent(self.id)
        return self.size().size_bytes + sum(layer.size_bytes for layer in layers.stack(parent))

    def changes(self) -> Iterator[Change]:
        """What differs from the image: `Change(kind, path)`, as `docker diff`."""
        return self._parts.layers.changes(self.id)

    def files(self, called: str | None = None) -> ContainerFiles:
        """Its files, to be copied in or out; `called` is its name in messages."""
        from lamina.containers.copying.files import ContainerFiles

        return ContainerFiles(self._parts, self._record, called or self.name)

    def export(self, out: BinaryIO) -> None:
        """Write its whole filesystem as a tar, without what is in its volumes."""
        from lamina.containers.rootfs import only_rootfs
        from lamina.tar.diff import write_tree

        with only_rootfs(self._parts, self.id) as root_fd:
            write_tree(root_fd, out)

    def inspect(self, *, size: bool = False) -> dict[str, Any]:
        """Docker's document (`docker inspect`)."""
        from lamina.containers.inspection import inspection

        state = self.state
        document = inspection(self._parts, self._record, state)
        if not size:
            return document
        ordered: dict[str, Any] = {}
        for name, value in document.items():
            if name == "Mounts":
                ordered["SizeRw"] = self.size().size_bytes
                ordered["SizeRootFs"] = self.virtual_size_bytes()
            ordered[name] = value
        return ordered

    def _read(self) -> Record:
        # A handle that was just made from its row need not read it again.
        if self._fresh:
            self._fresh = False
        else:
            self._record = self._parts.records.get(self.id)
        return self._record

    def _writes(self) -> bool:
        """Whether there may be more in the log: the monitor notes the end after the last of it."""
        record = self._parts.records.find(self.id)
        if record is None or not record.state.running:
            return False
        folder = self._parts.run_folder(self.id)
        return noted_exit(folder) is None and (monitored(folder) or alive(record))
