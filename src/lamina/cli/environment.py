"""Environment variables and labels as flags and files give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lamina.errors import InvalidInput, NotFound

__all__ = ["environment", "read_lines"]


def environment(
    given: Sequence[str], files: Sequence[str], variables: Mapping[str, str]
) -> tuple[str, ...]:
    """The variables of `--env-file` and then of `-e`; a bare name takes the caller's value.

    A bare name without a value stays bare in `-e` (the image's variable is removed), and is left
    out of a file.
    """
    found = []
    for path in files:
        for line in read_lines(path):
            name, equals, _ = line.partition("=")
            if not name:
                raise InvalidInput(f"invalid env file ({path}): no variable name on line '{line}'")
            if any(c.isspace() for c in name):
                raise InvalidInput(
                    f"invalid env file ({path}): variable '{name}' contains whitespaces"
                )
            if equals:
                found.append(line)
            elif name in variables:
                found.append(f"{name}={variables[name]}")
    for text in given:
        name, equals, _ = text.partition("=")
        if not name:
            raise InvalidInput(
                f'invalid argument "{text}" for "-e, --env" flag: '
                f"invalid environment variable: {text}"
            )
        bare = name in variables and not equals
        found.append(f"{name}={variables[name]}" if bare else text)
    return tuple(found)


def read_lines(path: str) -> list[str]:
    """The lines of a file of variables or labels, without comments and empty ones."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except FileNotFoundError:
        raise NotFound(f"open {path}: no such file or directory") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"env file {path} contains invalid utf8 bytes") from None
    lines = (line.lstrip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
