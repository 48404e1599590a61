"""Which images a listing or a prune means: `--filter` as data, and how each matches.

Pure: what a filter needs to know about an image is handed in. Source: Docker's `docker image ls`
reference, and Go's path.Match for `reference=` patterns (`*` does not match `/`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from lamina.errors import InvalidInput
from lamina.images.reference import Reference
from lamina.images.times import parse_rfc3339

_TRUE = ("1", "true")
_FALSE = ("0", "false")
_NS = 1_000_000_000
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": _NS,
    "m": 60 * _NS,
    "h": 3600 * _NS,
}


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """What to show. `before` and `since` name images as a person would."""

    dangling: bool | None = None
    labels: tuple[str, ...] = ()
    without_labels: tuple[str, ...] = ()
    before: str = ""
    since: str = ""
    until_ns: int | None = None
    references: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls, given: Mapping[str, Sequence[str]], *, allowed: Sequence[str], now_ns: int
    ) -> ImageFilter:
        """Read the values given for each key; InvalidInput for unknown keys and bad values."""
        for key in given:
            if key not in allowed:
                raise InvalidInput(f"invalid filter '{key}'", remedy=f"use {', '.join(allowed)}")
        found = dict(given)
        until = found.get("until", [])
        if len(until) > 1:
            raise InvalidInput("more than one until filter specified")
        return cls(
            dangling=_truth("dangling", found.get("dangling", [])),
            labels=tuple(found.get("label", ())),
            without_labels=tuple(found.get("label!", ())),
            before="".join(found.get("before", [])[-1:]),
            since="".join(found.get("since", [])[-1:]),
            until_ns=moment_ns(until[0], now_ns=now_ns) if until else None,
            references=tuple(found.get("reference", ())),
        )

    def admits_labels(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels satisfy `label=` and `label!=`."""
        return all(_has_label(labels, wanted) for wanted in self.labels) and not any(
            _has_label(labels, unwanted) for unwanted in self.without_labels
        )

    def admits_reference(self, reference: Reference) -> bool:
        """Whether a name satisfies one of the `reference=` patterns, if there are any."""
        if not self.references:
            return True
        names = (
            reference.familiar(),
            reference.familiar_name,
            str(reference),
            reference.name,
        )
        return any(path_match(pattern, name) for pattern in self.references for name in names)


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, given, value = wanted.partition("=")
    return key in labels and (not given or labels[key] == value)


def _truth(name: str, values: Sequence[str]) -> bool | None:
    if not values:
        return None
    said = {value.lower() for value in values}
    if said <= set(_TRUE):
        return True
    if said <= set(_FALSE):
        return False
    raise InvalidInput(f"invalid filter '{name}=[{' '.join(values)}]'", remedy="use true or false")


def moment_ns(text: str, *, now_ns: int) -> int:
    """A moment as `until=` takes it: RFC 3339, a date, Unix seconds, or a length of time ago."""
    ago = _duration_ns(text)
    if ago is not None:
        return now_ns - ago
    seconds, dot, fraction = text.partition(".")
    if seconds.isdigit() and (not dot or fraction.isdigit()):
        return int(seconds) * _NS + int((fraction + "000000000")[:9])
    complete = text
    if len(text) == len("2006-01-02"):
        complete += "T00:00:00"
    elif len(text) == len("2006-01-02T15:04"):
        complete += ":00"
    try:
        return parse_rfc3339(complete)
    except InvalidInput:
        return parse_rfc3339(complete + "Z")


def _duration_ns(text: str) -> int | None:
    """Go's time.ParseDuration for positive durations; None for what is none."""
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(round(float(number) * _UNITS_NS[unit]) for number, unit in parts)


def path_match(pattern: str, name: str) -> bool:
    """Go's path.Match: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]` are classes."""
    return _compiled(pattern).fullmatch(name) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    out: list[str] = []
    rest = pattern
    while rest:
        char, rest = rest[0], rest[1:]
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\" and rest:
            out.append(re.escape(rest[0]))
            rest = rest[1:]
        elif char == "[":
            end = rest.find("]", 1)
            if end < 0:
                raise InvalidInput(f"invalid filter 'reference={pattern}': syntax error in pattern")
            inside, rest = rest[:end], rest[end + 1 :]
            negated = inside.startswith("^")
            members = re.escape(inside[1:] if negated else inside).replace(r"\-", "-")
            out.append(f"[{'^' if negated else ''}{members}]")
        else:
            out.append(re.escape(char))
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error:
        raise InvalidInput(
            f"invalid filter 'reference={pattern}': syntax error in pattern"
        ) from None
