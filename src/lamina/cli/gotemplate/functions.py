"""The functions that a template can call: those of Go's text/template and those of Docker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina.cli.gotemplate.encoding import go_json
from lamina.cli.gotemplate.printing import go_value, sprint, sprintf, sprintln
from lamina.cli.gotemplate.values import Map, Struct, type_name

__all__ = ["FUNCTIONS", "CallError", "Function", "is_true"]


class CallError(Exception):
    """A function refuses its arguments."""


class Function:
    """A function with the types of its parameters: "any", "string", "int" or "[]string".

    `more` is the type of any further arguments; `stops_at` the truth at which `and` and `or` stop
    evaluating; one that is `named` is given its first argument's source too.
    """

    __slots__ = ("does", "more", "named", "stops_at", "takes")

    def __init__(
        self,
        does: Callable[..., Any],
        takes: tuple[str, ...] = (),
        more: str = "",
        *,
        stops_at: bool | None = None,
        named: bool = False,
    ) -> None:
        self.does = does
        self.takes = takes
        self.more = more
        self.stops_at = stops_at
        self.named = named


def is_true(value: Any) -> bool:
    """Go's truth: nothing empty, zero or nil; a struct is always true."""
    return isinstance(value, Struct) or bool(value)


def _index(item: Any, *indexes: Any) -> Any:
    if item is None:
        raise CallError("index of untyped nil")
    for index in indexes:
        if isinstance(item, (str, list, tuple)):
            sequence = item.encode(errors="surrogateescape") if isinstance(item, str) else item
            place = _place(index, len(sequence))
            if place == len(sequence):
                kind = "string" if isinstance(item, str) else "slice"
                raise CallError(f"reflect: {kind} index out of range")
            item = sequence[place]
        elif isinstance(item, dict) and (not isinstance(item, Struct) or item.is_raw):
            if index is None:
                raise CallError("value is nil; should be of type string")
            if not isinstance(index, str):
                raise CallError(f"value has type {type_name(index)}; should be string")
            item = item.get(index, item.zero if isinstance(item, Map) else None)
        elif item is None:
            raise CallError("index of untyped nil")
        else:
            raise CallError(f"can't index item of type {type_name(item)}")
    return item


