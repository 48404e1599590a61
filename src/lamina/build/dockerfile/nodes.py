"""Dockerfile text to nodes: one node an instruction, with its lines, flags and heredocs.

Nothing here knows what an instruction means. Parser directives, comments, continuation lines and
heredocs are dealt with as the Dockerfile reference and BuildKit's parser define them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lamina.build.dockerfile.errors import DockerfileError, Lines

LONGEST_LINE_BYTES = 65535
MAY_HOLD_HEREDOC = frozenset({"ADD", "COPY", "RUN"})

_SPACES = " \t\v\f\r"
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]*)")


@dataclass(frozen=True)
class Heredoc:
    """A here-document: its content stands in the Dockerfile below the instruction."""

    name: str
    content: str
    expand: bool
    """False where the name is quoted: variables in the content are left alone."""
    file_descriptor: int = 0


@dataclass(frozen=True)
class Node:
    """One instruction as written, continuation lines joined."""

    keyword: str
    flags: tuple[str, ...]
    rest: str
    lines: Lines
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def text(self) -> str:
        """The instruction on one line, as progress and errors show it."""
        return " ".join(part for part in (self.keyword, *self.flags, self.rest) if part)


@dataclass(frozen=True)
class Source:
    """A whole file: its nodes and the parser directives at its top."""

    nodes: tuple[Node, ...]
    escape: str = "\\"
    syntax: str = ""


def read_nodes(text: str) -> Source:
    """Split a Dockerfile into nodes; DockerfileError where it cannot be."""
    reader = _Reader(text)
    nodes = tuple(reader.nodes())
    if not nodes:
        raise DockerfileError("file with no instructions")
    return Source(nodes, reader.escape, reader.syntax)


def decode(data: bytes) -> str:
    """The text of a Dockerfile's bytes."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DockerfileError("not UTF-8 text", Lines(line, line)) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DockerfileError("a NUL byte in the text", Lines(line, line))
    return text


class _Reader:
    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._at = 0
        self.escape = "\\"
        self.syntax = ""
        self._read_directives()
        escape = re.escape(self.escape)
        self._continued = re.compile(rf"(?:^|(?<=[^{escape}])){escape}[ \t]*\r?$")

    def nodes(self) -> Iterator[Node]:
        while self._at < len(self._lines):
            first = self._at + 1
            line = self._next()
            if _is_comment(line):
                continue
            line, goes_on = self._uncontinued(line.lstrip(_SPACES))
            if not line and not goes_on:
                continue
            parts = [line]
            while goes_on and self._at < len(self._lines):
                line = self._next()
                if _is_comment(line) or not line.strip(_SPACES):
                    continue
                line, goes_on = self._uncontinued(line)
                parts.append(line)
            joined = "".join(parts).strip()
            if joined:
                yield self._node(joined, first)

    def _node(self, joined: str, first: int) -> Node:
        keyword, _, rest = _partition_spaces(joined)
        keyword = keyword.upper()
        here = Lines(first, self._at)
        flags, rest = _split_flags(rest, self.escape)
        found: list[Heredoc] = []
        if keyword == "ONBUILD":
            inner = _partition_spaces(rest)[0].upper()
            if inner in MAY_HOLD_HEREDOC and "<<" in rest:
                raise DockerfileError("heredocs in ONBUILD are not supported", here)
        elif keyword in MAY_HOLD_HEREDOC and "<<" in rest:
            found = [self._body(opening, first) for opening in heredoc_openings(rest, self.escape)]
        return Node(keyword, flags, rest, Lines(first, self._at), tuple(found))

    def _body(self, opening: Opening, first: int) -> Heredoc:
        content: list[str] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            if opening.strip_tabs:
                line = line.lstrip("\t")
            if line.rstrip("\r") == opening.name:
                return Heredoc(
                    opening.name, "".join(content), opening.expand, opening.file_descriptor
                )
            content.append(line + "\n")
        raise DockerfileError("unterminated heredoc", Lines(first, self._at))

    def _next(self) -> str:
        line = self._lines[self._at]
        self._at += 1
        if len(line) > LONGEST_LINE_BYTES:
            raise DockerfileError(
                f"line greater than maximum allowed size of {LONGEST_LINE_BYTES}",
                Lines(self._at, self._at),
            )
        return line

    def _uncontinued(self, line: str) -> tuple[str, bool]:
        """The line without its continuation character, and whether it had one."""
        match = self._continued.search(line)
        if match is None:
            return line.rstrip("\r"), False
        return line[: match.start()], True

    def _read_directives(self) -> None:
        seen: set[str] = set()
        for number, line in enumerate(self._lines, 1):
            match = _DIRECTIVE.fullmatch(line.strip())
            if match is None:
                return
            name = match[1].lower()
            if name not in _DIRECTIVES:
                return
            if name in seen:
                raise DockerfileError(
                    f"only one {name} parser directive can be used", Lines(number, number)
                )
            seen.add(name)
            if name == "escape":
                if match[2] not in ("\\", "`"):
                    raise DockerfileError(
                        f"invalid ESCAPE '{match[2]}' does not match \\ or `", Lines(number, number)
                    )
                self.escape = match[2]
            elif name == "syntax":
                self.syntax = match[2]


