"""The rules of `docker cp` about paths as they are written. Pure.

A trailing `/` says that a folder is meant, a trailing `/.` that a folder's content is, so both
outlive cleaning. What a path leads to is never settled here: that is asked of the kernel.
"""

from __future__ import annotations

import posixpath


def in_container(path: str) -> str:
    """A path in a container, absolute and cleaned."""
    return _with_ending(posixpath.normpath("/" + path.lstrip("/")), path)


def on_host(path: str, current: str) -> str:
    """A path of this machine, absolute and cleaned; `current` is the current folder."""
    cleaned = posixpath.normpath(posixpath.join(current, path))
    return _with_ending("/" + cleaned.lstrip("/"), path)


def base(path: str) -> str:
    """The name that a copy of this has: `.` for a folder's content, `/` for the root."""
    return path.rstrip("/").rpartition("/")[2] or "/"


def split(path: str) -> tuple[str, str]:
    """The folder, with a slash at its end, and the name in it."""
    above, _, name = path.rstrip("/").rpartition("/")
    return above + "/", name


def asserts_folder(path: str) -> bool:
    """Whether it says that it is a folder."""
    return path.endswith("/") or base(path) == "."


def joined(path: str, target: str) -> str:
    """Where a symbolic link at this path leads; `..` is left for the kernel."""
    return target if target.startswith("/") else split(path)[0] + target


def _with_ending(cleaned: str, written: str) -> str:
    if base(written) == "." and base(cleaned) != ".":
        return cleaned.rstrip("/") + "/."
    if written.endswith("/") and not cleaned.endswith("/"):
        return cleaned + "/"
    return cleaned
