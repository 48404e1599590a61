"""Writes docs/reference/commands.md from the commands themselves: `python scripts/reference.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from lamina.cli.command import Command
from lamina.cli.help import option_help, option_names
from lamina.cli.main import ENTRIES, aliases, available, load

PAGE = Path(__file__).parents[1] / "docs/reference/commands.md"


def page() -> str:
    """The whole page."""
    lines = [
        "# Commands",
        "",
        "Made from the code by `scripts/reference.py`. Global options stand before the command:",
        "see `lamina --help` and [configuration](configuration.md).",
        "",
    ]
    seen = set()
    there = available()
    for entry in ENTRIES.values():
        if entry.module in there and entry.module not in seen and not entry.hidden:
            seen.add(entry.module)
            lines += section(entry.path)
    return "\n".join(lines).rstrip() + "\n"


def section(path: str) -> Iterator[str]:
    """What one command takes."""
    command = load(ENTRIES[path])
    assert isinstance(command, Command)
    names = aliases(path)
    short = min(names, key=lambda name: (len(name.split()), len(name)))
    yield f"## lamina {short}"
    yield ""
    yield f"`lamina {short} {command.usage}`".replace(" `", "`")
    yield ""
    yield f"{command.help}."
    others = [f"`lamina {name}`" for name in names if name != short]
    if others:
        yield ""
        yield f"Also: {', '.join(others)}."
    options = [
        each for each in command.params if isinstance(each, click.Option) and not each.hidden
    ]
    if options:
        yield ""
        yield "| option | what it does |"
        yield "| --- | --- |"
        for option in sorted(options, key=lambda each: each.opts[-1].lstrip("-")):
            told = option_help(option).replace("\n", "<br>").replace("|", "\\|")
            yield f"| `{option_names(option).strip()}` | {told} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page())
