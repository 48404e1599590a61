"""What the work on containers needs of the engine, and where a container's things lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.containers.records import ContainerRecords

if TYPE_CHECKING:
    from lamina.containers.monitor import Monitor
    from lamina.containers.runtime import Child, Runtime
    from lamina.layers.store import LayerStore
    from lamina.networks.store import NetworkStore
    from lamina.store.locks import Lock
    from lamina.store.root import DataRoot
    from lamina.volumes.store import VolumeStore


@dataclass(frozen=True)
class Parts:
    """The stores below containers/, and the programs that run them."""

    root: DataRoot
    layers: LayerStore
    networks: NetworkStore
    volumes: VolumeStore
    runtime_name: str | None = None

    @cached_property
    def records(self) -> ContainerRecords:
        """The rows."""
        return ContainerRecords(self.root.database, self.layers.driver.name)

    @cached_property
    def runtime(self) -> Runtime:
        """The OCI runtime; Unsupported where there is none."""
        from lamina.containers.runtime import Runtime

        return Runtime.find(self.runtime_name, self.root.run / "runtime")

    @cached_property
    def monitor(self) -> Monitor:
        """conmon; Unsupported where there is none."""
        from lamina.containers.monitor import Monitor

        return Monitor.find(self.runtime)

    def begin_runtime_delete(self, container_id: str) -> Child | None:
        """Begin to drop what the runtime has of a container; None where it has nothing."""
        if not os.path.exists(self.root.run / "runtime" / container_id):
            return None
        return self.runtime.begin_delete(container_id)

    def end_runtime_delete(self, deletion: Child | None) -> None:
        """Wait for the end of it."""
        if deletion is not None:
            self.runtime.end_delete(deletion)

    def run_folder(self, container_id: str) -> Path:
        """The container's folder for what a reboot may clear (drawn in monitor.py)."""
        return self.root.run / "containers" / container_id

    def made_run_folder(self, container_id: str) -> Path:
        """The same, made where it is missing."""
        folder = self.run_folder(container_id)
        os.makedirs(folder, 0o700, exist_ok=True)
        return folder

    def lock(self, container_id: str) -> Lock:
        """The lock of the container's run folder, which is made where it is missing.

        Whoever removes the folder holds its lock: one got on a folder that is gone is not it.
        """
        from lamina.store.locks import lock

        while True:
            folder = self.made_run_folder(container_id)
            try:
                held = lock(folder)
            except FileNotFoundError:
                continue
            if held.names(folder):
                return held
            held.release()

    def log(self, container_id: str) -> Path:
        """The container's log file."""
        return self.root.container_dir(container_id) / f"{container_id}-json.log"
