"""`exec`: a command in a container that runs, under a monitor of its own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.containers.capabilities import available, chosen
from lamina.containers.config import merge_environment
from lamina.containers.ending import clear_folder, observed
from lamina.containers.monitor import Launch
from lamina.containers.planning import process_environment
from lamina.containers.spec import RuntimePlan, process
from lamina.containers.users import resolve_user
from lamina.errors import Conflict, InvalidInput, RuntimeFailure

if TYPE_CHECKING:
    from lamina.containers.config import ExecConfig
    from lamina.containers.console import Streams
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record

_FAILED = 255


@dataclass(frozen=True)
class ExecResult:
    """How a command in a container ended, and what it wrote to its two outputs."""

    exit_code: int
    output: bytes
    errors: bytes


def captured(parts: Parts, container_id: str, config: ExecConfig) -> ExecResult:
    """Run the command to its end, its outputs kept in memory."""
    from lamina.containers.console import Streams

    output, errors = os.memfd_create("output"), os.memfd_create("errors")
    try:
        streams = Streams(stdin=None, stdout=output, stderr=errors, signal_proxy=False)
        code = execute(parts, container_id, config, streams)
        return ExecResult(_FAILED if code is None else code, _content(output), _content(errors))
    finally:
        os.close(output)
        os.close(errors)


def execute(
    parts: Parts, container_id: str, config: ExecConfig, streams: Streams | None
) -> int | None:
    """Run the command; its exit code, or None where it is detached from."""
    record = parts.records.get(container_id)
    if not config.cmd:
        raise InvalidInput("No exec command specified")
    if not observed(parts, record).running:
        raise Conflict(f"Container {record.id} is not running")
    session_id = os.urandom(32).hex()
    folder = parts.run_folder(record.id) / "exec" / session_id
    os.makedirs(folder, 0o700)
    try:
        specification = folder / "process.json"
        with open(specification, "w", encoding="utf-8") as file:
            json.dump(process_of(record, config), file)
        launch = Launch(
            container_id=record.id,
            session_id=session_id,
            name=record.name,
            folder=folder,
            log="none",
            terminal=config.tty,
            stdin=config.open_stdin,
            leave_stdin_open=config.open_stdin and config.tty,
            process_spec=specification,
            attached=streams is not None,
            # Its folder goes when it ends, without a process of ours.
            exit_command=("/bin/rm", "-rf", "--", str(folder)),
        )
        if streams is None:
            session = parts.monitor.launch(launch)
            try:
                session.created("exec")
            finally:
                session.close()
            return None
        return _attached(parts, launch, streams.for_input(wanted=config.open_stdin))
    except RuntimeFailure:
        _discard(folder)
        raise


def process_of(record: Record, config: ExecConfig) -> dict[str, object]:
    """The runtime's process object of the command."""
    container, host = record.config, record.host_config
    text = config.user or container.user
    # The root as the container sees it, with all that is mounted in it.
    user = resolve_user(text, f"/proc/{record.pid}/root", groups=host.group_add)
    # Whether there is a terminal is this command's own matter.
    own = process_environment(replace(container, tty=config.tty), user)
    environment = merge_environment(own, config.env)
    privileged = config.privileged or host.privileged
    limit = available()
    capabilities = limit if privileged else chosen(host.cap_add, host.cap_drop, limit)
    plan = RuntimePlan(
        rootfs="",
        args=config.cmd,
        env=environment,
        cwd=config.working_dir or container.working_dir or "/",
        user=user,
        tty=config.tty,
        oom_score_adj=host.oom_score_adj,
        rlimits=host.ulimits,
    )
    return process(plan, capabilities)


def _attached(parts: Parts, launch: Launch, streams: Streams) -> int | None:
    from lamina.containers.attachment import carry, connect, fit_terminal, passing_signals

    ended = True
    with passing_signals(launch.folder, streams, terminal=launch.terminal) as signals:
        session = parts.monitor.launch(launch)
        try:
            session.attachable()
            connection = connect(launch.folder)
            if launch.terminal:
                fit_terminal(launch.folder, streams)  # kept until there is a terminal
            session.proceed()
            try:
                signals.deliver_to_process(session.created("exec"))
            except BaseException:
                connection.close()
                raise
            ended = carry(connection, streams, terminal=launch.terminal)
            if not ended:
                return None
            message = session.sync.message()
            code = _FAILED if message is None else message.get("data", _FAILED)
            return code if isinstance(code, int) and code >= 0 else _FAILED
        finally:
            session.close()
            if ended:
                _discard(launch.folder)


def _discard(folder: Path) -> None:
    try:
        clear_folder(folder)
        os.rmdir(folder)
    except FileNotFoundError:
        return


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
