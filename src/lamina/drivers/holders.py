"""Who needs a snapshot mounted: a small file beside it, true only while the kernel has the mount.

    <file>      one holder's name a line

Read and written only by who holds the snapshot's lock. A mount does not outlive the kernel that
made it, a file does: so whoever mounts begins with an empty list, and one that finds no mount
believes nothing that the file says.
"""

from __future__ import annotations

import os

from lamina.errors import InvalidInput


def read_holders(path: str) -> list[str]:
    """The noted holders."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().split("\n")[:-1]
    except FileNotFoundError:
        return []


def write_holders(path: str, holders: list[str]) -> None:
    """Note these holders, or none."""
    if not holders:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, "".join(f"{holder}\n" for holder in holders).encode())
    finally:
        os.close(fd)


def checked_holder(holder: str) -> str:
    """The holder's name, if it is a line."""
    if not holder or "\n" in holder or len(holder) > 255:
        raise InvalidInput(f"invalid name of a mount's holder: {holder[:100]!r}")
    return holder
