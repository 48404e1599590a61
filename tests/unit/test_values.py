"""The cheap dataclass is the standard one, as far as anybody can tell."""

from __future__ import annotations

import dataclasses
import operator
import pickle
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina import values

Decorator = Callable[..., Any]


def classes(decorator: Decorator, **options: Any) -> tuple[Any, Any]:
    @decorator(**options)
    class Point:
        LIMIT: ClassVar[int] = 3
        x: int
        y: int = 2
        tags: list[str] = dataclasses.field(default_factory=list)
        note: str = dataclasses.field(default="n", repr=False, compare=False)

    @decorator(**options)
    class Named(Point):
        name: str = ""
        y: int = 5

    return Point, Named


OPTIONS = [
    {"frozen": True},
    {"frozen": True, "order": True},
    {},
    {"order": True},
    {"frozen": True, "slots": True},
    {"slots": True},
]


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (TypeError, dataclasses.FrozenInstanceError, AttributeError) as error:
        return type(error)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@given(
    args=st.lists(st.integers(0, 3), max_size=6),
    kwargs=st.dictionaries(st.sampled_from(["x", "y", "note", "name", "z"]), st.integers(0, 3)),
)
def test_instances_are_made_shown_compared_and_hashed_alike(
    options: dict[str, Any], args: list[int], kwargs: dict[str, int]
) -> None:
    for ours, theirs in zip(
        classes(values.dataclass, **options), classes(dataclasses.dataclass, **options), strict=True
    ):
        made = [outcome(lambda cls=cls: cls(*args, **kwargs)) for cls in (ours, theirs)]
        if isinstance(made[1], type):
            assert made[0] is made[1]
            continue
        tail = "Point(" if "Named" not in ours.__qualname__ else "Named("
        shown = [repr(each).partition(tail)[2] for each in made]
        assert shown[0] == shown[1]
        assert dataclasses.asdict(made[0]) == dataclasses.asdict(made[1])
        assert [f.name for f in dataclasses.fields(ours)] == [
            f.name for f in dataclasses.fields(theirs)
        ]
        our_one, their_one = ours(1), theirs(1)
        for compare in (operator.eq, operator.ne, operator.lt, operator.ge):
            assert outcome(partial(compare, made[0], our_one)) == outcome(
                partial(compare, made[1], their_one)
            )
        assert [outcome(partial(hash, each)) is TypeError for each in made] in (
            [True, True],
            [False, False],
        )
        assert [dataclasses.replace(each, x=9).x for each in made] == [9, 9]
        refused = [outcome(partial(setattr, each, "x", 1)) for each in made]
        assert refused[0] == refused[1]


def test_defaults_are_made_anew_for_each_instance() -> None:
    point, _ = classes(values.dataclass)
    first, second = point(1), point(1)
    first.tags.append("a")
    assert second.tags == []
    assert point.LIMIT == 3


def test_equality_is_by_class() -> None:
    point, named = classes(values.dataclass, frozen=True)
    assert point(1) != named(1)
    assert hash(point(1, 2, ())) == hash(point(1, 2, ()))


def test_methods_written_by_hand_stay() -> None:
    @values.dataclass(frozen=True)
    class Hand:
        x: int

        def __repr__(self) -> str:
            return "by hand"

        def __post_init__(self) -> None:
            object.__setattr__(self, "double", self.x * 2)

        @cached_property
        def triple(self) -> int:
            return self.x * 3

    hand = Hand(2)
    assert repr(hand) == "by hand"
    assert (hand.double, hand.triple) == (4, 6)  # type: ignore[attr-defined]
    match hand:
        case Hand(x):
            assert x == 2


@values.dataclass(frozen=True)
class Kept:
    x: int


def test_instances_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Kept(3))) == Kept(3)
