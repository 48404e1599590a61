"""What a build tells of its progress: plain data, in the order in which it happened.

A step starts, may have statuses (named parts with a size) and output, and is finished once. Times
are seconds since the build began. Whoever draws them needs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Started:
    """A step begins."""

    step: int
    name: str
    at_s: float


@dataclass(frozen=True)
class Status:
    """A part of a step: `transferring context`, `exporting layers`; told again as it moves on.

    `size_bytes` is None where the part has no size, `done` is false while it is going on.
    """

    step: int
    text: str
    started_s: float
    at_s: float
    size_bytes: int | None = None
    done: bool = True


@dataclass(frozen=True)
class Output:
    """A piece of what a command wrote; not necessarily a whole line."""

    step: int
    data: bytes
    at_s: float


@dataclass(frozen=True)
class Finished:
    """A step ends: done, found in the cache, failed with an error, or cancelled by another's."""

    step: int
    at_s: float
    cached: bool = False
    error: str = ""
    cancelled: bool = False


Event = Started | Status | Output | Finished
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener for whoever does not listen."""
