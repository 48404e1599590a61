"""Where the data root is and what serves it: flag, then environment, then configuration file.

The file is JSON, `/etc/lamina/config.json` unless `--config` or LAMINA_CONFIG names another:

    {"data-root": "/srv/lamina", "storage-driver": "overlay2",
     "storage-opts": ["overlay2.size=10G"], "default-runtime": "runc"}

LAMINA_ROOT and LAMINA_DRIVER are the environment's names for the first two. LAMINA_BOOT_ID stands
for the kernel's boot id, so that a test can have a reboot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lamina.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from lamina.cli.context import App

DEFAULT_ROOT = "/var/lib/lamina"
DEFAULT_CONFIG = "/etc/lamina/config.json"

# The keys of the file, and the type of each value.
KEYS: dict[str, type] = {
    "data-root": str,
    "storage-driver": str,
    "storage-opts": list,
    "default-runtime": str,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What this call works on."""

    root: str = DEFAULT_ROOT
    storage_driver: str | None = None
    storage_options: Mapping[str, str] = field(default_factory=dict)
    runtime: str | None = None
    boot_id: str | None = None


def resolve(app: App) -> Settings:
    """The settings of a call."""
    asked_for = app.config or app.environment.get("LAMINA_CONFIG")
    file = read(asked_for or DEFAULT_CONFIG, required=bool(asked_for))
    options = app.storage_options or file.get("storage-opts", [])
    return Settings(
        root=app.root
        or app.environment.get("LAMINA_ROOT")
        or file.get("data-root")
        or DEFAULT_ROOT,
        storage_driver=app.storage_driver
        or app.environment.get("LAMINA_DRIVER")
        or file.get("storage-driver"),
        storage_options=parse_options(options),
        runtime=app.runtime or file.get("default-runtime"),
        boot_id=app.environment.get("LAMINA_BOOT_ID"),
    )


def read(path: str, *, required: bool) -> Mapping[str, Any]:
    """The configuration file's keys; an absent file that nobody asked for is an empty one."""
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 20)
    except FileNotFoundError:
        if required:
            raise NotFound(f"no configuration file {path}") from None
        return {}
    import json

    try:
        found = json.loads(data)
    except ValueError as error:
        raise InvalidInput(f"configuration file {path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"configuration file {path} holds no JSON object")
    for key, value in found.items():
        if key not in KEYS:
            raise InvalidInput(
                f"configuration file {path}: unknown key {key!r}",
                remedy=f"the keys are {', '.join(KEYS)}",
            )
        if not isinstance(value, KEYS[key]) or (
            isinstance(value, list) and not all(isinstance(each, str) for each in value)
        ):
            wanted = "a list of strings" if KEYS[key] is list else "a string"
            raise InvalidInput(f"configuration file {path}: {key!r} must be {wanted}")
    return found


def parse_options(options: list[str]) -> dict[str, str]:
    """Storage options as `key=value`."""
    found = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise InvalidInput(f"invalid storage option {option!r}: want key=value")
        found[key] = value
    return found
