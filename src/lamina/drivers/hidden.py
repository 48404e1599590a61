"""What an opaque folder hides, told name by name.

A folder that was deleted and made again hides all that lies below it, at any depth, by one mark;
an upper folder alone therefore tells neither what is gone with it nor what was there before. A
list of changes does: as comparing the two trees would.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from lamina.tar.diff import Change


def with_hidden(changes: Iterable[Change], upper: str, below: str) -> list[Change]:
    """The changes to the tree at `below`, those within opaque folders of `upper` made explicit."""
    listed = list(changes)
    opaque = [change.path for change in listed if change.opaque]
    if not opaque:
        return listed
    within = tuple(path + b"/" for path in opaque)
    found = [
        Change("C" if _is_there(below, change.path) else "A", change.path)
        if change.kind == "A" and change.path.startswith(within)
        else change
        for change in listed
    ]
    for path in opaque:
        found += _gone(os.fsencode(upper), os.fsencode(below), path)
    return sorted(found, key=lambda change: change.path.split(b"/"))


def _gone(upper: bytes, below: bytes, path: bytes) -> list[Change]:
    """What the folder at this path had below and has no more."""
    gone = []
    for name in os.listdir(below + path):
        child = path + b"/" + name
        old, new = os.lstat(below + child), _status(upper + child)
        if new is None or (stat.S_ISCHR(new.st_mode) and new.st_rdev == 0):
            gone.append(Change("D", child))
        elif stat.S_ISDIR(old.st_mode) and stat.S_ISDIR(new.st_mode):
            gone += _gone(upper, below, child)
    return gone


def _is_there(root: str, path: bytes) -> bool:
    """Whether the tree has this path, by folders alone: a link on the way leads nowhere."""
    at = os.fsencode(root)
    for name in path.split(b"/")[1:-1]:
        at += b"/" + name
        status = _status(at)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return False
    return _status(os.fsencode(root) + path) is not None


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