def _place(index: Any, most: int) -> int:
    if index is None:
        raise CallError("cannot index slice/array with nil")
    if isinstance(index, bool) or not isinstance(index, int):
        raise CallError(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index <= most:
        raise CallError(f"index out of range: {index}")
    return index


def _slice(item: Any, *indexes: Any) -> Any:
    if item is None:
        raise CallError("slice of untyped nil")
    if len(indexes) > 3:
        raise CallError(f"too many slice indexes: {len(indexes)}")
    if not isinstance(item, (str, list, tuple)):
        raise CallError(f"can't slice item of type {type_name(item)}")
    if isinstance(item, str) and len(indexes) == 3:
        raise CallError("cannot 3-index slice a string")
    sequence = item.encode(errors="surrogateescape") if isinstance(item, str) else item
    bounds = [0, len(sequence), len(sequence)]
    for place, index in enumerate(indexes):
        bounds[place] = _place(index, len(sequence))
    for low, high in ((bounds[0], bounds[1]), (bounds[1], bounds[2])):
        if low > high:
            raise CallError(f"invalid slice index: {low} > {high}")
    cut = sequence[bounds[0] : bounds[1]]
    return cut.decode(errors="surrogateescape") if isinstance(cut, bytes) else cut


def _len(item: Any) -> int:
    if isinstance(item, str):
        return len(item.encode(errors="surrogateescape"))
    if isinstance(item, (list, tuple)) or (isinstance(item, dict) and not isinstance(item, Struct)):
        return len(item)
    if item is None:
        raise CallError("reflect: call of reflect.Value.Type on zero Value")
    raise CallError(f"len of type {type_name(item)}")


def _call(name: str, function: Any, *args: Any) -> Any:
    if function is None:
        raise CallError("call of nil")
    if not callable(function):
        raise CallError(f"non-function {name} of type {type_name(function)}")
    return function(*args)


_UNORDERED = "invalid type for comparison"
_INCOMPATIBLE = "incompatible types for comparison"


def _basic_kind(value: Any) -> str:
    name = type_name(value)
    return name if name in ("bool", "int", "float64", "complex128", "string") else ""


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    for other in others:
        kinds = _basic_kind(first), _basic_kind(other)
        if kinds[0] != kinds[1]:
            if first is not None and other is not None:
                raise CallError(_INCOMPATIBLE)
            continue
        if not kinds[0]:
            for each in (first, other):
                if isinstance(each, (dict, list, tuple)) and not isinstance(each, Struct):
                    raise CallError(f"non-comparable type {go_value(each)}: {type_name(each)}")
        if first == other:
            return True
    return False


def _lt(first: Any, second: Any) -> bool:
    kinds = _basic_kind(first), _basic_kind(second)
    if not all(kinds):
        raise CallError(_UNORDERED)
    if kinds[0] != kinds[1]:
        raise CallError(_INCOMPATIBLE)
    if kinds[0] in ("bool", "complex128"):
        raise CallError(_UNORDERED)
    return bool(first < second)


def _le(first: Any, second: Any) -> bool:
    return _lt(first, second) or _eq(first, second)


def _operands(values: tuple[Any, ...]) -> str:
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return sprint("<no value>" if value is None else value for value in values)


def _html(*values: Any) -> str:
    return _operands(values).translate(_HTML)


_HTML = str.maketrans(
    {"\0": "�", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
)


def _js(*values: Any) -> str:
    return "".join(map(_js_letter, _operands(values)))


def _js_letter(letter: str) -> str:
    if letter in "\\'\"":
        return f"\\{letter}"
    if letter in "<>&=" or letter < " ":
        return f"\\u{ord(letter):04X}"
    return letter if letter.isascii() or letter.isprintable() else f"\\u{ord(letter):04X}"


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_operands(values), safe="", errors="surrogateescape")


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _title(text: str) -> str:
    out = []
    previous = " "
    for letter in text:
        in_word = previous == "_" or previous.isalnum()
        separator = not in_word and (previous.isascii() or previous.isspace())
        out.append(letter.title() if separator else letter)
        previous = letter
    return "".join(out)


def _pad(text: str, before: int, after: int) -> str:
    if not text:
        return text
    if before < 0 or after < 0:
        raise CallError("strings: negative Repeat count")
    if before + after > _WIDEST:
        raise CallError("strings: Repeat output length overflow")
    return " " * before + text + " " * after


_WIDEST = 1 << 20


def _truncate(text: str, length: int) -> str:
    data = text.encode(errors="surrogateescape")
    if length < 0:
        raise CallError(f"runtime error: slice bounds out of range [:{length}]")
    return text if len(data) < length else data[:length].decode(errors="surrogateescape")


FUNCTIONS: dict[str, Function] = {
    # Go's
    "and": Function(lambda *_: None, ("any",), "any", stops_at=False),
    "or": Function(lambda *_: None, ("any",), "any", stops_at=True),
    "not": Function(lambda value: not is_true(value), ("any",)),
    "eq": Function(_eq, ("any",), "any"),
    "ne": Function(lambda first, second: not _eq(first, second), ("any", "any")),
    "lt": Function(_lt, ("any", "any")),
    "le": Function(_le, ("any", "any")),
    "gt": Function(lambda first, second: not _le(first, second), ("any", "any")),
    "ge": Function(lambda first, second: not _lt(first, second), ("any", "any")),
    "index": Function(_index, ("any",), "any"),
    "slice": Function(_slice, ("any",), "any"),
    "len": Function(_len, ("any",)),
    "call": Function(_call, ("any",), "any", named=True),
    "print": Function(lambda *values: sprint(values), (), "any"),
    "printf": Function(lambda form, *values: sprintf(form, list(values)), ("string",), "any"),
    "println": Function(lambda *values: sprintln(values), (), "any"),
    "html": Function(_html, (), "any"),
    "js": Function(_js, (), "any"),
    "urlquery": Function(_urlquery, (), "any"),
    # Docker's
    "json": Function(go_json, ("any",)),
    "split": Function(_split, ("string", "string")),
    "join": Function(lambda items, separator: separator.join(items), ("[]string", "string")),
    "title": Function(_title, ("string",)),
    "lower": Function(str.lower, ("string",)),
    "upper": Function(str.upper, ("string",)),
    "pad": Function(_pad, ("string", "int", "int")),
    "truncate": Function(_truncate, ("string", "int")),
}
