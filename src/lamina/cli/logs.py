"""`lamina logs`: what a container wrote, each stream to its own."""

from __future__ import annotations

import sys

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import InvalidInput


@docker_command("[OPTIONS] CONTAINER", "Fetch the logs of a container", exactly=1)
@click.option("-f", "--follow", is_flag=True, help="Follow log output")
@click.option(
    "--since",
    help='Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 '
    "minutes)",
)
@click.option(
    "-n",
    "--tail",
    default="all",
    show_default=True,
    help="Number of lines to show from the end of the logs",
)
@click.option("-t", "--timestamps", is_flag=True, help="Show timestamps")
@click.option(
    "--until",
    help='Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for '
    "42 minutes)",
)
@click.argument("container")
@click.pass_obj
def command(
    app: App,
    container: str,
    follow: bool,
    since: str | None,
    until: str | None,
    tail: str,
    timestamps: bool,
) -> int | None:
    lines = app.engine.containers.get(container).logs(
        follow=follow,
        tail=_count(tail),
        since_ns=moment(since, "since") if since else None,
        until_ns=moment(until, "until") if until else None,
    )
    out, err = sys.stdout.buffer, sys.stderr.buffer
    for line in lines:
        target = err if line.stream == "stderr" else out
        if timestamps:
            target.write(stamp(line.time_ns).encode() + b" ")
        target.write(line.text)
        if follow:
            target.flush()
    out.flush()
    err.flush()
    return None


def stamp(time_ns: int) -> str:
    """RFC 3339 with all nine digits, as Docker's `--timestamps`."""
    import time

    seconds, fraction = divmod(time_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"


_UNITS_NS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def moment(text: str, flag: str) -> int:
    """Nanoseconds since 1970 of a timestamp, a date, Unix seconds, or so long ago (`1h30m`)."""
    import time

    from lamina.images.times import parse_rfc3339

    length = _length_ns(text)
    if length is not None:
        return time.time_ns() - length
    seconds, dot, fraction = text.partition(".")
    if seconds.isdecimal() and (not dot or fraction.isdecimal()):
        return int(seconds) * 10**9 + int((fraction + "0" * 9)[:9])
    # What is left out of a timestamp is zero, and its zone is UTC.
    full = text if len(text) > 10 else f"{text}T00:00:00"
    if len(full) == 16:
        full += ":00"
    if full[-1:] not in "Zz" and full[-6:-5] not in ("+", "-"):
        full += "Z"
    try:
        return parse_rfc3339(full)
    except InvalidInput:
        raise InvalidInput(
            f'invalid value for "{flag}": failed to parse value as time or duration: "{text}"'
        ) from None


def _length_ns(text: str) -> int | None:
    """A Go duration: numbers with units, without anything between."""
    total, rest = 0.0, text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = rest[digits : len(rest) - len(rest[digits:].lstrip("abcdefghijklmnopqrstuvwxyz"))]
        if not digits or unit not in _UNITS_NS:
            return None
        try:
            total += float(rest[:digits]) * _UNITS_NS[unit]
        except ValueError:
            return None
        rest = rest[digits + len(unit) :]
    return int(total) if text else None


def _count(text: str) -> int | None:
    """Docker takes anything that is no number for "all"."""
    return int(text) if text.isascii() and text.isdecimal() else None
