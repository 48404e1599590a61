"""`ps --filter`: which containers a person wants to see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lamina.containers.planning import network_of
from lamina.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from lamina.containers.container import Container
    from lamina.images.store import ImageStore

_STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_FILTERS = (
    *("ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name"),
    *("network", "publish", "since", "status", "volume"),
)


def select(
    containers: Sequence[Container],
    filters: Mapping[str, Sequence[str]],
    images: ImageStore,
    *,
    all: bool,
) -> list[Container]:
    """The containers that fit: values of one filter are alternatives, but for labels.

    A filter by status, exit code, before or since looks at all containers, as Docker's.
    """
    for name in filters:
        if name not in _FILTERS:
            raise InvalidInput(f"invalid filter '{name}'")
    _check(filters)
    tests = [_TESTS[name] for name in filters if name in _TESTS]
    wanted = [filters[name] for name in filters if name in _TESTS]
    all = all or any(name in filters for name in ("status", "exited", "before", "since"))
    found = []
    images_wanted = _ancestors(filters.get("ancestor", ()), images)
    after = _moments(containers, filters.get("since", ()))
    until = _moments(containers, filters.get("before", ()))
    for container in containers:
        if not all and not container.state.running:
            continue
        if images_wanted is not None and container.image_id not in images_wanted:
            continue
        if after and container.created_ns <= max(after):
            continue
        if until and container.created_ns >= min(until):
            continue
        if any(not test(container, values) for test, values in zip(tests, wanted, strict=True)):
            continue
        found.append(container)
    return found


def _check(filters: Mapping[str, Sequence[str]]) -> None:
    for status in filters.get("status", ()):
        if status not in _STATUSES:
            raise InvalidInput(f"invalid filter 'status={status}'")
    for code in filters.get("exited", ()):
        if not code.lstrip("-").isdigit():
            raise InvalidInput(f"invalid filter 'exited={code}'")


def _moments(containers: Sequence[Container], references: Sequence[str]) -> list[int]:
    moments = []
    for reference in references:
        plain = reference.removeprefix("/")
        for container in containers:
            if plain and (container.name == plain or container.id.startswith(plain)):
                moments.append(container.created_ns)
                break
        else:
            raise NotFound(f"No such container: {reference}")
    return moments


def _ancestors(references: Sequence[str], images: ImageStore) -> set[str] | None:
    """The ids of the named images and of all images made on top of them; None: no such filter."""
    if not references:
        return None
    wanted: set[str] = set()
    for reference in references:
        try:
            base = images.resolve(reference)
        except (NotFound, InvalidInput):
            continue
        below = base.config.diff_ids
        wanted.add(base.id)
        for image in images.list(intermediate=True):
            if below and image.config.diff_ids[: len(below)] == below:
                wanted.add(image.id)
    return wanted


def _has_id(container: Container, values: Sequence[str]) -> bool:
    return any(container.id.startswith(value) for value in values)


def _has_name(container: Container, values: Sequence[str]) -> bool:
    import re

    # Docker matches the name with and without its slash, anywhere.
    names = (container.name, f"/{container.name}")
    try:
        return any(re.search(value, name) for value in values for name in names)
    except re.error as error:
        raise InvalidInput(f"invalid filter 'name': {error}") from None


def _has_labels(container: Container, values: Sequence[str]) -> bool:
    labels = container.config.labels
    for value in values:
        name, equals, wanted = value.partition("=")
        if name not in labels or (equals and labels[name] != wanted):
            return False
    return True


def _has_status(container: Container, values: Sequence[str]) -> bool:
    return container.state.status in values


def _has_exited(container: Container, values: Sequence[str]) -> bool:
    state = container.state
    return state.status == "exited" and str(state.exit_code) in values


def _has_network(container: Container, values: Sequence[str]) -> bool:
    return network_of(container.host_config, container.config) in values


def _has_volume(container: Container, values: Sequence[str]) -> bool:
    held = {
        str(mount[key])
        for mount in container.mount_points
        for key in ("name", "source", "destination")
        if mount[key]
    }
    return any(value in held for value in values)


def _publishes(container: Container, values: Sequence[str]) -> bool:
    bindings = container.host_config.port_bindings
    ports = {bound.host_port for every in bindings.values() for bound in every}
    return any(value in bindings or value.partition("/")[0] in ports for value in values)


def _exposes(container: Container, values: Sequence[str]) -> bool:
    exposed = container.config.exposed_ports
    return any(
        value in exposed or f"{value}/tcp" in exposed for value in values if "-" not in value
    )


def _has_health(_: Container, values: Sequence[str]) -> bool:
    return "none" in values


def _is_task(_: Container, values: Sequence[str]) -> bool:
    return not any(value in ("true", "1") for value in values)


_TESTS: dict[str, Callable[[Container, Sequence[str]], bool]] = {
    "id": _has_id,
    "name": _has_name,
    "label": _has_labels,
    "status": _has_status,
    "exited": _has_exited,
    "network": _has_network,
    "volume": _has_volume,
    "publish": _publishes,
    "expose": _exposes,
    "health": _has_health,
    "is-task": _is_task,
}
