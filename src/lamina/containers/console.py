"""The caller's side of a container's standard streams: file descriptors, terminal, signals."""

from __future__ import annotations

from dataclasses import dataclass

DETACH_KEYS = "ctrl-p,ctrl-q"


@dataclass(frozen=True)
class Streams:
    """What an attached caller lends: descriptors (None: not attached), and how they behave.

    With a terminal in the container and a terminal on `stdin`, the latter is put in raw mode
    for the time of the attachment, its size is passed on, and `detach_keys` end the attachment.
    Without one, `signal_proxy` passes the signals that this process receives to the container.
    """

    stdin: int | None = None
    stdout: int | None = 1
    stderr: int | None = 2
    detach_keys: str = DETACH_KEYS
    signal_proxy: bool = True
