"""A container's root filesystem, open for whoever copies files in or out.

It is shown in a mount namespace that nobody else sees: there the volumes are bound where the
container has them, and when the last descriptor of it is closed, or this process dies, all of that
is gone. A path below the root is opened by openat2(2) with RESOLVE_IN_ROOT: whatever links the
container's processes make meanwhile, the kernel does not lead out.

A container that does not run is mounted for as long as it is visited, and its lock is held: it
cannot be started or removed meanwhile. One that runs is mounted anyway; its lock is let go as soon
as its root is open, and the root stays readable should the container end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.containers.ending import settled
from lamina.containers.records import no_such_container
from lamina.containers.state import RUNNING
from lamina.linux import syscalls
from lamina.linux.mounts import Mount, mount
from lamina.store.failures import translated

if TYPE_CHECKING:
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NETWORK_FILES = ("hostname", "hosts", "resolv.conf")


@contextmanager
def only_rootfs(parts: Parts, container_id: str) -> Iterator[int]:
    """A descriptor of the root, read-only, without the container's volumes."""
    with _opened(parts, container_id, _read_only) as root_fd:
        yield root_fd


@contextmanager
def with_volumes(parts: Parts, container_id: str) -> Iterator[int]:
    """A descriptor of the root, its volumes and the files of its network bound in."""

    def shown(rootfs: str, record: Record) -> int:
        return _with_volumes(parts, rootfs, record)

    with _opened(parts, container_id, shown) as root_fd:
        yield root_fd


@contextmanager
def _opened(parts: Parts, container_id: str, shown: Callable[[str, Record], int]) -> Iterator[int]:
    with ExitStack() as stack:
        with ExitStack() as locked:
            locked.enter_context(parts.lock(container_id))
            record = settled(parts, container_id)
            if record is None:
                raise no_such_container(container_id)
            if record.status == RUNNING:
                rootfs = Path(parts.layers.driver.mounts(container_id)[0].target)
            else:
                rootfs = locked.enter_context(parts.layers.visited(container_id))
            with translated(f"opening the filesystem of container {record.name}"):
                namespace, root_fd = _in_own_namespace(lambda: shown(str(rootfs), record))
            if record.status != RUNNING:
                stack.push(locked.pop_all())
            stack.callback(os.close, namespace)
            stack.callback(os.close, root_fd)
        yield root_fd


def _in_own_namespace(shown: Callable[[], int]) -> tuple[int, int]:
    """Call it in a thread with mounts of its own; the namespace, to be held, and what it gave."""
    made: list[tuple[int, int]] = []
    failures: list[BaseException] = []

    def enter() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
            root_fd = shown()
            made.append((os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), root_fd))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=enter, name="mount namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return made[0]


def _read_only(rootfs: str, record: Record) -> int:
    mount(Mount("bind", rootfs, rootfs, ("bind", "ro")))
    return os.open(rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _with_volumes(parts: Parts, rootfs: str, record: Record) -> int:
    from lamina.volumes.specification import MountPoint

    volumes = [MountPoint.from_json(document) for document in record.mount_points]
    if record.status != RUNNING:
        parts.volumes.populate(volumes, rootfs)
    root_fd = os.open(rootfs, _FOLDER)
    try:
        for volume in sorted(volumes, key=lambda each: each.destination.count("/")):
            _bind(root_fd, str(parts.volumes.source(volume)), volume.destination)
        taken = {volume.destination for volume in volumes}
        for name in _NETWORK_FILES:
            path = parts.root.container_dir(record.id) / name
            if path.exists() and f"/etc/{name}" not in taken:
                _bind(root_fd, str(path), f"/etc/{name}")
    except BaseException:
        os.close(root_fd)
        raise
    return root_fd


def _bind(root_fd: int, source: str, destination: str) -> None:
    """Bind it where the container's own links lead; its place is made, as a start makes it."""
    try:
        target = syscalls.openat2(root_fd, destination, os.O_PATH)
    except FileNotFoundError:
        target = _made(root_fd, destination, folder=os.path.isdir(source))
    try:
        syscalls.mount(
            source,
            f"/proc/thread-self/fd/{target}",
            None,
            syscalls.MS_BIND | syscalls.MS_REC,
        )
    finally:
        os.close(target)


def _made(root_fd: int, path: str, *, folder: bool) -> int:
    above = os.dup(root_fd)
    *names, last = path.strip("/").split("/")
    way = ""
    try:
        for name in names if not folder else (*names, last):
            way = f"{way}/{name}"
            try:
                fd = syscalls.openat2(root_fd, way, _FOLDER)
            except FileNotFoundError:
                os.mkdir(name, 0o755, dir_fd=above)
                fd = syscalls.openat2(root_fd, way, _FOLDER)
            os.close(above)
            above = fd
        if folder:
            return os.dup(above)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(last, flags, 0o644, dir_fd=above))
        return syscalls.openat2(root_fd, path, os.O_PATH)
    finally:
        os.close(above)
