"""Who `-u` means: names and numbers, resolved by the container's own /etc/passwd and /etc/group.

Both files are opened beneath the root filesystem by the kernel, so that no link in an image leads
out of it. A number needs no entry; a name does. Formats: `user`, `uid`, `user:group`, `uid:gid`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from lamina.containers.spec import ProcessUser
from lamina.errors import InvalidInput, NotFound

_FILE_LIMIT_BYTES = 4 << 20
_ID_LIMIT = (1 << 31) - 1


def resolve_user(text: str, root: str, *, groups: Sequence[str] = ()) -> ProcessUser:
    """The user of `text` in the mounted root filesystem; `groups` are those of `--group-add`."""
    if not text and not groups and not os.path.lexists(f"{root}/etc/group"):
        return ProcessUser()
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return find_user(
            text,
            passwd=_lines(root_fd, "etc/passwd"),
            group=_lines(root_fd, "etc/group"),
            groups=groups,
        )
    finally:
        os.close(root_fd)


def find_user(
    text: str,
    *,
    passwd: Sequence[Sequence[str]],
    group: Sequence[Sequence[str]],
    groups: Sequence[str] = (),
) -> ProcessUser:
    """The user of `text`, by these entries of passwd and group. Pure."""
    user_text, _, group_text = text.partition(":")
    user_text = user_text or "0"
    number = _number(user_text)
    entry = next((fields for fields in passwd if _is_user(fields, user_text, number)), None)
    if entry is None and number is None:
        raise NotFound(
            f"unable to find user {user_text}: no matching entries in passwd file",
            remedy="name a user of the image, or a number",
        )
    uid = number if entry is None else _number(entry[2])
    gid = 0 if entry is None else _number(entry[3])
    if uid is None or gid is None:
        raise InvalidInput(f"the entry of user {user_text} in the passwd file is damaged")
    home = entry[5] if entry is not None and len(entry) > 5 and entry[5] else "/"
    additional: list[int] = []
    if group_text:
        gid = _group(group_text, group)
    elif entry is not None:
        for fields in group:
            if len(fields) >= 4 and entry[0] in fields[3].split(","):
                member_of = _number(fields[2])
                if member_of is not None and member_of not in additional:
                    additional.append(member_of)
    for name in groups:
        extra = _group(name, group)
        if extra not in additional:
            additional.append(extra)
    return ProcessUser(uid, gid, tuple(additional), home)


def _is_user(fields: Sequence[str], text: str, number: int | None) -> bool:
    if len(fields) < 4:
        return False
    return fields[0] == text or (number is not None and fields[2] == str(number))


def _group(text: str, group: Sequence[Sequence[str]]) -> int:
    number = _number(text)
    if number is not None:
        return number
    for fields in group:
        if len(fields) >= 3 and fields[0] == text:
            found = _number(fields[2])
            if found is not None:
                return found
    raise NotFound(
        f"unable to find group {text}: no matching entries in group file",
        remedy="name a group of the image, or a number",
    )


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    value = int(text)
    if value > _ID_LIMIT:
        raise InvalidInput(f"uids and gids must be in range 0-{_ID_LIMIT}: {text[:40]}")
    return value


def _lines(root_fd: int, path: str) -> list[list[str]]:
    from lamina.linux.syscalls import openat2

    try:
        # O_NONBLOCK: an image may have a fifo here.
        descriptor = openat2(root_fd, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []
    with open(descriptor, "rb") as file:
        try:
            text = file.read(_FILE_LIMIT_BYTES) or b""
        except OSError:
            return []
    return [
        line.strip().split(":")
        for line in text.decode(errors="replace").splitlines()
        if line.strip() and not line.startswith("#")
    ]
