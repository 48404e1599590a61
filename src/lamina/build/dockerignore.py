"""Patterns of a `.dockerignore`: which paths of the context a build does not see.

Docker's rules: `*` and `?` stay within a path's component, `**` crosses them, a pattern that
matches a folder matches what is in it, `!` takes paths back, and the last pattern that matches
decides. Source: moby/patternmatcher and the Dockerfile reference.
"""

from __future__ import annotations

import posixpath
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from lamina.errors import InvalidInput


@dataclass(frozen=True)
class _Rule:
    matches: re.Pattern[str]
    takes_back: bool


class IgnoreRules:
    """An ordered list of patterns, asked with paths relative to the context (`a/b`)."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules = tuple(_rule(pattern) for pattern in patterns)
        self.takes_back = any(rule.takes_back for rule in self._rules)
        """Whether anything below an ignored folder may be wanted all the same."""

    @classmethod
    def read(cls, text: str) -> IgnoreRules:
        """The rules of a `.dockerignore` file's text."""
        return cls(read_patterns(text))

    def ignores(self, path: str) -> bool:
        """Whether the build does not see this path."""
        parents = _parents(path)
        ignored = False
        for rule in self._rules:
            if rule.takes_back != ignored:
                continue  # it could change nothing
            if rule.matches.fullmatch(path) or any(map(rule.matches.fullmatch, parents)):
                ignored = not rule.takes_back
        return ignored


def read_patterns(text: str) -> list[str]:
    """The patterns of a file, cleaned as Docker cleans them; comments and blank lines dropped."""
    patterns: list[str] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip()
        mark = ""
        if pattern.startswith("!"):
            mark, pattern = "!", pattern[1:].strip()
        if pattern:
            pattern = posixpath.normpath(pattern).replace("//", "/")
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        if mark or pattern:
            patterns.append(mark + pattern)
    return patterns


def _rule(pattern: str) -> _Rule:
    takes_back = pattern.startswith("!")
    body = pattern[1:] if takes_back else pattern
    if not body:
        raise InvalidInput('illegal exclusion pattern: "!"', remedy="correct .dockerignore")
    return _Rule(compile_pattern(body), takes_back)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of one pattern; for `fullmatch` on a relative path."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if not pattern.startswith("*", at):
                parts.append("[^/]*")
                continue
            at += 1
            if pattern.startswith("/", at):
                at += 1
            parts.append(".*" if at == len(pattern) else "(?:.*/)?")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[":
            end = _class_end(pattern, at)
            parts.append(_class(pattern[at:end]))
            at = end + 1
        elif char == "\\" and at < len(pattern):
            parts.append(re.escape(pattern[at]))
            at += 1
        else:
            parts.append(re.escape(char))
    try:
        with warnings.catch_warnings():
            # Of `--` in a class, which Python may give a meaning of its own one day.
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile("".join(parts), re.DOTALL)
    except re.error:
        raise _bad(pattern) from None


def _class_end(pattern: str, begin: int) -> int:
    at = begin
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] == "]" and at > begin:
            return at
        at += 1
    raise _bad(pattern)


def _class(body: str) -> str:
    """`[a-z]` and `[^a-z]`, where nothing inside is special but `^`, `-` and a backslash."""
    negated = body.startswith("^")
    chars = body[1:] if negated else body
    escaped = re.sub(r"[\[&~|]", lambda match: "\\" + match[0], chars)
    return f"[{'^' if negated else ''}{escaped}]"


def _bad(pattern: str) -> InvalidInput:
    return InvalidInput(f"syntax error in pattern: {pattern!r}")


def _parents(path: str) -> list[str]:
    found: list[str] = []
    at = path.find("/")
    while at >= 0:
        found.append(path[:at])
        at = path.find("/", at + 1)
    return found
