"""Where a command writes a tar: the file of `--output`, or standard output if no terminal."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from lamina.errors import InvalidInput


@contextmanager
def tar_output(output: str | None, doing: str) -> Iterator[BinaryIO]:
    """The stream to write to within the block; `doing` is what failed if it cannot be.

    A file is written beside its place and renamed: what was there before stays until all is
    written, and nothing of what fails is left.
    """
    if output is None:
        if sys.stdout.isatty():
            raise InvalidInput(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect"
            )
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    folder = os.path.dirname(output) or "."
    if not os.path.isdir(folder):
        raise InvalidInput(
            f'failed to {doing}: invalid output path: directory "{folder}" does not exist'
        )
    if os.path.isdir(output):
        raise InvalidInput(f'failed to {doing}: invalid output path: "{output}" is a directory')
    if os.path.exists(output) and not stat.S_ISREG(os.stat(output).st_mode):
        with open(output, "wb") as out:
            yield out
        return
    target = os.path.realpath(output)
    temporary = f"{target}.{os.urandom(6).hex()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as out:
            yield out
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
