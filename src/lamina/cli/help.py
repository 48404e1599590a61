"""What `--help` prints, laid out as Docker's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from lamina.cli.command import Command, flag_names

if TYPE_CHECKING:
    from lamina.cli.main import LazyGroup

_WIDTH = 80

_GLOBAL_OPTIONS = (
    ("    --config string", 'Configuration file (default "/etc/lamina/config.json")'),
    ("-D, --debug", "Show the traceback of an error"),
    ("    --root string", 'Data root (default "/var/lib/lamina")'),
    ("    --runtime string", "OCI runtime (default: crun or runc, whichever works)"),
    ("-s, --storage-driver string", "Storage driver (default: the best that works here)"),
    ("    --storage-opt list", "Storage driver options, as key=value"),
    ("-v, --version", "Print version information and quit"),
)


def main_help(ctx: click.Context) -> str:
    """`lamina --help`."""
    from lamina.cli.main import COMMON, ENTRIES, GROUPS, SUMMARY, available

    there = available()
    top = {
        path: entry.summary
        for path, entry in ENTRIES.items()
        if " " not in path and not entry.hidden and entry.module in there
    }
    groups = {
        name: summary
        for name, summary in GROUPS.items()
        if any(p.startswith(f"{name} ") and e.module in there for p, e in ENTRIES.items())
    }
    common = [(name, top[name]) for name in COMMON if name in top]
    others = sorted((name, top[name]) for name in top if name not in COMMON)
    width = max(len(name) for name in (*top, *groups))
    return "\n".join(
        (
            f"Usage:  {ctx.command_path} [OPTIONS] COMMAND",
            "",
            SUMMARY,
            "",
            *_section("Common Commands", common, width),
            *_section("Management Commands", groups.items(), width),
            *_section("Commands", others, width),
            *_options_section("Global Options", _GLOBAL_OPTIONS),
            f"Run '{ctx.command_path} COMMAND --help' for more information on a command.",
        )
    )


def group_help(group: LazyGroup, ctx: click.Context) -> str:
    """`lamina image --help`."""
    from lamina.cli.main import ENTRIES

    rows = [(name, ENTRIES[group.prefix + name].summary) for name in group.list_commands(ctx)]
    return "\n".join(
        (
            f"Usage:  {ctx.command_path} COMMAND",
            "",
            group.help or "",
            "",
            *_section("Commands", rows, max((len(name) for name, _ in rows), default=0)),
            f"Run '{ctx.command_path} COMMAND --help' for more information on a command.",
        )
    )


def command_help(command: Command, ctx: click.Context) -> str:
    """`lamina run --help`."""
    from lamina.cli.main import ENTRIES, aliases

    program, _, path = ctx.command_path.partition(" ")
    others = aliases(path) if path in ENTRIES else []
    lines = [f"Usage:  {ctx.command_path} {command.usage}".rstrip(), "", command.help or "", ""]
    if len(others) > 1:
        lines += ["Aliases:", "  " + ", ".join(f"{program} {each}" for each in others), ""]
    options = [
        (option_names(each), option_help(each))
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden
    ]
    options.sort(key=lambda row: row[0][row[0].index("--") :] if "--" in row[0] else row[0])
    lines += _options_section("Options", options)
    return "\n".join(lines).rstrip()


def _section(title: str, rows: Iterable[tuple[str, str]], width: int) -> list[str]:
    lines = [f"  {name.ljust(width)}  {summary}" for name, summary in rows]
    return [f"{title}:", *lines, ""] if lines else []


def _options_section(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    import textwrap

    column = max(len(names) for names, _ in rows)
    lines = [f"{title}:"]
    for names, text in rows:
        body = [
            part
            for line in text.splitlines() or [""]
            for part in textwrap.wrap(line, max(_WIDTH - column - 5, 24)) or [""]
        ]
        lines.append(f"  {names.ljust(column)}   {body[0]}".rstrip())
        lines += [f"  {' ' * column}   {part}" for part in body[1:]]
    return [*lines, ""]


def option_names(option: click.Option) -> str:
    """`-f, --filter filter`, or an indented `--format string` where there is no short name."""
    names = flag_names(option)
    if names.startswith("--"):
        names = f"    {names}"
    if option.is_flag:
        return names
    return f"{names} {_value_name(option)}"


def _value_name(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if option.multiple:
        return "list"
    return {"integer": "int", "float": "float"}.get(option.type.name, "string")


def option_help(option: click.Option) -> str:
    """What an option does, with its default where that is shown."""
    text = option.help or ""
    default = option.default
    if not option.show_default or default is None or callable(default):
        return text
    if option.is_flag:
        return f"{text} (default true)" if default else text
    return (
        f'{text} (default "{default}")'
        if isinstance(default, str)
        else f"{text} (default {default})"
    )
