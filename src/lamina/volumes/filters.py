"""`--filter` of volume listings: name, label, driver, dangling. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lamina.errors import InvalidInput

if TYPE_CHECKING:
    from lamina.volumes.store import Volume

_KNOWN = ("dangling", "driver", "label", "name")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def chosen(
    volumes: Iterable[Volume],
    filters: Mapping[str, Sequence[str]],
    in_use: Callable[[], Collection[str]],
) -> Sequence[Volume]:
    """The volumes that pass every filter; of several values one must fit (of labels all)."""
    for name in filters:
        if name not in _KNOWN:
            raise InvalidInput(f"invalid filter '{name}'")
    found = list(volumes)
    if names := filters.get("name"):
        found = [each for each in found if any(part in each.name for part in names)]
    if drivers := filters.get("driver"):
        found = [each for each in found if each.driver in drivers]
    for label in filters.get("label", ()):
        name, equals, value = label.partition("=")
        found = [
            each
            for each in found
            if name in each.labels and (not equals or each.labels[name] == value)
        ]
    for text in filters.get("dangling", ()):
        if text.lower() not in _TRUTH:
            raise InvalidInput(f"invalid filter 'dangling=[{text}]'")
        used = in_use()
        found = [each for each in found if (each.name not in used) is _TRUTH[text.lower()]]
    return found
