"""How a command that fails ends: one line on standard error, and its exit code."""

from __future__ import annotations

import errno
import sys

import click

from lamina.errors import Cancelled, LaminaError, RuntimeFailure

# 128 + the number of the signal that says the same.
INTERRUPTED = 130
BROKEN_PIPE = 141


def report(error: BaseException, *, debug: bool = False, failure_code: int = 1) -> int:
    """Say what went wrong and give the exit code; `failure_code` is the command's own."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, click.ClickException):
        return _say(error.format_message(), error.exit_code)
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, (KeyboardInterrupt, click.exceptions.Abort)):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return _quietly(BROKEN_PIPE)
    text, code = describe(error, failure_code)
    return _say(f"Error: {text}", code)


def describe(error: BaseException, failure_code: int = 1) -> tuple[str, int]:
    """One line for an error, and the exit code that goes with it."""
    if isinstance(error, Cancelled):
        return _one_line(str(error)), INTERRUPTED
    if isinstance(error, RuntimeFailure):
        return _one_line(str(error)), _runtime_code(error, failure_code)
    if isinstance(error, LaminaError):
        return _one_line(str(error)), getattr(error, "exit_code", failure_code)
    if isinstance(error, OSError):
        return _one_line(_os_error(error)), failure_code
    if _is_full_database(error):
        return "no space left on device: the data root's database cannot grow", failure_code
    name = type(error).__name__
    detail = f"{name}: {error}" if str(error) else name
    return f"internal error: {_one_line(detail)} (run with --debug for the traceback)", failure_code


def _runtime_code(error: RuntimeFailure, failure_code: int) -> int:
    """126 and 127 tell of the container's command; 125 is the engine's, hence the command's own."""
    return failure_code if error.exit_code == 125 else error.exit_code


def _os_error(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    where = f"{_path(error.filename)}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{where}{reason}: free some space, or remove what is unused with 'lamina image prune'"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where}{reason}: run as root"
    return f"{where}{reason}"


def _path(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _is_full_database(error: BaseException) -> bool:
    sqlite3 = sys.modules.get("sqlite3")
    return (
        sqlite3 is not None and isinstance(error, sqlite3.OperationalError) and "full" in str(error)
    )


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")).strip()


def _say(text: str, code: int) -> int:
    try:
        sys.stdout.flush()
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return _quietly(code)
    return code


def _quietly(code: int) -> int:
    """Point standard output at nothing, so that the interpreter's last flush says nothing."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code
