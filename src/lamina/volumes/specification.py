"""What `-v` says: `[source:]destination[:mode,…]`. Pure.

    -v /cache              an anonymous volume          -v data:/var/lib/x     a named one
    -v /srv/www:/srv:ro    a folder of the host, read-only
Modes: `ro` `rw`, `z` `Z` (SELinux labels; accepted), `nocopy`, and mount propagation for folders
of the host (`private`, `rprivate`, `shared`, `rshared`, `slave`, `rslave`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from posixpath import normpath
from typing import Any

from lamina.errors import InvalidInput

_PROPAGATION = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _ALNUM | frozenset("_.-")


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A volume or a folder of the host at a place in a container.

    `name` is a volume's name, empty for a folder of the host; `source` is that folder. A volume's
    own folder is not recorded: it is where the data root is. `copy` tells whether an empty
    volume takes what the image has at `destination`.
    """

    destination: str
    name: str = ""
    source: str = ""
    read_only: bool = False
    mode: str = ""
    propagation: str = ""
    copy: bool = True
    anonymous: bool = False

    @property
    def type(self) -> str:
        """`volume` or `bind`."""
        return "bind" if self.source else "volume"

    def to_json(self) -> dict[str, Any]:
        """What a container's document keeps."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MountPoint:
        """What `to_json` wrote."""
        return cls(**document)


def parse_volume(text: str) -> MountPoint:
    """The mount that one `-v` value asks for; a volume without a name is still to be named."""
    parts = text.split(":")
    if any(not part for part in parts):
        raise InvalidInput(f"invalid spec: {text}: empty section between colons")
    if len(parts) > 3:
        raise _invalid(text)
    source, destination, mode = "", parts[0], ""
    if len(parts) == 3:
        source, destination, mode = parts
    elif len(parts) == 2:
        # `-v /path:ro` is an anonymous volume only where the second part is no path.
        source, destination = parts
    _check_destination(text, destination, "bind" if source.startswith("/") else "volume")
    destination = normpath("/" + destination.lstrip("/"))
    words = mode.split(",") if mode else []
    propagation = _check_mode(mode, words, is_bind=source.startswith("/"))
    common: dict[str, Any] = {
        "read_only": "ro" in words,
        "mode": mode,
        "copy": "nocopy" not in words,
    }
    if source.startswith("/"):
        return MountPoint(
            destination,
            source=normpath("/" + source.lstrip("/")),
            propagation=propagation or "rprivate",
            **common,
        )
    if source:
        check_name(source)
    return MountPoint(destination, name=source, anonymous=not source, **common)


def check_name(name: str) -> None:
    """Refuses what cannot name a volume, in Docker's words."""
    if len(name) < 2:
        raise InvalidInput(
            f"create {name}: volume name is too short, "
            "names should be at least two alphanumeric characters"
        )
    if name[0] not in _ALNUM or not _NAME.issuperset(name):
        raise InvalidInput(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )
    if len(name) > 255:
        raise InvalidInput(f"create {name[:20]}…: volume name is longer than 255 characters")


def _check_destination(text: str, destination: str, kind: str) -> None:
    if not destination.startswith("/"):
        problem = f"invalid mount path: '{destination}' mount path must be absolute"
    elif normpath("/" + destination.lstrip("/")) == "/":
        problem = "invalid specification: destination can't be '/'"
    else:
        return
    raise InvalidInput(
        f"invalid volume specification: '{text}': "
        f'invalid mount config for type "{kind}": {problem}'
    )


def _check_mode(mode: str, words: list[str], *, is_bind: bool) -> str:
    """The propagation that the mode names; raises for a word that means nothing here."""
    allowed = {"ro", "rw", "z", "Z", "nocopy"} | (_PROPAGATION if is_bind else set())
    if is_bind:
        allowed.discard("nocopy")
    kinds = (
        [word for word in words if word in ("ro", "rw")],
        [word for word in words if word in ("z", "Z")],
        [word for word in words if word in _PROPAGATION],
    )
    if any(word not in allowed for word in words) or any(len(kind) > 1 for kind in kinds):
        raise InvalidInput(f"invalid mode: {mode}")
    return kinds[2][0] if kinds[2] else ""


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(f"invalid volume specification: '{text}'")
