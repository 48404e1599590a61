"""Laws of command lines: each way to write a flag says the same, and nothing crashes the reader."""

from __future__ import annotations

from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.cli.command import UsageMistake, docker_command
from lamina.cli.context import App


@docker_command("[OPTIONS] NAME [ARG...]", "Sample", at_least=1)
@click.option("-a", "--all", is_flag=True)
@click.option("-t", "--tty", is_flag=True)
@click.option("-e", "--env", multiple=True)
@click.option("-n", "--name")
@click.option("--count", type=int, default=0)
@click.argument("names", nargs=-1)
def sample(**values: Any) -> None:
    seen.append(values)


seen: list[dict[str, Any]] = []

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
PLAIN = st.text("abcxyz019/._", min_size=1, max_size=6)
TYPED = """-a -t -at -e -eX=1 -n= --all --all=0 --name --name=x -- --count=3 --count - --- --=
    -ateY --nope -z"""
LINES = st.lists(st.sampled_from(sorted(TYPED.split())) | WORDS, max_size=8)


def call(args: list[str]) -> dict[str, Any]:
    seen.clear()
    with sample.make_context("lamina", args, obj=App({})) as ctx:
        sample.invoke(ctx)
    return seen.pop()


@given(LINES)
def test_a_line_is_read_or_told_to_be_wrong(args: list[str]) -> None:
    try:
        values = call(args)
    except UsageMistake as mistake:
        assert mistake.exit_code in (1, 125)
        assert "Usage:  lamina [OPTIONS] NAME [ARG...]" in mistake.format_message()
    except click.exceptions.Exit as asked_for_help:
        assert asked_for_help.exit_code == 0
    else:
        assert set(values) == {"all", "tty", "env", "name", "count", "names"}


@given(st.lists(PLAIN, min_size=1, max_size=4), st.lists(PLAIN, max_size=3), PLAIN, st.data())
def test_flags_say_the_same_wherever_and_however_they_stand(
    names: list[str], environment: list[str], name: str, data: st.DataObject
) -> None:
    flags = [data.draw(st.sampled_from([["-a"], ["--all"], ["--all=true"], ["-a=1"]]))]
    spellings = [["-n", name], [f"-n{name}"], [f"-n={name}"], ["--name", name], [f"--name={name}"]]
    flags.append(data.draw(st.sampled_from(spellings)))
    for value in environment:
        spelled = [["-e", value], [f"-e{value}"], ["--env", value], [f"--env={value}"]]
        flags.append(data.draw(st.sampled_from(spelled)))
    args = list(names)
    places = sorted(data.draw(st.integers(0, len(names))) for _ in flags)
    for place, flag in reversed(list(zip(places, flags, strict=True))):
        args[place:place] = flag
    values = call(args)
    assert values == {
        "all": True,
        "tty": False,
        "env": tuple(environment),
        "name": name,
        "count": 0,
        "names": tuple(names),
    }


@pytest.mark.parametrize("help_flag", ["-h", "--help"])
def test_help_ends_a_line_wherever_it_stands(help_flag: str) -> None:
    with pytest.raises(click.exceptions.Exit):
        call(["x", help_flag, "--nope"])
