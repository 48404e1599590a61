"""Which images may be removed, in Docker's words."""

from __future__ import annotations

import pytest

from lamina.digests import Digest, ImageID
from lamina.errors import Conflict
from lamina.images.reference import Reference
from lamina.images.removal import Situation, Use, plan_removal

IMAGE = ImageID("sha256:" + "abc123def456" + "0" * 52)
CONTAINER = "feedfacecafe" + "0" * 52


def names(*texts: str) -> list[Reference]:
    return [Reference.parse(text) for text in texts]


def situation(*texts: str, status: str = "", children: bool = False) -> Situation:
    uses = [Use(CONTAINER, status)] if status else []
    return Situation(IMAGE, names(*texts), uses, children)


def test_the_last_name_takes_the_image_with_it() -> None:
    (name,) = names("a:1")
    plan = plan_removal(situation("a:1"), name, force=False)
    assert (plan.untag, plan.delete) == ((name,), True)


def test_one_of_several_names_is_taken_off_even_while_the_image_runs() -> None:
    first, _ = names("a:1", "b:1")
    plan = plan_removal(situation("a:1", "b:1", status="running"), first, force=False)
    assert (plan.untag, plan.delete) == ((first,), False)


def test_the_digests_of_a_repository_go_with_its_last_tag() -> None:
    (name,) = names("a:1")
    digest = name.pinned(Digest("sha256:" + "1" * 64))
    plan = plan_removal(Situation(IMAGE, [name, digest], [], False), name, force=False)
    assert (plan.untag, plan.delete) == ((name, digest), True)


def test_the_only_name_of_a_used_image_stays() -> None:
    (name,) = names("a:1")
    message = (
        'conflict: unable to remove repository reference "a:1" \\(must force\\) - '
        "container feedfacecafe is using its referenced image abc123def456"
    )
    for status in ("running", "exited", "created"):
        with pytest.raises(Conflict, match=message):
            plan_removal(situation("a:1", status=status), name, force=False)


def test_force_removes_what_a_stopped_container_uses_but_not_a_running_one() -> None:
    (name,) = names("a:1")
    assert plan_removal(situation("a:1", status="exited"), name, force=True).delete
    message = (
        "conflict: unable to delete abc123def456 \\(cannot be forced\\) - "
        "image is being used by running container feedfacecafe"
    )
    with pytest.raises(Conflict, match=message):
        plan_removal(situation("a:1", status="running"), name, force=True)


def test_by_id_an_image_of_several_names_needs_force() -> None:
    message = (
        "conflict: unable to delete abc123def456 \\(must be forced\\) - "
        "image is referenced in multiple repositories"
    )
    with pytest.raises(Conflict, match=message):
        plan_removal(situation("a:1", "b:1"), None, force=False)
    plan = plan_removal(situation("a:1", "b:1"), None, force=True)
    assert (plan.untag, plan.delete) == (tuple(names("a:1", "b:1")), True)


def test_by_id_a_stopped_container_asks_for_force() -> None:
    with pytest.raises(Conflict, match=r"must be forced.*stopped container feedfacecafe"):
        plan_removal(situation("a:1", status="exited"), None, force=False)
    assert plan_removal(situation("a:1", status="exited"), None, force=True).delete


def test_a_parent_of_other_images_stays() -> None:
    for force in (False, True):
        with pytest.raises(Conflict, match=r"cannot be forced.*dependent child images"):
            plan_removal(situation(children=True), None, force=force)
