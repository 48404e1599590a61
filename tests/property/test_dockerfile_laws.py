"""Laws of the Dockerfile language: whatever is fed in, an answer or an InvalidInput comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.build.dockerfile import parse
from lamina.build.dockerfile.errors import WordError
from lamina.build.dockerfile.words import expand, expand_words
from lamina.build.dockerignore import IgnoreRules
from lamina.build.outline import Wishes, outline
from lamina.build.plan import plan
from lamina.errors import InvalidInput, Unsupported
from lamina.images.config import ImageConfig
from lamina.images.platform import Platform

CORPUS = [
    path.read_bytes()
    for path in sorted((Path(__file__).parents[1] / "unit" / "dockerfiles").glob("*/*"))
    if path.suffix != ".error"
]
PIECES = st.sampled_from(
    [
        *"FROM RUN COPY ADD ENV ARG LABEL CMD ENTRYPOINT EXPOSE VOLUME USER WORKDIR".split(),
        *"SHELL HEALTHCHECK ONBUILD STOPSIGNAL MAINTAINER AS scratch busybox a b".split(),
        *["<<EOF", "EOF", "<<-'E'", "E", "--from=a", "--chown=1", "--x", "--", "# escape=`", "#"],
        *["\n", "\n", "\n", " ", "\t", "\\\n", "`\n", "\\", "'", '"', "$", "${", "}", "[", "]"],
        *['["a"]', "a=b", "A=$B", "${A:-b}", "80", "/tcp", "-1", "\r\n", "\0", "é", "\u2028"],
    ]
)
MIXED = st.lists(PIECES, max_size=40).map(lambda pieces: "".join(pieces).encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file of the corpus with a few bytes replaced, removed or put in."""
    data = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


def planned(data: bytes) -> None:
    """As far as a build goes before it runs anything, on a base that is there."""
    wishes = Wishes(Platform("linux", "amd64"))
    outlined = outline(parse(data), wishes)
    bases = {name: ImageConfig("amd64", "linux") for name in outlined.images}
    plan(outlined, bases, {name: name for name in outlined.images})


@settings(max_examples=400, deadline=None)
@given(st.one_of(MIXED, MIXED.map(lambda data: b"FROM a\n" + data), damaged(), st.binary()))
def test_any_bytes_are_planned_or_refused_as_invalid(data: bytes) -> None:
    try:
        planned(data)
    except (InvalidInput, Unsupported) as refused:
        assert "\n" not in str(refused) or len(data) > 0
        assert str(refused)


@pytest.mark.parametrize("data", CORPUS)
def test_parsing_is_a_function(data: bytes) -> None:
    try:
        first = parse(data)
    except InvalidInput:
        return
    assert parse(data) == first


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab$\\{}:-+?#%/*'\" ", max_size=30))
def test_any_word_is_expanded_or_refused(word: str) -> None:
    try:
        expand(word, {"a": "value", "b": ""})
        expand_words(word, {"a": "value", "b": ""})
    except WordError as refused:
        assert str(refused)


@given(st.text(alphabet="abcXYZ019_/.-=", max_size=30))
def test_a_word_without_anything_special_is_itself(word: str) -> None:
    assert expand(word, {"a": "value"}) == word


PATTERNS = st.lists(st.text(alphabet="ab/*?![]^-\\.", max_size=8), max_size=5)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", ".a"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=300, deadline=None)
@given(PATTERNS, PATHS)
def test_what_is_in_an_ignored_folder_is_ignored_unless_taken_back(
    patterns: list[str], path: str
) -> None:
    try:
        rules = IgnoreRules.read("\n".join(patterns))
    except InvalidInput:
        return
    if rules.ignores(path) and not rules.takes_back:
        assert rules.ignores(f"{path}/inner")
