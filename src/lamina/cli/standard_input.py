"""Standard input as a stream of bytes that can be given up while it is being waited for."""

from __future__ import annotations

from typing import BinaryIO, cast


def standard_input() -> BinaryIO:
    """Standard input, unbuffered: reads may be short.

    Closing Python's own buffered one would wait for a thread that reads from it, hence Ctrl-C for
    whoever writes to us.
    """
    return cast(BinaryIO, open(0, "rb", buffering=0, closefd=False))
