"""What `--format` does: a listing as a table, as JSON lines or by a template; objects likewise.

    listing = Listing("ContainerContext", {"ID": "CONTAINER ID", "Names": "NAMES"},
                      "table {{.ID}}\\t{{.Names}}", template=format, quiet=quiet)
    if listing.uses("Size"): ...                      # what is dear to find out
    print(listing.render(rows), end="")               # rows: mappings with a value for each header

A listing's row may also hold functions: they are methods in the template (`{{.Label "key"}}`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lamina.cli.gotemplate import FUNCTIONS, Function, Map, Struct, Template, TemplateError, go_json
from lamina.errors import InvalidInput

__all__ = ["HELP", "INSPECT_HELP", "Listing", "inspect", "parse_for_inspect", "tabulate"]

# The help of every listing's --format.
HELP = """\
Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""

# The help of every inspect's --format.
INSPECT_HELP = """\
Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""


class UnparsableTemplate(InvalidInput):
    """The template of an inspect cannot be parsed; `exit_code` is Docker's for it (EX_USAGE)."""

    exit_code = 64


class Listing:
    """A listing in the form that was asked for.

    `kind` is the name of Docker's row type, which the message for an unknown field shows;
    `headers` has a header for each field that a template may use; `default` is the template
    without `--format`.
    """

    def __init__(
        self,
        kind: str,
        headers: Mapping[str, str],
        default: str,
        *,
        template: str | None = None,
        quiet: bool = False,
        quiet_template: str = "{{.ID}}",
    ) -> None:
        text = template or "table"
        if quiet:
            text = quiet_template
        elif text == "table":
            text = default
        self._kind = kind if "." in kind else f"*formatter.{kind}"
        self._headers = headers
        self._is_table = text.startswith("table")
        if self._is_table:
            text = text.removeprefix("table")
        elif text == "json":
            text = "{{json .}}"
        text = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
        self._template = _parse(text)
        self._fields = self._template.fields()

    def uses(self, field: str) -> bool:
        """Whether the template may ask for this field: only then its value must be in the rows."""
        return self._fields is None or field in self._fields

    def render(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """All that is to be printed, each row on its line; its fields sorted, as JSON has them."""
        lines = [self._line(Struct(self._kind, sorted(row.items()))) for row in rows]
        if not self._is_table:
            return "".join(lines)
        header = Struct("formatter.SubHeaderContext", self._headers, missing_is_no_value=True)
        header.setdefault("Label", _label_header)
        return tabulate(self._line(header, _HEADER_FUNCTIONS) + "".join(lines))

    def _line(self, row: Struct, functions: Mapping[str, Function] | None = None) -> str:
        return f"{_execute(self._template, row, functions or _ROW_FUNCTIONS)}\n"


def inspect(found: Sequence[Mapping[str, Any]], template: str | None = None) -> str:
    """What `inspect` prints for these objects: indented JSON, or each by the template."""
    objects = typed(found)
    if not template:
        import json

        return json.dumps(objects, indent=4, ensure_ascii=False) + "\n"
    if template == "json":
        return go_json(objects) + "\n"
    parsed = parse_for_inspect(template)
    return "".join(f"{_execute(parsed, each)}\n" for each in objects)


def parse_for_inspect(text: str) -> Template:
    """The template of an inspect; what is none ends the command with Docker's code for that."""
    try:
        return _parse(text)
    except InvalidInput as error:
        raise UnparsableTemplate(str(error)) from None


# Fields of inspect's answers that hold maps with free keys, what is missing in which is no mistake,
# and what an absent key reads as when indexed: Go's zero value of the map's type.
_MAPS: dict[str, Any] = {
    **dict.fromkeys(
        ("Annotations", "Data", "DriverOpts", "Labels", "LogOpts", "Metadata", "Options"), ""
    ),
    **dict.fromkeys(("Storage", "StorageOpt", "Sysctls", "Tmpfs"), ""),
    **{key: [] for key in ("PortBindings", "Ports")},
    **dict.fromkeys(("Containers", "ExposedPorts", "Networks", "Runtimes", "Volumes"), None),
}


def typed(value: Any, name: str = "", parent: str = "") -> Any:
    """An object of inspect's answer in which the template engine knows records from maps."""
    if isinstance(value, Mapping):
        if name in _MAPS or (name == "Config" and parent == "LogConfig"):
            entries = {key: typed(each, "", name) for key, each in sorted(value.items())}
            return Map(entries, _MAPS.get(name, ""))
        fields = {key: typed(each, key, name) for key, each in value.items()}
        return Struct("map[string]interface {}", fields, is_raw=True)
    if isinstance(value, (list, tuple)):
        return [typed(each, "", name) for each in value]
    return value


def _parse(text: str) -> Template:
    try:
        return Template(text)
    except TemplateError as error:
        raise InvalidInput(f"template parsing error: {error}") from None


def _execute(template: Template, data: Any, functions: Mapping[str, Function] = FUNCTIONS) -> str:
    try:
        return template.execute(data, functions)
    except TemplateError as error:
        raise InvalidInput(f"template parsing error: {error}") from None


def _label_header(name: str) -> str:
    return name.rsplit(".", 1)[-1].replace("-", " ").replace("_", " ")


def _unchanged(text: Any, *_: Any) -> Any:
    return text


def _row_json(value: Any) -> str:
    """A whole row is encoded by Docker with `<`, `>` and `&` escaped; a single value is not."""
    text = go_json(value)
    if isinstance(value, Struct):
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
    return text


_ROW_FUNCTIONS = {**FUNCTIONS, "json": Function(_row_json, ("any",))}

# In a table's header every function that would change a value leaves the column's title alone.
_HEADER_FUNCTIONS = {
    **FUNCTIONS,
    **{
        name: Function(_unchanged, ("any",) * len(FUNCTIONS[name].takes))
        for name in ("json", "split", "join", "title", "lower", "upper", "truncate")
    },
}

_MIN_WIDTH = 10
_PADDING = 3


def tabulate(text: str) -> str:
    """Go's text/tabwriter with Docker's settings: columns at least 10 wide, 3 spaces apart.

    A cell ends at a tab; a column is a run of lines that all have such a cell; what follows the
    last tab of a line belongs to no column.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[0] * (len(cells) - 1) for cells in lines]
    for start, cells in enumerate(lines):
        for column in range(len(cells) - 1):
            if widths[start][column]:
                continue
            end = start
            while end < len(lines) and len(lines[end]) - 1 > column:
                end += 1
            block = range(start, end)
            width = max(_MIN_WIDTH, *(len(lines[row][column]) + _PADDING for row in block))
            for row in block:
                widths[row][column] = width
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(cells, padded, strict=False)) + cells[-1]
        for cells, padded in zip(lines, widths, strict=True)
    )
