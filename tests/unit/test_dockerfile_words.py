"""Variables and quotes in a word, by cases of what BuildKit gives."""

from __future__ import annotations

import pytest

from lamina.build.dockerfile.errors import WordError
from lamina.build.dockerfile.words import expand, expand_shown, expand_text, expand_words

VALUES = {"A": "hello", "EMPTY": "", "PATH_": "/usr/local/bin", "N": "a b  c", "1": "one"}

WORDS = {
    "plain": "plain",
    "$A": "hello",
    "${A}x": "hellox",
    "$A$A": "hellohello",
    "$UNSET": "",
    "a$": "a$",
    "$-x": "x",
    r"\$A": "$A",
    r"\\$A": r"\hello",
    "'$A'": "$A",
    '"$A"': "hello",
    r'"\$A"': "$A",
    r'"a\b"': r"a\b",
    r"a\ b": "a b",
    "a\\": "a",
    "''": "",
    "${UNSET:-default}": "default",
    "${EMPTY:-default}": "default",
    "${EMPTY-default}": "",
    "${UNSET-default}": "default",
    "${A:+set}": "set",
    "${EMPTY:+set}": "",
    "${EMPTY+set}": "set",
    "${UNSET+set}": "",
    "${UNSET:-${A}}": "hello",
    "${UNSET:-'a b'}": "a b",
    "${A:?no}": "hello",
    "${A#he}": "llo",
    "${A#*l}": "lo",
    "${A##*l}": "o",
    "${A%l*}": "hel",
    "${A%%l*}": "he",
    "${A#x}": "hello",
    "${A%lo}": "hel",
    "${PATH_##*/}": "bin",
    "${PATH_%/*}": "/usr/local",
    "${A/l/L}": "heLlo",
    "${A//l/L}": "heLLo",
    "${A/x/y}": "hello",
    "${1}": "one",
}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_becomes(word: str) -> None:
    assert expand(word, VALUES) == WORDS[word]


REFUSED = {
    "${": "syntax error: missing '}'",
    "${A": "syntax error: missing '}'",
    "${A:-x": "syntax error: missing '}'",
    "${}": "syntax error: bad substitution",
    "${:-x}": "syntax error: bad substitution",
    "${A:x}": "unsupported modifier (:x) in substitution",
    "${A!x}": "unsupported modifier (!) in substitution",
    "${UNSET:?must be set}": "UNSET: must be set",
    "${UNSET?}": "UNSET: is not allowed to be unset",
    "'a": "unexpected end of statement while looking for matching single-quote",
    '"a': "unexpected end of statement while looking for matching double-quote",
}


@pytest.mark.parametrize("word", REFUSED)
def test_a_word_is_refused(word: str) -> None:
    with pytest.raises(WordError) as refused:
        expand(word, VALUES)
    assert str(refused.value) == REFUSED[word]


def test_another_escape_character_leaves_backslashes_alone() -> None:
    assert expand(r"c:\$A`$A", VALUES, "`") == r"c:\hello$A"


def test_spaces_of_a_variable_divide_words_unless_quoted() -> None:
    assert expand_words("$N", VALUES) == ["a", "b", "c"]
    assert expand_words('"$N" x', VALUES) == ["a b  c", "x"]
    assert expand_words("", VALUES) == []


def test_a_here_document_keeps_quotes_and_escapes() -> None:
    assert expand_text('it\'s "$A" \\n\n', VALUES) == 'it\'s "hello" \\n\n'


def test_an_instruction_is_shown_with_the_values_it_has_and_else_as_written() -> None:
    shown = """RUN echo $A '$A' "$A" $UNSET ${UNSET} \\$A ${UNSET:-d}"""
    assert expand_shown(shown, VALUES) == ("""RUN echo hello '$A' "hello" $UNSET ${UNSET} \\$A d""")
    assert expand_shown("RUN echo ${A", VALUES) == "RUN echo ${A"
