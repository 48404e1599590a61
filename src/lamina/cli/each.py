"""Doing one thing to each of several named things: one failing does not stop the others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from lamina.errors import LaminaError

__all__ = ["for_each"]


def for_each(names: Iterable[str], action: Callable[[str], str | None]) -> int:
    """Prints what the action gives for each name, or its error; 1 if any failed."""
    code = 0
    for name in names:
        try:
            said = action(name)
        except (LaminaError, OSError) as error:
            from lamina.cli.errors import describe

            sys.stdout.flush()
            print(f"Error: {describe(error)[0]}", file=sys.stderr, flush=True)
            code = 1
        else:
            if said is not None:
                print(said, flush=True)
    return code
