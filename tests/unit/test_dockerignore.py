"""What a .dockerignore hides, by Docker's own rules and examples."""

from __future__ import annotations

import pytest

from lamina.build.dockerignore import IgnoreRules, read_patterns
from lamina.errors import InvalidInput

CASES = [
    # patterns, ignored, kept
    ("*/temp*", "a/temp a/temporary.txt a/temp/x", "temp a/b/temp"),
    ("*/*/temp*", "a/b/temp a/b/temp.txt", "a/temp b/c/d/temp"),
    ("temp?", "tempa temp1/x", "temp tempab a/tempa"),
    ("**/*.go", "a.go a/b.go a/b/c.go", "a.gox go"),
    ("*.md\n!README.md", "a.md CHANGES.md", "README.md a/b.md"),
    ("*.md\n!README*.md\nREADME-secret.md", "a.md README-secret.md", "README.md README-x.md"),
    ("*.md\nREADME-secret.md\n!README*.md", "a.md", "README.md README-secret.md"),
    ("node_modules", "node_modules node_modules/a/b", "a/node_modules"),
    ("**/node_modules", "node_modules/a a/node_modules a/b/node_modules/c", "node_module"),
    ("a/**", "a/b a/b/c", "a b"),
    ("a/**/z", "a/z a/b/z a/b/c/z", "a/b/zz z"),
    ("**", "a a/b", ""),
    ("/root.txt", "root.txt", "a/root.txt"),
    ("./dir/", "dir dir/x", "dirx"),
    ("a/../b", "b b/x", "a"),
    ("# comment\n\n  spaced  ", "spaced", "#"),
    ("[ab].txt", "a.txt b.txt", "c.txt"),
    ("[^ab].txt", "c.txt", "a.txt"),
    ("[a-c]x", "ax bx cx", "dx"),
    (r"\*.txt", "*.txt", "a.txt"),
    ("*\n!keep/this", "x keep keep/other", "keep/this keep/this/too"),
    (".git", ".git .git/config", ".gitignore"),
    ("a.b", "a.b", "axb"),
    ("(x)|$+^{}", "(x)|$+^{}", "x"),
]


@pytest.mark.parametrize(("patterns", "ignored", "kept"), CASES, ids=[case[0] for case in CASES])
def test_patterns(patterns: str, ignored: str, kept: str) -> None:
    rules = IgnoreRules.read(patterns)
    assert [path for path in ignored.split() if not rules.ignores(path)] == []
    assert [path for path in kept.split() if rules.ignores(path)] == []


def test_a_class_may_end_in_a_range_up_to_a_dash() -> None:
    rules = IgnoreRules.read("[+--]")
    assert [path for path in "+,-.*" if rules.ignores(path)] == ["+", ",", "-"]


def test_patterns_are_cleaned_as_docker_cleans_them() -> None:
    text = "\ufeffa/b/\n! c //d/\n#x\n /e \n"
    assert read_patterns(text) == ["a/b", "!c /d", "e"]


@pytest.mark.parametrize("pattern", ["[", "[]", "a[b", "!", "[?--]"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        IgnoreRules.read(pattern)
