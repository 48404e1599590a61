"""Short names of layers: so that hundreds of them fit into one mount's options.

    <home>/<id>/link                    26 letters and digits, random
    <home>/<id>/lower                   the names of the layers below, newest first: `l/AAA…:l/BBB…`
    <home>/l/<short name> -> ../<id>/diff

`link` is the truth; the symbolic links follow from it, and are made again where they are missing or
lead nowhere. A name that is not whole (a power cut truncates files) is as none: it never leads to
`l/` itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from lamina.drivers.home import Home
from lamina.errors import Corrupt

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LENGTH = 26


class ShortLinks:
    """The short names in one home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        with suppress(FileExistsError):
            os.mkdir(f"{home.path}/l", 0o710)

    def give(self, path: str, id: str) -> None:
        """Give the folder at `path`, which is or will be that of `id`, a new short name."""
        write_text(f"{path}/link", _new())
        self._lead(path, id)

    def of(self, id: str) -> str:
        """The short name of a layer or snapshot; if it was lost, what leads to it still, or new."""
        path = self._home.folder(id)
        name = _name_in(path)
        if name is not None:
            return name
        with self._home.locked():
            name = self._leading_to(id)
            if name is None:
                self.give(path, id)
            else:
                write_text(f"{path}/link", name)
        found = _name_in(path)
        assert found is not None
        return found

    def mend(self, id: str) -> None:
        """Have this id have a short name, and the name lead to it."""
        if not os.path.isdir(f"{self._home.path}/l/{self.of(id)}"):
            self.follow(id)

    def follow(self, id: str) -> None:
        """Let the short name lead to the folder where it is now, after a rename."""
        self._lead(self._home.folder(id), id)

    def forget(self, path: str, id: str) -> None:
        """Drop the name of a folder that was set aside, unless it is the name of `id` again."""
        name = _name_in(path)
        if name is not None and name != _name_in(self._home.folder(id)):
            with suppress(FileNotFoundError):
                os.unlink(f"{self._home.path}/l/{name}")

    def sweep(self) -> None:
        """Drop what leads to no layer that is, is being made or is going. Call under the lock."""
        known = {*self._home.ids(), *self._home.leftovers()}
        for name in os.listdir(f"{self._home.path}/l"):
            link = f"{self._home.path}/l/{name}"
            with suppress(OSError):  # gone meanwhile; or no link: not ours
                if os.readlink(link).removeprefix("../").removesuffix("/diff") not in known:
                    os.unlink(link)

    def lowers(self, path: str) -> list[str]:
        """What lies below the snapshot at `path`, as paths from the home, newest first."""
        try:
            with open(f"{path}/lower", encoding="ascii", errors="replace") as file:
                lowers = file.read().split(":")
        except FileNotFoundError:
            return []
        for lower in lowers:
            if not lower.startswith("l/") or not _is_name(lower[2:]):
                raise Corrupt(f"damaged list of layers in {path}/lower")
        return lowers

    def stands_on(self, path: str, id: str) -> bool:
        """Whether the snapshot at `path` has this layer below it."""
        name = _name_in(self._home.folder(id))
        with suppress(Corrupt):  # what cannot be read cannot be mounted either
            return f"l/{name}" in self.lowers(path)
        return False

    def mended(self, lower: str) -> str:
        """One of `lowers`, leading to its layer: again, if it was lost."""
        if os.path.isdir(f"{self._home.path}/{lower}"):
            return lower
        name = lower.removeprefix("l/")
        for id in self._home.ids():
            if _name_in(self._home.folder(id)) == name:
                self.follow(id)
                return lower
        raise Corrupt(
            f"a layer below this snapshot is missing from {self._home.path}: {lower}",
            remedy="remove the container and load or pull its image again",
        )

    def _leading_to(self, id: str) -> str | None:
        for name in os.listdir(f"{self._home.path}/l"):
            if _is_name(name) and os.readlink(f"{self._home.path}/l/{name}") == f"../{id}/diff":
                return name
        return None

    def _lead(self, path: str, id: str) -> None:
        name = _name_in(path)
        if name is None:
            return
        link = f"{self._home.path}/l/{name}"
        with suppress(FileNotFoundError):
            os.unlink(link)
        with suppress(FileExistsError):  # another process mended it
            os.symlink(f"../{id}/diff", link)


def write_lowers(path: str, names: Sequence[str]) -> None:
    """Note what lies below the folder at `path`; nothing: no file."""
    if names:
        write_text(f"{path}/lower", ":".join(f"l/{name}" for name in names))


def write_text(path: str, text: str) -> None:
    """Write a small file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)


def _new() -> str:
    number = int.from_bytes(os.urandom(17), "big")
    return "".join(_LETTERS[number >> 5 * place & 31] for place in range(_LENGTH))


def _is_name(text: str) -> bool:
    return len(text) == _LENGTH and set(_LETTERS).issuperset(text)


def _name_in(path: str) -> str | None:
    try:
        with open(f"{path}/link", encoding="ascii", errors="replace") as file:
            name = file.read(64)
    except FileNotFoundError:
        return None
    return name if _is_name(name) else None
