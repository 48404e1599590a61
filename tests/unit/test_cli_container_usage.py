"""Command lines that make no sense are refused before anything is opened."""

from __future__ import annotations

import pytest

from lamina.cli.context import App
from lamina.cli.main import run


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        (["run", "--foo", "image"], 125, "unknown flag: --foo"),
        (["run", "-Z", "image"], 125, "unknown shorthand flag: 'Z' in -Z"),
        (["run"], 1, "'lamina run' requires at least 1 argument"),
        (["run", "--name"], 125, "flag needs an argument: --name"),
        (["run", "--isolation", "x", "x"], 125, "unknown flag: --isolation"),
        (["run", "--rm=maybe", "x"], 125, 'invalid argument "maybe" for "--rm" flag'),
        (["run", "--pids-limit", "x", "image"], 125, 'for "--pids-limit" flag'),
        (["exec", "one"], 1, "'lamina exec' requires at least 2 arguments"),
        (["rm"], 1, "'lamina rm' requires at least 1 argument"),
        (["logs", "a", "b"], 1, "'lamina logs' requires 1 argument"),
        (["ps", "extra"], 1, "'lamina ps' accepts no arguments"),
        (["wait"], 1, "'lamina wait' requires at least 1 argument"),
        (["volume", "create", "a", "b"], 1, "requires at most 1 argument"),
        (["network", "inspect"], 1, "requires at least 1 argument"),
    ],
)
def test_a_mistake_is_told_with_where_to_find_help(
    args: list[str], code: int, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args, App({})) == code
    said = capsys.readouterr()
    assert problem in said.err
    assert "--help' for more information" in said.err
    assert said.out == ""


@pytest.mark.parametrize("command", ["run", "create", "exec", "ps", "rm", "logs", "inspect"])
def test_help_names_every_flag(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"], App({})) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage:  lamina {command}")
    assert "Options:" in shown
