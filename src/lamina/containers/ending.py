"""The end of a container: noticed, recorded, cleaned up, and removal.

Whoever comes first does it, under the lock of the container's run folder: the attached caller, the
monitor's exit command (exited.py), `wait`, `stop`, or any later look at a container whose
processes are gone. Each step may be repeated, and what a crash leaves undone the next comer does:
the row says `running` until everything is undone.

A start that its caller did not live to complete leaves the file `starting` in the run folder,
which whoever holds the lock may judge: the start goes on by itself or is undone (`settled`).

An attached caller holds the lock of `attached` in the run folder while it lives: the exit command
waits for it, since the caller does this work itself, sooner, and wants the exit code.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.containers.monitor import monitor_pid, noted_exit, process_start_time
from lamina.containers.state import EXITED, RUNNING, ContainerState
from lamina.errors import Conflict
from lamina.store.locks import try_lock

if TYPE_CHECKING:
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record

STARTING = "starting"
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
    if (parts.run_folder(record.id) / STARTING).exists():
        record = _after_lost_start(parts, record)
    if record.status != RUNNING:
        return record.state
    same_boot = record.boot_id == parts.root.boot_id
    if same_boot and alive(record):
        return record.state
    folder = parts.run_folder(record.id)
    code = noted_exit(folder)
    watched = same_boot and monitored(folder)
    if code is None and watched:
        return record.state  # it is ending this very moment; the monitor is about to note it
    if watched:
        # The exit command is about to record it.
        return ContainerState(
            status=EXITED,
            exit_code=code or 0,
            started_ns=record.started_ns,
            finished_ns=_finished_ns(folder, record),
        )
    finish(parts, record.id)
    found = parts.records.find(record.id)
    return ContainerState(status=EXITED) if found is None else found.state


def _after_lost_start(parts: Parts, record: Record) -> Record:
    """The row, after a start whose caller died was settled; as it is while the caller lives."""
    held = try_lock(parts.run_folder(record.id))
    if held is None:
        return record
    with held:
        return settled(parts, record.id) or record


def finish(parts: Parts, container_id: str) -> int | None:
    """Record the end of a container that has ended, and undo its start; None: it has not ended.

    Returns the exit code. With auto_remove it is removed as well.
    """
    if parts.records.find(container_id) is None and not parts.run_folder(container_id).exists():
        return None
    code = None
    with parts.lock(container_id):
        record = parts.records.find(container_id)
        if record is not None and record.status == RUNNING:
            code = _exit_code(parts, record)
        record = settled(parts, container_id)
    if record is None:
        return code
    return None if record.status == RUNNING else record.exit_code


def settled(parts: Parts, container_id: str) -> Record | None:
    """The row, once it tells the truth: lost starts and ends are dealt with; the lock is held.

    None where there is none, or that meant to remove it: then the run folder is gone as well.
    """
    record = parts.records.find(container_id)
    if record is None:
        _clear_remains(parts, container_id)
        return None
    folder = parts.run_folder(container_id)
    lost_start = (folder / STARTING).exists()
    runs = record.status == RUNNING and record.boot_id == parts.root.boot_id and alive(record)
    if lost_start and runs and parts.runtime.started(container_id):
        (folder / STARTING).unlink()
        return record
    if lost_start:
        # What was created, and never let go on to its command, never ran.
        _kill_monitor(folder)
        undo_start(parts, container_id)
        parts.records.set_failed(record, 128, "the start was interrupted")
        (folder / STARTING).unlink()
        record = parts.records.get(container_id)
    elif record.status == RUNNING and not runs:
        code = _exit_code(parts, record) or 0
        if not record.auto_remove:
            undo_start(parts, container_id)
            oom_killed = (folder / "oom").exists()
            finished_ns = _finished_ns(folder, record)
            parts.records.set_ended(record, code, finished_ns, oom_killed=oom_killed)
            return parts.records.get(container_id)
    else:
        return record
    if record.auto_remove:
        removed(parts, record)
        return None
    return record


def _exit_code(parts: Parts, record: Record) -> int | None:
    """The exit code of a container that has ended; None while it lives."""
    if record.boot_id != parts.root.boot_id:
        return _LOST
    if alive(record):
        return None
    code = wait_noted(parts.run_folder(record.id))
    return _KILLED if code is None else code


def wait_noted(folder: Path) -> int | None:
    """Wait for the exit code that the monitor is about to note; None where it is gone without."""
    from lamina.containers.watch import Watch

    code = noted_exit(folder)
    if code is not None or not monitored(folder):
        return noted_exit(folder)
    try:
        monitor = os.pidfd_open(monitor_pid(folder))
    except ProcessLookupError:
        return noted_exit(folder)
    try:
        with Watch(folder) as watch:
            while (code := noted_exit(folder)) is None and monitored(folder):
                watch.wait(process=monitor)
        return noted_exit(folder) if code is None else code
    finally:
        os.close(monitor)


def _kill_monitor(folder: Path) -> None:
    """End the monitor of a lost start; the runtime's `create` under it dies with it."""
    from lamina.containers.watch import send_signal, wait_process

    pid = monitor_pid(folder)
    started = process_start_time(pid) if pid and monitored(folder) else None
    if started is not None and send_signal(pid, started, signal.SIGKILL):
        wait_process(pid, started)


def remove(parts: Parts, record: Record, *, volumes: bool) -> None:
    """Remove a container that does not run."""
    with parts.lock(record.id):
        found = settled(parts, record.id)
        if found is None:
            return
        if found.status == RUNNING:
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
    container is found (`settled`).
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
    _remove_folder(parts.run_folder(record.id))


def _clear_remains(parts: Parts, container_id: str) -> None:
    """Clear what a killed removal left in the run folder of a container that has no row."""
    folder = parts.run_folder(container_id)
    _kill_monitor(folder)
    parts.end_runtime_delete(parts.begin_runtime_delete(container_id))
    with suppress(FileNotFoundError):
        _remove_folder(folder)


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


def _remove_folder(folder: Path) -> None:
    while True:
        clear_folder(folder)
        try:
            os.rmdir(folder)
            return
        except OSError as error:
            # A monitor that is ending may have left something this moment.
            if error.errno != errno.ENOTEMPTY:
                raise


def monitored(folder: Path) -> bool:
    """Whether the container's monitor lives (and will run the exit command, or is doing so)."""
    pid = monitor_pid(folder)
    if not pid:
        return False
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(folder) in file.read().split(b"\0")
    except OSError:
        return False


def _finished_ns(folder: Path, record: Record) -> int:
    """When it ended, by the time of conmon's note, which lags behind the clock by some ms."""
    try:
        return max((folder / "exit").stat().st_mtime_ns, record.started_ns or 0)
    except FileNotFoundError:
        return time.time_ns()
