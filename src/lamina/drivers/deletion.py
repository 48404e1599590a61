"""Deleting a tree that may be hostile: as deep, as wide and as oddly named as a container made it.

Nothing outside is touched: no symbolic link is followed, and a folder on which something is
mounted is not entered (rmdir(2) answers EBUSY before it looks at what lies in it).
"""

from __future__ import annotations

import errno
import os

from lamina.errors import Conflict

# Deeper than this a folder is first moved up, so that neither descriptors nor the stack run out.
_MAX_DEPTH = 128
_MOVED = ".deep-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def delete_tree(path: str) -> None:
    """Delete this file or folder and all below it. Absent, or deleted meanwhile: success."""
    parent, name = os.path.split(path)
    try:
        parent_fd = os.open(parent, _FOLDER)
    except FileNotFoundError:
        return
    # What is moved up lies beside the tree, under its name with a mark: the same at any depth.
    top = name.partition(_MOVED)[0]
    try:
        _delete(parent_fd, name, _MAX_DEPTH, parent_fd, top)
        while moved := [one for one in os.listdir(parent_fd) if one.startswith(top + _MOVED)]:
            for one in moved:
                _delete(parent_fd, one, _MAX_DEPTH, parent_fd, top)
    finally:
        os.close(parent_fd)


def _delete(folder_fd: int, name: str, depth: int, top_fd: int, top_name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    try:
        os.rmdir(name, dir_fd=folder_fd)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise Conflict(
                f"cannot delete {name!r} of {top_name!r}: something is mounted on it",
                remedy="unmount it and repeat",
            ) from error
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    if depth == 0:
        moved = f"{top_name}{_MOVED}{os.urandom(8).hex()}"
        os.rename(name, moved, src_dir_fd=folder_fd, dst_dir_fd=top_fd)
        return
    try:
        fd = os.open(name, _FOLDER, dir_fd=folder_fd)
    except FileNotFoundError:
        return
    try:
        _empty(fd, depth - 1, top_fd, top_name)
    finally:
        os.close(fd)
    try:
        os.rmdir(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return


def _empty(fd: int, depth: int, top_fd: int, top_name: str) -> None:
    with os.scandir(fd) as entries:
        # In order of inodes: the order of the disk, which a cold cache repays manifold.
        listed = sorted(
            (entry.inode(), entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries
        )
    for _, name, is_folder in listed:
        if is_folder:
            _delete(fd, name, depth, top_fd, top_name)
            continue
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            continue
        except (IsADirectoryError, PermissionError):
            _delete(fd, name, depth, top_fd, top_name)
