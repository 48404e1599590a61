"""The start of a container: mounted, connected, described, and handed to monitor and runtime.

In this order, each step undone if a later one fails: mount the root filesystem, fill new volumes,
join the network, write the files that are bound in, write the runtime configuration, launch the
monitor (which has the runtime create the process), record `running`, attach, and let it go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.containers.capabilities import available
from lamina.containers.ending import STARTING, clear_folder, finish, settled, undo_start
from lamina.containers.monitor import Launch, Session, noted_exit, process_start_time
from lamina.containers.planning import plan_start
from lamina.containers.records import no_such_container
from lamina.containers.runtime import write_spec
from lamina.containers.spec import runtime_spec
from lamina.containers.state import RUNNING
from lamina.errors import LaminaError, RuntimeFailure
from lamina.store.failures import translated

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from lamina.containers.console import Streams
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record


def start_detached(parts: Parts, container_id: str) -> None:
    """Start it, and leave it to its monitor. One that runs is left as it is."""
    with _starting(parts, container_id) as record:
        if record is not None:
            session, _ = _start(parts, record, None)
            session.close()


def start_attached(
    parts: Parts,
    container_id: str,
    streams: Streams,
    on_start: Callable[[], None] | None = None,
) -> int | None:
    """Start it and stay until its end: the exit code, or None where the caller detached."""
    from lamina.containers.attachment import passing_signals

    folder = parts.run_folder(container_id)
    config = parts.records.get(container_id).config
    streams = streams.for_input(wanted=config.open_stdin)
    with passing_signals(folder, streams, terminal=config.tty) as signals:
        with _starting(parts, container_id) as record:
            if record is not None:
                held = _hold_attached(folder)
                try:
                    session, connection = _start(parts, record, streams)
                except BaseException:
                    os.close(held)
                    raise
        if record is not None:
            try:
                from lamina.containers.attachment import carry

                if on_start is not None:
                    on_start()
                assert connection is not None
                signals.deliver_to_process(session.pid)
                if not carry(connection, streams, terminal=config.tty):
                    return None
                session.sync.wait_closed()
                noted = noted_exit(folder)
                code = finish(parts, container_id)
                return noted or 0 if code is None else code
            finally:
                session.close()
                os.close(held)
    return attach_running(parts, container_id, streams)


def attach_running(parts: Parts, container_id: str, streams: Streams) -> int | None:
    """Attach to a container that runs: its exit code, or None where the caller detached."""
    from lamina.containers.attachment import carry, connect, fit_terminal, passing_signals
    from lamina.containers.waiting import wait_ended

    record = parts.records.get(container_id)
    folder = parts.run_folder(container_id)
    terminal = record.config.tty
    streams = streams.for_input(wanted=record.config.open_stdin)
    try:
        connection = connect(folder)
    except OSError as error:
        raise RuntimeFailure(
            f"cannot attach to container {record.name}: its monitor does not answer: {error}",
            remedy="restart the container",
        ) from error
    with passing_signals(folder, streams, terminal=terminal) as signals:
        signals.deliver_to_process(record.pid)
        if terminal:
            fit_terminal(folder, streams)
        ended = carry(connection, streams, terminal=terminal)
    return wait_ended(parts, container_id) if ended else None


@contextmanager
def _starting(parts: Parts, container_id: str) -> Iterator[Record | None]:
    """The lock and the row of a container to start; None where it runs already."""
    folder = parts.run_folder(container_id)
    with parts.lock(container_id):
        record = settled(parts, container_id)
        if record is None:
            raise no_such_container(container_id)
        if record.status == RUNNING:
            yield None
            return
        clear_folder(folder)
        marker = folder / STARTING
        marker.touch()
        try:
            with translated(f"starting container {record.name}"):
                yield record
        finally:
            marker.unlink(missing_ok=True)


def _start(
    parts: Parts, record: Record, streams: Streams | None
) -> tuple[Session, socket.socket | None]:
    folder = parts.run_folder(record.id)
    session = None
    try:
        monitor = parts.monitor  # found, with the runtime, before anything is touched
        rootfs = parts.layers.mount(record.id)
        plan = plan_start(parts, record, rootfs)
        document = runtime_spec(
            plan, machine=os.uname().machine, available_capabilities=available()
        )
        write_spec(folder, document)
        session = monitor.launch(_launch(parts, record, folder))
        if streams is not None:
            # Time is short here and spare while the runtime works: what comes next is loaded now.
            import lamina.containers.watch  # noqa: F401
            from lamina.containers.attachment import connect, fit_terminal
        pid = session.created("create")
        parts.records.set_running(record, pid, process_start_time(pid), parts.root.boot_id)
        connection = None
        if streams is not None:
            connection = connect(folder)
            if record.config.tty:
                fit_terminal(folder, streams)
        parts.networks.finish_connect(record.id)
        parts.runtime.start(record.id)
        return session, connection
    except BaseException as error:
        if session is not None:
            session.close()
        _failed(parts, record, error)
        raise


def _failed(parts: Parts, record: Record, error: BaseException) -> None:
    try:
        undo_start(parts, record.id)
    except (LaminaError, OSError) as second:
        error.add_note(f"clean-up failed: {second}")
    code = error.exit_code if isinstance(error, RuntimeFailure) else 128
    parts.records.set_failed(record, code, str(error) or type(error).__name__)
    if record.auto_remove:
        from lamina.containers.ending import removed

        removed(parts, parts.records.get(record.id))


def _hold_attached(folder: Path) -> int:
    import fcntl

    descriptor = os.open(folder / "attached", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _launch(parts: Parts, record: Record, folder: Path) -> Launch:
    config = record.config
    return Launch(
        container_id=record.id,
        session_id=record.id,
        name=record.name,
        folder=folder,
        log=log_argument(parts, record),
        terminal=config.tty,
        stdin=config.open_stdin,
        # Docker's StdinOnce: the first client's end of input is the container's.
        leave_stdin_open=config.open_stdin and (config.tty or not config.stdin_once),
        exit_command=_exit_command(parts, record.id),
    )


def log_argument(parts: Parts, record: Record) -> str:
    """conmon's -l: the container's log, or nowhere."""
    if record.host_config.log_driver == "none":
        return "none"
    path = parts.log(record.id)
    if ":" in str(path):
        # conmon splits there; in the run folder's path there is none.
        link = parts.run_folder(record.id) / "log"
        link.symlink_to(path)
        path = link
    return f"k8s-file:{path}"


# An attached caller does the exit command's work itself; so none of Python is started before it
# is gone, and none at all where it has left nothing to do.
_AFTER_CALLER = """
{ command -v flock && flock 9; } >/dev/null 2>&1 9<"$0/attached"
test -e "$0" && exec "$@"
"""


# Isolated from the environment and the current folder; the package is found where this one is.
_EXITED = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from lamina.containers.exited import main; main(sys.argv[2:])"
)


def _home_of_lamina() -> str:
    return str(Path(__file__).parents[2])


def _exit_command(parts: Parts, container_id: str) -> tuple[str, ...]:
    import sys

    folder = str(parts.run_folder(container_id))
    return (
        *("/bin/sh", "-c", _AFTER_CALLER, folder),
        *(sys.executable or "/usr/bin/python3", "-I", "-c", _EXITED, _home_of_lamina()),
        *(str(parts.root.path), parts.layers.driver.name, folder, container_id),
    )
