"""conmon, the monitor: the small process that stays with each container when ours are gone.

It starts the runtime, holds the container's standard streams, writes the log, serves the attach
socket and, at the end, notes the exit code and runs the exit command. What it keeps of a
container lies in the container's run folder, which is also the runtime's bundle:

    <run>/containers/<id>/     flock: whoever changes the container's state
      starting                 there while a caller is at starting it
      attached                 flock: an attached caller, who records the end himself
      config.json              the runtime configuration
      attach                   conmon's attach socket (seqpacket)
      ctl, winsz               fifos: terminal size, log reopening
      pid, conmon.pid          the container's first process, the monitor
      exit                     the exit code, renamed in when the container has ended
      oom                      there when the kernel killed it for memory
      exec/<exec id>/          the same for each command run by `exec`

The *sync pipe* is ours to read: one JSON line with the pid (or -1 and the runtime's words). The
monitor closes it right after `exit` is in place, and so does its death: end-of-file means "look".
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.containers.runtime import SEARCH_PATH, Runtime, failure, find_program
from lamina.errors import RuntimeFailure, Unsupported

# A path may hold any UTF-8; conmon reads its arguments by the locale's encoding.
_ENVIRONMENT = {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"}
# It drops an `oom` file where it stands, and must not keep the caller's folder in use.
_SHELL = "/bin/sh"
_IN_FOLDER = 'cd "$0" && exec "$@"'
_SYNC_FD = 3
_ATTACH_FD = 4
_START_FD = 5


@dataclass(frozen=True)
class Launch:
    """One start of a monitor: for a container, or (with `process_spec`) for a command in it."""

    container_id: str
    session_id: str
    name: str
    folder: Path
    log: str
    terminal: bool = False
    stdin: bool = False
    leave_stdin_open: bool = False
    exit_command: tuple[str, ...] = ()
    process_spec: Path | None = None
    attached: bool = False


class SyncPipe:
    """The reading end of a monitor's sync pipe."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._buffer = b""

    def message(self) -> Mapping[str, object] | None:
        """The next message, or None when the monitor has closed the pipe."""
        while b"\n" not in self._buffer:
            piece = os.read(self.descriptor, 1 << 16)
            if not piece:
                return None
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        # conmon escapes bytes below 0x1f only; others may stand raw in the runtime's words.
        found: Mapping[str, object] = json.loads(line.decode(errors="replace"), strict=False)
        return found

    def wait_closed(self) -> None:
        """Wait until the monitor has noted the exit (or has died)."""
        while os.read(self.descriptor, 1 << 16):
            pass

    def close(self) -> None:
        """Let the pipe go; harmless twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Session:
    """A monitor that was launched; `pid` is known after `created`."""

    def __init__(self, sync: SyncPipe, attach_fd: int, start_fd: int) -> None:
        self.sync = sync
        self.pid = 0
        self._attach_fd = attach_fd
        self._start_fd = start_fd

    def attachable(self) -> None:
        """Of an attached exec: wait until its attach socket is there."""
        if not os.read(self._attach_fd, 1 << 12):
            raise RuntimeFailure("conmon ended before the command could be attached to")

    def proceed(self) -> None:
        """Of an attached exec: let the command start, now that the socket is connected."""
        os.write(self._start_fd, b"\0")

    def created(self, doing: str) -> int:
        """Wait until the runtime has made the process; its pid, or RuntimeFailure."""
        message = self.sync.message()
        if message is None:
            raise RuntimeFailure("conmon ended before the container was made")
        pid = message.get("data")
        if not isinstance(pid, int) or pid <= 0:
            raise failure(str(message.get("message", "")), doing)
        self.pid = pid
        return pid

    def close(self) -> None:
        """Let every pipe go; harmless twice."""
        self.sync.close()
        for descriptor in (self._attach_fd, self._start_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._attach_fd = self._start_fd = -1


class Monitor:
    """The conmon program, and the runtime that it is to call."""

    def __init__(self, program: str, runtime: Runtime) -> None:
        self.program = program
        self.runtime = runtime

    @classmethod
    def find(cls, runtime: Runtime) -> Monitor:
        """conmon as installed; Unsupported, naming the package, where it is not."""
        program = find_program("conmon") or find_program("/usr/libexec/podman/conmon")
        if program is None:
            raise Unsupported(
                "the container monitor conmon was not found",
                remedy="install it, for example: apt-get install conmon",
            )
        return cls(program, runtime)

    def launch(self, launch: Launch) -> Session:
        """Start the monitor; it daemonizes at once and goes on to call the runtime."""
        sync_read, sync_write = os.pipe()
        theirs = [sync_write]
        attach_read = start_write = -1
        actions: list[Any] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        ]
        environment = {**_ENVIRONMENT, "_OCI_SYNCPIPE": str(_SYNC_FD)}
        error_log = launch.folder / "monitor.log"
        actions.append(
            (
                os.POSIX_SPAWN_OPEN,
                2,
                str(error_log),
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                0o600,
            )
        )
        wanted = [(sync_write, _SYNC_FD)]
        if launch.attached:
            attach_read, attach_write = os.pipe()
            start_read, start_write = os.pipe()
            theirs += [attach_write, start_read]
            wanted += [(attach_write, _ATTACH_FD), (start_read, _START_FD)]
            environment |= {
                "_OCI_ATTACHPIPE": str(_ATTACH_FD),
                "_OCI_STARTPIPE": str(_START_FD),
            }
        sync = SyncPipe(sync_read)
        session = Session(sync, attach_read, start_write)
        try:
            # In two steps through high numbers, so that no wanted number is overwritten before
            # it is copied.
            high = [(source, 64 + number) for source, number in wanted]
            actions += [(os.POSIX_SPAWN_DUP2, source, via) for source, via in high]
            actions += [(os.POSIX_SPAWN_DUP2, 64 + number, number) for _, number in wanted]
            actions += [(os.POSIX_SPAWN_CLOSE, via) for _, via in high]
            # conmon leaves a file `oom` wherever it stands, so it is made to stand in its folder.
            stand = ("sh", "-c", 'cd "$0" && exec "$@"', str(launch.folder))
            child = os.posix_spawn(
                "/bin/sh",
                [*stand, *self._command(launch)],
                environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ),
            )
            for descriptor in theirs:
                os.close(descriptor)
            theirs = []
            if launch.attached:
                session.proceed()  # the first byte only tells that it may begin
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status:
                raise RuntimeFailure(f"conmon failed: {_text(error_log) or f'status {status}'}")
            return session
        except BaseException:
            session.close()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def _command(self, launch: Launch) -> list[str]:
        command = [
            *(self.program, "--api-version", "1"),
            *("-c", launch.container_id, "-u", launch.session_id, "-n", launch.name),
            *("-r", str(self.runtime.program)),
            *("-b", str(launch.folder), "--full-attach"),
            *("-p", str(launch.folder / "pid"), "-P", str(launch.folder / "conmon.pid")),
            *("--persist-dir", str(launch.folder)),
            *("-l", launch.log, "--no-sync-log", "--log-level", "error"),
        ]
        for argument in ("--root", str(self.runtime.state)):
            command += ["--runtime-arg", argument]
        if launch.terminal:
            command.append("-t")
        if launch.stdin:
            command.append("-i")
        if launch.leave_stdin_open:
            command.append("--leave-stdin-open")
        if launch.process_spec is not None:
            command += ["-e", "--exec-process-spec", str(launch.process_spec)]
            if launch.attached:
                command.append("--exec-attach")
        if launch.exit_command:
            command += ["--exit-command", launch.exit_command[0]]
            for argument in launch.exit_command[1:]:
                command += ["--exit-command-arg", argument]
        return command


def noted_exit(folder: Path) -> int | None:
    """The exit code that a monitor noted in this folder, if it has."""
    try:
        return int(_text(folder / "exit"))
    except ValueError:
        return None


def monitor_pid(folder: Path) -> int:
    """The monitor's process id; 0 where it is not known."""
    try:
        return int(_text(folder / "conmon.pid"))
    except ValueError:
        return 0


def resize(folder: Path, height: int, width: int) -> None:
    """Give the terminal of a monitor's session another size."""
    try:
        fifo = os.open(folder / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # it has ended meanwhile
        return
    try:
        _wait_until_read(fifo)
        os.write(fifo, f"1 {height} {width}\n".encode())
    except OSError:
        pass
    finally:
        os.close(fifo)


def _wait_until_read(fifo: int) -> None:
    """Wait (not forever) until conmon has taken what is in its control pipe.

    Of messages that it reads at once, conmon carries out the first, as often as there are messages.
    """
    import fcntl
    import termios
    import time

    for _ in range(400):
        if not any(fcntl.ioctl(fifo, termios.FIONREAD, bytes(4))):
            return
        time.sleep(0.005)


def process_start_time(pid: int) -> int | None:
    """When this process started (clock ticks since boot); None where there is no such process.

    A zombie is no process: it has ended.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def _text(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
