"""The OCI runtime: found, checked, and called by argument lists.

`runc` and `crun` speak one command line. Which one runs is the one asked for, or else the first
of runc and crun that works on this machine. Programs are started by posix_spawn, since importing
`subprocess` costs more than some of these calls take.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lamina.errors import RuntimeFailure, Unsupported

OutputSink = Callable[[int, bytes], None]
"""Called with 1 (standard output) or 2 (standard error) and a piece of output."""

KNOWN_RUNTIMES = ("runc", "crun")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": SEARCH_PATH, "LC_ALL": "C"}

_PIECE_BYTES = 1 << 16


class Runtime:
    """One OCI runtime program and the folder in which it keeps its state."""

    def __init__(self, program: Path, state: Path) -> None:
        self.program = program
        self.state = state

    @property
    def name(self) -> str:
        """`runc` or `crun`, or whatever the program's file is called."""
        return self.program.name

    @classmethod
    def find(cls, requested: str | None, state: Path) -> Runtime:
        """The runtime asked for (a name or a path), or the first of runc and crun there is.

        Raises Unsupported, naming the package to install, where there is none.
        """
        for name in (requested,) if requested else KNOWN_RUNTIMES:
            program = find_program(name)
            # crun is asked whether it can run here (some builds refuse this machine's cgroups);
            # runc, nearly everywhere the first choice, is not made to pay for the question.
            if program and (requested or name == "runc" or _answers(program)):
                return cls(Path(program), state)
        package = requested if requested in KNOWN_RUNTIMES else "runc"
        raise Unsupported(
            f"OCI runtime {requested} was not found"
            if requested
            else "no OCI runtime was found (looked for runc and crun)",
            remedy=f"install one, for example: apt-get install {package}",
        )

    def command(self, *arguments: str) -> list[str]:
        """The argument list of a call with this runtime's global options."""
        return [str(self.program), "--root", str(self.state), *arguments]

    def call(self, *arguments: str) -> None:
        """Run a runtime command to its end; RuntimeFailure with its words where it fails."""
        status, text = capture(self.command(*arguments))
        if status:
            raise failure(text, f"{self.name} {arguments[0]}")

    def start(self, container_id: str) -> None:
        """Let the created container's process go on to execute its command."""
        self.call("start", container_id)

    def started(self, container_id: str) -> bool:
        """Whether the created container was let go on to its command."""
        status, text = capture(self.command("state", container_id))
        try:
            return status == 0 and json.loads(text)["status"] != "created"
        except (ValueError, KeyError):
            return False

    def status(self, container_id: str) -> str:
        """`running`, `paused`, `stopped`… in the runtime's words; empty where it knows of none."""
        status, text = capture(self.command("state", container_id))
        try:
            return "" if status else str(json.loads(text)["status"])
        except (ValueError, KeyError):
            return ""

    def pause(self, container_id: str) -> None:
        """Freeze all processes of the container."""
        self.call("pause", container_id)

    def resume(self, container_id: str) -> None:
        """Let them go on."""
        self.call("resume", container_id)

    def delete(self, container_id: str) -> None:
        """Kill what is left of the container and drop the runtime's state of it; idempotent."""
        self.end_delete(self.begin_delete(container_id))

    def begin_delete(self, container_id: str) -> Child | None:
        """The same, under way while the caller does other things; end it by `end_delete`."""
        if not os.path.exists(self.state / container_id):
            return None
        return Child(self.command("delete", "--force", container_id))

    def end_delete(self, deletion: Child | None) -> None:
        """Wait for a deletion that was begun; RuntimeFailure where it failed."""
        if deletion is None:
            return
        status, text = deletion.wait()
        if status:
            raise failure(text, f"{self.name} delete")

    def run(
        self,
        spec: Mapping[str, Any],
        bundle: Path,
        container_id: str,
        *,
        output: OutputSink,
        stdin_fd: int | None = None,
    ) -> int:
        """Run this configuration to its end in the foreground, without a monitor; its exit code.

        The bundle folder is made, and is gone afterwards; output is handed over as it comes, on
        the calling thread. A build's RUN goes this way. An exception out of `output` (an
        interrupt) kills the container and passes on. RuntimeFailure where the command cannot be
        started: exit code 127 where there is no such program, 126 where it cannot be executed.
        """
        os.makedirs(self.state, 0o700, exist_ok=True)
        os.makedirs(bundle, 0o700)
        log = bundle / "runtime.log"
        try:
            write_spec(bundle, spec)
            command = [
                *self.command("--log", str(log), "--log-format", "json"),
                *("run", "--bundle", str(bundle), container_id),
            ]
            status = self._stream(command, container_id, output, stdin_fd)
            # runc exits with 1 for its own failures as well: only its log tells them apart.
            if status and (message := _last_error(log)):
                raise failure(message, f"{self.name} run")
            return status
        finally:
            _remove_folder(bundle)

    def _stream(
        self, command: Sequence[str], container_id: str, output: OutputSink, stdin_fd: int | None
    ) -> int:
        import select

        readers: dict[int, int] = {}
        child = -1
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) if stdin_fd is None else -1
        try:
            actions = [(os.POSIX_SPAWN_DUP2, null if stdin_fd is None else stdin_fd, 0)]
            writers = []
            for stream in (1, 2):
                read_end, write_end = os.pipe()
                readers[read_end] = stream
                writers.append(write_end)
                actions.append((os.POSIX_SPAWN_DUP2, write_end, stream))
            try:
                child = os.posix_spawn(
                    command[0],
                    list(command),
                    ENVIRONMENT,
                    file_actions=actions,
                    setpgroup=0,
                    setsigdef=(signal.SIGPIPE,),
                )
            finally:
                for write_end in writers:
                    os.close(write_end)
            poller = select.poll()
            for read_end in readers:
                poller.register(read_end, select.POLLIN)
            while readers:
                for read_end, _ in poller.poll():
                    piece = os.read(read_end, _PIECE_BYTES)
                    if piece:
                        output(readers[read_end], piece)
                    else:
                        poller.unregister(read_end)
                        os.close(read_end)
                        del readers[read_end]
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            child = -1
            return status if status >= 0 else 128 - status
        finally:
            for read_end in readers:
                os.close(read_end)
            if null >= 0:
                os.close(null)
            if child > 0:
                self._abandon(child, container_id)

    def _abandon(self, child: int, container_id: str) -> None:
        """Kill a foreground run whose caller gave up, and what the runtime kept of it."""
        capture(self.command("delete", "--force", container_id))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        capture(self.command("delete", "--force", container_id))


