"""What Python values stand for in a template.

A str, int, float, bool, complex, list, dict or None stands for Go's string, int, float64, bool,
complex128, slice, map and nil; a `Struct` for a struct. Strings are bytes to Go: where bytes
matter (length, index, hexadecimal), they are those of UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Struct(dict[str, Any]):
    """A record with a fixed set of fields; one that holds a function has a method."""

    def __init__(
        self,
        type_name: str,
        fields: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        *,
        is_raw: bool = False,
        missing_is_no_value: bool = False,
    ) -> None:
        super().__init__(fields)
        self.type_name = type_name
        # Decoded from JSON: a missing field is told as a missing key.
        self.is_raw = is_raw
        self.missing_is_no_value = missing_is_no_value


class Map(dict[str, Any]):
    """A map whose missing keys read as `zero` when indexed, as those of Go's typed maps do."""

    def __init__(self, fields: Mapping[str, Any], zero: Any) -> None:
        super().__init__(fields)
        self.zero = zero


def type_name(value: Any) -> str:
    """Go's name for the type of a value."""
    if isinstance(value, Struct):
        return value.type_name
    if isinstance(value, Map):
        return f"map[string]{type_name(value.zero) if value.zero is not None else 'interface {}'}"
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(each, str) for each in value):
            return "[]string"
        return "[]interface {}"
    for kind, name in _TYPE_NAMES:
        if isinstance(value, kind):
            return name
    return "func" if callable(value) else "interface {}"


_TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float64"),
    (complex, "complex128"),
    (str, "string"),
    (dict, "map[string]interface {}"),
)
