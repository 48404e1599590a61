"""What the monitor's exit command does: `main([ROOT, DRIVER, FOLDER, ID])`.

conmon runs it when a container has ended (starting.py says how). It records the end and cleans up,
unless an attached caller that is still there does so itself: it holds the lock of `attached` in
the run folder.
"""

from __future__ import annotations

import fcntl
import os


def main(arguments: list[str]) -> None:
    """Record the end of the container that ended."""
    root_path, driver_name, folder, container_id = arguments
    _wait_for_attached_caller(folder)
    if not os.path.exists(folder) or not os.path.isdir(root_path):
        return  # the caller has done it all
    from lamina.containers.ending import finish
    from lamina.containers.parts import Parts
    from lamina.drivers.selection import load
    from lamina.layers.store import LayerStore
    from lamina.networks.store import NetworkStore
    from lamina.store.root import DataRoot
    from lamina.volumes.store import VolumeStore

    with DataRoot.open(root_path) as root:
        driver = load(driver_name)(root.driver_home(driver_name), {})
        parts = Parts(root, LayerStore(root, driver), NetworkStore(root), VolumeStore(root))
        finish(parts, container_id)


def _wait_for_attached_caller(folder: str) -> None:
    try:
        descriptor = os.open(f"{folder}/attached", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.close(descriptor)
