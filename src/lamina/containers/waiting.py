"""Waiting for the end of a container, and sending it signals; any number of callers at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from lamina.containers.ending import finish, observed, wait_noted
from lamina.containers.state import RUNNING
from lamina.containers.watch import send_signal, wait_process
from lamina.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from lamina.containers.parts import Parts
    from lamina.containers.records import Record

DEFAULT_STOP_TIMEOUT_S = 10


def wait_ended(parts: Parts, container_id: str) -> int:
    """Wait until it does not run; its exit code. One that never ran gives 0 at once, as Docker."""
    record = parts.records.get(container_id)
    state = observed(parts, record)
    if not state.running and record.status != RUNNING:
        return state.exit_code
    # Also where it has ended and nobody has recorded that yet: who waited finds it all done.
    code = _noted(parts, record)
    settled = finish(parts, container_id)
    return code if settled is None else settled


def wait_gone(parts: Parts, record: Record, timeout_s: float | None) -> bool:
    """Wait until the first process has ended; False where it has not within the timeout."""
    return wait_process(record.pid, record.pid_start, timeout_s)


def stop(parts: Parts, container_id: str, timeout_s: float | None) -> None:
    """The stop signal, then SIGKILL after the timeout, until it has ended."""
    record = parts.records.get(container_id)
    if not observed(parts, record).running:
        wait_ended(parts, container_id)
        return
    config = record.config
    if timeout_s is None:
        timeout_s = (
            DEFAULT_STOP_TIMEOUT_S if config.stop_timeout_s is None else (config.stop_timeout_s)
        )
    number = signal_number(config.stop_signal or "TERM")
    send_signal(record.pid, record.pid_start, number)
    # A negative timeout waits for ever, as Docker's.
    if not wait_gone(parts, record, None if timeout_s < 0 else timeout_s):
        send_signal(record.pid, record.pid_start, signal.SIGKILL)
    wait_ended(parts, container_id)


def kill(parts: Parts, container_id: str, name: str) -> None:
    """Send a signal; SIGKILL also waits for the end."""
    number = signal_number(name)
    record = parts.records.get(container_id)
    if not observed(parts, record).running:
        raise Conflict(
            f"Cannot kill container: {record.name}: Container {record.id} is not running"
        )
    send_signal(record.pid, record.pid_start, number)
    if number == signal.SIGKILL:
        wait_ended(parts, container_id)


def signal_number(name: str) -> int:
    """The number of `TERM`, `SIGTERM`, `15`, `RTMIN+3`; InvalidInput where there is none."""
    text = name.upper().removeprefix("SIG")
    if text.isascii() and text.isdigit():
        number = int(text)
        if 0 < number <= 64:
            return number
        raise InvalidInput(f"Invalid signal: {name}")
    base, sign, offset = text, "", ""
    for sign in "+-":
        base, found, offset = text.partition(sign)
        if found:
            break
    if base in ("RTMIN", "RTMAX") and (not offset or offset.isdigit()):
        number = int(getattr(signal, f"SIG{base}")) + int(f"{sign}{offset}" if offset else 0)
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
    found_signal = getattr(signal, f"SIG{text}", None)
    if not isinstance(found_signal, signal.Signals):
        raise InvalidInput(f"Invalid signal: {name}")
    return int(found_signal)


def _noted(parts: Parts, record: Record) -> int:
    """Wait for the end, and for the monitor to note it; the code it noted, or 0."""
    wait_process(record.pid, record.pid_start)
    return wait_noted(parts.run_folder(record.id)) or 0