@dataclass(frozen=True)
class Opening:
    """`<<NAME` in an instruction: what its here-document will be read with."""

    name: str
    expand: bool
    strip_tabs: bool
    file_descriptor: int


def heredoc_openings(rest: str, escape: str) -> list[Opening]:
    """The here-documents that an instruction's line opens, in order."""
    return [
        opening
        for word in split_words(rest, escape)
        if (opening := parse_opening(word, escape)) is not None
    ]


def parse_opening(word: str, escape: str) -> Opening | None:
    """The here-document that this word opens (`<<EOF`, `3<<-"EOF"`), if it does."""
    match = _HEREDOC.fullmatch(word)
    if match is None or len(match[1]) > 4:
        return None
    written = match[3]
    name = written
    for quote in "\"'":
        if len(written) >= 2 and written[0] == quote == written[-1]:
            name = written[1:-1]
    if not name or any(char in "\"'<> \t" + escape for char in name):
        return None
    return Opening(name, name == written, match[2] == "-", int(match[1] or "0"))


def split_words(rest: str, escape: str) -> list[str]:
    """Words divided by spaces that are neither quoted nor escaped; quotes and escapes stay."""
    return [word for word, _ in _words(rest, escape)]


def _words(rest: str, escape: str) -> Iterator[tuple[str, int]]:
    """Each word and the position behind it."""
    word: list[str] = []
    begun = False
    quote = ""
    at = 0
    while at < len(rest):
        char = rest[at]
        at += 1
        if not quote and char.isspace():
            if begun:
                yield "".join(word), at - 1
            word, begun = [], False
            continue
        if char == escape and quote != "'":
            if at == len(rest):
                break
            word.append(char)
            char = rest[at]
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        word.append(char)
        begun = True
    if begun:
        yield "".join(word), at


def _split_flags(rest: str, escape: str) -> tuple[tuple[str, ...], str]:
    flags: list[str] = []
    if not rest.startswith("--"):
        return (), rest
    behind = 0
    for word, end in _words(rest, escape):
        if not word.startswith("--"):
            break
        behind = end
        if word == "--":
            break
        flags.append(word)
    return tuple(flags), rest[behind:].strip()


def _partition_spaces(line: str) -> tuple[str, str, str]:
    parts = line.split(None, 1)
    if not parts:
        return "", "", ""
    return parts[0], " ", parts[1].strip() if len(parts) > 1 else ""


def _is_comment(line: str) -> bool:
    return line.lstrip(_SPACES).startswith("#")