def write_spec(bundle: Path, spec: Mapping[str, Any]) -> None:
    """Write the bundle's `config.json`."""
    with open(bundle / "config.json", "w", encoding="utf-8") as file:
        json.dump(spec, file, separators=(",", ":"), ensure_ascii=False)


def find_program(name: str) -> str | None:
    """The path of a program by name, or the given path itself; None where nothing can be run."""
    if "/" in name:
        return os.path.abspath(name) if os.access(name, os.X_OK) else None
    for folder in SEARCH_PATH.split(":"):
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    return None


class Child:
    """A program under way whose output (both streams) is collected."""

    def __init__(self, command: Sequence[str]) -> None:
        self._output, write_end = os.pipe()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, write_end, 1),
            (os.POSIX_SPAWN_DUP2, write_end, 2),
        ]
        try:
            self._pid = os.posix_spawn(
                command[0],
                list(command),
                ENVIRONMENT,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE,),
            )
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(write_end)

    def wait(self) -> tuple[int, str]:
        """Its exit status and all it printed, when it has ended."""
        pieces = []
        try:
            while piece := os.read(self._output, _PIECE_BYTES):
                pieces.append(piece)
        finally:
            os.close(self._output)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        text = b"".join(pieces).decode(errors="replace")
        return status if status >= 0 else 128 - status, text


def capture(command: Sequence[str]) -> tuple[int, str]:
    """Run a program to its end; its exit status, and all it printed (both streams)."""
    return Child(command).wait()


def failure(text: str, doing: str) -> RuntimeFailure:
    """The runtime's words as an error, in Docker's form and with Docker's exit code."""
    message = plain_message(text)
    return RuntimeFailure(
        f"OCI runtime {doing.split()[-1]} failed: {message}: unknown", exit_code=exit_code(message)
    )


def plain_message(text: str) -> str:
    """The last error in a runtime's output, without its log's decoration."""
    message = ""
    for line in text.strip().splitlines():
        found = line.strip()
        if found.startswith("{"):
            found = _log_message(found)
        elif "level=error msg=" in found:
            quoted = found.partition("level=error msg=")[2]
            try:
                found = json.loads(quoted)
            except ValueError:
                found = quoted.strip('"')
        elif "level=" in found:
            continue
        message = found or message
    return message or "the runtime told no reason"


def exit_code(message: str) -> int:
    """Docker's exit code for a start that failed so: 127 not found, 126 not executable, 125."""
    words = message.lower()
    if "executable file not found" in words or "no such file or directory" in words:
        return 127
    if "permission denied" in words or "exec format error" in words or "is a directory" in words:
        return 126
    return 125


def _answers(program: str) -> bool:
    return capture([program, "--version"])[0] == 0


def _log_message(line: str) -> str:
    try:
        return str(json.loads(line)["msg"])
    except (ValueError, KeyError, TypeError):
        return line


def _last_error(log: Path) -> str:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("level") in ("error", "fatal"):
            return str(entry.get("msg", ""))
    return ""


def _remove_folder(folder: Path) -> None:
    for name in os.listdir(folder):
        os.unlink(folder / name)
    os.rmdir(folder)
