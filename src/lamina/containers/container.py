"""One container: start it, talk to it, stop it, look at it, remove it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.containers.config import ContainerConfig, ExecConfig, HostConfig
    from lamina.containers.console import Streams
    from lamina.containers.state import ContainerState
    from lamina.digests import ImageID
    from lamina.drivers.contract import Usage


@dataclass(frozen=True)
class LogLine:
    """One piece of logged output: which stream, when, and the bytes with their line end."""

    stream: str
    time_ns: int
    text: bytes


class Container:
    """A handle on one container of a store; its state is read from the database when asked.

    `id`, `name` (without the slash), `config`, `host_config`, `image` (reference as typed),
    `image_id` and `created_ns` never change but for the name.
    """

    id: str
    name: str
    image: str
    image_id: ImageID
    created_ns: int
    config: ContainerConfig
    host_config: HostConfig

    @property
    def state(self) -> ContainerState:
        """The state now. A container whose processes died unrecorded is seen as exited."""
        raise NotImplementedError

    def start(
        self,
        streams: Streams | None = None,
        *,
        on_start: Callable[[], None] | None = None,
    ) -> int | None:
        """Start it. Without streams returns None at once; with streams stays attached.

        Attached: returns the exit code, or None where the user typed the detach keys. A
        container with auto_remove is gone afterwards. RuntimeFailure (exit code 125, 126, 127 as
        Docker's) where it cannot be started. A running container is left as it is.
        """
        raise NotImplementedError

    def attach(self, streams: Streams) -> int | None:
        """Attach to it while it runs; exit code, or None when detached by keys."""
        raise NotImplementedError

    def exec(self, config: ExecConfig, streams: Streams | None = None) -> int | None:
        """Run a command in it. Without streams it is detached: returns None at once.

        With streams: the command's exit code, or None when detached by keys. RuntimeFailure
        with exit code 126 (not executable) or 127 (not found). Conflict: it is not running.
        """
        raise NotImplementedError

    def stop(self, timeout_s: float | None = None) -> None:
        """Its stop signal, then SIGKILL after the timeout (None: its own, else 10 seconds)."""
        raise NotImplementedError

    def kill(self, signal: str = "KILL") -> None:
        """Send this signal (name with or without SIG, or number). Conflict: it is not running."""
        raise NotImplementedError

    def wait(self) -> int:
        """Wait until it does not run (any number of callers); its exit code."""
        raise NotImplementedError

    def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it, its writable layer and, with `volumes`, its anonymous volumes.

        Conflict where it runs and `force` is not given (force kills it first).
        """
        raise NotImplementedError

    def rename(self, name: str) -> None:
        """Give it another name. Conflict: the name is taken."""
        raise NotImplementedError

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> Iterator[LogLine]:
        """What it wrote, oldest first; `follow` goes on until it exits."""
        raise NotImplementedError

    def size(self) -> Usage:
        """What its writable layer holds (`.size_bytes`, as `ps --size`)."""
        raise NotImplementedError

    def virtual_size_bytes(self) -> int:
        """The writable layer and the read-only image together."""
        raise NotImplementedError

    def changes(self) -> Iterator[Any]:
        """What differs from the image: `Change(kind, path)`, as `docker diff`."""
        raise NotImplementedError

    def inspect(self, *, size: bool = False) -> dict[str, Any]:
        """Docker's document (`docker inspect`)."""
        raise NotImplementedError
