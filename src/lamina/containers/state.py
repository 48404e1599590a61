"""The states of a container, and which may follow which."""

from __future__ import annotations

from dataclasses import dataclass

CREATED = "created"
RUNNING = "running"
EXITED = "exited"
REMOVING = "removing"


@dataclass(frozen=True)
class ContainerState:
    """Where a container stands. Times are nanoseconds since the epoch, None: never yet."""

    status: str = CREATED
    pid: int = 0
    exit_code: int = 0
    started_ns: int | None = None
    finished_ns: int | None = None
    error: str = ""
    oom_killed: bool = False

    @property
    def running(self) -> bool:
        """Whether a process of the container lives."""
        return self.status == RUNNING
