"""Whether a layer's implied folders would look the same on another chain.

A tar may hold `usr/bin/tool` without entries for `usr` and `usr/bin`: these are *implied*, and take
owner, mode and attributes from the layers below (0755, root's, where there is nothing below). So
the content made on one chain is right on another exactly where these agree. Times are not compared:
an implied folder's own time is that of whatever happened to it last, on any engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from lamina.tar.lower import Below, StackBelow


def agree(layer: Path, implied: Iterable[str], below: Sequence[Path]) -> bool:
    """Whether `implied` folders of a layer are as they would be made on this chain, base first."""
    with ExitStack() as opened:
        own = StackBelow([_folder(layer, opened)])
        lower = StackBelow([_folder(path, opened) for path in reversed(below)])
        return all(_facts(own(path)) == _facts(lower(path)) for path in map(os.fsencode, implied))


def _facts(found: Below | None) -> tuple[int, int, int, dict[bytes, bytes]]:
    if found is None or not found.is_folder:
        return 0o755, 0, 0, {}
    return found.mode & 0o7777, found.uid, found.gid, found.xattrs


def _folder(path: Path, opened: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.callback(os.close, descriptor)
    return descriptor
