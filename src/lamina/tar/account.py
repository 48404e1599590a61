"""What one layer has done so far while it is unpacked, told by path. No I/O.

Marks of deletion may stand anywhere in a layer's stream, and concern lower layers only: whether one
may take something away, or a folder shows what lies below it, depends on what came before.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.tar.lower import Below


class Account:
    """The paths of one layer. `alone`: nothing of lower layers is in the folder with it."""

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self.size_bytes = 0
        self.inodes = 1
        self.implied: dict[bytes, Below | None] = {}
        """Folders without an entry of their own, and what was there before."""
        self.times: dict[bytes, int] = {}
        self.opaque: set[bytes] = set()
        self.fresh: set[bytes] = set()
        """Folders that took the place of something else."""
        self.gone: set[bytes] = set()
        """What the layer deleted."""
        self.claimed: set[bytes] = set()
        """Folders that it lists, or that its members lie in."""
        self.written: set[bytes] = set()
        """Its other members; where it is alone, only as far as somebody asks for them."""

    def claim(self, path: bytes) -> None:
        """A member lies in this folder: no mark of deletion may take it away."""
        while path and path not in self.claimed:
            self.claimed.add(path)
            path = path.rpartition(b"/")[0]

    def stands_anew(self, path: bytes) -> None:
        """A folder was made; where the layer deleted something, it has nothing from below."""
        if path in self.gone:
            self.renew(path)

    def renew(self, path: bytes) -> None:
        """A folder hides all that lower layers have in it."""
        self.gone.discard(path)
        self.fresh.add(path)
        self.opaque.add(path)

    def forget(self, path: bytes, *, folder: bool) -> None:
        """What was at this path is no more."""
        if folder:
            for known in (self.implied, self.times):
                known.pop(path, None)
            for paths in (self.opaque, self.fresh, self.claimed, self.gone):
                paths.discard(path)
        self.written.discard(path)
        self.inodes -= 1

    def is_ours(self, path: bytes) -> bool:
        """Whether what is at this path, and is no folder, came with this layer."""
        return self._alone or path in self.written

    def is_of_layer(self, path: bytes, found: os.stat_result) -> bool:
        """Whether this layer put something there that is more than a mark or a way to one."""
        if stat.S_ISDIR(found.st_mode):
            return path in self.claimed
        if self._alone:
            return not (stat.S_ISCHR(found.st_mode) and found.st_rdev == 0)
        return path in self.written

    def is_hidden(self, path: bytes) -> bool:
        """Whether this layer hides, above this path, all that lower layers have there."""
        if not (self.opaque or self.gone) or not path:
            return False
        if b"" in self.opaque:
            return True
        at = path.rfind(b"/")
        while at > 0:
            if path[:at] in self.opaque or path[:at] in self.gone:
                return True
            at = path.rfind(b"/", 0, at)
        return False
