"""The programs that Lamina starts, and which versions of them are here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lamina.errors import LaminaError

# Not named by Lamina's own words but run as they are: what each is for stands in the README.
PROGRAMS = ("runc", "crun", "conmon", "netavark")


def version_of(name: str) -> str | None:
    """The version of a program, or None where it is not to be found or does not answer."""
    path = _find(name)
    return None if path is None else _ask(path)


def _find(name: str) -> str | None:
    finder = _FINDERS.get(name, _on_path)
    return finder(name)


def _on_path(name: str) -> str | None:
    from lamina.containers.runtime import find_program

    return find_program(name)


def _netavark(_name: str) -> str | None:
    from lamina.networks.netavark import find_netavark

    try:
        return str(find_netavark())
    except LaminaError:
        return None


_FINDERS: dict[str, Callable[[str], str | None]] = {"netavark": _netavark}


def _ask(path: str) -> str | None:
    """`runc version 1.1.5+ds1` and `netavark 1.4.0` both end their first line in the version."""
    from lamina.containers.runtime import capture

    code, output = capture([path, "--version"])
    first: Sequence[str] = output.split("\n", 1)[0].split()
    return first[-1] if code == 0 and first else None


def commit() -> str:
    """The commit of the source tree this package runs from, as far as there is one."""
    repository = Path(__file__).parents[3] / ".git"
    try:
        head = (repository / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head[:7]
        reference = head.removeprefix("ref: ")
        loose = repository / reference
        if loose.exists():
            return loose.read_text().strip()[:7]
        for line in (repository / "packed-refs").read_text().splitlines():
            if line.endswith(f" {reference}"):
                return line[:7]
    except OSError:
        pass
    return "unknown"
