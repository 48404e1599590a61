"""The one tree of errors, by what a caller can do about them.

A message is one line that names the thing and the reason; `remedy`, where there is one, says what
to do. The faces map each class to an exit code or HTTP status in one table of their own.
"""

from __future__ import annotations


class LaminaError(Exception):
    """Anything that Lamina refuses or fails at, told in one line."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class NotFound(LaminaError):
    """The named thing does not exist."""


class Conflict(LaminaError):
    """The named thing is in a state, or in a use, that forbids the operation."""


class InvalidInput(LaminaError):
    """What was asked makes no sense as written: a reference, a flag's value, a Dockerfile."""


class Unsupported(LaminaError):
    """This machine, kernel or filesystem cannot do it; the remedy says what would."""


class Corrupt(LaminaError):
    """Stored or received bytes are not what their digest, size or format promises."""


class OutOfSpace(LaminaError):
    """The filesystem or a quota is full; nothing half made was left."""


class PermissionDenied(LaminaError):
    """The operation needs rights that this process does not have."""


class RuntimeFailure(LaminaError):
    """The OCI runtime, the monitor or another program failed; its words are in the message.

    `exit_code` is what a face should exit with (Docker: 125 the engine failed, 126 the command
    cannot be invoked, 127 the command cannot be found).
    """

    def __init__(self, message: str, *, remedy: str = "", exit_code: int = 125) -> None:
        super().__init__(message, remedy=remedy)
        self.exit_code = exit_code


class Cancelled(LaminaError):
    """The caller interrupted the operation; nothing of it is left."""
