"""Whether an image may be removed, and of what its removal consists: Docker's rules, as data.

Source: moby, daemon/images/image_delete.go, for the order of the questions and the words of the
refusals. Pure: the caller reads the state, asks here, and carries the answer out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lamina.digests import ImageID
from lamina.errors import Conflict
from lamina.images.reference import Reference

_RUNNING = frozenset(("running", "paused", "restarting"))


@dataclass(frozen=True, slots=True)
class Use:
    """A container that was made from the image."""

    container: str
    status: str

    @property
    def running(self) -> bool:
        """Whether its processes live."""
        return self.status in _RUNNING


@dataclass(frozen=True, slots=True)
class Situation:
    """What there is to know about an image that is to be removed."""

    image: ImageID
    names: Sequence[Reference]
    uses: Sequence[Use]
    has_children: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """References to take off, and whether the image itself goes with them."""

    untag: tuple[Reference, ...]
    delete: bool


def plan_removal(situation: Situation, named: Reference | None, *, force: bool) -> Plan:
    """What `rmi` does. `named` is the reference that was given, or None where an id was.

    Conflict with Docker's words where it must not be.
    """
    if named is not None:
        return _plan_by_reference(situation, named, force=force)
    single = is_single_reference(situation.names)
    refuse_if_needed(situation, soft=not force, referenced=not single)
    return Plan(untag=tuple(situation.names), delete=True)


def _plan_by_reference(situation: Situation, named: Reference, *, force: bool) -> Plan:
    if not force and is_single_reference(situation.names) and situation.uses:
        raise Conflict(
            f'conflict: unable to remove repository reference "{named.familiar()}" (must force) - '
            f"container {situation.uses[0].container[:12]} is using its referenced image "
            f"{situation.image.short}"
        )
    untag = [named]
    left = [name for name in situation.names if name != named]
    same_repository = [name for name in left if name.name == named.name]
    # When a repository loses its last tag, its digests go too.
    if named.digest is None and all(name.tag is None for name in same_repository):
        untag += same_repository
        left = [name for name in left if name not in same_repository]
    if not left:
        refuse_if_needed(situation, soft=not force, referenced=False)
    return Plan(untag=tuple(untag), delete=not left)


def refuse_if_needed(situation: Situation, *, soft: bool, referenced: bool) -> None:
    """Raise Conflict where the image cannot go (hard), or (with `soft`) only by force."""
    running = next((use for use in situation.uses if use.running), None)
    stopped = next((use for use in situation.uses if not use.running), None)
    if situation.has_children:
        raise _conflict(situation, "cannot be forced", "image has dependent child images")
    if running is not None:
        reason = f"image is being used by running container {running.container[:12]}"
        raise _conflict(situation, "cannot be forced", reason)
    if soft and referenced:
        raise _conflict(situation, "must be forced", "image is referenced in multiple repositories")
    if soft and stopped is not None:
        reason = f"image is being used by stopped container {stopped.container[:12]}"
        raise _conflict(situation, "must be forced", reason)


def is_single_reference(names: Sequence[Reference]) -> bool:
    """Whether all names are one tag, and digests of the same repository."""
    if len(names) <= 1:
        return True
    tags = [name for name in names if name.tag is not None]
    return len(tags) <= 1 and len({name.name for name in names}) == 1


def _conflict(situation: Situation, severity: str, reason: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {situation.image.short} ({severity}) - {reason}")
