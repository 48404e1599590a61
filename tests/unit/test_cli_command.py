"""Command lines are read, and mistakes in them told, as by the docker client."""

from __future__ import annotations

from typing import Any

import click
import pytest

from lamina.cli.command import Command, UsageMistake, docker_command
from lamina.cli.context import App


@docker_command("[OPTIONS] IMAGE [COMMAND] [ARG...]", "Run", at_least=1, interspersed=False)
@click.option("-d", "--detach", is_flag=True)
@click.option("-i", "--interactive", is_flag=True)
@click.option("-t", "--tty", is_flag=True)
@click.option("-e", "--env", multiple=True)
@click.option("-n", "--last", type=int, default=-1)
@click.option("--name")
@click.option("-x", "short_only")
@click.option("--sig-proxy/--no-sig-proxy", default=True)
@click.argument("image")
@click.argument("args", nargs=-1)
def run_like(**values: Any) -> None:
    seen.update(values)


@docker_command("[OPTIONS] CONTAINER [CONTAINER...]", "Remove", at_least=1)
@click.option("-f", "--force", is_flag=True)
@click.option("-v", "--volumes", is_flag=True)
@click.argument("containers", nargs=-1)
def rm_like(**values: Any) -> None:
    seen.update(values)


@docker_command("[OPTIONS]", "List")
@click.option("-a", "--all", is_flag=True)
def ps_like(**values: Any) -> None:
    seen.update(values)


seen: dict[str, Any] = {}


BAD_TRUTH = (
    'invalid argument "foo" for "-t, --tty" flag: strconv.ParseBool: parsing "foo": invalid syntax'
)


def call(command: Command, *args: str) -> dict[str, Any]:
    seen.clear()
    with command.make_context("lamina", list(args), obj=App({})) as ctx:
        command.invoke(ctx)
    return dict(seen)


def mistake(command: Command, *args: str) -> tuple[str, int]:
    with pytest.raises(UsageMistake) as caught:
        call(command, *args)
    return caught.value.format_message().split("\n")[0], caught.value.exit_code


def test_short_flags_may_be_joined() -> None:
    values = call(run_like, "-dit", "image")
    assert values["detach"] and values["interactive"] and values["tty"]


@pytest.mark.parametrize("given", [["-n5"], ["-n=5"], ["-n", "5"], ["--last=5"], ["--last", "5"]])
def test_a_value_may_be_attached_or_follow(given: list[str]) -> None:
    assert call(run_like, *given, "image")["last"] == 5


@pytest.mark.parametrize("given", [["-dn5"], ["-dn", "5"]])
def test_the_last_of_joined_flags_may_take_a_value(given: list[str]) -> None:
    values = call(run_like, *given, "image")
    assert (values["detach"], values["last"]) == (True, 5)


def test_a_flag_with_only_a_short_name_takes_a_value() -> None:
    assert call(run_like, "-x=a=b", "image")["short_only"] == "a=b"


@pytest.mark.parametrize(
    ("given", "said"),
    [("--tty=true", True), ("--tty=false", False), ("-t=0", False), ("-t=T", True)],
)
def test_a_switch_may_be_given_a_truth(given: str, said: bool) -> None:
    assert call(run_like, given, "image")["tty"] is said


def test_a_switch_that_is_on_may_be_switched_off() -> None:
    assert call(run_like, "image")["sig_proxy"] is True
    assert call(run_like, "--sig-proxy=false", "image")["sig_proxy"] is False
    assert call(run_like, "--no-sig-proxy", "image")["sig_proxy"] is False


def test_the_last_of_several_wins_and_lists_keep_all() -> None:
    values = call(run_like, "--name", "a", "-e", "A=1", "--name=b", "-t", "-t=false", "-eB=2", "i")
    assert (values["name"], values["env"], values["tty"]) == ("b", ("A=1", "B=2"), False)


def test_after_the_image_everything_is_the_command() -> None:
    values = call(run_like, "-t", "image", "sh", "-c", "--name")
    assert (values["args"], values["name"]) == (("sh", "-c", "--name"), None)


def test_elsewhere_flags_may_follow_arguments() -> None:
    values = call(rm_like, "a", "-f", "b", "-v")
    assert values == {"containers": ("a", "b"), "force": True, "volumes": True}


def test_two_dashes_end_the_flags() -> None:
    assert call(rm_like, "--", "-f")["containers"] == ("-f",)


def test_a_value_may_look_like_a_flag() -> None:
    assert call(run_like, "--name", "--tty", "image")["name"] == "--tty"


def test_an_empty_value_is_a_value() -> None:
    assert call(run_like, "--name=", "image")["name"] == ""


@pytest.mark.parametrize(
    ("args", "told", "exit_code"),
    [
        (["--foo", "x"], "unknown flag: --foo", 125),
        (["--foo=1", "x"], "unknown flag: --foo", 125),
        (["-Z", "x"], "unknown shorthand flag: 'Z' in -Z", 125),
        (["-itZ", "x"], "unknown shorthand flag: 'Z' in -Z", 125),
        (["---foo"], "bad flag syntax: ---foo", 125),
        (["--=x"], "bad flag syntax: --=x", 125),
        (["--name"], "flag needs an argument: --name", 125),
        (["-e"], "flag needs an argument: 'e' in -e", 125),
        (
            ["-it=foo", "x"],
            BAD_TRUTH,
            125,
        ),
        ([], "lamina: 'lamina' requires at least 1 argument", 1),
    ],
)
def test_mistakes_are_told_as_docker_tells_them(args: list[str], told: str, exit_code: int) -> None:
    assert mistake(run_like, *args) == (told, exit_code)


def test_a_value_of_the_wrong_type_names_the_flag() -> None:
    told, exit_code = mistake(run_like, "-n", "x", "image")
    assert told == (
        'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax'
    )
    assert exit_code == 125


def test_a_command_without_arguments_accepts_none() -> None:
    assert mistake(ps_like, "x") == ("lamina: 'lamina' accepts no arguments", 1)


@pytest.mark.parametrize(
    ("counts", "given", "told"),
    [
        ({"exactly": 1}, [], "requires 1 argument"),
        ({"exactly": 2}, ["a"], "requires 2 arguments"),
        ({"at_most": 1}, ["a", "b"], "requires at most 1 argument"),
        ({"at_least": 2}, ["a"], "requires at least 2 arguments"),
        ({"at_least": 1, "at_most": 2}, [], "requires at least 1 and at most 2 arguments"),
    ],
)
def test_the_count_of_arguments_is_checked(
    counts: dict[str, int], given: list[str], told: str
) -> None:
    command = docker_command("A B", "Count", **counts)(click.argument("names", nargs=-1)(_nothing))
    assert mistake(command, *given)[0] == f"lamina: 'lamina' {told}"


def _nothing(**_: Any) -> None:
    return None
