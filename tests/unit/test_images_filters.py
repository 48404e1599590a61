"""Filters of `image ls` and `image prune`."""

from __future__ import annotations

import pytest

from lamina.cli.ps import read_filters
from lamina.errors import InvalidInput
from lamina.images.filters import ImageFilter, path_match
from lamina.images.reference import Reference

ALLOWED = ("before", "dangling", "label", "label!", "reference", "since", "until")


def parse(*words: str) -> ImageFilter:
    return ImageFilter.parse(read_filters(words), allowed=ALLOWED, now_ns=0)


def test_words_become_a_filter() -> None:
    found = parse("dangling=true", "label=a", "label=b=c", "label!=d", "before=x", "reference=y*")
    assert found == ImageFilter(
        dangling=True,
        labels=("a", "b=c"),
        without_labels=("d",),
        before="x",
        references=("y*",),
    )


@pytest.mark.parametrize("word", ["x=y", "dangling", "dangling=maybe", "until=soon"])
def test_bad_words_are_refused(word: str) -> None:
    with pytest.raises(InvalidInput):
        parse(word)


def test_labels_match_by_key_or_by_key_and_value() -> None:
    labels = {"a": "1", "b": ""}
    assert parse("label=a").admits_labels(labels)
    assert parse("label=a=1", "label=b").admits_labels(labels)
    assert not parse("label=a=2").admits_labels(labels)
    assert not parse("label=c").admits_labels(labels)
    assert not parse("label!=a").admits_labels(labels)
    assert parse("label!=a=2").admits_labels(labels)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("busybox", True),
        ("busybox:1.36", True),
        ("busybox:2", False),
        ("busy*", True),
        ("*box:*", True),
        ("docker.io/library/busybox", True),
        ("*", True),
        ("other/*", False),
        ("b[a-z]sybox", True),
        ("b[^a-z]sybox", False),
    ],
)
def test_a_reference_matches_by_name_or_by_name_and_tag(pattern: str, matches: bool) -> None:
    reference = Reference.parse("busybox:1.36")
    assert parse(f"reference={pattern}").admits_reference(reference) is matches


def test_a_star_does_not_match_a_slash() -> None:
    assert not path_match("acme*", "acme/base")
    assert path_match("acme/*", "acme/base")
    assert path_match(r"a\*b", "a*b")


def test_an_unclosed_class_is_refused() -> None:
    with pytest.raises(InvalidInput, match="syntax error in pattern"):
        path_match("a[b", "ab")
