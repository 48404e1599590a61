"""`lamina build`: an image of a Dockerfile and its context.

Progress and errors go to standard error; with `-q` the image's id goes to standard output.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import InvalidInput, LaminaError, NotFound, Unsupported

if TYPE_CHECKING:
    from lamina.build.builder import BuildRequest
    from lamina.build.refusals import BuildFailed
    from lamina.cli.progress import Progress

_PROGRESS = ("auto", "plain", "quiet", "tty")


@docker_command(
    "[OPTIONS] PATH | -",
    "Build an image from a Dockerfile",
    at_least=1,
    at_most=1,
)
@click.option("--build-arg", "args", multiple=True, metavar="list", help="Set build-time variables")
@click.option(
    "-f", "--file", metavar="string", help='Name of the Dockerfile (default: "PATH/Dockerfile")'
)
@click.option("--iidfile", metavar="string", help="Write the image ID to a file")
@click.option("--label", "labels", multiple=True, metavar="list", help="Set metadata for an image")
@click.option(
    "--network",
    default="default",
    metavar="string",
    help='Set the networking mode for the "RUN" instructions during build (default "default")',
)
@click.option("--no-cache", is_flag=True, help="Do not use cache when building the image")
@click.option(
    "--progress",
    default="auto",
    metavar="string",
    help='Set type of progress output ("auto", "plain", "quiet", "tty") (default "auto")',
)
@click.option("--pull", is_flag=True, help="Always attempt to pull a newer version of the image")
@click.option("-q", "--quiet", is_flag=True, help="Suppress the build output and print image ID")
@click.option(
    "-t",
    "--tag",
    "tags",
    multiple=True,
    metavar="list",
    help='Name and optionally a tag in the "name:tag" format',
)
@click.option("--target", default="", metavar="string", help="Set the target build stage to build")
@click.argument("context")
@click.pass_obj
def command(
    app: App,
    args: tuple[str, ...],
    file: str | None,
    iidfile: str | None,
    labels: tuple[str, ...],
    network: str,
    no_cache: bool,
    progress: str,
    pull: bool,
    quiet: bool,
    tags: tuple[str, ...],
    target: str,
    context: str,
) -> int:
    from lamina.build.refusals import BuildFailed

    if progress not in _PROGRESS:
        raise InvalidInput(f"invalid progress {progress!r}: want one of {', '.join(_PROGRESS)}")
    if pull:
        raise Unsupported(
            "build --pull is not supported yet", remedy="load or import the base image first"
        )
    request = _request(context, file, tags, args, labels, target, network, app)
    request = _without_cache(request) if no_cache else request
    builder = app.engine.builder
    drawn = _drawer("quiet" if quiet else progress, colours=not app.environment.get("NO_COLOR"))
    try:
        try:
            result = builder.build(request, drawn.hear)
        finally:
            drawn.close()
    except BuildFailed as failure:
        _explain(failure, quiet=quiet)
        return 1
    for warning in result.warnings:
        print(f"\n{warning}" if not quiet else warning, file=sys.stderr)
    if iidfile:
        Path(iidfile).write_text(result.image_id)
    if quiet or progress == "quiet":
        print(result.image_id)
    return 0


def _request(
    context: str,
    file: str | None,
    tags: tuple[str, ...],
    args: tuple[str, ...],
    labels: tuple[str, ...],
    target: str,
    network: str,
    app: App,
) -> BuildRequest:
    from lamina.build.builder import BuildRequest

    folder, definition = _context(context, file)
    return BuildRequest(
        context=folder,
        dockerfile=Path(file) if file and file != "-" else None,
        definition=definition,
        tags=tags,
        args=_pairs(args, "build-arg", app),
        labels={name: value or "" for name, _, value in (each.partition("=") for each in labels)},
        target=target,
        network=network,
    )


def _context(context: str, file: str | None) -> tuple[Path | None, bytes | None]:
    """The context's folder, and the Dockerfile's content where it comes from standard input."""
    if context.startswith(("http://", "https://", "git://", "git@", "github.com/", "ssh://")):
        raise Unsupported(
            f"a URL as build context is not supported yet: {context}",
            remedy="download it and name its folder",
        )
    if context == "-":
        if file == "-":
            raise InvalidInput(
                "invalid argument: can't use stdin for both build context and dockerfile"
            )
        return None, _standard_input()
    folder = Path(context)
    if not folder.exists():
        raise NotFound(f"unable to prepare context: path {context!r} not found")
    if not folder.is_dir():
        raise InvalidInput(f"unable to prepare context: path {context!r} is not a folder")
    return folder, _standard_input() if file == "-" else None


def _standard_input() -> bytes:
    from lamina.build.builder import DOCKERFILE_LIMIT_BYTES

    if sys.stdin.isatty():
        raise InvalidInput(
            "cannot read the Dockerfile from a terminal", remedy="redirect one to standard input"
        )
    data = sys.stdin.buffer.read(DOCKERFILE_LIMIT_BYTES + 1)
    if len(data) > DOCKERFILE_LIMIT_BYTES or data[:2] == b"\x1f\x8b" or data[257:262] == b"ustar":
        raise Unsupported(
            "a tar as build context on standard input is not supported yet",
            remedy="extract it and name its folder",
        )
    return data


def _pairs(texts: tuple[str, ...], flag: str, app: App) -> dict[str, str]:
    """`NAME=value`, or `NAME` for the value it has in our environment, if it has one."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise InvalidInput(f"invalid {flag} {text!r}: want NAME=value")
        if equals:
            found[name] = value
        elif name in app.environment:
            found[name] = app.environment[name]
    return found


def _without_cache(request: BuildRequest) -> BuildRequest:
    from dataclasses import replace

    return replace(request, use_cache=False)


def _drawer(kind: str, *, colours: bool) -> Progress:
    from lamina.cli.progress import Plain, Quiet, Terminal

    if kind == "quiet":
        return Quiet()
    if kind == "plain" or (kind == "auto" and not sys.stderr.isatty()):
        return Plain(sys.stderr)
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        size = os.terminal_size((80, 24))
    width, height = size.columns or 80, size.lines or 24
    return Terminal(sys.stderr, (width, height), colours=sys.stderr.isatty() and colours)


def _explain(failure: BuildFailed, *, quiet: bool) -> None:
    """The failed step's last output, the place in the Dockerfile, and the error."""
    from lamina.cli.progress import shown_line

    rule = "------"
    out = sys.stderr
    if failure.step and not quiet:
        print(rule, f" > {failure.step}:", sep="\n", file=out)
        for line in failure.output:
            print(shown_line(line.encode()), file=out)
        print(rule, file=out)
    if failure.excerpt is not None:
        print(failure.excerpt, file=out)
    print(f"ERROR: {one_line(failure)}", file=out)


def one_line(error: LaminaError) -> str:
    """The error on one line."""
    return " ".join(str(error).split("\n"))
