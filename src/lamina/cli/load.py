"""`lamina load`: images out of an archive, or out of a folder with an OCI layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.cli.standard_input import standard_input
from lamina.errors import InvalidInput

if TYPE_CHECKING:
    from lamina.images.archives.load import LayerProgress, LoadEvent

_BAR_WIDTH = 50


@docker_command("[OPTIONS]", "Load an image from a tar archive or STDIN")
@click.option(
    "-i", "--input", metavar="string", help="Read from tar archive file, instead of STDIN"
)
@click.option(
    "--platform",
    help='Load only the given platform variant. Formatted as "os[/arch[/variant]]" '
    '(e.g., "linux/amd64")',
)
@click.option("-q", "--quiet", is_flag=True, help="Suppress the load output")
@click.pass_obj
def command(app: App, input: str | None, platform: str | None, quiet: bool) -> int | None:
    from lamina.images.archives.load import load
    from lamina.images.platform import Platform

    wanted = Platform.parse(platform) if platform else None
    printer = _Printer(draws=sys.stdout.isatty() and not quiet)
    try:
        load(app.engine.images, _source(input), platform=wanted, report=printer.report)
    finally:
        printer.end_line()
    return None


def _source(input: str | None) -> BinaryIO | Path:
    if input is not None:
        path = Path(input)
        path.stat()
        return path
    if sys.stdin.isatty():
        raise InvalidInput("requested load from stdin, but stdin is empty")
    return standard_input()


class _Printer:
    """Prints what was loaded; on a terminal also how far each layer has come."""

    def __init__(self, *, draws: bool) -> None:
        self._draws = draws
        self._layer = ""
        self._drawn_percent = -1

    def report(self, event: LoadEvent) -> None:
        """Tell the person."""
        from lamina.images.archives.load import LayerProgress

        if isinstance(event, LayerProgress):
            if self._draws:
                self._draw(event)
            return
        self.end_line()
        print(event, flush=True)

    def _draw(self, event: LayerProgress) -> None:
        from lamina.cli.units import size

        layer = event.diff_id.short if event.diff_id is not None else "layer"
        if layer != self._layer:
            self.end_line()
            self._layer, self._drawn_percent = layer, -1
        # A compressed member's size says little of how long its tar is: then only count.
        done = min(event.done_bytes, event.total_bytes)
        percent = done * 100 // event.total_bytes if event.total_bytes else 100
        if percent == self._drawn_percent:
            return
        self._drawn_percent = percent
        bar = ("=" * (percent * _BAR_WIDTH // 100) + ">")[:_BAR_WIDTH]
        counts = f"{size(event.done_bytes):>8}/{size(max(event.done_bytes, event.total_bytes))}"
        print(f"\r{layer}: Loading layer [{bar:<{_BAR_WIDTH}}] {counts}\x1b[K", end="", flush=True)

    def end_line(self) -> None:
        """Leave the line that is being drawn."""
        if self._layer:
            print()
            self._layer = ""
