"""The end of a container: noticed, recorded, cleaned up, and removal.

Whoever comes first does it, under the lock of the container's run folder: the attached caller, the
monitor's exit command (exited.py), `wait`, `stop`, or any later look at a container whose
processes are gone. Each step may be repeated, and what a crash leaves undone the next comer does:
the row says `running` until everything is undone.

An attached caller holds the lock of `attached` in the run folder while it lives: the exit command
waits for it, since the caller does this work itself, sooner, and wants the exit code.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.containers.monitor import monitor_pid, noted_exit, process_start_time
from lamina.containers.state import EXITED, RUNNING, ContainerState
from lamina.errors import Conflict
from lamina.store.locks import lock

if TYPE_CHECKING:
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record

_KILLED = 137
_LOST = 255
"""The exit code of a container whose end nobody saw: the machine stopped."""


def alive(record: Record) -> bool:
    """Whether the container's first process lives."""
    return (
        record.pid > 0
        and record.pid_start is not None
        and process_start_time(record.pid) == record.pid_start
    )


def observed(parts: Parts, record: Record) -> ContainerState:
    """The state now: what the row says, checked against the processes; records an unseen end."""
    if record.status != RUNNING:
        return record.state
    same_boot = record.boot_id == parts.root.boot_id
    if same_boot and alive(record):
        return record.state
    folder = parts.run_folder(record.id)
    code = noted_exit(folder)
    watched = same_boot and _monitored(folder)
    if code is None and watched:
        return record.state  # it is ending this very moment; the monitor is about to note it
    if watched:
        # The exit command is about to record it.
        return ContainerState(
            status=EXITED,
            exit_code=code or 0,
            started_ns=record.started_ns,
            finished_ns=_finished_ns(folder),
        )
    finish(parts, record.id)
    found = parts.records.find(record.id)
    return ContainerState(status=EXITED) if found is None else found.state


def finish(parts: Parts, container_id: str) -> int | None:
    """Record the end of a container that has ended, and undo its start; None: it has not ended.

    Returns the exit code. With auto_remove it is removed as well.
    """
    if parts.records.find(container_id) is None:
        clear_remains(parts, container_id)
        return None
    with lock(parts.made_run_folder(container_id)):
        record = parts.records.find(container_id)
        if record is None:
            return None
        if record.status != RUNNING:
            return record.exit_code
        if record.boot_id == parts.root.boot_id and alive(record):
            return None
        folder = parts.run_folder(record.id)
        code = noted_exit(folder)
        if code is None:
            code = _KILLED if record.boot_id == parts.root.boot_id else _LOST
        if record.auto_remove:
            removed(parts, record)
            return code
        undo_start(parts, record.id)
        oom_killed = (folder / "oom").exists()
        parts.records.set_ended(record, code, _finished_ns(folder), oom_killed=oom_killed)
        return code


def remove(parts: Parts, record: Record, *, volumes: bool) -> None:
    """Remove a container that does not run."""
    with lock(parts.made_run_folder(record.id)):
        found = parts.records.find(record.id)
        if found is None:
            return
        if found.status == RUNNING and found.boot_id == parts.root.boot_id and alive(found):
            raise running_conflict(found)
        removed(parts, found, volumes=volumes)


def running_conflict(record: Record) -> Conflict:
    """Docker's refusal to remove what runs."""
    return Conflict(
        f'cannot remove container "/{record.name}": container is running: '
        "stop the container before removing or force remove"
    )


def undo_start(parts: Parts, container_id: str) -> None:
    """Take down whatever of a started container is there; the lock is held."""
    # The runtime needs some ten milliseconds for its part; ours goes on meanwhile.
    deletion = parts.begin_runtime_delete(container_id)
    try:
        parts.layers.unmount(container_id)
        parts.networks.disconnect(container_id)
    finally:
        parts.end_runtime_delete(deletion)


def removed(parts: Parts, record: Record, *, volumes: bool = False) -> None:
    """Make a container that has no process any more be no more; the lock is held.

    Its row goes in the transaction that stages what it named, so a death leaves no orphans in the
    data root; the run folder goes last, and while it is there, what the runtime still has of the
    container is found (`clear_remains`).
    """
    driver = parts.layers.driver.name
    path = f"containers/{record.id}"
    deletion = parts.begin_runtime_delete(record.id)
    try:
        parts.layers.unmount(record.id)
        parts.networks.disconnect(record.id)
        with parts.root.operation("remove container") as op:
            op.begin()
            with parts.root.database.transaction() as tx:
                if record.mount_points:
                    parts.volumes.release(record.id, remove_anonymous=volumes or record.auto_remove)
                tx.execute("DELETE FROM containers WHERE id = ?", (record.id,))
                op.stage("snapshot", driver, record.id)
                op.stage("path", "", path)
            op.remove("snapshot", driver, record.id)
            op.remove("path", "", path)
    finally:
        parts.end_runtime_delete(deletion)
    clear_folder(parts.run_folder(record.id))
    os.rmdir(parts.run_folder(record.id))


def clear_remains(parts: Parts, container_id: str) -> None:
    """Clear what a killed removal left in the run folder of a container that has no row."""
    folder = parts.run_folder(container_id)
    try:
        held = lock(folder)
    except FileNotFoundError:
        return
    with held:
        parts.end_runtime_delete(parts.begin_runtime_delete(container_id))
        with suppress(FileNotFoundError):
            clear_folder(folder)
            os.rmdir(folder)


def clear_folder(folder: Path) -> None:
    """Empty a run folder, while a monitor that is ending may be removing its socket from it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    clear_folder(Path(entry.path))
                    os.rmdir(entry.path)
                else:
                    os.unlink(entry.path)


def _monitored(folder: Path) -> bool:
    """Whether the container's monitor lives (and will run the exit command, or is doing so)."""
    pid = monitor_pid(folder)
    if not pid:
        return False
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(folder) in file.read().split(b"\0")
    except OSError:
        return False


def _finished_ns(folder: Path) -> int:
    try:
        return (folder / "exit").stat().st_mtime_ns
    except FileNotFoundError:
        return time.time_ns()
